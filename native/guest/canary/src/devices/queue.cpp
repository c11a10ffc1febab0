#include "devices/queue.h"

namespace canary {
namespace {

// x86 keeps stores in order and loads in order; only a load may overtake an earlier store.
void order_stores() { asm volatile("" : : : "memory"); }
void order_store_then_load() { asm volatile("lock; orl $0, (%%rsp)" : : : "memory", "cc"); }

constexpr uint16_t kNoNotify = 1;

}  // namespace

bool Queue::set_up(Arena& arena, const Window& window, uint32_t index, bool indirect, bool event_index) {
  window_ = window;
  index_ = index;
  indirect_ = indirect;
  event_index_ = event_index;
  window.write(Window::kQueueSelect, index);
  const uint32_t most = window.read(Window::kQueueSizeMax);
  if (most == 0) return false;
  size_ = most < kMaxSize ? static_cast<uint16_t>(most) : kMaxSize;
  descriptors_ = static_cast<Descriptor*>(arena.take(size_ * sizeof(Descriptor), 16));
  available_ = static_cast<uint16_t*>(arena.take(6 + 2 * size_, 2));
  used_ = static_cast<uint8_t*>(arena.take(6 + sizeof(UsedElement) * size_, 4));
  if (indirect) tables_ = arena.take<Descriptor>(kMaxPieces * size_);
  for (uint16_t i = 0; i < size_; ++i) descriptors_[i].next = static_cast<uint16_t>(i + 1);
  free_head_ = 0;
  free_count_ = size_;
  window.write(Window::kQueueSize, size_);
  window.write_address(Window::kQueueDescriptors, reinterpret_cast<uint64_t>(descriptors_));
  window.write_address(Window::kQueueAvailable, reinterpret_cast<uint64_t>(available_));
  window.write_address(Window::kQueueUsed, reinterpret_cast<uint64_t>(used_));
  window.write(Window::kQueueReady, 1);
  return true;
}

bool Queue::add(const Piece* pieces, size_t count, uint64_t token) {
  const bool table = indirect_ && count > 1;
  const size_t needed = table ? 1 : count;
  if (count == 0 || count > kMaxPieces || needed > free_count_) return false;
  const uint16_t head = free_head_;
  if (table) {
    Descriptor* entries = tables_ + head * kMaxPieces;
    for (size_t i = 0; i < count; ++i) {
      const bool last = i + 1 == count;
      entries[i] = {reinterpret_cast<uint64_t>(pieces[i].data), pieces[i].length,
                    static_cast<uint16_t>((pieces[i].writable ? kWritable : 0) | (last ? 0 : kHasNext)),
                    static_cast<uint16_t>(i + 1)};
    }
    volatile Descriptor& descriptor = descriptors_[head];
    descriptor.address = reinterpret_cast<uint64_t>(entries);
    descriptor.length = static_cast<uint32_t>(count * sizeof(Descriptor));
    descriptor.flags = kTable;
    free_head_ = descriptor.next;
  } else {
    uint16_t at = head;
    for (size_t i = 0; i < count; ++i) {
      volatile Descriptor& descriptor = descriptors_[at];
      descriptor.address = reinterpret_cast<uint64_t>(pieces[i].data);
      descriptor.length = pieces[i].length;
      const bool last = i + 1 == count;
      descriptor.flags = static_cast<uint16_t>((pieces[i].writable ? kWritable : 0) | (last ? 0 : kHasNext));
      at = descriptor.next;
    }
    free_head_ = at;
  }
  free_count_ = static_cast<uint16_t>(free_count_ - needed);
  tokens_[head] = token;
  available_[2 + next_available_ % size_] = head;
  ++next_available_;
  return true;
}

void Queue::kick() {
  if (kicked_ == next_available_) return;
  order_stores();
  available_[1] = next_available_;
  order_store_then_load();
  bool wanted;
  if (event_index_) {
    const uint16_t event = *reinterpret_cast<volatile uint16_t*>(used_ + 4 + sizeof(UsedElement) * size_);
    wanted = static_cast<uint16_t>(next_available_ - event - 1) < static_cast<uint16_t>(next_available_ - kicked_);
  } else {
    wanted = (*reinterpret_cast<volatile uint16_t*>(used_) & kNoNotify) == 0;
  }
  kicked_ = next_available_;
  if (wanted) window_.write(Window::kQueueNotify, index_);
}

bool Queue::take(uint64_t* token, uint32_t* written) {
  if (!has_used()) return false;
  order_stores();
  const auto* element = reinterpret_cast<volatile UsedElement*>(used_ + 4) + next_used_ % size_;
  const uint32_t head = element->id;
  *written = element->length;
  ++next_used_;
  if (event_index_) {
    // The device tells of the next one from here on; whoever sleeps has looked at the ring after this.
    available_[2 + size_] = next_used_;
    order_store_then_load();
  }
  if (head >= size_) return false;
  *token = tokens_[head];
  uint16_t last = static_cast<uint16_t>(head);
  uint16_t count = 1;
  while ((descriptors_[last].flags & kHasNext) != 0) {
    last = descriptors_[last].next;
    ++count;
  }
  descriptors_[last].next = free_head_;
  free_head_ = static_cast<uint16_t>(head);
  free_count_ = static_cast<uint16_t>(free_count_ + count);
  return true;
}

}  // namespace canary
