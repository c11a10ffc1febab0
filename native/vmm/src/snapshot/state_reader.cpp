#include "snapshot/state_reader.h"

#include "block/crc32c.h"
#include "config/config.h"
#include "snapshot/file_bytes.h"
#include "snapshot/state_writer.h"

namespace volley {
namespace {

// None is near it; a vCPU has about 11 KiB.
constexpr uint32_t kMaxSectionBytes = 64 * 1024;

Status corrupt(const char* what) { return Status::error("the snapshot's state is corrupt: %s", what); }

Status check_extents(const volley_snapshot_header& header) {
  uint64_t end = 0;
  uint64_t sum = 0;
  for (uint32_t i = 0; i < header.extent_count; ++i) {
    const volley_snapshot_extent& extent = header.extents[i];
    if (extent.offset % VOLLEY_SNAPSHOT_PAGE != 0 || extent.length % VOLLEY_SNAPSHOT_PAGE != 0 || extent.length == 0 ||
        extent.offset < end || extent.offset > header.memory_bytes ||
        extent.length > header.memory_bytes - extent.offset) {
      return corrupt("an extent of memory lies outside of it or overlaps another");
    }
    end = extent.offset + extent.length;
    sum += extent.length;
  }
  return sum == header.data_bytes ? Status::ok() : corrupt("the extents of memory do not add up");
}

}  // namespace

Status check_header(const volley_snapshot_header& header) {
  if (header.magic != VOLLEY_SNAPSHOT_MAGIC) return Status::error("the snapshot's state is no snapshot of Volley's");
  if (header.version != VOLLEY_SNAPSHOT_VERSION) {
    return Status::error("the snapshot is of format %u, this VMM reads format %u", header.version,
                         VOLLEY_SNAPSHOT_VERSION);
  }
  if (header.checksum != header_checksum(header)) return corrupt("its header does not have its checksum");
  if (header.section_count > VOLLEY_SNAPSHOT_MAX_SECTIONS || header.device_count > VOLLEY_MAX_DEVICES ||
      header.extent_count > VOLLEY_SNAPSHOT_MAX_EXTENTS || header.vcpus < 1 || header.vcpus > VOLLEY_MAX_VCPUS) {
    return corrupt("it has more parts than there can be");
  }
  if (header.memory_bytes < kMinGuestMemory || header.memory_bytes > kMaxGuestMemory ||
      header.memory_bytes % VOLLEY_SNAPSHOT_PAGE != 0) {
    return corrupt("it is of an impossible amount of memory");
  }
  for (uint32_t i = 0; i < header.section_count; ++i) {
    const volley_snapshot_section& section = header.sections[i];
    if (section.length > kMaxSectionBytes || section.offset < VOLLEY_SNAPSHOT_HEADER_BYTES ||
        section.offset > header.state_bytes || section.length > header.state_bytes - section.offset) {
      return corrupt("a section lies outside of it");
    }
  }
  return check_extents(header);
}

Status StateReader::open(int fd) {
  fd_ = fd;
  uint8_t bytes[VOLLEY_SNAPSHOT_HEADER_BYTES];
  if (Status status = read_all(fd, 0, bytes, "state"); !status.is_ok()) return status;
  memcpy(&header_, bytes, sizeof(header_));
  return check_header(header_);
}

Status StateReader::read(uint32_t type, uint32_t index, std::span<uint8_t> bytes) const {
  for (uint32_t i = 0; i < header_.section_count; ++i) {
    const volley_snapshot_section& section = header_.sections[i];
    if (section.type != type || section.index != index) continue;
    if (section.length != bytes.size()) return corrupt("a section has another size than this format gives it");
    if (Status status = read_all(fd_, section.offset, bytes, "state"); !status.is_ok()) return status;
    return crc32c(bytes) == section.checksum ? Status::ok() : corrupt("a section does not have its checksum");
  }
  return Status::error("the snapshot's state lacks section %u of type %u", index, type);
}

}  // namespace volley
