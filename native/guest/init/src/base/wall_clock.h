#pragma once

#include <cstdint>

namespace volley {

// Nanoseconds since 1970. Returns 0 or an errno.
int set_wall_clock(uint64_t time_ns);

}  // namespace volley
