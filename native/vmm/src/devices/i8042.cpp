#include "devices/i8042.h"

#include <algorithm>

namespace volley {
namespace {

constexpr uint8_t kPulseReset = 0xfe;

}  // namespace

void I8042::read(uint64_t, std::span<uint8_t> data) {
  // Both buffers empty: a kernel that waits to send its reset does not wait long.
  std::fill(data.begin(), data.end(), uint8_t{0});
}

void I8042::write(uint64_t, std::span<const uint8_t> data) {
  if (data[0] == kPulseReset)
    sink_.guest_ended(VOLLEY_EXIT_REBOOT, "the guest asked the keyboard controller for a reset");
}

}  // namespace volley
