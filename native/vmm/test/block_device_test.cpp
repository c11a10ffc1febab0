#include "block/block_device.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <functional>
#include <random>

#include "support/check.h"
#include "support/device_bench.h"
#include "support/scratch_file.h"

namespace {

std::atomic<int> syncs{0};
std::atomic<int> sync_error{0};

}  // namespace

// Takes the place of libc's, so that tests see it.
extern "C" int fdatasync(int fd) {
  ++syncs;
  if (sync_error != 0) {
    errno = sync_error;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fdatasync, fd));
}

namespace volley {
namespace {

using Piece = GuestDriver::Piece;
using test::ScratchFile;

constexpr uint64_t kDisk = 1 << 20;
constexpr uint64_t kFlush = 1ull << VIRTIO_BLK_F_FLUSH;
constexpr uint64_t kDiscard = 1ull << VIRTIO_BLK_F_DISCARD;
constexpr uint64_t kZeroes = 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
constexpr uint64_t kAll = kFlush | kDiscard | kZeroes;

struct Answer {
  uint8_t status = 0xee;
  uint32_t written = 0;
};

struct Disk {
  explicit Disk(int fd, volley_device device = {}, int overlay_fd = -1) : config(device) {
    config.type = VOLLEY_DEVICE_BLOCK;
    if (config.size == 0) config.size = kDisk;
    if (overlay_fd >= 0) config.flags |= VOLLEY_BLOCK_OVERLAY;
    CHECK(bench.fds.add(static_cast<uint16_t>(device_role(0)), fd));
    if (overlay_fd >= 0) CHECK(bench.fds.add(static_cast<uint16_t>(overlay_role(0)), overlay_fd));
    status = bench.open(config);
    if (!status.is_ok()) return;
    header = bench.allocate(16);
    status_byte = bench.allocate(1);
    data = bench.allocate(512 * 1024);
  }
  void activate(uint64_t features = kAll) { bench.activate(features, 1, 64); }

  void put_header(uint32_t type, uint64_t sector) {
    const virtio_blk_outhdr bytes{.type = type, .ioprio = 0, .sector = sector};
    bench.write(header, &bytes, sizeof(bytes));
  }
  // One request with these data pieces, served.
  Answer request(uint32_t type, uint64_t sector, std::vector<Piece> pieces = {}) {
    put_header(type, sector);
    const uint8_t untouched = 0xee;
    bench.write(status_byte, &untouched, 1);
    pieces.insert(pieces.begin(), {header, 16, false});
    pieces.push_back({status_byte, 1, true});
    bench.queues[0]->add(pieces);
    bench.kick(0);
    if (!bench.await([&] { return bench.queues[0]->has_used(); })) return {};
    const uint32_t length = bench.queues[0]->reap()->length;
    return {static_cast<uint8_t>(bench.read(status_byte, 1)[0]), length};
  }
  uint8_t write(uint64_t sector, const std::string& bytes) {
    bench.write(data, bytes.data(), bytes.size());
    return request(VIRTIO_BLK_T_OUT, sector, {{data, static_cast<uint32_t>(bytes.size()), false}}).status;
  }
  std::string read(uint64_t sector, uint32_t bytes) {
    const Answer answer = request(VIRTIO_BLK_T_IN, sector, {{data, bytes, true}});
    if (answer.status != VIRTIO_BLK_S_OK || answer.written != bytes + 1) return "refused";
    return bench.read(data, bytes);
  }
  uint8_t ranges(uint32_t type, const std::vector<virtio_blk_discard_write_zeroes>& all) {
    bench.write(data, all.data(), all.size() * sizeof(all[0]));
    return request(type, 0, {{data, static_cast<uint32_t>(all.size() * sizeof(all[0])), false}}).status;
  }

