#include "net/receive_pool.h"

#include <algorithm>
#include <cstring>

#include "net/vnet_header.h"

namespace volley {

ReceivePool::Fill ReceivePool::fill(Virtqueue& queue, Chain* scratch, size_t bytes, bool single, uint64_t* refused) {
  uint32_t useless = 0;
  while (single ? chain_count_ == 0 : room_ < bytes) {
    if (chain_count_ == kMaxChains || part_count_ > kMaxParts - Chain::kMaxBuffers || useless == kMaxChains) {
      return Fill::kFull;
    }
    const Virtqueue::Pop popped = queue.pop(scratch);
    if (popped == Virtqueue::Pop::kBroken) return Fill::kBroken;
    if (popped == Virtqueue::Pop::kEmpty) return Fill::kShort;
    if (scratch->writable_count == 0) {
      queue.push(*scratch, 0);
      ++useless;
      ++*refused;
      continue;
    }
    hold(*scratch);
  }
  return Fill::kEnough;
}

void ReceivePool::hold(const Chain& chain) {
  make_way(chain.writable_count);
  Held held{chain.head, 0, 0};
  for (const GuestBuffer& buffer : chain.writable()) {
    // No frame is larger, so nothing is lost, and the sums stay small.
    const size_t length = std::min<size_t>(buffer.length, kMaxOffloadFrame - held.bytes);
    if (length == 0) break;
    parts_[first_part_ + part_count_++] = {buffer.data, length};
    ++held.parts;
    held.bytes += static_cast<uint32_t>(length);
  }
  room_ += held.bytes;
  chains_[(first_chain_ + chain_count_++) % kMaxChains] = held;
}

// The parts stay in a row: when the end of the array is reached they move to its start.
void ReceivePool::make_way(size_t parts) {
  if (first_part_ + part_count_ + parts <= kMaxParts) return;
  memmove(parts_, parts_ + first_part_, part_count_ * sizeof(iovec));
  first_part_ = 0;
}

std::span<const iovec> ReceivePool::front_and(size_t expected, std::span<uint8_t> spill) {
  front_room_ = 0;
  size_t count = 0;
  for (; count < part_count_ && front_room_ < expected; ++count) {
    front_[count] = parts_[first_part_ + count];
    front_room_ += front_[count].iov_len;
  }
  front_[count] = {spill.data(), spill.size()};
  return {front_, count + 1};
}

void ReceivePool::unspill(std::span<const uint8_t> spill, size_t bytes) {
  if (bytes > front_room_) write_at(front_room_, spill.first(bytes - front_room_));
}

void ReceivePool::write(std::span<const uint8_t> bytes) { write_at(0, bytes); }

void ReceivePool::write_at(size_t offset, std::span<const uint8_t> bytes) {
  for (size_t i = first_part_; !bytes.empty() && i < first_part_ + part_count_; ++i) {
    const iovec& part = parts_[i];
    if (offset >= part.iov_len) {
      offset -= part.iov_len;
      continue;
    }
    const size_t length = std::min(part.iov_len - offset, bytes.size());
    memcpy(static_cast<uint8_t*>(part.iov_base) + offset, bytes.data(), length);
    bytes = bytes.subspan(length);
    offset = 0;
  }
}

void ReceivePool::give_back(Virtqueue& queue, size_t bytes) {
  uint16_t buffers = 0;
  for (size_t held = 0; held < bytes; ++buffers) held += chains_[(first_chain_ + buffers) % kMaxChains].bytes;
  write_at(offsetof(VnetHeader, buffers), {reinterpret_cast<const uint8_t*>(&buffers), sizeof(buffers)});
  for (size_t left = bytes; left > 0;) {
    const Held& chain = chains_[first_chain_];
    const size_t length = std::min<size_t>(left, chain.bytes);
    for (size_t i = 0; i < chain.parts; ++i) queue.wrote(parts_[first_part_ + i]);
    queue.push(chain.head, static_cast<uint32_t>(length));
    left -= length;
    room_ -= chain.bytes;
    first_part_ += chain.parts;
    part_count_ -= chain.parts;
    first_chain_ = (first_chain_ + 1) % kMaxChains;
    --chain_count_;
  }
  if (part_count_ == 0) first_part_ = 0;
}

void ReceivePool::put_back(Virtqueue& queue) {
  for (size_t i = 0; i < chain_count_; ++i) queue.undo_pop();
  forget();
}

void ReceivePool::forget() {
  first_chain_ = chain_count_ = 0;
  first_part_ = part_count_ = 0;
  room_ = 0;
}

}  // namespace volley
