#include "agent/get_session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "agent/frames.h"
#include "agent/tree.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace volley {
namespace {

// Files of the kernel say that they are empty; up to this much of them is read to see.
constexpr size_t kLargestKernelFile = 1 << 20;

bool is_of_the_kernel(int fd) {
  constexpr unsigned long kMagic[] = {
      0x9fa0,      // proc
      0x62656572,  // sysfs
      0x63677270,  // cgroup2
      0x1cd1,      // devpts
      0x64626720,  // debugfs
      0x74726163,  // tracefs
      0xcafe4a11,  // bpf
      0x73636673,  // securityfs
  };
  struct statfs status {};
  if (fstatfs(fd, &status) != 0) return false;
  const auto type = static_cast<unsigned long>(status.f_type);
  return std::find(std::begin(kMagic), std::end(kMagic), type) != std::end(kMagic);
}

class Get {
 public:
  explicit Get(int connection) : connection_(connection) {}

  // The sentence when it failed.
  std::string run(std::string_view given, int& error) {
    std::string path(given);
    if (!given.starts_with('/') || path.size() > kLongestPath || given.find('\0') != std::string_view::npos) {
      error = EINVAL;
      return "the path to copy must be absolute";
    }
    const UniqueFd top(open(path.c_str(), O_PATH | O_CLOEXEC));
    struct stat status {};
    if (!top.is_open() || fstat(top.get(), &status) != 0) {
      error = errno;
      return failed(path, error);
    }
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    const std::string name = path == "/" ? "." : path.substr(path.rfind('/') + 1);
    // Opened again by its descriptor: the same thing that was looked at.
    const std::string again = format("/proc/self/fd/%d", top.get());
    const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | (S_ISDIR(status.st_mode) ? O_DIRECTORY : 0);
    if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) {
      error = EINVAL;
      return path + " is neither a file nor a folder";
    }
    UniqueFd fd(open(again.c_str(), flags));
    if (!fd.is_open()) {
      error = errno;
      return failed(path, error);
    }
    const bool is_done =
        S_ISDIR(status.st_mode) ? send_folder(std::move(fd), status, name) : send_file(fd, status, name);
    error = is_done ? 0 : error_;
    return problem_;
  }

  bool is_broken() const { return is_broken_; }

 private:
  bool refuse(const std::string& path) {
    error_ = errno;
    problem_ = failed(path, error_);
    return false;
  }

  bool send(uint8_t type, std::string_view body) {
    error_ = send_frame(connection_, type, body);
    is_broken_ = error_ != 0;
    return !is_broken_;
  }

  bool send_entry(uint32_t kind, const struct stat& status, uint64_t size, const std::string& path,
                  std::string_view target = {}) {
    const volley_entry entry{kind,
                             status.st_mode & 07777,
                             status.st_uid,
                             status.st_gid,
                             size,
                             static_cast<uint64_t>(std::max<time_t>(status.st_mtime, 0)),
                             static_cast<uint32_t>(path.size()),
                             static_cast<uint32_t>(target.size())};
    std::string body(bytes_of(entry));
    body += path;
    body += target;
    return send(VOLLEY_GUEST_ENTRY, body);
  }

  bool send_file(const UniqueFd& fd, const struct stat& status, const std::string& path) {
    if (status.st_size == 0) return send_small_file(fd, status, path);
    auto missing = static_cast<uint64_t>(status.st_size);
    if (!send_entry(VOLLEY_ENTRY_FILE, status, missing, path)) return false;
    std::string bytes;
    while (missing > 0) {
      bytes.resize(std::min<uint64_t>(missing, VOLLEY_FRAME_MAX));
      ssize_t length = read(fd.get(), bytes.data(), bytes.size());
      if (length < 0 && errno == EINTR) continue;
      if (length < 0) return refuse(path);
      // It became shorter while it was read: the rest is zeros, as its size was told already.
      if (length == 0) {
        std::fill(bytes.begin(), bytes.end(), '\0');
        length = static_cast<ssize_t>(bytes.size());
      }
      if (!send(VOLLEY_GUEST_DATA, std::string_view(bytes).substr(0, static_cast<size_t>(length)))) return false;
      missing -= static_cast<uint64_t>(length);
    }
    return true;
  }

  bool send_small_file(const UniqueFd& fd, const struct stat& status, const std::string& path) {
    std::string bytes(kLargestKernelFile, '\0');
    size_t held = 0;
    while (held < bytes.size()) {
      const ssize_t length = read(fd.get(), bytes.data() + held, bytes.size() - held);
      if (length < 0 && errno == EINTR) continue;
      if (length < 0 && errno != EAGAIN) return refuse(path);
      if (length <= 0) break;
      held += static_cast<size_t>(length);
    }
    if (!send_entry(VOLLEY_ENTRY_FILE, status, held, path)) return false;
    for (size_t sent = 0; sent < held; sent += VOLLEY_FRAME_MAX) {
      const auto part = std::string_view(bytes).substr(sent, std::min<size_t>(held - sent, VOLLEY_FRAME_MAX));
      if (!send(VOLLEY_GUEST_DATA, part)) return false;
    }
    return true;
  }

  bool send_folder(UniqueFd fd, const struct stat& status, const std::string& path) {
    if (!send_entry(VOLLEY_ENTRY_FOLDER, status, 0, path)) return false;
    if (is_of_the_kernel(fd.get())) return true;
    DIR* listing = fdopendir(fd.get());
    if (listing == nullptr) return refuse(path);
    fd.release();
    bool is_fine = true;
    while (is_fine) {
      errno = 0;
      const dirent* one = readdir(listing);
      if (one == nullptr) {
        is_fine = errno == 0 || refuse(path);
        break;
      }
      const std::string name = one->d_name;
      if (name != "." && name != "..") is_fine = send_child(dirfd(listing), name, path + "/" + name);
    }
    closedir(listing);
    return is_fine;
  }

  // What vanishes while it is looked at was not there.
  bool send_child(int folder, const std::string& name, const std::string& path) {
    struct stat status {};
    if (fstatat(folder, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT || refuse(path);
    if (path.size() > kLongestPath) {
      errno = ENAMETOOLONG;
      return refuse(path);
    }
    if (S_ISLNK(status.st_mode)) {
      std::string target(kLongestPath, '\0');
      const ssize_t length = readlinkat(folder, name.c_str(), target.data(), target.size());
      if (length < 0) return errno == ENOENT || refuse(path);
      return send_entry(VOLLEY_ENTRY_LINK, status, 0, path,
                        std::string_view(target).substr(0, static_cast<size_t>(length)));
    }
    if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) return true;
    const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (S_ISDIR(status.st_mode) ? O_DIRECTORY : 0);
    UniqueFd fd(openat(folder, name.c_str(), flags));
    if (!fd.is_open()) return errno == ENOENT || refuse(path);
    // What it is now, not what was there when it was looked at.
    if (fstat(fd.get(), &status) != 0) return refuse(path);
    if (S_ISDIR(status.st_mode)) return send_folder(std::move(fd), status, path);
    return !S_ISREG(status.st_mode) || send_file(fd, status, path);
  }

  int connection_;
  int error_ = 0;
  std::string problem_;
  bool is_broken_ = false;
};

}  // namespace

void run_get(int connection, std::string_view path) {
  Get get(connection);
  int error = 0;
  const std::string sentence = get.run(path, error);
  if (get.is_broken()) return;
  if (error == 0) {
    send_frame(connection, VOLLEY_GUEST_END);
  } else {
    send_frame(connection, VOLLEY_GUEST_RESULT, result_body(error, sentence));
  }
}

}  // namespace volley