  test::DeviceBench<BlockDevice>& bench = test::DeviceBench<BlockDevice>::make();
  volley_device config;
  Status status = Status::ok();
  uint64_t header = 0;
  uint64_t status_byte = 0;
  uint64_t data = 0;
};

uint64_t blocks_of(int fd) {
  struct stat file {};
  fstat(fd, &file);
  return static_cast<uint64_t>(file.st_blocks);
}

TEST(bytes_come_back_as_they_were_written) {
  ScratchFile file(kDisk);
  Disk disk(file.fd());
  REQUIRE(disk.status.is_ok());
  disk.activate();
  const std::string text = file.pattern(3 * 4096, 1);
  CHECK_EQ(disk.write(7, text), VIRTIO_BLK_S_OK);
  CHECK(disk.read(7, 3 * 4096) == text);
  CHECK(file.read(7 * 512, 3 * 4096) == text);
  CHECK(disk.read(8, 512) == text.substr(512, 512));
  CHECK(disk.read(kDisk / 512 - 1, 512) == std::string(512, '\0'));
  // Scattered over odd pieces, with the header and the status split as well.
  const uint64_t at = disk.data;
  disk.put_header(VIRTIO_BLK_T_IN, 7);
  disk.bench.queues[0]->add({{disk.header, 3, false},
                             {disk.header + 3, 13, false},
                             {at, 1, true},
                             {at + 100, 510, true},
                             {at + 1000, 1, true},
                             {at + 2000, 513, true}});
  disk.bench.kick(0);
  REQUIRE(disk.bench.await([&] { return disk.bench.queues[0]->has_used(); }));
  CHECK_EQ(disk.bench.queues[0]->reap()->length, 1025u);
  CHECK(disk.bench.read(at, 1) + disk.bench.read(at + 100, 510) + disk.bench.read(at + 1000, 1) +
            disk.bench.read(at + 2000, 512) ==
        text.substr(0, 1024));
  CHECK_EQ(disk.bench.read(at + 2512, 1)[0], '\0');
  CHECK_EQ(disk.bench.counters().writes, 1u);
  CHECK_EQ(disk.bench.counters().write_bytes, 3u * 4096);
  CHECK_EQ(disk.bench.counters().errors, 0u);
}

TEST(the_configuration_space_says_what_it_is) {
  ScratchFile file(kDisk);
  volley_device config{};
  memcpy(config.serial, "disk-0123456789abcde", 20);
  Disk disk(file.fd(), config);
  disk.activate();
  virtio_blk_config space;
  disk.bench.device->read_config(0, {reinterpret_cast<uint8_t*>(&space), sizeof(space)});
  CHECK_EQ(space.capacity, kDisk / 512);
  CHECK_EQ(space.blk_size, 512u);
  CHECK_EQ(space.seg_max, 254u);
  CHECK_EQ(space.max_discard_seg, 16u);
  CHECK_EQ(disk.bench.device->virtio_id(), 2u);
  const Answer answer = disk.request(VIRTIO_BLK_T_GET_ID, 0, {{disk.data, 20, true}});
  CHECK_EQ(answer.status, VIRTIO_BLK_S_OK);
  CHECK_EQ(answer.written, 21u);
  CHECK_EQ(disk.bench.read(disk.data, 20), "disk-0123456789abcde");
  // A short buffer gets as much as fits.
  CHECK_EQ(disk.request(VIRTIO_BLK_T_GET_ID, 0, {{disk.data + 100, 4, true}}).written, 5u);
  CHECK_EQ(disk.bench.read(disk.data + 100, 5), std::string("disk\0", 5));
}

TEST(requests_outside_of_the_disk_are_refused) {
  ScratchFile file(2 * kDisk);
  Disk disk(file.fd());
  disk.activate();
  const uint64_t end = kDisk / 512;
  for (const uint64_t sector : std::vector<uint64_t>{end, end - 1, end + 1, 1ull << 55, ~0ull, ~0ull / 512}) {
    CHECK_EQ(disk.write(sector, std::string(1024, 'x')), VIRTIO_BLK_S_IOERR);
    CHECK_EQ(disk.read(sector, 1024), "refused");
  }
  CHECK_EQ(disk.write(0, std::string(513, 'x')), VIRTIO_BLK_S_IOERR);
  CHECK_EQ(disk.read(0, 511), "refused");
  CHECK(file.read(0, 2 * kDisk) == std::string(2 * kDisk, '\0'));
  CHECK_EQ(disk.bench.counters().errors, 14u);
  CHECK_EQ(disk.request(99, 0).status, VIRTIO_BLK_S_UNSUPP);
  CHECK_EQ(disk.request(~0u, 0, {{disk.data, 512, true}}).status, VIRTIO_BLK_S_UNSUPP);
  CHECK_EQ(disk.read(end - 2, 1024), std::string(1024, '\0'));
  CHECK_EQ(disk.read(end, 0 + 512), "refused");
}

TEST(a_read_only_disk_takes_no_writes) {
  ScratchFile file(kDisk);
  volley_device config{};
  config.flags = VOLLEY_BLOCK_READ_ONLY;
  Disk disk(file.reopened(O_RDONLY), config);
  REQUIRE(disk.status.is_ok());
  disk.activate(0);
  CHECK_EQ(disk.bench.device->features() & (1ull << VIRTIO_BLK_F_RO), 1ull << VIRTIO_BLK_F_RO);
  CHECK_EQ(disk.bench.device->features() & kAll, 0u);
  CHECK_EQ(disk.write(0, std::string(512, 'x')), VIRTIO_BLK_S_IOERR);
  CHECK_EQ(disk.ranges(VIRTIO_BLK_T_DISCARD, {{.sector = 0, .num_sectors = 8, .flags = 0}}), VIRTIO_BLK_S_UNSUPP);
  CHECK_EQ(disk.read(0, 512), std::string(512, '\0'));
}

TEST(requests_without_header_or_status_break_the_device) {
  const std::vector<std::function<std::vector<Piece>(Disk&)>> shapes = {
      [](Disk& d) {
        return std::vector<Piece>{{d.header, 16, false}};
      },
      [](Disk& d) {
        return std::vector<Piece>{{d.header, 15, false}, {d.status_byte, 1, true}};
      },
      [](Disk& d) {
        return std::vector<Piece>{{d.status_byte, 1, true}};
      },
      [](Disk& d) {
        return std::vector<Piece>{{d.data, 4096, true}};
      },
  };
  ScratchFile file(kDisk);
  for (const auto& shape : shapes) {
    Disk disk(file.reopened(O_RDWR));
    disk.activate();
    disk.put_header(VIRTIO_BLK_T_IN, 0);
    disk.bench.queues[0]->add(shape(disk));
    disk.bench.kick(0);
    CHECK(disk.bench.host.broken);
    CHECK(!disk.bench.queues[0]->has_used());
    disk.bench.reset();
    disk.activate();
    CHECK_EQ(disk.read(0, 512), std::string(512, '\0'));
    file.unlock();
  }
}

TEST(a_flush_waits_for_the_disk_and_only_when_there_is_something_to_flush) {
  ScratchFile file(kDisk);
  Disk disk(file.fd());
  disk.activate(kFlush);
  syncs = 0;
  CHECK_EQ(disk.write(0, std::string(512, 'x')), VIRTIO_BLK_S_OK);
  CHECK_EQ(syncs.load(), 0);
  CHECK_EQ(disk.request(VIRTIO_BLK_T_FLUSH, 0).status, VIRTIO_BLK_S_OK);
  CHECK_EQ(syncs.load(), 1);
  CHECK_EQ(disk.request(VIRTIO_BLK_T_FLUSH, 0).status, VIRTIO_BLK_S_OK);
  CHECK_EQ(syncs.load(), 1);
  CHECK_EQ(disk.bench.counters().flushes, 2u);
}

TEST(without_the_flush_feature_every_write_is_safe_when_it_is_done) {
  ScratchFile file(kDisk);
  Disk disk(file.fd());
  disk.activate(kZeroes);
  syncs = 0;
  CHECK_EQ(disk.write(0, std::string(512, 'x')), VIRTIO_BLK_S_OK);
  CHECK_EQ(disk.write(1, std::string(512, 'x')), VIRTIO_BLK_S_OK);
  CHECK_EQ(syncs.load(), 2);
  CHECK_EQ(disk.ranges(VIRTIO_BLK_T_WRITE_ZEROES, {{.sector = 0, .num_sectors = 1, .flags = 0}}), VIRTIO_BLK_S_OK);
  CHECK_EQ(syncs.load(), 3);
}

TEST(a_flush_that_failed_once_goes_on_failing) {
  ScratchFile file(kDisk);
  Disk disk(file.fd());
  disk.activate();
  CHECK_EQ(disk.write(0, std::string(512, 'x')), VIRTIO_BLK_S_OK);
  sync_error = EIO;
  CHECK_EQ(disk.request(VIRTIO_BLK_T_FLUSH, 0).status, VIRTIO_BLK_S_IOERR);
  sync_error = 0;
  CHECK_EQ(disk.request(VIRTIO_BLK_T_FLUSH, 0).status, VIRTIO_BLK_S_IOERR);
  CHECK_EQ(disk.read(0, 512), std::string(512, 'x'));
}

TEST(discarded_and_zeroed_ranges) {
  ScratchFile file(kDisk);
  Disk disk(file.fd());
  disk.activate();
  const std::string text = file.pattern(256 * 1024, 5);
  REQUIRE(disk.write(0, text) == VIRTIO_BLK_S_OK);
  const uint64_t full = blocks_of(file.fd());
  CHECK_EQ(disk.ranges(VIRTIO_BLK_T_DISCARD,
                       {{.sector = 8, .num_sectors = 128, .flags = 0}, {.sector = 256, .num_sectors = 64, .flags = 0}}),
           VIRTIO_BLK_S_OK);
  CHECK(blocks_of(file.fd()) <= full - 128 - 64);
  CHECK(disk.read(0, 4096) == text.substr(0, 4096));
  CHECK(disk.read(136, 4096) == text.substr(136 * 512, 4096));

  for (const uint32_t flags : {0u, 1u}) {
    REQUIRE(disk.write(0, text) == VIRTIO_BLK_S_OK);
    CHECK_EQ(disk.ranges(VIRTIO_BLK_T_WRITE_ZEROES, {{.sector = 3, .num_sectors = 100, .flags = flags}}),
             VIRTIO_BLK_S_OK);
    const std::string after = disk.read(0, 64 * 1024);
    CHECK(after.substr(0, 1536) == text.substr(0, 1536));
    CHECK(after.substr(1536, 51200) == std::string(51200, '\0'));
    CHECK(after.substr(1536 + 51200) == text.substr(52736, 64 * 1024 - 52736));
  }
}

TEST(senseless_ranges_are_refused) {
  ScratchFile file(kDisk);
  Disk disk(file.fd());
  disk.activate();
  const std::string text = file.pattern(kDisk / 4, 9);
  REQUIRE(disk.write(0, text) == VIRTIO_BLK_S_OK);
  const uint32_t discard = VIRTIO_BLK_T_DISCARD;
  const uint32_t zeroes = VIRTIO_BLK_T_WRITE_ZEROES;
  const auto range = [](uint64_t sector, uint32_t sectors, uint32_t flags) {
    return virtio_blk_discard_write_zeroes{.sector = sector, .num_sectors = sectors, .flags = flags};
  };
  CHECK_EQ(disk.ranges(discard, {range(kDisk / 512, 1, 0)}), VIRTIO_BLK_S_IOERR);
  CHECK_EQ(disk.ranges(zeroes, {range(kDisk / 512 - 1, 2, 0)}), VIRTIO_BLK_S_IOERR);
  CHECK_EQ(disk.ranges(zeroes, {range(~0ull, 2, 0)}), VIRTIO_BLK_S_IOERR);
  CHECK_EQ(disk.ranges(zeroes, {range(0, ~0u, 0)}), VIRTIO_BLK_S_IOERR);
  CHECK_EQ(disk.ranges(discard, {range(0, 8, 1)}), VIRTIO_BLK_S_UNSUPP);
  CHECK_EQ(disk.ranges(zeroes, {range(0, 8, 2)}), VIRTIO_BLK_S_UNSUPP);
  CHECK_EQ(disk.ranges(zeroes, std::vector(17, range(0, 1, 0))), VIRTIO_BLK_S_IOERR);
  CHECK_EQ(disk.request(zeroes, 0, {{disk.data, 15, false}}).status, VIRTIO_BLK_S_IOERR);
  CHECK_EQ(disk.request(zeroes, 0).status, VIRTIO_BLK_S_IOERR);
  CHECK_EQ(disk.ranges(zeroes, {range(5, 0, 0)}), VIRTIO_BLK_S_OK);
  CHECK(disk.read(0, kDisk / 4) == text);
}

TEST(a_limit_on_operations_holds_and_can_change) {
  ScratchFile file(kDisk);
  volley_device config{};
  config.limits[0].operations = {3, 2, 3'600'000};
  Disk disk(file.fd(), config);
  disk.activate();
  disk.put_header(VIRTIO_BLK_T_IN, 0);
  for (int i = 0; i < 10; ++i) {
    disk.bench.queues[0]->add({{disk.header, 16, false}, {disk.data, 512, true}, {disk.status_byte, 1, true}});
  }
  disk.bench.kick(0);
  disk.bench.settle();
  disk.bench.kick(0);
  CHECK_EQ(disk.bench.queues[0]->waiting(), 5u);
  CHECK_EQ(disk.bench.counters().throttled, 1u);
  disk.bench.run([&] {
    CHECK(!disk.bench.device->set_limit(1, {}));
    CHECK(disk.bench.device->set_limit(0, {}));
  });
  CHECK(disk.bench.await([&] { return disk.bench.queues[0]->waiting() == 10; }));
}

TEST(a_limit_on_bytes_lets_large_requests_through_one_at_a_time) {
  ScratchFile file(kDisk);
  volley_device config{};
  config.limits[0].bytes = {65536, 0, 3'600'000};
  Disk disk(file.fd(), config);
  disk.activate();
  disk.put_header(VIRTIO_BLK_T_IN, 0);
  for (int i = 0; i < 3; ++i) {
    disk.bench.queues[0]->add({{disk.header, 16, false}, {disk.data, 131072, true}, {disk.status_byte, 1, true}});
  }
  disk.bench.kick(0);
  disk.bench.settle();
  CHECK_EQ(disk.bench.queues[0]->waiting(), 1u);
}

TEST(a_flood_of_requests_is_served_in_turns) {
  ScratchFile file(kDisk);
  Disk disk(file.fd());
  disk.bench.activate(kAll, 1, 256);
  disk.put_header(VIRTIO_BLK_T_FLUSH, 0);
  for (int i = 0; i < 128; ++i) {
    disk.bench.queues[0]->add({{disk.header, 16, false}, {disk.status_byte, 1, true}});
  }
  disk.bench.run([&] {
    disk.bench.device->kicked(0);
    CHECK(disk.bench.queues[0]->waiting() <= 64);
  });
  CHECK(disk.bench.await([&] { return disk.bench.queues[0]->waiting() == 128; }));
}

TEST(files_that_cannot_be_this_disk_are_refused) {
  ScratchFile file(kDisk);
  const auto refusal = [&](int fd, volley_device config = {}) {
    return std::string(Disk(fd, config).status.message());
  };
  volley_device larger{};
  larger.size = kDisk + 512;
  CHECK_CONTAINS(refusal(file.reopened(O_RDWR), larger), "its configuration says 1049088");
  file.unlock();
  CHECK_CONTAINS(refusal(-1), "was not passed");
  CHECK_CONTAINS(refusal(file.reopened(O_RDONLY)), "not open for reading and writing");
  CHECK_CONTAINS(refusal(file.reopened(O_RDWR | O_APPEND)), "open for appending");
  CHECK_CONTAINS(refusal(open("/dev/zero", O_RDWR | O_CLOEXEC)), "neither a regular file");
  CHECK_EQ(refusal(file.reopened(O_RDWR)), "");
  // A disk that is written to is nobody else's; one that is only read is everybody's.
  CHECK_CONTAINS(refusal(file.reopened(O_RDWR)), "in use by another microVM");
  volley_device reader{};
  reader.flags = VOLLEY_BLOCK_READ_ONLY;
  CHECK_CONTAINS(refusal(file.reopened(O_RDONLY), reader), "in use by another microVM that writes to it");
  file.unlock();
  CHECK_EQ(refusal(file.reopened(O_RDONLY), reader), "");
  CHECK_EQ(refusal(file.reopened(O_RDONLY), reader), "");
  CHECK_CONTAINS(refusal(file.reopened(O_RDWR)), "in use by another microVM");
}

TEST(an_overlay_takes_the_writes_of_many_disks_with_one_base) {
  ScratchFile base(kDisk);
  const std::string original = base.pattern(kDisk, 3);
  base.write(0, original);
  ScratchFile overlays[2] = {ScratchFile(0), ScratchFile(0)};
  for (int i = 0; i < 2; ++i) {
    Disk disk(base.reopened(O_RDONLY), {}, overlays[i].reopened(O_RDWR));
    REQUIRE(disk.status.is_ok());
    disk.activate();
    CHECK(disk.read(0, 4096) == original.substr(0, 4096));
    CHECK_EQ(disk.write(9, std::string(512, static_cast<char>('a' + i))), VIRTIO_BLK_S_OK);
    CHECK(disk.read(8, 1536) ==
          original.substr(4096, 512) + std::string(512, static_cast<char>('a' + i)) + original.substr(5120, 512));
    // The end of the microVM in order, without a flush of the guest.
    disk.bench.run([&] { disk.bench.device->finish(); });
    overlays[i].unlock();
  }
  for (int i = 0; i < 2; ++i) {
    Disk disk(base.reopened(O_RDONLY), {}, overlays[i].reopened(O_RDWR));
    REQUIRE(disk.status.is_ok());
    disk.activate();
    CHECK(disk.read(9, 512) == std::string(512, static_cast<char>('a' + i)));
  }
  CHECK(base.read(0, kDisk) == original);
}

}  // namespace
}  // namespace volley
