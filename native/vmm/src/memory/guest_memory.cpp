#include "memory/guest_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>

#include "memory/layout.h"

namespace volley {

Status GuestMemory::map(uint64_t bytes, bool small_pages) {
  if (Status status = mapping_.map_anonymous(bytes, "guest memory"); !status.is_ok()) return status;
  // A kernel without transparent huge pages refuses the advice and needs none.
  if (small_pages) madvise(mapping_.data(), bytes, MADV_NOHUGEPAGE);
  const uint64_t low = std::min(bytes, kMmioGapStart);
  regions_[0] = {0, low, mapping_.data()};
  region_count_ = 1;
  if (bytes > low) {
    regions_[1] = {kMmioGapEnd, bytes - low, mapping_.data() + low};
    region_count_ = 2;
  }
  return Status::ok();
}

Status GuestMemory::map_file(int fd, uint64_t offset, uint64_t length) {
  if (offset > size() || length > size() - offset) return Status::error("a file is mapped outside of guest memory");
  return mapping_.overlay_private(fd, offset, length, "the snapshot's memory");
}

std::span<uint8_t> GuestMemory::range(uint64_t address, uint64_t length) const {
  for (const GuestRegion& region : regions()) {
    if (address < region.guest_address) continue;
    const uint64_t offset = address - region.guest_address;
    if (offset <= region.size && length <= region.size - offset) return {region.host + offset, length};
  }
  return {};
}

bool GuestMemory::write(uint64_t address, std::span<const uint8_t> bytes) const {
  const std::span<uint8_t> target = range(address, bytes.size());
  if (target.size() != bytes.size()) return false;
  if (!bytes.empty()) memcpy(target.data(), bytes.data(), bytes.size());
  return true;
}

Status GuestMemory::read_from(int fd, uint64_t offset, uint64_t address, uint64_t length, const char* what) const {
  const std::span<uint8_t> target = range(address, length);
  if (target.size() != length) {
    return Status::error("%s (%" PRIu64 " bytes) does not fit into guest memory at %#" PRIx64, what, length, address);
  }
  uint64_t done = 0;
  while (done < length) {
    const ssize_t got = pread(fd, target.data() + done, length - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::system_error(errno, "cannot read %s", what);
    if (got == 0) {
      return Status::error("%s ends after %" PRIu64 " bytes, %" PRIu64 " were announced", what, offset + done,
                           offset + length);
    }
    done += static_cast<uint64_t>(got);
  }
  return Status::ok();
}

}  // namespace volley
