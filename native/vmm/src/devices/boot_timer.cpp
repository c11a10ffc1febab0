#include "devices/boot_timer.h"

#include <algorithm>
#include <cstring>

#include "abi/volley_abi.h"

namespace volley {

void BootTimer::read(uint64_t, std::span<uint8_t> data) { std::fill(data.begin(), data.end(), uint8_t{0}); }

void BootTimer::write(uint64_t offset, std::span<const uint8_t> data) {
  constexpr uint64_t kReport = VOLLEY_GUEST_REPORT_ADDRESS - VOLLEY_BOOT_TIMER_ADDRESS;
  if (offset == kReport && data.size() == sizeof(uint32_t)) {
    uint32_t report;
    memcpy(&report, data.data(), sizeof report);
    listener_.guest_reported(report);
    return;
  }
  if (booted_ || offset != 0 || data[0] != VOLLEY_BOOT_TIMER_VALUE) return;
  booted_ = true;
  listener_.guest_booted();
}

}  // namespace volley
