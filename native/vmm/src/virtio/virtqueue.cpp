#include "virtio/virtqueue.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace volley {
namespace {

struct Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);

constexpr uint16_t kNext = 1;
constexpr uint16_t kWrite = 2;
constexpr uint16_t kIndirect = 4;
constexpr uint16_t kNoInterrupt = 1;  // available ring's flags
constexpr uint16_t kNoKick = 1;       // used ring's flags

constexpr uint64_t kRingFlags = 0;
constexpr uint64_t kRingIndex = 2;
constexpr uint64_t kRingEntries = 4;
constexpr uint64_t kAvailableEntry = 2;
constexpr uint64_t kUsedEntry = 8;
constexpr uint64_t kEvent = 2;  // used_event or avail_event behind the entries

uint16_t load16(const uint8_t* from, int order) {
  return __atomic_load_n(reinterpret_cast<const uint16_t*>(from), order);
}

void store16(uint8_t* to, uint16_t value, int order) {
  __atomic_store_n(reinterpret_cast<uint16_t*>(to), value, order);
}

// Copies a descriptor out of guest memory. After the barrier the compiler knows nothing of where the copy came from, so
// it cannot read the guest's bytes a second time.
Descriptor read_once(const uint8_t* from) {
  Descriptor copy;
  memcpy(&copy, from, sizeof(copy));
  asm volatile("" : : "r"(&copy) : "memory");
  return copy;
}

}  // namespace

size_t Chain::copy_out(uint64_t offset, std::span<uint8_t> to) const {
  size_t done = 0;
  for (const GuestBuffer& buffer : readable()) {
    if (done == to.size()) break;
    if (offset >= buffer.length) {
      offset -= buffer.length;
      continue;
    }
    const size_t part = std::min<size_t>(buffer.length - offset, to.size() - done);
    memcpy(to.data() + done, buffer.data + offset, part);
    done += part;
    offset = 0;
  }
  // What is decided on the copy is not decided on the guest's bytes, see read_once().
  asm volatile("" : : "r"(to.data()) : "memory");
  return done;
}

size_t Chain::copy_in(uint64_t offset, std::span<const uint8_t> from) const {
  size_t done = 0;
  for (const GuestBuffer& buffer : writable()) {
    if (done == from.size()) break;
    if (offset >= buffer.length) {
      offset -= buffer.length;
      continue;
    }
    const size_t part = std::min<size_t>(buffer.length - offset, from.size() - done);
    memcpy(buffer.data + offset, from.data() + done, part);
    done += part;
    offset = 0;
  }
  return done;
}

size_t slice(std::span<const GuestBuffer> buffers, uint64_t offset, uint64_t length, std::span<iovec> to) {
  size_t count = 0;
  for (const GuestBuffer& buffer : buffers) {
    if (length == 0 || count == to.size()) break;
    if (offset >= buffer.length) {
      offset -= buffer.length;
      continue;
    }
    const size_t part = std::min<uint64_t>(buffer.length - offset, length);
    to[count++] = {buffer.data + offset, part};
    length -= part;
    offset = 0;
  }
  return count;
}

bool Virtqueue::set_up(const GuestMemory& memory, const QueueLayout& layout, uint16_t max_size, bool event_index,
                       bool indirect) {
  tear_down();
  if (!std::has_single_bit(layout.size) || layout.size > max_size) return false;
  if (layout.descriptors % 16 != 0 || layout.available % 2 != 0 || layout.used % 4 != 0) return false;
  const uint64_t event_bytes = event_index ? kEvent : 0;
  const uint64_t available_bytes = kRingEntries + layout.size * kAvailableEntry + event_bytes;
  const uint64_t used_bytes = kRingEntries + layout.size * kUsedEntry + event_bytes;
  const std::span<uint8_t> descriptors = memory.range(layout.descriptors, layout.size * sizeof(Descriptor));
  const std::span<uint8_t> available = memory.range(layout.available, available_bytes);
  const std::span<uint8_t> used = memory.range(layout.used, used_bytes);
  if (descriptors.empty() || available.empty() || used.empty()) return false;
  memory_ = &memory;
  layout_ = layout;
  descriptors_ = descriptors.data();
  available_ = available.data();
  used_ = used.data();
  event_index_ = event_index;
  indirect_ = indirect;
  return true;
}

void Virtqueue::tear_down() { *this = Virtqueue(); }

// With acquire order: what the driver wrote before the index is seen after it.
uint16_t Virtqueue::available_index() const { return load16(available_ + kRingIndex, __ATOMIC_ACQUIRE); }

Virtqueue::Pop Virtqueue::pop(Chain* chain) {
  if (broken_) return Pop::kBroken;
  if (!is_ready()) return Pop::kEmpty;
  const uint16_t waiting = static_cast<uint16_t>(available_index() - next_available_);
  if (waiting == 0) return Pop::kEmpty;
  // A driver has no more requests than descriptors, those that the device works on included.
  if (waiting > layout_.size - in_flight_) {
    broken_ = true;
    return Pop::kBroken;
  }
  const uint16_t slot = next_available_ & static_cast<uint16_t>(layout_.size - 1);
  const uint16_t head = load16(available_ + kRingEntries + slot * kAvailableEntry, __ATOMIC_RELAXED);
  if (!follow(head, chain)) {
    broken_ = true;
    return Pop::kBroken;
  }
  ++next_available_;
  ++in_flight_;
  return Pop::kChain;
}

