#pragma once

#include <cstddef>
#include <cstdint>

namespace canary {

// Memory for queues, buffers and drivers: the fourth MiB of RAM, which nothing else uses. It is zero when taken.
class Arena {
 public:
  static constexpr uint64_t kStart = 3ull << 20;
  static constexpr uint64_t kEnd = 4ull << 20;
  static constexpr uint64_t kScratch = kEnd - 65536;  // up to kEnd: for attacks, given to nobody

  // Panics when all is taken.
  void* take(size_t bytes, size_t alignment);
  template <typename T>
  T* take(size_t count = 1) {
    return static_cast<T*>(take(count * sizeof(T), alignof(T)));
  }

  // What was taken after mark() is free again after release().
  uint64_t mark() const { return next_; }
  void release(uint64_t mark);

 private:
  uint64_t next_ = kStart;
};

}  // namespace canary
