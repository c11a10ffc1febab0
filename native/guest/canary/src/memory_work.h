#pragma once

#include <cstdint>

namespace canary {

// Writes one word into each 4 KiB page of `mib` MiB of RAM, from `from_mib` on above the canary's own. False if there
// is not so much.
bool touch_memory(uint64_t memory_bytes, uint64_t from_mib, uint64_t mib);

// Whether each page that touch_memory() has touched still holds what it wrote there. Reads all of it.
bool memory_is_intact(uint64_t mib);

}  // namespace canary
