#include "descriptor_limit.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "base/unique_fd.h"

namespace volley {
namespace {

// 8 bytes of kernel memory each; enough for twenty thousand microVMs.
constexpr rlim_t kTableSize = 65536;

}  // namespace

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  if (limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) getrlimit(RLIMIT_NOFILE, &limit);
  }
  const UniqueFd any(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!any.is_open()) return;
  // A duplicate at the far end of the table makes the table; it is closed at once, the table stays.
  const UniqueFd last(fcntl(any.get(), F_DUPFD_CLOEXEC, static_cast<int>(std::min(limit.rlim_cur, kTableSize) - 1)));
}

}  // namespace volley
