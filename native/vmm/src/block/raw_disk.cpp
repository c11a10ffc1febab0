#include "block/raw_disk.h"

#include <unistd.h>

#include <cerrno>
#include <cinttypes>

#include "block/file_io.h"

namespace volley {

Status RawDisk::open(int fd, uint64_t size, bool read_only, uint32_t device) {
  uint64_t file_size = 0;
  if (Status status = adopt_disk_file(fd, !read_only, device, "the disk", &file_size); !status.is_ok()) return status;
  if (file_size < size) {
    return Status::error("the disk of device %u has %" PRIu64 " bytes, its configuration says %" PRIu64, device,
                         file_size, size);
  }
  fd_ = fd;
  return Status::ok();
}

int RawDisk::read(uint64_t offset, const GuestData& to) { return read_data(fd_, offset, to); }

int RawDisk::write(uint64_t offset, const GuestData& from) {
  dirty_ = true;
  return write_data(fd_, offset, from);
}

int RawDisk::flush() {
  if (flush_error_ != 0 || !dirty_) return flush_error_;
  if (fdatasync(fd_) != 0) {
    flush_error_ = errno;
    return flush_error_;
  }
  dirty_ = false;
  return 0;
}

int RawDisk::discard(uint64_t offset, uint64_t length) {
  dirty_ = true;
  // It is a hint: a file that cannot do it keeps its bytes.
  punch_hole(fd_, offset, length);
  return 0;
}

int RawDisk::write_zeroes(uint64_t offset, uint64_t length, bool unmap) {
  dirty_ = true;
  return zero_range(fd_, offset, length, unmap);
}

}  // namespace volley
