#pragma once

#include <cstdint>

#include "base/unique_fd.h"

namespace volley::fuzz {

// A file of a disk, in memory. The code under test may not write to it, or make holes in it, at or beyond `end`; with
// `end` 0 it may not write at all.
class BoundedFile {
 public:
  explicit BoundedFile(uint64_t bytes, uint64_t end);
  BoundedFile(const BoundedFile&) = delete;
  BoundedFile& operator=(const BoundedFile&) = delete;
  ~BoundedFile();

  int fd() const { return fd_.get(); }
  uint64_t end() const { return end_; }
  uint64_t size() const;
  void write(uint64_t offset, const void* bytes, size_t count) const;
  // The next calls fail with this errno, 0 = they do not.
  void fail_with(int error_number) { error_ = error_number; }
  int error() const { return error_; }

 private:
  UniqueFd fd_;
  uint64_t end_;
  int error_ = 0;
};

}  // namespace volley::fuzz
