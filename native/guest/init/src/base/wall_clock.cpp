#include "base/wall_clock.h"

#include <errno.h>
#include <time.h>

namespace volley {

int set_wall_clock(uint64_t time_ns) {
  timespec time{};
  time.tv_sec = static_cast<time_t>(time_ns / 1'000'000'000u);
  time.tv_nsec = static_cast<long>(time_ns % 1'000'000'000u);
  return clock_settime(CLOCK_REALTIME, &time) == 0 ? 0 : errno;
}

}  // namespace volley
