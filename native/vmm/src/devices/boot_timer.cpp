#include "devices/boot_timer.h"

#include <algorithm>

#include "abi/volley_abi.h"

namespace volley {

void BootTimer::read(uint64_t, std::span<uint8_t> data) { std::fill(data.begin(), data.end(), uint8_t{0}); }

void BootTimer::write(uint64_t offset, std::span<const uint8_t> data) {
  if (booted_ || offset != 0 || data[0] != VOLLEY_BOOT_TIMER_VALUE) return;
  booted_ = true;
  listener_.guest_booted();
}

}  // namespace volley
