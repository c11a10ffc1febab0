#pragma once

#include <cstdint>
#include <ctime>

namespace volley {

// CLOCK_MONOTONIC in nanoseconds: the only clock of the ABI.
inline uint64_t monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace volley
