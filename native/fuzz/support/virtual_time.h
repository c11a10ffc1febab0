#pragma once

#include <cstdint>

namespace volley::fuzz {

// CLOCK_MONOTONIC and timers of the code under test: time passes only when the input says so, and a little with each
// look at the clock. So an input always does the same, and a deadline of two seconds takes none.
void restart_time();
uint64_t now_ns();
void advance_time(uint64_t by_ns);

}  // namespace volley::fuzz
