#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace volley::fuzz {

// An input read from front to back as what somebody does. Beyond its end everything is zero, so that an input that was
// cut short still means something.
class Script {
 public:
  Script(const uint8_t* data, size_t size) : rest_(data, size) {}

  bool is_over() const { return rest_.empty(); }

  template <typename T>
  T take() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    const size_t bytes = std::min(sizeof(T), rest_.size());
    if (bytes != 0) memcpy(static_cast<void*>(&value), rest_.data(), bytes);
    rest_ = rest_.subspan(bytes);
    return value;
  }
  uint8_t byte() { return take<uint8_t>(); }
  // One of `count` choices.
  uint32_t choice(uint32_t count) { return byte() % count; }
  bool flag() { return (byte() & 1) != 0; }
  std::span<const uint8_t> bytes(size_t at_most) {
    const std::span<const uint8_t> taken = rest_.first(std::min(at_most, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::span<const uint8_t> rest() { return bytes(rest_.size()); }

 private:
  std::span<const uint8_t> rest_;
};

// What a fuzzer does with one input: each target has its own, and entry.cpp calls it.
void run(Script& script);

}  // namespace volley::fuzz
