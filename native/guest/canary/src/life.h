#pragma once

#include "clock.h"
#include "cmdline.h"

namespace canary {

// What main and the devices share: the orders, the clock and the power button.
struct Life {
  const Orders& orders;
  const Clock& clock;
  uint64_t memory_bytes;
};

// Looks at what the host has done. Says who it is now and that it is ready, if it goes on from a snapshot; powers off
// if the power button was pressed, unless that is to be ignored.
void answer_host(const Life& life);
// How often it has gone on from a snapshot.
uint64_t generations();
// Sleeps until `deadline_ns` since boot or an interrupt. A deadline in the past returns at once.
void sleep_until(const Clock& clock, uint64_t deadline_ns);
[[noreturn]] void panic();

}  // namespace canary
