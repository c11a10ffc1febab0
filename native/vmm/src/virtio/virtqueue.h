#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "memory/guest_memory.h"

namespace volley {

// One piece of a request in guest memory, checked to be RAM and not empty. The guest may change its bytes at any
// moment: whoever decides on a value copies it out first and uses the copy. Laid out as an iovec.
struct GuestBuffer {
  uint8_t* data;
  size_t length;
};
static_assert(sizeof(GuestBuffer) == sizeof(iovec) && offsetof(GuestBuffer, data) == offsetof(iovec, iov_base) &&
              offsetof(GuestBuffer, length) == offsetof(iovec, iov_len));

// One request of the driver: what the device may read, then what it may write. 4 KiB: a member of its device, not a
// local variable.
struct Chain {
  static constexpr size_t kMaxBuffers = 256;

  uint16_t head = 0;
  uint16_t readable_count = 0;
  uint16_t writable_count = 0;
  uint64_t readable_bytes = 0;
  uint64_t writable_bytes = 0;
  GuestBuffer buffers[kMaxBuffers];  // readable ones first

  std::span<const GuestBuffer> readable() const { return {buffers, readable_count}; }
  std::span<const GuestBuffer> writable() const { return {buffers + readable_count, writable_count}; }

  // Copies bytes out of the readable, or into the writable part, from `offset` on. Returns how many there were.
  size_t copy_out(uint64_t offset, std::span<uint8_t> to) const;
  size_t copy_in(uint64_t offset, std::span<const uint8_t> from) const;
};

// Describes [offset, offset + length) of `buffers` in `to`, for readv() and its kin. Returns how many entries it took;
// what does not fit into `to` or lies beyond the buffers is left out.
size_t slice(std::span<const GuestBuffer> buffers, uint64_t offset, uint64_t length, std::span<iovec> to);

// Where the driver put a split virtqueue (virtio 1.2, section 2.7), as it told the transport.
struct QueueLayout {
  uint16_t size = 0;
  uint64_t descriptors = 0;
  uint64_t available = 0;
  uint64_t used = 0;
};

// The device's side of a split virtqueue, with indirect descriptors and event indexes where negotiated. Used by one
// thread at a time. Everything in guest memory is hostile: each field is read once, every address and length is
// checked, chains are bounded by kMaxBuffers and by the queue's size, and a queue found broken stays broken until it
// is reset: the device then asks for a reset (DEVICE_NEEDS_RESET) instead of guessing.
class Virtqueue {
 public:
  enum class Pop { kChain, kEmpty, kBroken };

  // False if the layout is not in RAM, misaligned, or its size no power of two of at most `max_size`.
  [[nodiscard]] bool set_up(const GuestMemory& memory, const QueueLayout& layout, uint16_t max_size, bool event_index,
                            bool indirect);
  void tear_down();
  // How many requests were taken and given back so far, modulo 2^16. With none in flight that is all that a queue which
  // was set up in the same place needs to go on from here.
  uint16_t position() const { return static_cast<uint16_t>(next_available_ - in_flight_); }
  void continue_at(uint16_t position) { next_available_ = next_used_ = published_used_ = position; }
  uint16_t in_flight() const { return in_flight_; }
  bool is_ready() const { return memory_ != nullptr; }
  uint16_t size() const { return layout_.size; }

  // Takes the next request; a queue that is not ready is empty. The request must be given back with push(), in any
  // order, or by undo_pop(). On kBroken the device calls VirtioHost::needs_reset().
  Pop pop(Chain* chain);
  // Puts back the request popped last and not pushed yet, to be popped again. Several, popped last first.
  void undo_pop();
  // Gives a request back with `written` bytes in its writable part. Not seen by the driver before publish().
  void push(const Chain& chain, uint32_t written);
  // The same by the chain's head: who wrote into its buffers has told with wrote().
  void push(uint16_t head, uint32_t written);
  void wrote(const iovec& part) const {
    if (memory_ != nullptr) memory_->wrote(part.iov_base, part.iov_len);
  }
  // Shows the driver what was pushed. True if it wants an interrupt for it. Devices use VirtioHost::publish().
  [[nodiscard]] bool publish();

  // Tells the driver whether kicks are wanted (they are at first). enable_kicks() returns true if requests wait that
  // came meanwhile: look again.
  void disable_kicks();
  [[nodiscard]] bool enable_kicks();

  bool is_broken() const { return broken_; }
  void mark_broken() { broken_ = true; }

 private:
  bool follow(uint16_t head, Chain* chain) const;
  uint16_t available_index() const;

  const GuestMemory* memory_ = nullptr;
  QueueLayout layout_;
  uint8_t* descriptors_ = nullptr;
  uint8_t* available_ = nullptr;
  uint8_t* used_ = nullptr;
  bool event_index_ = false;
  bool indirect_ = false;
  bool broken_ = false;
  uint16_t next_available_ = 0;
  uint16_t next_used_ = 0;
  uint16_t published_used_ = 0;
  uint16_t in_flight_ = 0;
};

}  // namespace volley
