#include "block/overlay_disk.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <utility>

#include "block/crc32c.h"
#include "block/file_io.h"

namespace volley {
namespace {

constexpr uint64_t kFingerprintBytes = 4096;
static_assert(2 * kFingerprintBytes <= 16 * 1024);

struct HeaderPage {
  OverlayHeader header;
  uint8_t rest[kOverlayHeaderBytes - sizeof(OverlayHeader)];

  std::span<uint8_t> bytes() { return {reinterpret_cast<uint8_t*>(this), sizeof(*this)}; }
  uint32_t checksum() {
    const uint32_t kept = std::exchange(header.checksum, 0);
    const uint32_t result = crc32c(bytes());
    header.checksum = kept;
    return result;
  }
};
static_assert(sizeof(HeaderPage) == kOverlayHeaderBytes);

}  // namespace

Status OverlayDisk::open(int base_fd, int overlay_fd, uint64_t size, uint32_t device) {
  base_fd_ = base_fd;
  overlay_fd_ = overlay_fd;
  size_ = size;
  if (Status status = adopt_disk_file(base_fd, false, device, "the base disk", &base_size_); !status.is_ok()) {
    return status;
  }
  if (base_size_ > size) {
    return Status::error("the base disk of device %u has %" PRIu64 " bytes, its configuration says %" PRIu64
                         ": a disk cannot be smaller than its base",
                         device, base_size_, size);
  }
  uint64_t overlay_bytes = 0;
  if (Status status = adopt_disk_file(overlay_fd, true, device, "the overlay", &overlay_bytes); !status.is_ok()) {
    return status;
  }
  data_offset_ = overlay_data_offset(size);
  uint32_t fingerprint = 0;
  if (Status status = fingerprint_base(device, &fingerprint); !status.is_ok()) return status;
  return overlay_bytes == 0 ? create(device, fingerprint) : load(device, fingerprint);
}

Status OverlayDisk::fingerprint_base(uint32_t device, uint32_t* fingerprint) {
  const uint64_t head = std::min(base_size_, kFingerprintBytes);
  const uint64_t tail = std::min(base_size_ - head, kFingerprintBytes);
  int error = read_bytes(base_fd_, 0, {copy_, head});
  if (error == 0) error = read_bytes(base_fd_, base_size_ - tail, {copy_ + head, tail});
  if (error != 0) return Status::system_error(error, "cannot read the base disk of device %u", device);
  *fingerprint = crc32c({copy_, head + tail});
  return Status::ok();
}

Status OverlayDisk::create(uint32_t device, uint32_t fingerprint) {
  if (ftruncate(overlay_fd_, static_cast<off_t>(overlay_file_bytes(size_))) != 0) {
    return Status::system_error(errno, "cannot give the overlay of device %u its size of %" PRIu64 " bytes", device,
                                overlay_file_bytes(size_));
  }
  HeaderPage page{};
  page.header = {.magic = kOverlayMagic,
                 .version = kOverlayVersion,
                 .checksum = 0,
                 .disk_bytes = size_,
                 .base_bytes = base_size_,
                 .base_fingerprint = fingerprint,
                 .cluster_bytes = kClusterBytes,
                 .data_offset = data_offset_};
  page.header.checksum = page.checksum();
  if (const int error = write_bytes(overlay_fd_, 0, page.bytes()); error != 0) {
    return Status::system_error(error, "cannot write the header of the overlay of device %u", device);
  }
  dirty_ = true;  // the header goes to the disk with the first flush, before the first bit does
  return bitmap_.load(overlay_fd_, size_, device);
}

Status OverlayDisk::load(uint32_t device, uint32_t fingerprint) {
  HeaderPage page;
  if (const int error = read_bytes(overlay_fd_, 0, page.bytes()); error != 0) {
    return error == EIO ? Status::error("the overlay of device %u is too short to be one", device)
                        : Status::system_error(error, "cannot read the header of the overlay of device %u", device);
  }
  const OverlayHeader& header = page.header;
  const bool zero = std::all_of(page.bytes().begin(), page.bytes().end(), [](uint8_t byte) { return byte == 0; });
  struct stat file {};
  if (fstat(overlay_fd_, &file) != 0)
    return Status::system_error(errno, "cannot stat the overlay of device %u", device);
  const uint64_t wanted = overlay_file_bytes(size_);
  if (zero && static_cast<uint64_t>(file.st_size) == wanted) {
    // The power failed before anything of it was flushed. The bitmap must agree.
    if (Status status = bitmap_.load(overlay_fd_, size_, device); !status.is_ok()) return status;
    if (bitmap_.is_empty()) return create(device, fingerprint);
  }
  if (header.magic != kOverlayMagic) return Status::error("the overlay of device %u is not a Volley overlay", device);
  if (header.version != kOverlayVersion) {
    return Status::error("the overlay of device %u is of version %u, this VMM knows %u", device, header.version,
                         kOverlayVersion);
  }
  if (header.checksum != page.checksum() || header.cluster_bytes != kClusterBytes) {
    return Status::error("the overlay of device %u is damaged: its header does not match its checksum", device);
  }
  if (header.disk_bytes != size_) {
    return Status::error("the overlay of device %u is for a disk of %" PRIu64 " bytes, its configuration says %" PRIu64,
                         device, header.disk_bytes, size_);
  }
  if (header.base_bytes != base_size_ || header.base_fingerprint != fingerprint) {
    return Status::error("the overlay of device %u belongs to another base: %" PRIu64
                         " bytes, fingerprint %08x; this one "
                         "has %" PRIu64 " bytes, fingerprint %08x",
                         device, header.base_bytes, header.base_fingerprint, base_size_, fingerprint);
  }
  if (header.data_offset != data_offset_ || static_cast<uint64_t>(file.st_size) < wanted) {
    return Status::error("the overlay of device %u is damaged: it has %lld bytes instead of %" PRIu64, device,
                         static_cast<long long>(file.st_size), wanted);
  }
  if (Status status = bitmap_.load(overlay_fd_, size_, device); !status.is_ok()) return status;
  // The last user was cut off between the two copies; this file may not even be on the disk yet.
  if (bitmap_.is_behind() && (sync() != 0 || bitmap_.mirror(overlay_fd_) != 0)) {
    return Status::error("cannot repair the bitmap of the overlay of device %u", device);
  }
  return Status::ok();
}

template <typename Part>
int OverlayDisk::for_each_run(uint64_t offset, uint64_t length, Part part) {
  const uint64_t end = offset + length;
  const uint64_t end_cluster = (end + kClusterBytes - 1) / kClusterBytes;
  for (uint64_t at = offset; at < end;) {
    const uint64_t cluster = at / kClusterBytes;
    const uint64_t run_end_cluster = cluster + bitmap_.run(cluster, end_cluster);
    const uint64_t run_end = std::min(run_end_cluster * kClusterBytes, end);
    if (const int error = part(at, run_end - at, cluster, run_end_cluster, bitmap_.has(cluster)); error != 0) {
      return error;
    }
    at = run_end;
  }
  return 0;
}

int OverlayDisk::read(uint64_t offset, const GuestData& to) {
  return for_each_run(offset, to.length, [&](uint64_t at, uint64_t length, uint64_t, uint64_t, bool present) {
    const GuestData part = to.part(at - offset, length);
    return present ? read_data(overlay_fd_, data_offset_ + at, part) : read_base(at, part);
  });
}

int OverlayDisk::read_base(uint64_t offset, const GuestData& to) {
  const uint64_t there = offset < base_size_ ? std::min(base_size_ - offset, to.length) : 0;
  if (there < to.length) zero_data(to.part(there, to.length - there));
  return there == 0 ? 0 : read_data(base_fd_, offset, to.part(0, there));
}

// Copies [from, to) of the base into the overlay, where nothing reads it before its bit is set.
int OverlayDisk::copy_up(uint64_t from, uint64_t to) {
  while (from < to) {
    const uint64_t bytes = std::min(to - from, kCopyBytes);
    const GuestBuffer buffer{copy_, bytes};
    if (const int error = read_base(from, {{&buffer, 1}, 0, bytes}); error != 0) return error;
    if (const int error = write_bytes(overlay_fd_, data_offset_ + from, {copy_, bytes}); error != 0) return error;
    from += bytes;
  }
  return 0;
}

// Fills up the clusters [first, end), of which [offset, offset + length) is going to be written.
int OverlayDisk::copy_up_around(uint64_t offset, uint64_t length, uint64_t first_cluster, uint64_t end_cluster) {
  if (const int error = copy_up(first_cluster * kClusterBytes, offset); error != 0) return error;
  return copy_up(offset + length, std::min(end_cluster * kClusterBytes, size_));
}

int OverlayDisk::write(uint64_t offset, const GuestData& from) {
  dirty_ = true;
  return for_each_run(
      offset, from.length, [&](uint64_t at, uint64_t length, uint64_t first, uint64_t end, bool present) {
        if (!present) {
          if (const int error = copy_up_around(at, length, first, end); error != 0) return error;
        }
        if (const int error = write_data(overlay_fd_, data_offset_ + at, from.part(at - offset, length)); error != 0) {
          return error;
        }
        bitmap_.set(first, end);
        return 0;
      });
}

int OverlayDisk::sync() {
  if (fdatasync(overlay_fd_) == 0) return 0;
  flush_error_ = errno;
  return flush_error_;
}

int OverlayDisk::flush() {
  if (flush_error_ != 0) return flush_error_;
  if (!dirty_ && !bitmap_.is_dirty()) return 0;
  if (const int error = bitmap_.mirror(overlay_fd_); error != 0) return error;  // it could not be done last time
  // First the data, then the bits that say it is there.
  if (const int error = sync(); error != 0) return error;
  dirty_ = false;
  if (!bitmap_.is_dirty()) return 0;
  if (const int error = bitmap_.store(overlay_fd_); error != 0) return error;
  if (const int error = sync(); error != 0) return error;
  bitmap_.stored();
  bitmap_.mirror(overlay_fd_);
  return 0;
}

// Clusters that were never written go on showing the base: hiding it would take a bit and give back nothing.
int OverlayDisk::discard(uint64_t offset, uint64_t length) {
  return for_each_run(offset, length, [&](uint64_t at, uint64_t bytes, uint64_t, uint64_t, bool present) {
    if (!present) return 0;
    dirty_ = true;
    punch_hole(overlay_fd_, data_offset_ + at, bytes);
    return 0;
  });
}

int OverlayDisk::write_zeroes(uint64_t offset, uint64_t length, bool unmap) {
  dirty_ = true;
  return for_each_run(offset, length, [&](uint64_t at, uint64_t bytes, uint64_t first, uint64_t end, bool present) {
    if (!present) {
      if (const int error = copy_up_around(at, bytes, first, end); error != 0) return error;
    }
    // A cluster that was not there may hold what a power failure left behind, so it is zeroed as any other.
    if (const int error = zero_range(overlay_fd_, data_offset_ + at, bytes, unmap); error != 0) return error;
    bitmap_.set(first, end);
    return 0;
  });
}

}  // namespace volley
