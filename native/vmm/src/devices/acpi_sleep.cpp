#include "devices/acpi_sleep.h"

#include <algorithm>

namespace volley {
namespace {

constexpr uint64_t kControl = 0;
constexpr uint8_t kSleepEnable = 0x20;
constexpr uint8_t kSleepTypeShift = 2;
constexpr uint8_t kSleepTypeMask = 0x07;
constexpr uint8_t kSoftOff = 5;

}  // namespace

void AcpiSleep::read(uint64_t, std::span<uint8_t> data) { std::fill(data.begin(), data.end(), uint8_t{0}); }

void AcpiSleep::write(uint64_t offset, std::span<const uint8_t> data) {
  if (offset != kControl || (data[0] & kSleepEnable) == 0) return;
  if (((data[0] >> kSleepTypeShift) & kSleepTypeMask) == kSoftOff) {
    sink_.guest_ended(VOLLEY_EXIT_POWER_OFF, "the guest powered off");
  }
}

}  // namespace volley
