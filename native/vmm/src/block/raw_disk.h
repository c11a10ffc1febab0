#pragma once

#include "base/status.h"
#include "block/disk_image.h"

namespace volley {

// A disk that is a file, byte for byte.
class RawDisk final : public DiskImage {
 public:
  Status open(int fd, uint64_t size, bool read_only, uint32_t device);

  int read(uint64_t offset, const GuestData& to) override;
  int write(uint64_t offset, const GuestData& from) override;
  int flush() override;
  int discard(uint64_t offset, uint64_t length) override;
  int write_zeroes(uint64_t offset, uint64_t length, bool unmap) override;

 private:
  int fd_ = -1;
  bool dirty_ = false;
  int flush_error_ = 0;
};

}  // namespace volley
