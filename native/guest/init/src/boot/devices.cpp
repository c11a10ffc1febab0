#include "boot/devices.h"

#include <errno.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/monotonic_clock.h"
#include "base/unique_fd.h"

namespace volley {
namespace {

std::string first_missing(const std::vector<std::string>& paths) {
  for (const auto& path : paths) {
    if (access(path.c_str(), F_OK) != 0) return path;
  }
  return {};
}

}  // namespace

std::string wait_for_devices(const std::vector<std::string>& paths, int timeout_ms) {
  const int64_t deadline = now_ms() + timeout_ms;
  const UniqueFd watch(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  inotify_add_watch(watch.get(), "/dev", IN_CREATE | IN_MOVED_TO);
  // Looked at after the watch began, so nothing comes between.
  for (;;) {
    std::string missing = first_missing(paths);
    const int64_t left = deadline - now_ms();
    if (missing.empty() || left <= 0) return missing;
    pollfd one{watch.get(), POLLIN, 0};
    if (poll(&one, 1, static_cast<int>(left)) == 1) {
      char ignored[4096];
      while (read(watch.get(), ignored, sizeof(ignored)) > 0) {
      }
    }
  }
}

}  // namespace volley
