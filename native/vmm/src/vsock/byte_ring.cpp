#include "vsock/byte_ring.h"

#include <algorithm>

namespace volley {

size_t ByteRing::pieces_of(std::span<uint8_t> memory, size_t start, size_t length, iovec (&pieces)[2]) {
  if (length == 0) return 0;
  start %= memory.size();
  const size_t first = std::min(length, memory.size() - start);
  pieces[0] = {memory.data() + start, first};
  if (first == length) return 1;
  pieces[1] = {memory.data(), length - first};
  return 2;
}

size_t ByteRing::room(std::span<uint8_t> memory, size_t at_most, iovec (&pieces)[2]) const {
  return pieces_of(memory, start_ + count_, std::min(at_most, memory.size() - count_), pieces);
}

size_t ByteRing::content(std::span<uint8_t> memory, iovec (&pieces)[2]) const {
  return pieces_of(memory, start_, count_, pieces);
}

void ByteRing::shrink(std::span<uint8_t> memory, size_t bytes) {
  count_ -= static_cast<uint32_t>(bytes);
  // Starts over when empty: a ring that never fills up touches only its first pages.
  start_ = count_ == 0 ? 0 : static_cast<uint32_t>((start_ + bytes) % memory.size());
}

}  // namespace volley
