#include "block/overlay_bitmap.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>
#include <utility>

#include "block/crc32c.h"
#include "block/file_io.h"

namespace volley {
namespace {

std::span<const uint8_t> bytes_of(const BitmapBlock& block) {
  return {reinterpret_cast<const uint8_t*>(&block), sizeof(block)};
}

uint32_t checksum_of(BitmapBlock& block) {
  const uint32_t kept = std::exchange(block.checksum, 0);
  const uint32_t checksum = crc32c(bytes_of(block));
  block.checksum = kept;
  return checksum;
}

bool is_zero(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

enum class Copy { kNeverWritten, kWhole, kDamaged };

Copy judge(BitmapBlock& block, uint64_t number) {
  if (is_zero(bytes_of(block))) return Copy::kNeverWritten;
  const bool whole = block.checksum == checksum_of(block) && block.number == number && block.sequence != 0;
  return whole ? Copy::kWhole : Copy::kDamaged;
}

}  // namespace

Status OverlayBitmap::load(int fd, uint64_t disk_bytes, uint32_t device) {
  blocks_ = bitmap_block_count(disk_bytes);
  if (Status status = mapping_.map_anonymous(blocks_ * sizeof(BitmapBlock::bits), "an overlay's bitmap");
      !status.is_ok()) {
    return status;
  }
  if (Status status = states_.map_anonymous(blocks_ * sizeof(BlockState), "an overlay's bitmap"); !status.is_ok()) {
    return status;
  }
  for (uint64_t number = 0; number < blocks_; ++number) {
    BitmapBlock copies[2];
    const std::span<uint8_t> both{reinterpret_cast<uint8_t*>(copies), sizeof(copies)};
    if (const int error = read_bytes(fd, bitmap_place(number, 0), both); error != 0) {
      return Status::system_error(error, "cannot read the bitmap of the overlay of device %u", device);
    }
    const Copy judged[2] = {judge(copies[0], number), judge(copies[1], number)};
    const bool usable[2] = {judged[0] == Copy::kWhole, judged[1] == Copy::kWhole};
    if (!usable[0] && !usable[1]) {
      // Without a second copy the first one was never finished: nothing had been flushed.
      if (judged[1] == Copy::kNeverWritten) continue;
      return Status::error("the overlay of device %u is damaged: neither copy of block %" PRIu64
                           " of its bitmap is whole; restore it or start over with an empty overlay",
                           device, number);
    }
    const bool second = usable[1] && (!usable[0] || copies[1].sequence > copies[0].sequence);
    const BitmapBlock& block = copies[second ? 1 : 0];
    states()[number].sequence = block.sequence;
    // The first copy is the next to be written over: the second one has to be good by then.
    const bool is_behind = !second && (!usable[1] || copies[1].sequence != block.sequence);
    states()[number].to_mirror = is_behind ? 1 : 0;
    to_mirror_ |= is_behind;
    memcpy(bits_of(number), block.bits, sizeof(block.bits));
    is_empty_ = false;
  }
  return Status::ok();
}

uint64_t OverlayBitmap::run(uint64_t cluster, uint64_t end) const {
  const bool first = has(cluster);
  uint64_t at = cluster + 1;
  while (at < end && has(at) == first) ++at;
  return at - cluster;
}

void OverlayBitmap::set(uint64_t first, uint64_t end) {
  for (uint64_t cluster = first; cluster < end; ++cluster) {
    if (has(cluster)) continue;
    bits()[cluster / 8] = static_cast<uint8_t>(bits()[cluster / 8] | 1u << (cluster % 8));
    states()[cluster / kClustersPerBlock].dirty = 1;
    is_dirty_ = true;
  }
}

int OverlayBitmap::store(int fd) {
  for (uint64_t number = 0; number < blocks_; ++number) {
    BlockState& state = states()[number];
    if (state.dirty == 0) continue;
    BitmapBlock block{};
    block.sequence = state.sequence + 1;
    block.number = static_cast<uint32_t>(number);
    memcpy(block.bits, bits_of(number), sizeof(block.bits));
    block.checksum = checksum_of(block);
    if (const int error = write_bytes(fd, bitmap_place(number, 0), bytes_of(block)); error != 0) return error;
    state.written = 1;
  }
  return 0;
}

void OverlayBitmap::stored() {
  for (uint64_t number = 0; number < blocks_; ++number) {
    BlockState& state = states()[number];
    if (state.written == 0) continue;
    ++state.sequence;
    state.written = 0;
    state.dirty = 0;
    state.to_mirror = 1;
  }
  is_dirty_ = false;
  is_empty_ = false;
  to_mirror_ = true;
}

int OverlayBitmap::mirror(int fd) {
  if (!to_mirror_) return 0;
  for (uint64_t number = 0; number < blocks_; ++number) {
    BlockState& state = states()[number];
    if (state.to_mirror == 0) continue;
    // From the file: the bits in memory may be ahead of what is on the disk.
    BitmapBlock block;
    const std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(&block), sizeof(block)};
    if (const int error = read_bytes(fd, bitmap_place(number, 0), bytes); error != 0) return error;
    if (const int error = write_bytes(fd, bitmap_place(number, 1), bytes); error != 0) return error;
    state.to_mirror = 0;
  }
  to_mirror_ = false;
  return 0;
}

}  // namespace volley
