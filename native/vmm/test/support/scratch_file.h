#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

namespace volley::test {

// A file in a folder of its own, gone with the object.
class ScratchFile {
 public:
  explicit ScratchFile(uint64_t bytes) {
    char name[] = "/tmp/volley-scratch-XXXXXX";
    if (mkdtemp(name) == nullptr) abort();
    folder_ = name;
    fd_ = reopened(O_RDWR | O_CREAT);
    if (ftruncate(fd_, static_cast<off_t>(bytes)) != 0) abort();
  }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  ~ScratchFile() {
    unlock();
    close(fd_);
    std::filesystem::remove_all(folder_);
  }

  int fd() const { return fd_; }
  std::string path() const { return folder_ + "/file"; }
  // Another open file description of it, closed by unlock().
  int reopened(int flags) {
    const int fd = open(path().c_str(), flags | O_CLOEXEC, 0600);
    if (fd < 0) abort();
    opened_.push_back(fd);
    return fd;
  }
  // Closes all that was reopened, which gives up its locks.
  void unlock() {
    for (const int fd : opened_) {
      if (fd != fd_) close(fd);
    }
    opened_.clear();
  }
  void write(uint64_t offset, const std::string& bytes) const {
    if (pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(bytes.size())) {
      abort();
    }
  }
  std::string read(uint64_t offset, size_t bytes) const {
    std::string result(bytes, '\0');
    if (pread(fd_, result.data(), bytes, static_cast<off_t>(offset)) != static_cast<ssize_t>(bytes)) abort();
    return result;
  }
  uint64_t size() const {
    struct stat file {};
    fstat(fd_, &file);
    return static_cast<uint64_t>(file.st_size);
  }

  static std::string pattern(size_t bytes, uint32_t seed) {
    std::mt19937 random(seed);
    std::string result(bytes, '\0');
    for (char& c : result) c = static_cast<char>(1 + random() % 255);
    return result;
  }

 private:
  std::string folder_;
  int fd_ = -1;
  std::vector<int> opened_;
};

}  // namespace volley::test
