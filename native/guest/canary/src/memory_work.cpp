#include "memory_work.h"

namespace canary {
namespace {

constexpr uint64_t kMib = 1ull << 20;
constexpr uint64_t kGib = 1ull << 30;
constexpr uint64_t kPage = 4096;
constexpr uint64_t kLargePage = 2 * kMib;
constexpr uint64_t kEntries = 512;
constexpr uint64_t kUserPage = 0x07;
constexpr uint64_t kLarge = 0x80;

// The boot loader's page directory pointers; it has mapped GiB 0 and GiB 3.
constexpr uint64_t kPdptAddress = 0xa000;
constexpr uint64_t kDeviceGib = 3;
// Own page directories go between the image and the memory that is touched.
constexpr uint64_t kDirectories = 2 * kMib;
constexpr uint64_t kTouchStart = 4 * kMib;

// RAM byte `offset` lies at this address: it leaves the device gap out.
uint64_t ram_address(uint64_t offset) { return offset < kDeviceGib * kGib ? offset : offset + kGib; }

void map_gib(uint64_t gib) {
  auto* directory = reinterpret_cast<volatile uint64_t*>(kDirectories + gib * kPage);
  for (uint64_t i = 0; i < kEntries; ++i) directory[i] = (gib * kGib + i * kLargePage) | kUserPage | kLarge;
  auto* pointers = reinterpret_cast<volatile uint64_t*>(kPdptAddress);
  pointers[gib] = reinterpret_cast<uint64_t>(directory) | kUserPage;
}

volatile uint64_t& stirred_word(uint64_t page) {
  return *reinterpret_cast<volatile uint64_t*>(ram_address(kTouchStart + page * kPage) + sizeof(uint64_t));
}

}  // namespace

bool touch_memory(uint64_t memory_bytes, uint64_t from_mib, uint64_t mib) {
  if (mib == 0) return true;
  if (memory_bytes < kTouchStart || from_mib + mib > (memory_bytes - kTouchStart) / kMib) return false;
  const uint64_t start = kTouchStart + from_mib * kMib;
  const uint64_t end = start + mib * kMib;
  const uint64_t last_gib = ram_address(end - kPage) / kGib;
  for (uint64_t gib = ram_address(start) / kGib; gib <= last_gib; ++gib) {
    if (gib != 0 && gib != kDeviceGib) map_gib(gib);
  }
  for (uint64_t offset = start; offset < end; offset += kPage) {
    const uint64_t address = ram_address(offset);
    *reinterpret_cast<volatile uint64_t*>(address) = address;
  }
  return true;
}

void stir_memory(Stir* stir, uint64_t mib, uint64_t count) {
  const uint64_t pages = mib * (kMib / kPage);
  for (; count != 0; --count) {
    stirred_word(stir->next) = stir->sweep;
    if (++stir->next < pages) continue;
    stir->next = 0;
    ++stir->sweep;
  }
}

bool memory_is_of_one_instant(const Stir& stir, uint64_t mib) {
  const uint64_t pages = mib * (kMib / kPage);
  for (uint64_t page = 0; page < pages; ++page) {
    if (stirred_word(page) != (page < stir.next ? stir.sweep : stir.sweep - 1)) return false;
  }
  return true;
}

bool memory_is_intact(uint64_t mib) {
  const uint64_t end = kTouchStart + mib * kMib;
  for (uint64_t offset = kTouchStart; offset < end; offset += kPage) {
    const uint64_t address = ram_address(offset);
    if (*reinterpret_cast<const volatile uint64_t*>(address) != address) return false;
  }
  return true;
}

}  // namespace canary
