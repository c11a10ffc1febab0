#pragma once

#include <optional>
#include <string>

#include "abi/volley_snapshot.h"
#include "support/vmm_process.h"

namespace volley::test {

// The two files of a snapshot, in memory.
class SnapshotFiles {
 public:
  SnapshotFiles();

  // Has a VMM write them. The reply, or nothing if none came.
  std::optional<volley_message> take(VmmProcess& vmm, uint32_t flags = 0, const SnapshotFiles* base = nullptr);
  // What a launch needs to go on from them: call it last.
  void restore_by(LaunchOptions& options) const;

  volley_snapshot_header header() const;
  // Changes the header and makes its checksum right again, as somebody would who wants to be believed.
  void forge(const std::function<void(volley_snapshot_header&)>& change) const;
  void forge_section(uint32_t type, uint32_t index,
                     const std::function<void(uint8_t* bytes, size_t length)>& change) const;

  int state() const { return state_.get(); }
  int memory() const { return memory_.get(); }
  uint64_t allocated() const;

 private:
  UniqueFd state_;
  UniqueFd memory_;
  uint8_t id_[VOLLEY_SNAPSHOT_ID_BYTES];
};

}  // namespace volley::test
