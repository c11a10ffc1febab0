// An overlay file that somebody has prepared: header and bitmap, whole, damaged, or damaged with checksums that fit.
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "block/crc32c.h"
#include "block/overlay_disk.h"
#include "support/bounded_file.h"
#include "support/demand.h"
#include "support/descriptors.h"
#include "support/guarded_mappings.h"
#include "support/script.h"
#include "support/virtual_time.h"

namespace volley::fuzz {
namespace {

constexpr uint64_t kSizes[] = {512, 3 * kClusterBytes + 512, kClustersPerBlock* kClusterBytes + 4096};

// The 4 KiB at `offset`, with the checksum that they should have `at` them.
void fix_checksum(std::vector<uint8_t>& file, size_t offset, size_t at) {
  memset(file.data() + offset + at, 0, 4);
  const uint32_t checksum = crc32c({file.data() + offset, 4096});
  memcpy(file.data() + offset + at, &checksum, 4);
}

// What a new overlay of this base starts with.
std::vector<uint8_t> new_overlay(const BoundedFile& base, uint64_t disk_bytes) {
  BoundedFile file(0, overlay_file_bytes(disk_bytes));
  const auto disk = std::make_unique<OverlayDisk>();
  demand(disk->open(base.fd(), file.fd(), disk_bytes, 0).is_ok(), "an empty overlay was refused");
  demand(disk->flush() == 0, "a new overlay cannot be flushed");
  std::vector<uint8_t> bytes(overlay_data_offset(disk_bytes));
  demand(pread(file.fd(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()), "it is too short");
  return bytes;
}

void use(OverlayDisk& disk, uint64_t disk_bytes, Script& script) {
  std::vector<uint8_t> bytes(3 * 4096);
  for (unsigned steps = 0; steps < 16 && !script.is_over(); ++steps) {
    const uint8_t step = script.byte();
    const uint64_t offset = script.take<uint32_t>() * uint64_t{512} % disk_bytes;
    const uint64_t length = std::min<uint64_t>(disk_bytes - offset, bytes.size());
    const GuestBuffer buffer{bytes.data(), length};
    const GuestData data{{&buffer, 1}, 0, length};
    int error = 0;
    if (step % 5 == 0) error = disk.read(offset, data);
    if (step % 5 == 1) error = disk.write(offset, data);
    if (step % 5 == 2) error = disk.flush();
    if (step % 5 == 3) error = disk.discard(offset, length);
    if (step % 5 == 4) error = disk.write_zeroes(offset, length, (step & 128) != 0);
    demand(error == 0, "an overlay that was taken does not work");
  }
}

}  // namespace

void run(Script& script) {
  const DescriptorScope descriptors(true);
  const uint8_t how = script.byte();
  const uint64_t disk_bytes = kSizes[how % std::size(kSizes)];
  const BoundedFile base(std::min<uint64_t>(disk_bytes, 8192), 0);
  std::vector<uint8_t> bytes = new_overlay(base, disk_bytes);
  for (uint8_t changes = script.byte() % 16; changes != 0; --changes) {
    const size_t at = script.take<uint16_t>() % bytes.size();
    const auto change = script.bytes(script.byte() % 32);
    std::copy_n(change.begin(), std::min(change.size(), bytes.size() - at), bytes.begin() + static_cast<ptrdiff_t>(at));
  }
  const uint8_t fixed = script.byte();
  if ((fixed & 1) != 0) fix_checksum(bytes, 0, offsetof(OverlayHeader, checksum));
  for (uint32_t copy = 0; copy < 4; ++copy) {
    if ((fixed >> (1 + copy) & 1) == 0 || bitmap_place(0, copy) + 4096 > bytes.size()) continue;
    fix_checksum(bytes, bitmap_place(0, copy), offsetof(BitmapBlock, checksum));
  }
  const uint64_t whole = overlay_file_bytes(disk_bytes);
  const uint64_t file_bytes = (fixed & 32) != 0 ? script.take<uint32_t>() : whole;
  BoundedFile file(file_bytes, std::max(file_bytes, whole));
  file.write(0, bytes.data(), std::min<uint64_t>(bytes.size(), file_bytes));
  const auto disk = std::make_unique<OverlayDisk>();
  if (disk->open(base.fd(), file.fd(), disk_bytes, 0).is_ok()) use(*disk, disk_bytes, script);
}
}  // namespace volley::fuzz
