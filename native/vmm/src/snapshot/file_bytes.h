#pragma once

#include <cstdint>
#include <span>

#include "base/status.h"

namespace volley {

// All of `bytes` at `offset`; `what` names the file in the error. A file that ends early is an error too.
Status read_all(int fd, uint64_t offset, std::span<uint8_t> bytes, const char* what);
Status write_all(int fd, uint64_t offset, std::span<const uint8_t> bytes, const char* what);

template <typename T>
std::span<uint8_t> bytes_of(T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<uint8_t*>(&value), sizeof(T)};
}
template <typename T>
std::span<const uint8_t> bytes_of(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const uint8_t*>(&value), sizeof(T)};
}

}  // namespace volley
