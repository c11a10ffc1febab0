#include "support/racing_guest.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

extern "C" {
void* __real___asan_memcpy(void*, const void*, size_t);
void* __wrap___asan_memcpy(void*, const void*, size_t);
void __sanitizer_cov_load1(uint8_t*);
void __sanitizer_cov_load2(uint16_t*);
void __sanitizer_cov_load4(uint32_t*);
void __sanitizer_cov_load8(uint64_t*);
void __sanitizer_cov_load16(__uint128_t*);
}

namespace volley::fuzz {
namespace {

constexpr size_t kMaxRaces = 8;

const GuestMemory* guest = nullptr;
// The mapping that all of it lies in; one comparison decides about most loads.
uintptr_t guest_start = 0;
uintptr_t guest_size = 0;
Race races[kMaxRaces];
size_t race_count = 0;

void run_race(const Race& race, uintptr_t loaded) {
  const size_t width = std::min<size_t>(race.width, sizeof(race.value));
  if (race.in_place) {
    // No further than the guest's memory reaches.
    const size_t room = guest_start + guest_size - loaded;
    if (race.address >= room) return;
    __real___asan_memcpy(reinterpret_cast<void*>(loaded + race.address), &race.value,
                         std::min(width, room - race.address));
    return;
  }
  const std::span<uint8_t> target = guest->range(race.address, width);
  if (!target.empty()) __real___asan_memcpy(target.data(), &race.value, width);
}

// Kept out of the common path, which is a load of the VMM's own memory.
[[gnu::noinline]] void guest_load(uintptr_t address) {
  // The helper below reads guest memory's description, not guest memory; no recursion.
  for (size_t i = 0; i < race_count; ++i) {
    if (races[i].loads != 0) {
      --races[i].loads;
      continue;
    }
    const Race race = races[i];
    races[i--] = races[--race_count];
    run_race(race, address);
  }
}

inline void heard_of(const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  if (at - guest_start < guest_size && race_count != 0) guest_load(at);
}

}  // namespace

void forget_races() { race_count = 0; }

void plan_race(const Race& race) {
  if (race_count < kMaxRaces) races[race_count++] = race;
}

VmmAtWork::VmmAtWork(const GuestMemory& memory) {
  guest = &memory;
  guest_start = reinterpret_cast<uintptr_t>(memory.host_base());
  guest_size = memory.size();
}

VmmAtWork::~VmmAtWork() { guest_size = 0; }

}  // namespace volley::fuzz

void* __wrap___asan_memcpy(void* to, const void* from, size_t bytes) {
  volley::fuzz::heard_of(from);
  return __real___asan_memcpy(to, from, bytes);
}
void __sanitizer_cov_load1(uint8_t* address) { volley::fuzz::heard_of(address); }
void __sanitizer_cov_load2(uint16_t* address) { volley::fuzz::heard_of(address); }
void __sanitizer_cov_load4(uint32_t* address) { volley::fuzz::heard_of(address); }
void __sanitizer_cov_load8(uint64_t* address) { volley::fuzz::heard_of(address); }
void __sanitizer_cov_load16(__uint128_t* address) { volley::fuzz::heard_of(address); }
