#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace volley {

// The order of bytes in a ring whose memory lies elsewhere.
class ByteRing {
 public:
  // Describes the free room, or the bytes that are there, in up to two pieces of `memory`. Returns how many.
  size_t room(std::span<uint8_t> memory, size_t at_most, iovec (&pieces)[2]) const;
  size_t content(std::span<uint8_t> memory, iovec (&pieces)[2]) const;
  void grow(size_t bytes) { count_ += static_cast<uint32_t>(bytes); }
  void shrink(std::span<uint8_t> memory, size_t bytes);
  void clear() { start_ = count_ = 0; }
  size_t count() const { return count_; }

 private:
  static size_t pieces_of(std::span<uint8_t> memory, size_t start, size_t length, iovec (&pieces)[2]);

  uint32_t start_ = 0;
  uint32_t count_ = 0;
};

}  // namespace volley
