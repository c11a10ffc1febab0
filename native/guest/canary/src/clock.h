#pragma once

#include <cstdint>

namespace canary {

inline constexpr uint64_t kNsPerMs = 1'000'000;

// Nanoseconds by the time stamp counter, which needs no ring 0.
class Clock {
 public:
  explicit Clock(uint64_t tsc_khz) : tsc_khz_(tsc_khz), start_(ticks()) {}

  bool works() const { return tsc_khz_ != 0; }
  uint64_t since_boot_ns() const {
    const uint64_t passed = ticks() - start_;
    return passed / tsc_khz_ * kNsPerMs + passed % tsc_khz_ * kNsPerMs / tsc_khz_;
  }

 private:
  static uint64_t ticks() {
    uint32_t low;
    uint32_t high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return (static_cast<uint64_t>(high) << 32) | low;
  }

  uint64_t tsc_khz_;
  uint64_t start_;
};

}  // namespace canary
