#pragma once

#include <cstdint>

#include "memory/guest_memory.h"

namespace volley::fuzz {

// A guest that changes its memory while the VMM works on it. The VMM's sources are compiled so that each load and each
// copy is heard of: before the one that a race names, the guest writes. A value that is read once is then no different
// from any other input; one that is read twice is not the one that was checked.
struct Race {
  uint32_t loads;    // how many loads of guest memory pass before
  bool in_place;     // whether it hits what is about to be read, `address` bytes behind its start
  uint8_t width;     // bytes of `value` that are written, at most 8
  uint64_t address;  // else where it hits
  uint64_t value;
};

void forget_races();
void plan_race(const Race& race);

// While one of these lives, `memory` is the guest's and the VMM is at work.
class VmmAtWork {
 public:
  explicit VmmAtWork(const GuestMemory& memory);
  VmmAtWork(const VmmAtWork&) = delete;
  VmmAtWork& operator=(const VmmAtWork&) = delete;
  ~VmmAtWork();
};

}  // namespace volley::fuzz