bool Virtqueue::follow(uint16_t head, Chain* chain) const {
  chain->head = head;
  chain->readable_count = 0;
  chain->writable_count = 0;
  chain->readable_bytes = 0;
  chain->writable_bytes = 0;
  const uint8_t* table = descriptors_;
  uint32_t table_size = layout_.size;
  uint32_t index = head;
  // Not told by where the table lies: a driver may put an indirect one on top of the queue's own.
  bool is_indirect = false;
  // Each turn takes one descriptor of a table; a chain that visits more than the table has goes round in a loop.
  for (uint32_t visited = 0; visited < table_size; ++visited) {
    if (index >= table_size) return false;
    const Descriptor descriptor = read_once(table + index * sizeof(Descriptor));
    if ((descriptor.flags & kIndirect) != 0) {
      // An indirect table ends its chain and holds no further one.
      if (!indirect_ || is_indirect || (descriptor.flags & (kNext | kWrite)) != 0) return false;
      if (descriptor.length == 0 || descriptor.length % sizeof(Descriptor) != 0) return false;
      const std::span<uint8_t> indirect = memory_->range(descriptor.address, descriptor.length);
      if (indirect.empty()) return false;
      is_indirect = true;
      table = indirect.data();
      table_size = static_cast<uint32_t>(descriptor.length / sizeof(Descriptor));
      index = 0;
      visited = ~0u;  // 0 after the loop's step
      continue;
    }
    const uint32_t count = chain->readable_count + chain->writable_count;
    if (count == Chain::kMaxBuffers || descriptor.length == 0) return false;
    const std::span<uint8_t> bytes = memory_->range(descriptor.address, descriptor.length);
    if (bytes.empty()) return false;
    chain->buffers[count] = {bytes.data(), bytes.size()};
    if ((descriptor.flags & kWrite) != 0) {
      ++chain->writable_count;
      chain->writable_bytes += descriptor.length;
    } else {
      if (chain->writable_count != 0) return false;  // what the device reads comes first
      ++chain->readable_count;
      chain->readable_bytes += descriptor.length;
    }
    if ((descriptor.flags & kNext) == 0) return true;
    index = descriptor.next;
  }
  return false;
}

void Virtqueue::undo_pop() {
  if (in_flight_ == 0) return;
  --next_available_;
  --in_flight_;
}

void Virtqueue::push(const Chain& chain, uint32_t written) {
  if (memory_ != nullptr) {
    for (const GuestBuffer& buffer : chain.writable()) memory_->wrote(buffer.data, buffer.length);
  }
  push(chain.head, written);
}

void Virtqueue::push(uint16_t head, uint32_t written) {
  if (broken_ || !is_ready() || in_flight_ == 0) return;
  const uint16_t slot = next_used_ & static_cast<uint16_t>(layout_.size - 1);
  uint8_t* entry = used_ + kRingEntries + slot * kUsedEntry;
  const uint32_t words[2] = {head, written};
  memcpy(entry, words, sizeof(words));
  memory_->wrote(entry, sizeof(words));
  ++next_used_;
  --in_flight_;
}

bool Virtqueue::publish() {
  if (broken_ || !is_ready() || next_used_ == published_used_) return false;
  store16(used_ + kRingIndex, next_used_, __ATOMIC_RELEASE);
  memory_->wrote(used_ + kRingIndex, sizeof(uint16_t));
  // The index must be out before the driver's wish is read: it writes its wish, then looks at the index.
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  const uint16_t fresh = static_cast<uint16_t>(next_used_ - published_used_);
  published_used_ = next_used_;
  if (!event_index_) return (load16(available_ + kRingFlags, __ATOMIC_RELAXED) & kNoInterrupt) == 0;
  const uint16_t event = load16(available_ + kRingEntries + layout_.size * kAvailableEntry, __ATOMIC_RELAXED);
  // Whether `event` is among the `fresh` entries before next_used_, modulo 2^16.
  return static_cast<uint16_t>(next_used_ - event - 1) < fresh;
}

void Virtqueue::disable_kicks() {
  // With event indexes there is nothing to do: the driver kicks only when it passes the index last written.
  if (broken_ || !is_ready() || event_index_) return;
  store16(used_ + kRingFlags, kNoKick, __ATOMIC_RELAXED);
  memory_->wrote(used_ + kRingFlags, sizeof(uint16_t));
}

bool Virtqueue::enable_kicks() {
  if (broken_ || !is_ready()) return false;
  uint8_t* const wish = used_ + (event_index_ ? kRingEntries + layout_.size * kUsedEntry : kRingFlags);
  store16(wish, event_index_ ? next_available_ : uint16_t{0}, __ATOMIC_RELAXED);
  memory_->wrote(wish, sizeof(uint16_t));
  // As in publish(), the other way round.
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  return available_index() != next_available_;
}

}  // namespace volley
