#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/unique_fd.h"

namespace volley {

std::optional<std::string> read_file(const std::string& path, size_t limit) {
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) return std::nullopt;
  std::string content;
  while (content.size() < limit) {
    char part[4096];
    const ssize_t length = read(file.get(), part, std::min(sizeof(part), limit - content.size()));
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) break;
    content.append(part, static_cast<size_t>(length));
  }
  return content;
}

int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t length = write(fd, bytes.data(), bytes.size());
    if (length < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    bytes.remove_prefix(static_cast<size_t>(length));
  }
  return 0;
}

int replace_file(const std::string& path, std::string_view content, mode_t mode) {
  const std::string fresh = path + ".volley-new";
  unlink(fresh.c_str());
  UniqueFd file(open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!file.is_open()) return errno;
  int error = write_all(file.get(), content);
  if (error == 0 && fchmod(file.get(), mode) != 0) error = errno;
  if (error == 0 && rename(fresh.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) unlink(fresh.c_str());
  return error;
}

int write_into(const std::string& path, std::string_view content) {
  UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file.is_open() ? write_all(file.get(), content) : errno;
}

int make_folders(const std::string& path, mode_t mode) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string folder = path.substr(0, end);
    if (mkdir(folder.c_str(), mode) != 0 && errno != EEXIST) return errno;
    if (end == std::string::npos) break;
  }
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return errno;
  return S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
}

}  // namespace volley
