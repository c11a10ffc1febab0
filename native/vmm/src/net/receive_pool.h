#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "virtio/virtqueue.h"

namespace volley {

// The guest's receive buffers that the device holds: taken from the queue ahead of the frames, so that a frame is read
// straight into as many of them as it turns out to need. Lives in zeroed memory, of which only what is used is touched.
class ReceivePool {
 public:
  static constexpr size_t kMaxChains = 256;
  static constexpr size_t kMaxParts = 2 * Chain::kMaxBuffers;

  enum class Fill {
    kEnough,
    kShort,  // the queue has no more
    kFull,   // the driver's buffers are too many and too small to hold more of them
    kBroken,
  };

  // Takes buffers until there is room for `bytes`; with `single`, until there is one chain. Requests without a writable
  // part are given back unused; `refused` counts them.
  Fill fill(Virtqueue& queue, Chain* scratch, size_t bytes, bool single, uint64_t* refused);
  size_t room() const { return room_; }
  bool is_empty() const { return chain_count_ == 0; }
  // For readv(): the front of the held room, of at least `expected` bytes if there is so much, and `spill` behind it. A
  // part that the frame does not need costs as much time as one that it does.
  std::span<const iovec> front_and(size_t expected, std::span<uint8_t> spill);
  // What readv() put into the `spill` of front_and() belongs into the room behind that front: copies it there. `bytes`
  // is the size of the frame, at most room().
  void unspill(std::span<const uint8_t> spill, size_t bytes);
  // Copies `bytes` to the front of the room, which is large enough.
  void write(std::span<const uint8_t> bytes);
  // The first `bytes` of the room hold a frame with its header: writes into that how many buffers there are, and gives
  // them back. `bytes` is at most room().
  void give_back(Virtqueue& queue, size_t bytes);
  // Puts all held buffers back onto the queue, unused.
  void put_back(Virtqueue& queue);
  // The queue was reset.
  void forget();

 private:
  struct Held {
    uint16_t head;
    uint16_t parts;
    uint32_t bytes;
  };

  void hold(const Chain& chain);
  void make_way(size_t parts);
  void write_at(size_t offset, std::span<const uint8_t> bytes);

  size_t first_chain_ = 0;
  size_t chain_count_ = 0;
  size_t first_part_ = 0;
  size_t part_count_ = 0;
  size_t room_ = 0;
  size_t front_room_ = 0;
  Held chains_[kMaxChains];
  iovec parts_[kMaxParts];
  iovec front_[kMaxParts + 1];
};

}  // namespace volley
