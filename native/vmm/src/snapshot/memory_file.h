#pragma once

#include <cstdint>
#include <span>

#include "abi/volley_snapshot.h"
#include "base/status.h"
#include "memory/guest_memory.h"

namespace volley {

// Writes guest memory into a `memory` file, page by page.
class MemoryWriter {
 public:
  MemoryWriter() = default;
  MemoryWriter(const GuestMemory& memory, int fd) : memory_(&memory), fd_(fd) {}

  // The file is a copy of a base whose pages have this checksum: from the start, update() alone is right.
  void continue_from(uint64_t base_checksum) { checksum_ = base_checksum; }
  // [first, first + count), of which the file has nothing yet: pages that are not all zeros. At most kPagesAtOnce.
  Status write(uint64_t first, uint64_t count);
  // The same where the file may have something: pages that differ from it.
  Status update(uint64_t first, uint64_t count);

  // Pages may be held in `room`, kHeldBytes for each. The memory for the first `likely` of them is made now.
  static constexpr uint64_t kHeldBytes = VOLLEY_SNAPSHOT_PAGE + sizeof(uint64_t);
  void reserve(std::span<uint8_t> room, uint64_t likely);
  // Copies pages now, for an update() by write_held(). There is room for them.
  void hold(uint64_t first, uint64_t count);
  Status write_held();

  // Finds out where there is data and writes the trailer. Fills in what the header says of memory.
  Status finish(volley_snapshot_header* header);

  uint64_t pages_written() const { return pages_; }

  static constexpr uint64_t kPagesAtOnce = 64;

 private:
  Status write_run(uint64_t first, uint64_t count);
  Status update_from(const uint8_t* pages, uint64_t first, uint64_t count);
  const uint8_t* page(uint64_t index) const { return memory_->host_base() + index * VOLLEY_SNAPSHOT_PAGE; }
  uint64_t* held_indices() const {
    return reinterpret_cast<uint64_t*>(held_.data() + most_held_ * VOLLEY_SNAPSHOT_PAGE);
  }

  const GuestMemory* memory_ = nullptr;
  int fd_ = -1;
  std::span<uint8_t> held_;  // pages, then the index of each
  uint64_t most_held_ = 0;
  uint64_t held_count_ = 0;
  uint64_t pages_ = 0;
  uint64_t checksum_ = 0;
};

// Checks that a `memory` file is whole and belongs to the state with this header.
Status check_memory_file(int fd, const volley_snapshot_header& header);

}  // namespace volley
