#pragma once

#include <cstdint>

#include "abi/volley_snapshot.h"
#include "base/status.h"
#include "memory/guest_memory.h"

namespace volley {

// Writes guest memory into a `memory` file, page by page.
class MemoryWriter {
 public:
  MemoryWriter(const GuestMemory& memory, int fd) : memory_(memory), fd_(fd) {}

  // Into an empty file: every page that is not all zeros.
  Status write_all_pages();
  // Into a copy of a base whose pages have this checksum: every page that differs.
  Status write_changed_pages(uint64_t base_checksum);
  // Finds out where there is data and writes the trailer. Fills in what the header says of memory.
  Status finish(volley_snapshot_header* header);

  uint64_t pages_written() const { return pages_; }

 private:
  Status write_run(uint64_t first, uint64_t count);
  Status rewrite_run(uint64_t first, uint64_t count);
  uint64_t page_count() const { return memory_.size() / VOLLEY_SNAPSHOT_PAGE; }
  const uint8_t* page(uint64_t index) const { return memory_.host_base() + index * VOLLEY_SNAPSHOT_PAGE; }

  const GuestMemory& memory_;
  int fd_;
  uint64_t pages_ = 0;
  uint64_t checksum_ = 0;
};

// Checks that a `memory` file is whole and belongs to the state with this header.
Status check_memory_file(int fd, const volley_snapshot_header& header);

}  // namespace volley
