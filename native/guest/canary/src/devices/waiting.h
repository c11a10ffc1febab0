#pragma once

#include "life.h"
#include "supervisor.h"

namespace canary {

// Set by the interrupt of any device.
extern "C" volatile uint8_t device_interrupted;

// Calls `done` until it is true, asleep between interrupts; the host is answered meanwhile. False after
// `timeout_ms`.
template <typename Condition>
bool wait_for(const Life& life, uint64_t timeout_ms, Condition done) {
  const uint64_t deadline = life.clock.since_boot_ns() + timeout_ms * kNsPerMs;
  for (;;) {
    device_interrupted = 0;
    if (done()) return true;
    answer_host(life);
    if (life.clock.since_boot_ns() >= deadline) return false;
    sleep_until(life.clock, deadline);
  }
}

}  // namespace canary
