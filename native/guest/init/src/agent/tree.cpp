#include "agent/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"

namespace volley {

bool path_parts(std::string_view path, std::vector<std::string>& parts) {
  parts.clear();
  if (path.starts_with('/') || path.find('\0') != std::string_view::npos) return false;
  for (const auto part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") return false;
    parts.emplace_back(part);
  }
  return true;
}

std::string joined_path(const std::vector<std::string>& parts) {
  std::string path;
  for (const auto& part : parts) {
    if (!path.empty()) path += '/';
    path += part;
  }
  return path.empty() ? "." : path;
}

UniqueFd open_beneath(int base, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<unsigned>(flags) | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  // A rename elsewhere in the tree can make the kernel unsure whether `..` of a link stayed inside; it asks to try
  // again.
  for (int attempt = 0;; ++attempt) {
    UniqueFd fd(static_cast<int>(syscall(SYS_openat2, base, path.c_str(), &how, sizeof(how))));
    if (fd.is_open() || errno != EAGAIN || attempt == 16) return fd;
  }
}

UniqueFd open_folder_beneath(int base, const std::vector<std::string>& parts) {
  UniqueFd whole = open_beneath(base, joined_path(parts), O_PATH | O_DIRECTORY);
  if (whole.is_open() || errno != ENOENT) return whole;
  UniqueFd folder = open_beneath(base, ".", O_PATH | O_DIRECTORY);
  std::vector<std::string> so_far;
  for (const auto& part : parts) {
    if (!folder.is_open()) return folder;
    if (mkdirat(folder.get(), part.c_str(), 0755) != 0 && errno != EEXIST) return UniqueFd();
    so_far.push_back(part);
    folder = open_beneath(base, joined_path(so_far), O_PATH | O_DIRECTORY);
  }
  return folder;
}

}  // namespace volley
