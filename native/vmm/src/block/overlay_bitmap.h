#pragma once

#include <cstdint>

#include "base/mapping.h"
#include "base/status.h"
#include "block/overlay_format.h"

namespace volley {

// Which clusters the overlay holds: in memory, and block by block in the overlay file. Bits are only ever set. Memory
// is touched where there are bits.
class OverlayBitmap {
 public:
  // Reads what the file `fd` of an overlay of `disk_bytes` says. A block of which neither copy is whole is an error.
  Status load(int fd, uint64_t disk_bytes, uint32_t device);

  bool has(uint64_t cluster) const { return (bits()[cluster / 8] >> (cluster % 8) & 1) != 0; }
  // How many clusters from `cluster` on, up to `end`, are like it.
  uint64_t run(uint64_t cluster, uint64_t end) const;
  // Takes [first, end) in. Their data must be written already.
  void set(uint64_t first, uint64_t end);

  bool is_empty() const { return is_empty_; }
  bool is_dirty() const { return is_dirty_; }
  // Writes the first copy of the changed blocks. Before, the data of their clusters and the second copies of last time
  // must be on the disk, fdatasync()ed. 0 or an errno.
  int store(int fd);
  // What store() wrote is on the disk, fdatasync()ed, too.
  void stored();
  // Whether there are second copies that are behind the first ones, be it that stored() was called or that load() found
  // it so: then the first ones must be brought to the disk, fdatasync()ed, before.
  bool is_behind() const { return to_mirror_; }
  // Brings the second copies up to the first ones. 0 or an errno.
  int mirror(int fd);

 private:
  struct BlockState {
    uint64_t sequence;  // of the newest copy that is on the disk
    uint8_t dirty;
    uint8_t written;  // by store(), not known to be on the disk
    uint8_t to_mirror;
  };

  uint8_t* bits() const { return mapping_.data(); }
  BlockState* states() const { return reinterpret_cast<BlockState*>(states_.data()); }
  uint8_t* bits_of(uint64_t block) const { return bits() + block * sizeof(BitmapBlock::bits); }

  Mapping mapping_;
  Mapping states_;
  uint64_t blocks_ = 0;
  bool is_empty_ = true;
  bool is_dirty_ = false;
  bool to_mirror_ = false;
};

}  // namespace volley
