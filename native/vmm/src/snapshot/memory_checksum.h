#pragma once

#include <cstdint>
#include <span>

#include "block/crc32c.h"

namespace volley {

// The checksum of guest memory is the sum, modulo 2^64, of one number per page that is not all zeros. So a page can be
// taken out of it and another one put in, without reading the rest.
inline uint64_t page_checksum(uint64_t index, std::span<const uint8_t> page) {
  // splitmix64 of checksum and place: pages that change places do not cancel out.
  uint64_t value = uint64_t{crc32c(page)} << 32 ^ index;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

}  // namespace volley
