#include "snapshot/state_writer.h"

#include <cstring>

#include "block/crc32c.h"
#include "snapshot/file_bytes.h"

namespace volley {
namespace {

// A header with what pads it.
struct Padded {
  volley_snapshot_header header;
  uint8_t padding[VOLLEY_SNAPSHOT_HEADER_BYTES - sizeof(volley_snapshot_header)];
};
static_assert(sizeof(Padded) == VOLLEY_SNAPSHOT_HEADER_BYTES);

}  // namespace

uint32_t header_checksum(const volley_snapshot_header& header) {
  Padded padded{};
  padded.header = header;
  padded.header.checksum = 0;
  return crc32c(bytes_of(padded));
}

Status StateWriter::add(uint32_t type, uint32_t index, std::span<const uint8_t> bytes) {
  if (header_.section_count == VOLLEY_SNAPSHOT_MAX_SECTIONS) return Status::error("a snapshot has too many sections");
  const uint64_t taken = end_ - VOLLEY_SNAPSHOT_HEADER_BYTES;
  if (bytes.size() > room_.size() - taken) return Status::error("a snapshot's state is too large");
  memcpy(room_.data() + taken, bytes.data(), bytes.size());
  header_.sections[header_.section_count++] = {.type = type,
                                               .index = index,
                                               .offset = end_,
                                               .length = static_cast<uint32_t>(bytes.size()),
                                               .checksum = crc32c(bytes)};
  end_ += bytes.size();
  return Status::ok();
}

Status StateWriter::finish() {
  const std::span<const uint8_t> sections = room_.first(end_ - VOLLEY_SNAPSHOT_HEADER_BYTES);
  if (Status status = write_all(fd_, VOLLEY_SNAPSHOT_HEADER_BYTES, sections, "state"); !status.is_ok()) return status;
  header_.magic = VOLLEY_SNAPSHOT_MAGIC;
  header_.version = VOLLEY_SNAPSHOT_VERSION;
  header_.state_bytes = end_;
  header_.checksum = header_checksum(header_);
  Padded padded{};
  padded.header = header_;
  return write_all(fd_, 0, bytes_of(padded), "state");
}

}  // namespace volley
