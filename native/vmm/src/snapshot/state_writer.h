#pragma once

#include <cstdint>
#include <span>

#include "abi/volley_snapshot.h"
#include "base/status.h"

namespace volley {

// Writes a `state` file: sections one behind the other, the header last, so that a file whose writer died is no
// snapshot.
class StateWriter {
 public:
  // Keeps the sections in `room` until finish(), so that who adds them does not wait for the file.
  StateWriter(int fd, std::span<uint8_t> room) : fd_(fd), room_(room) {}

  volley_snapshot_header& header() { return header_; }
  Status add(uint32_t type, uint32_t index, std::span<const uint8_t> bytes);
  // Completes the header and writes it. Nothing is added afterwards.
  Status finish();
  uint64_t bytes() const { return end_; }

 private:
  int fd_;
  std::span<uint8_t> room_;
  uint64_t end_ = VOLLEY_SNAPSHOT_HEADER_BYTES;
  volley_snapshot_header header_{};
};

// CRC-32C of a header as it is in a file.
uint32_t header_checksum(const volley_snapshot_header& header);

}  // namespace volley
