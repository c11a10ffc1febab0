#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/status.h"

namespace volley {

// Owns one mmap()ed range.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { unmap(); }

  // Maps `size` bytes of `fd` from its start, shared, read-write. `what` names the range in the error.
  Status map_shared(int fd, size_t size, const char* what);
  // Maps `size` bytes of private zeroed memory that costs nothing until it is touched.
  Status map_anonymous(size_t size, const char* what);

  // Puts `length` bytes of `fd` from `offset` on, privately, in the place of the same bytes of this range. Both are
  // multiples of a page and within the range.
  Status overlay_private(int fd, uint64_t offset, uint64_t length, const char* what);

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  Status map(size_t size, int flags, int fd, const char* what);
  void unmap();

  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace volley
