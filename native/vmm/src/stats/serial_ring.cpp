#include "stats/serial_ring.h"

#include <atomic>

#include "abi/volley_abi.h"

namespace volley {

void SerialRing::append(std::span<const uint8_t> bytes) {
  std::atomic_ref<uint64_t> head(head_);
  uint64_t position = head.load(std::memory_order_relaxed);
  for (const uint8_t byte : bytes) {
    ring_[position % VOLLEY_SERIAL_RING] = byte;
    ++position;
  }
  head.store(position, std::memory_order_release);
}

}  // namespace volley
