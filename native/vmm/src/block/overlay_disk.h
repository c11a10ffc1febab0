#pragma once

#include "base/status.h"
#include "block/disk_image.h"
#include "block/overlay_bitmap.h"

namespace volley {

// A disk whose base is never written to: clusters that were written lie in the overlay file, all others are read from
// the base, and behind the base's end there are zeros. What was flushed survives a power failure; of what was not, each
// cluster is either as it was at the last flush or newer.
class OverlayDisk final : public DiskImage {
 public:
  // An empty overlay file becomes one for this base. One that is of another disk or base, or damaged, is refused.
  Status open(int base_fd, int overlay_fd, uint64_t size, uint32_t device);

  int read(uint64_t offset, const GuestData& to) override;
  int write(uint64_t offset, const GuestData& from) override;
  int flush() override;
  int discard(uint64_t offset, uint64_t length) override;
  int write_zeroes(uint64_t offset, uint64_t length, bool unmap) override;

 private:
  static constexpr uint64_t kCopyBytes = 16 * 1024;

  Status create(uint32_t device, uint32_t fingerprint);
  Status load(uint32_t device, uint32_t fingerprint);
  Status fingerprint_base(uint32_t device, uint32_t* fingerprint);

  // Calls `part(offset, length, first_cluster, end_cluster, present)` for each run of clusters of the range that all
  // are, or all are not, in the overlay; stops at the first errno.
  template <typename Part>
  int for_each_run(uint64_t offset, uint64_t length, Part part);
  int read_base(uint64_t offset, const GuestData& to);
  int copy_up(uint64_t from, uint64_t to);
  int copy_up_around(uint64_t offset, uint64_t length, uint64_t first_cluster, uint64_t end_cluster);
  int sync();

  int base_fd_ = -1;
  int overlay_fd_ = -1;
  uint64_t size_ = 0;
  uint64_t base_size_ = 0;
  uint64_t data_offset_ = 0;
  OverlayBitmap bitmap_;
  bool dirty_ = false;  // data was written since the last flush
  int flush_error_ = 0;
  uint8_t copy_[kCopyBytes];
};

}  // namespace volley
