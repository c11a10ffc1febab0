#include "proc.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/unique_fd.h"
#include "child_launcher.h"

namespace volley {

Result<std::string> ReadSmallFile(const std::string& path, size_t limit) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return FailedCall(errno, "cannot open " + path);
  std::string text(limit, '\0');
  size_t used = 0;
  while (used < limit) {
    const ssize_t n = read(fd.get(), text.data() + used, limit - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailedCall(errno, "cannot read " + path);
    if (n == 0) break;
    used += static_cast<size_t>(n);
  }
  text.resize(used);
  return text;
}

std::optional<ProcessStat> ParseProcessStat(std::string_view text) {
  const size_t name_end = text.rfind(')');
  if (name_end == std::string_view::npos || name_end + 2 >= text.size()) return std::nullopt;
  std::string_view rest = text.substr(name_end + 2);
  ProcessStat stat;
  for (int field = 3;; ++field) {
    const size_t end = std::min(rest.find_first_of(" \n"), rest.size());
    const std::string_view word = rest.substr(0, end);
    if (word.empty()) return std::nullopt;
    if (field == 3) stat.state = word.front();
    if (field == 22) {
      if (word.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
      stat.start_ticks = word;
      return stat;
    }
    if (end == rest.size()) return std::nullopt;
    rest.remove_prefix(end + 1);
  }
}

Result<ProcessStat> ReadProcessStat(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  auto text = ReadSmallFile(path);
  if (!text) return text.failure();
  const auto stat = ParseProcessStat(*text);
  if (!stat) return Failure{0, path + " is not in the known format"};
  return *stat;
}

std::vector<uint32_t> ThreadIdsSeenHere(pid_t pid, const std::vector<uint32_t>& own) {
  std::vector<uint32_t> here(own.size(), 0);
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  DIR* directory = opendir(tasks.c_str());
  if (directory == nullptr) return {};
  while (const dirent* entry = readdir(directory)) {
    const auto tid = static_cast<uint32_t>(strtoul(entry->d_name, nullptr, 10));
    if (tid == 0) continue;
    auto status = ReadSmallFile(tasks + '/' + entry->d_name + "/status");
    if (!status) continue;
    const size_t line = status->find("\nNSpid:");
    if (line == std::string::npos) continue;
    // The last number is the innermost.
    const size_t end = status->find('\n', line + 1);
    const size_t last = status->find_last_of("\t ", end);
    const auto inner = static_cast<uint32_t>(strtoul(status->c_str() + last + 1, nullptr, 10));
    for (size_t i = 0; i < own.size(); ++i) {
      if (own[i] == inner) here[i] = tid;
    }
  }
  closedir(directory);
  std::erase(here, 0u);
  return here;
}

bool IsVmmOf(pid_t pid, const std::string& id) {
  auto arguments = ReadSmallFile("/proc/" + std::to_string(pid) + "/cmdline");
  if (!arguments) return false;
  // The room that the id leaves is filled with NULs.
  const std::string expected = std::string(kVmmTitle) + '\0' + id;
  return arguments->size() > expected.size() && arguments->starts_with(expected) &&
         arguments->find_first_not_of('\0', expected.size()) == std::string::npos;
}

Result<std::string> ReadBootId() {
  auto text = ReadSmallFile("/proc/sys/kernel/random/boot_id");
  if (text) text->erase(std::remove(text->begin(), text->end(), '\n'), text->end());
  return text;
}

}  // namespace volley
