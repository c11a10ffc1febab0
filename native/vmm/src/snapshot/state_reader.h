#pragma once

#include <cstdint>
#include <span>

#include "abi/volley_snapshot.h"
#include "base/status.h"

namespace volley {

// Reads a `state` file that may be anything. The header is copied and checked once; each section is copied and compared
// with its checksum before anybody looks at it. Checksums find accidents, not malice: who takes a section checks its
// values as if a guest had written them.
class StateReader {
 public:
  // Reads and checks the header: sound in itself, every length and place in bounds.
  Status open(int fd);
  const volley_snapshot_header& header() const { return header_; }

  // Fills `bytes` with a section, which has exactly that size.
  Status read(uint32_t type, uint32_t index, std::span<uint8_t> bytes) const;

 private:
  int fd_ = -1;
  volley_snapshot_header header_{};
};

// What open() demands of a header that has been read; for the fuzzer.
Status check_header(const volley_snapshot_header& header);

}  // namespace volley
