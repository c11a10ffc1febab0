#pragma once

#include <cstdint>
#include <span>

#include "virtio/virtqueue.h"

namespace volley {

// Bytes of a request in guest memory: `length` of them from `start` on in `buffers`, which hold that many.
struct GuestData {
  std::span<const GuestBuffer> buffers;
  uint64_t start;
  uint64_t length;

  GuestData part(uint64_t offset, uint64_t bytes) const { return {buffers, start + offset, bytes}; }
};

// What is behind a block device. Ranges were checked to lie inside the disk. Everything answers 0 or an errno, waits as
// long as the host's disk takes, and is called by one thread.
class DiskImage {
 public:
  virtual int read(uint64_t offset, const GuestData& to) = 0;
  virtual int write(uint64_t offset, const GuestData& from) = 0;
  // What was written before is safe from a power failure afterwards. Once this has failed it fails for ever: what the
  // host's kernel could not write it does not keep.
  virtual int flush() = 0;
  // The guest does not need these bytes any more; what they read as is left open.
  virtual int discard(uint64_t offset, uint64_t length) = 0;
  // Zeros, without the space for them if `unmap`.
  virtual int write_zeroes(uint64_t offset, uint64_t length, bool unmap) = 0;

 protected:
  ~DiskImage() = default;
};

}  // namespace volley
