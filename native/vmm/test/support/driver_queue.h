#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "support/guest_driver.h"

namespace volley::test {

// The driver's side of a queue that runs: GuestDriver's ring with the bookkeeping of which descriptors are free.
class DriverQueue {
 public:
  using Piece = GuestDriver::Piece;
  struct Used {
    uint32_t head;
    uint32_t length;
  };

  DriverQueue(const GuestMemory& memory, uint64_t base, uint16_t size) : ring(memory, base, size), taken_(size) {
    for (uint16_t i = size; i > 0; --i) free_.push_back(static_cast<uint16_t>(i - 1));
  }

  // Offers one request and returns its head.
  uint16_t add(const std::vector<Piece>& pieces) {
    std::vector<uint16_t> slots(pieces.size());
    for (uint16_t& slot : slots) slot = take();
    for (size_t i = 0; i < pieces.size(); ++i) {
      const bool last = i + 1 == pieces.size();
      const auto flags =
          static_cast<uint16_t>((pieces[i].writable ? GuestDriver::kWrite : 0) | (last ? 0 : GuestDriver::kNext));
      ring.put_descriptor(slots[i], pieces[i].address, pieces[i].length, flags, last ? uint16_t{0} : slots[i + 1]);
    }
    const uint16_t head = slots[0];
    taken_[head] = std::move(slots);
    ring.offer(head);
    return head;
  }
  // The same through a table in guest memory.
  uint16_t add_indirect(uint64_t table, const std::vector<Piece>& pieces) {
    const uint16_t head = take();
    taken_[head] = {head};
    ring.put_indirect(head, table, pieces);
    ring.offer(head);
    return head;
  }

  // Takes the next request that the device gave back.
  std::optional<Used> reap() {
    if (!has_used()) return std::nullopt;
    const Used used{ring.used_head(next_used_), ring.used_length(next_used_)};
    ++next_used_;
    if (used.head < taken_.size()) {
      for (const uint16_t slot : taken_[used.head]) free_.push_back(slot);
      taken_[used.head].clear();
    }
    return used;
  }
  bool has_used() const { return static_cast<uint16_t>(waiting()) != 0; }
  uint16_t waiting() const {
    const uint16_t index = ring.used_index();
    std::atomic_thread_fence(std::memory_order_acquire);
    return static_cast<uint16_t>(index - next_used_);
  }
  size_t free_descriptors() const { return free_.size(); }
  bool kicks_wanted() const { return (ring.used_flags() & 1) == 0; }

  GuestDriver ring;

 private:
  uint16_t take() {
    const uint16_t slot = free_.back();
    free_.pop_back();
    return slot;
  }

  uint16_t next_used_ = 0;
  std::vector<uint16_t> free_;
  std::vector<std::vector<uint16_t>> taken_;
};

}  // namespace volley::test
