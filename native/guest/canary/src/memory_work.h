#pragma once

#include <cstdint>

namespace canary {

// Writes one word into each 4 KiB page of `mib` MiB of RAM, from `from_mib` on above the canary's own. False if there
// is not so much.
bool touch_memory(uint64_t memory_bytes, uint64_t from_mib, uint64_t mib);

// Where the stirring of memory is: pages before `next` hold `sweep` in their second word, the others what was before
// it.
struct Stir {
  uint64_t sweep = 1;
  uint64_t next = 0;
};
// Writes the next `count` of the pages that touch_memory() has touched from the start, round and round.
void stir_memory(Stir* stir, uint64_t mib, uint64_t count);
// Whether memory is as of the one instant at which the stirring is. Reads all of it.
bool memory_is_of_one_instant(const Stir& stir, uint64_t mib);

// Whether each page that touch_memory() has touched still holds what it wrote there. Reads all of it.
bool memory_is_intact(uint64_t mib);

}  // namespace canary
