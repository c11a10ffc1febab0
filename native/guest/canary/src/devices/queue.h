#pragma once

#include <cstddef>
#include <cstdint>

#include "devices/arena.h"
#include "devices/mmio.h"

namespace canary {

struct Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};
inline constexpr uint16_t kHasNext = 1;
inline constexpr uint16_t kWritable = 2;
inline constexpr uint16_t kTable = 4;

struct UsedElement {
  uint32_t id;
  uint32_t length;
};

// A piece of a request.
struct Piece {
  const void* data;
  uint32_t length;
  bool writable;
};

// The driver's side of a split virtqueue.
class Queue {
 public:
  static constexpr uint16_t kMaxSize = 64;
  static constexpr size_t kMaxPieces = 8;

  // Makes queue `index` of the device. False if the device has no such queue.
  bool set_up(Arena& arena, const Window& window, uint32_t index, bool indirect, bool event_index);

  // Queues one request; `token` comes back with it. False if there is no room. Not seen by the device before kick().
  bool add(const Piece* pieces, size_t count, uint64_t token);
  // Shows the device what was added and tells it, unless it said that it looks by itself.
  void kick();
  // Takes one finished request. False if there is none.
  bool take(uint64_t* token, uint32_t* written);
  bool has_used() const { return used_index() != next_used_; }

  uint16_t size() const { return size_; }
  uint16_t free() const { return free_count_; }
  uint16_t in_flight() const { return static_cast<uint16_t>(next_available_ - next_used_); }

  // For attacks: the raw rings.
  volatile Descriptor* descriptors() const { return descriptors_; }
  volatile uint16_t* available() const { return available_; }
  volatile uint8_t* used() const { return used_; }

 private:
  uint16_t used_index() const { return *reinterpret_cast<volatile uint16_t*>(used_ + 2); }

  Window window_;
  uint32_t index_ = 0;
  uint16_t size_ = 0;
  bool indirect_ = false;
  bool event_index_ = false;
  volatile Descriptor* descriptors_ = nullptr;
  volatile uint16_t* available_ = nullptr;  // flags, index, ring, used_event
  volatile uint8_t* used_ = nullptr;        // flags, index, ring of elements, avail_event
  Descriptor* tables_ = nullptr;            // indirect: kMaxPieces for each descriptor
  uint16_t next_available_ = 0;
  uint16_t next_used_ = 0;
  uint16_t kicked_ = 0;
  uint16_t free_head_ = 0;
  uint16_t free_count_ = 0;
  uint64_t tokens_[kMaxSize] = {};
};

}  // namespace canary
