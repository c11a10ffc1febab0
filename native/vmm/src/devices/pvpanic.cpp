#include "devices/pvpanic.h"

#include <algorithm>

namespace volley {
namespace {

constexpr uint8_t kPanicked = 0x01;

}  // namespace

void Pvpanic::read(uint64_t, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});
  data[0] = kPanicked;  // the events this device understands
}

void Pvpanic::write(uint64_t, std::span<const uint8_t> data) {
  if ((data[0] & kPanicked) != 0) sink_.guest_ended(VOLLEY_EXIT_PANIC, "the guest reported a panic");
}

}  // namespace volley
