#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "base/mapping.h"
#include "base/status.h"
#include "memory/write_marks.h"

namespace volley {

// One run of guest RAM that is contiguous in guest physical addresses.
struct GuestRegion {
  uint64_t guest_address;
  uint64_t size;
  uint8_t* host;
};

// Guest RAM: one private, unreserved host mapping, seen by the guest as one region below the 32-bit MMIO gap and, for
// what does not fit there, one above it. Every access from the VMM goes through the bounds-checked calls here.
class GuestMemory {
 public:
  // Maps `bytes` of memory. `small_pages` keeps transparent huge pages away, so that a guest that touches one byte
  // costs 4 KiB.
  Status map(uint64_t bytes, bool small_pages);
  // After map(): [offset, offset + length) holds the same bytes of `fd`, shared with all who map them until somebody
  // writes there. Multiples of a page.
  Status map_file(int fd, uint64_t offset, uint64_t length);

  std::span<const GuestRegion> regions() const { return {regions_, region_count_}; }
  uint64_t size() const { return mapping_.size(); }
  uint8_t* host_base() const { return mapping_.data(); }

  // The host bytes of [address, address + length), or an empty span if any of it is not RAM of one region.
  std::span<uint8_t> range(uint64_t address, uint64_t length) const;

  // Copies bytes in. False if the range is not RAM.
  [[nodiscard]] bool write(uint64_t address, std::span<const uint8_t> bytes) const;
  template <typename T>
  [[nodiscard]] bool write_value(uint64_t address, const T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    return write(address, {reinterpret_cast<const uint8_t*>(&value), sizeof(T)});
  }
  // Fills [address, address + length) from `fd` at `offset`. A file that ends early is an error; `what` names it.
  Status read_from(int fd, uint64_t offset, uint64_t address, uint64_t length, const char* what) const;

  // Devices say here what they have written, after they did: [host, host + length) of this memory.
  void wrote(const void* host, uint64_t length) const {
    if (length == 0) return;
    const uint64_t start = static_cast<uint64_t>(static_cast<const uint8_t*>(host) - host_base());
    marks_.mark(start / kPage, (start + length - 1) / kPage);
  }
  WriteMarks& marks() const { return marks_; }

 private:
  static constexpr uint64_t kPage = 4096;

  Mapping mapping_;
  mutable WriteMarks marks_;
  GuestRegion regions_[2] = {};
  size_t region_count_ = 0;
};

}  // namespace volley
