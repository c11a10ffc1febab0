#ifndef VOLLEY_BINDING_CLOCK_H
#define VOLLEY_BINDING_CLOCK_H

#include <time.h>

#include <cstdint>

namespace volley {

/// CLOCK_MONOTONIC in nanoseconds: the clock of every time in the page file.
inline uint64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace volley

#endif
