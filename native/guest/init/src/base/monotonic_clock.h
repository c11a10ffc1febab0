#pragma once

#include <time.h>

#include <cstdint>

namespace volley {

// Milliseconds since the kernel started, without the time for which it was suspended.
inline int64_t now_ms() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

}  // namespace volley
