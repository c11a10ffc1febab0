#pragma once

#include <linux/virtio_blk.h>

#include <array>
#include <initializer_list>

#include "support/bounded_file.h"
#include "support/virtio_bench.h"

namespace volley::fuzz {

// What a driver asks of a disk, and a host's disk that fails now and then.
class BlockScript final : public DeviceScript {
 public:
  explicit BlockScript(std::initializer_list<BoundedFile*> files) : files_(files) {}

  std::vector<Piece> request(Script& script, VirtioBench& bench, uint32_t) override {
    constexpr uint32_t kTypes[] = {VIRTIO_BLK_T_IN,
                                   VIRTIO_BLK_T_OUT,
                                   VIRTIO_BLK_T_FLUSH,
                                   VIRTIO_BLK_T_GET_ID,
                                   VIRTIO_BLK_T_DISCARD,
                                   VIRTIO_BLK_T_WRITE_ZEROES,
                                   7,
                                   ~0u};
    const uint8_t how = script.byte();
    virtio_blk_outhdr header{};
    header.type = kTypes[how % std::size(kTypes)];
    header.sector = (how & 8) != 0 ? script.take<uint64_t>() : script.take<uint16_t>();
    std::vector<Piece> pieces = {{bench.put(&header, sizeof(header)), sizeof(header), false}};
    if (header.type == VIRTIO_BLK_T_DISCARD || header.type == VIRTIO_BLK_T_WRITE_ZEROES) {
      std::array<virtio_blk_discard_write_zeroes, 4> ranges{};
      const uint32_t count = 1 + script.choice(ranges.size());
      for (uint32_t i = 0; i < count; ++i) {
        ranges[i].sector = script.take<uint16_t>();
        ranges[i].num_sectors = (how & 16) != 0 ? script.take<uint32_t>() : script.take<uint16_t>();
        ranges[i].flags = script.choice(3);
      }
      const uint32_t bytes = count * static_cast<uint32_t>(sizeof(ranges[0]));
      pieces.push_back({bench.put(ranges.data(), bytes), bytes, false});
    } else if (header.type != VIRTIO_BLK_T_FLUSH) {
      const uint32_t count = 1 + (how >> 6);
      for (uint32_t i = 0; i < count; ++i) {
        const uint64_t at = bench.address(script);
        pieces.push_back({at, bench.length(script), header.type != VIRTIO_BLK_T_OUT});
      }
    }
    const uint8_t status = 0xff;
    if ((how & 32) == 0) pieces.push_back({bench.put(&status, 1), 1, true});
    return pieces;
  }

  void host(Script& script, VirtioBench& bench) override {
    constexpr int kErrors[] = {0, 0, EIO, ENOSPC, EFBIG, EOPNOTSUPP};
    if (script.flag()) return bench.set_limit(script, 1);
    BoundedFile& file = *files_[script.choice(static_cast<uint32_t>(files_.size()))];
    file.fail_with(kErrors[script.choice(std::size(kErrors))]);
  }

 private:
  std::vector<BoundedFile*> files_;
};

}  // namespace volley::fuzz
