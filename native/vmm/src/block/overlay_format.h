#pragma once

#include <cstdint>

namespace volley {

// The copy-on-write overlay file, as docs/devices.md describes it. Little endian.
//   [0, 4 KiB)                   OverlayHeader, zeros behind it
//   [4 KiB, data_offset)         for each bitmap block two copies of 4 KiB, one after the other
//   [data_offset, ...)           cluster n at data_offset + n * 64 KiB
inline constexpr uint64_t kOverlayMagic = 0x314c564f594c4c56;  // "VLLYOVL1"
inline constexpr uint32_t kOverlayVersion = 1;
inline constexpr uint64_t kClusterBytes = 64 * 1024;
inline constexpr uint64_t kOverlayHeaderBytes = 4096;
inline constexpr uint64_t kBitmapBlockBytes = 4096;

struct OverlayHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t checksum;  // CRC-32C of the header's kOverlayHeaderBytes bytes with this field 0
  uint64_t disk_bytes;
  uint64_t base_bytes;
  uint32_t base_fingerprint;  // CRC-32C of the base's first and last 4 KiB (all of it where it is smaller)
  uint32_t cluster_bytes;
  uint64_t data_offset;
};
static_assert(sizeof(OverlayHeader) == 48);

// The first copy of a block is written when the clusters it speaks of are on the disk, the second when the first is. So
// a power failure damages one of them at most, and of those that are whole the one with the higher sequence holds. A
// copy that was never written is all zeros.
struct BitmapBlock {
  uint64_t sequence;
  uint32_t checksum;                     // CRC-32C of the block with this field 0
  uint32_t number;                       // of the block: tells a block that was written to a wrong place
  uint8_t bits[kBitmapBlockBytes - 16];  // cluster n of the block: bit n % 8 of byte n / 8; 1 = the overlay has it
};
static_assert(sizeof(BitmapBlock) == kBitmapBlockBytes);
inline constexpr uint64_t kClustersPerBlock = sizeof(BitmapBlock::bits) * 8;

constexpr uint64_t cluster_count(uint64_t disk_bytes) { return (disk_bytes + kClusterBytes - 1) / kClusterBytes; }
constexpr uint64_t bitmap_block_count(uint64_t disk_bytes) {
  return (cluster_count(disk_bytes) + kClustersPerBlock - 1) / kClustersPerBlock;
}
constexpr uint64_t bitmap_place(uint64_t block, uint32_t copy) {
  return kOverlayHeaderBytes + (2 * block + copy) * kBitmapBlockBytes;
}
constexpr uint64_t overlay_data_offset(uint64_t disk_bytes) {
  const uint64_t end = bitmap_place(bitmap_block_count(disk_bytes), 0);
  return (end + kClusterBytes - 1) / kClusterBytes * kClusterBytes;
}
// The file has this size from the start, as holes.
constexpr uint64_t overlay_file_bytes(uint64_t disk_bytes) {
  return overlay_data_offset(disk_bytes) + cluster_count(disk_bytes) * kClusterBytes;
}

}  // namespace volley
