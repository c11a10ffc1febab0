#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "memory/guest_memory.h"
#include "virtio/virtqueue.h"

namespace volley {

// The driver's side of one split virtqueue, laid out at `base` of guest memory, for tests: it keeps to the rules unless
// a test breaks them by hand. Buffers are taken from an area of the test's choice.
class GuestDriver {
 public:
  static constexpr uint16_t kNext = 1;
  static constexpr uint16_t kWrite = 2;
  static constexpr uint16_t kIndirect = 4;

  struct Piece {
    uint64_t address;
    uint32_t length;
    bool writable;
  };

  GuestDriver(const GuestMemory& memory, uint64_t base, uint16_t size) : memory_(memory) {
    layout_.size = size;
    layout_.descriptors = base;
    layout_.available = base + 16ull * size;
    layout_.used = (layout_.available + 6 + 2ull * size + 3) & ~3ull;
    const std::span<uint8_t> all = memory.range(base, bytes());
    std::fill(all.begin(), all.end(), uint8_t{0});
  }

  const QueueLayout& layout() const { return layout_; }
  uint64_t bytes() const { return layout_.used + 6 + 8ull * layout_.size - layout_.descriptors; }

  template <typename T>
  void put(uint64_t address, T value) const {
    memcpy(memory_.range(address, sizeof(T)).data(), &value, sizeof(T));
  }
  template <typename T>
  T get(uint64_t address) const {
    T value;
    memcpy(&value, memory_.range(address, sizeof(T)).data(), sizeof(T));
    return value;
  }

  void put_descriptor_at(uint64_t at, uint64_t address, uint32_t length, uint16_t flags, uint16_t next) const {
    put(at, address);
    put(at + 8, length);
    put(at + 12, flags);
    put(at + 14, next);
  }
  void put_descriptor(uint16_t index, uint64_t address, uint32_t length, uint16_t flags, uint16_t next) const {
    put_descriptor_at(layout_.descriptors + 16ull * index, address, length, flags, next);
  }

  // Writes a chain into consecutive descriptors from `first` on.
  void put_chain(uint16_t first, const std::vector<Piece>& pieces) const {
    for (size_t i = 0; i < pieces.size(); ++i) {
      const bool last = i + 1 == pieces.size();
      const auto index = static_cast<uint16_t>(first + i);
      const auto flags = static_cast<uint16_t>((pieces[i].writable ? kWrite : 0) | (last ? 0 : kNext));
      put_descriptor(index, pieces[i].address, pieces[i].length, flags, static_cast<uint16_t>(last ? 0 : index + 1));
    }
  }
  // The same in an indirect table at `table`, named by descriptor `head`.
  void put_indirect(uint16_t head, uint64_t table, const std::vector<Piece>& pieces) const {
    for (size_t i = 0; i < pieces.size(); ++i) {
      const bool last = i + 1 == pieces.size();
      put_descriptor_at(table + 16 * i, pieces[i].address, pieces[i].length,
                        static_cast<uint16_t>((pieces[i].writable ? kWrite : 0) | (last ? 0 : kNext)),
                        static_cast<uint16_t>(last ? 0 : i + 1));
    }
    put_descriptor(head, table, static_cast<uint32_t>(16 * pieces.size()), kIndirect, 0);
  }

  void offer(uint16_t head) {
    put(layout_.available + 4 + 2ull * (next_ % layout_.size), head);
    ++next_;
    put(layout_.available + 2, next_);
  }
  void set_available_index(uint16_t index) {
    next_ = index;
    put(layout_.available + 2, index);
  }
  void set_available_flags(uint16_t flags) const { put(layout_.available, flags); }
  void set_used_event(uint16_t event) const { put(layout_.available + 4 + 2ull * layout_.size, event); }

  uint16_t used_flags() const { return get<uint16_t>(layout_.used); }
  uint16_t used_index() const { return get<uint16_t>(layout_.used + 2); }
  uint16_t available_event() const { return get<uint16_t>(layout_.used + 4 + 8ull * layout_.size); }
  uint32_t used_head(uint16_t entry) const { return get<uint32_t>(layout_.used + 4 + 8ull * (entry % layout_.size)); }
  uint32_t used_length(uint16_t entry) const { return get<uint32_t>(layout_.used + 8 + 8ull * (entry % layout_.size)); }

 private:
  const GuestMemory& memory_;
  QueueLayout layout_;
  uint16_t next_ = 0;
};

}  // namespace volley
