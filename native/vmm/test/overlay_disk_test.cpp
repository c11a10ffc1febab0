#include "block/overlay_disk.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "block/crc32c.h"
#include "block/overlay_format.h"
#include "support/check.h"
#include "support/scratch_file.h"

namespace {

// What reached the overlay file, sector by sector: the contents since the last sync, oldest first. A power failure
// leaves any one of them, independently of all other sectors.
struct PowerModel {
  static constexpr uint64_t kSector = 512;

  int fd = -1;
  int writes = 0;
  int fail_after = -1;  // writes until the file system is full, -1 = never
  int syncs_left = -1;  // until the power fails before one, -1 = never
  std::map<uint64_t, std::vector<std::string>> versions;

  std::string content(uint64_t sector) const {
    std::string bytes(kSector, '\0');
    [[maybe_unused]] const ssize_t got = pread(fd, bytes.data(), kSector, static_cast<off_t>(sector * kSector));
    return bytes;
  }
  void before(uint64_t offset, uint64_t length) {
    for (uint64_t sector = offset / kSector; sector * kSector < offset + length; ++sector) {
      if (versions[sector].empty()) versions[sector].push_back(content(sector));
    }
  }
  void after(uint64_t offset, uint64_t length) {
    for (uint64_t sector = offset / kSector; sector * kSector < offset + length; ++sector) {
      versions[sector].push_back(content(sector));
    }
  }
} power;

}  // namespace

// Take the place of libc's: the disk's only ways to its file.
extern "C" ssize_t pwritev(int fd, const iovec* parts, int count, off_t offset) {
  if (fd != power.fd) return syscall(SYS_pwritev, fd, parts, count, offset, 0);
  if (power.fail_after >= 0 && power.writes >= power.fail_after) {
    errno = ENOSPC;
    return -1;
  }
  ++power.writes;
  uint64_t length = 0;
  for (int i = 0; i < count; ++i) length += parts[i].iov_len;
  power.before(static_cast<uint64_t>(offset), length);
  const ssize_t went = syscall(SYS_pwritev, fd, parts, count, offset, 0);
  power.after(static_cast<uint64_t>(offset), length);
  return went;
}
extern "C" int fallocate(int fd, int mode, off_t offset, off_t length) {
  if (fd == power.fd) power.before(static_cast<uint64_t>(offset), static_cast<uint64_t>(length));
  const auto result = static_cast<int>(syscall(SYS_fallocate, fd, mode, offset, length));
  if (fd == power.fd) power.after(static_cast<uint64_t>(offset), static_cast<uint64_t>(length));
  return result;
}
extern "C" int fdatasync(int fd) {
  if (fd != power.fd) return 0;
  if (power.syncs_left == 0) {
    errno = EIO;
    return -1;
  }
  if (power.syncs_left > 0) --power.syncs_left;
  power.versions.clear();
  return 0;
}

namespace volley {
namespace {

using test::ScratchFile;

constexpr uint64_t kDisk = 40 * kClusterBytes;
constexpr uint64_t kSector = 512;

GuestBuffer buffer_of(std::string& bytes) { return {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}; }

int write_to(OverlayDisk& disk, uint64_t offset, std::string bytes) {
  const GuestBuffer buffer = buffer_of(bytes);
  return disk.write(offset, {{&buffer, 1}, 0, bytes.size()});
}

std::string read_from(OverlayDisk& disk, uint64_t offset, uint64_t length) {
  std::string bytes(length, 'U');
  const GuestBuffer buffer = buffer_of(bytes);
  return disk.read(offset, {{&buffer, 1}, 0, length}) == 0 ? bytes : "failed";
}

struct Pair {
  explicit Pair(uint64_t base_bytes = kDisk) : base(base_bytes), overlay(0) {
    original = ScratchFile::pattern(base_bytes, 11);
    base.write(0, original);
    original.resize(kDisk, '\0');
  }
  // As a new VMM does it: what the last one had in memory is gone.
  Status reopen(uint64_t size = kDisk) {
    overlay.unlock();
    base.unlock();
    disk = std::make_unique<OverlayDisk>();
    power.syncs_left = power.fail_after = -1;
    const int fd = overlay.reopened(O_RDWR);
    power.fd = fd;
    return disk->open(base.reopened(O_RDONLY), fd, size, 7);
  }

  ScratchFile base;
  ScratchFile overlay;
  std::string original;
  std::unique_ptr<OverlayDisk> disk;
};

TEST(crc32c_is_castagnolis) {
  const char text[] = "123456789";
  CHECK_EQ(crc32c({reinterpret_cast<const uint8_t*>(text), 9}), 0xe3069283u);
}

TEST(writes_cover_the_base_bit_by_bit) {
  Pair pair;
  REQUIRE(pair.reopen().is_ok());
  CHECK_EQ(pair.overlay.size(), overlay_file_bytes(kDisk));
  std::string expected = pair.original;
  std::mt19937 random(3);
  for (uint32_t i = 0; i < 400; ++i) {
    const uint64_t sectors = kDisk / kSector;
    const uint64_t at = random() % sectors;
    const uint64_t count = 1 + random() % std::min<uint64_t>(sectors - at, i % 4 == 0 ? 600 : 20);
    const std::string bytes = ScratchFile::pattern(count * kSector, i);
    const uint64_t kind = random() % 8;
    if (kind == 0) {
      REQUIRE(pair.disk->write_zeroes(at * kSector, count * kSector, i % 2 == 0) == 0);
      std::fill_n(expected.begin() + static_cast<long>(at * kSector), count * kSector, '\0');
    } else {
      REQUIRE(write_to(*pair.disk, at * kSector, bytes) == 0);
      expected.replace(at * kSector, bytes.size(), bytes);
    }
    if (i % 50 == 49) {
      CHECK(read_from(*pair.disk, 0, kDisk) == expected);
      CHECK_EQ(pair.disk->flush(), 0);
      REQUIRE(pair.reopen().is_ok());
      CHECK(read_from(*pair.disk, 0, kDisk) == expected);
    }
  }
  CHECK(pair.base.read(0, kDisk) == pair.original);
}

TEST(behind_the_end_of_the_base_there_are_zeros) {
  const uint64_t base_bytes = 3 * kClusterBytes + 700;  // not even whole sectors
  Pair pair(base_bytes);
  REQUIRE(pair.reopen().is_ok());
  CHECK(read_from(*pair.disk, 0, kDisk) == pair.original);
  REQUIRE(write_to(*pair.disk, 3 * kClusterBytes + kSector, std::string(kSector, 'x')) == 0);
  std::string expected = pair.original;
  expected.replace(3 * kClusterBytes + kSector, kSector, std::string(kSector, 'x'));
  CHECK(read_from(*pair.disk, 0, kDisk) == expected);
}

TEST(what_was_not_flushed_may_be_lost_and_nothing_else) {
  Pair pair;
  REQUIRE(pair.reopen().is_ok());
  REQUIRE(write_to(*pair.disk, 0, std::string(kSector, 'a')) == 0);
  REQUIRE(pair.disk->flush() == 0);
  REQUIRE(write_to(*pair.disk, 5 * kClusterBytes, std::string(kSector, 'b')) == 0);
  REQUIRE(pair.reopen().is_ok());  // killed without an orderly end
  CHECK(read_from(*pair.disk, 0, kSector) == std::string(kSector, 'a'));
  CHECK(read_from(*pair.disk, 5 * kClusterBytes, kSector) == pair.original.substr(5 * kClusterBytes, kSector));
}

TEST(discarding_gives_space_back_and_shows_no_old_writes) {
  Pair pair;
  REQUIRE(pair.reopen().is_ok());
  REQUIRE(write_to(*pair.disk, 0, ScratchFile::pattern(4 * kClusterBytes, 1)) == 0);
  REQUIRE(pair.disk->discard(kClusterBytes, 2 * kClusterBytes) == 0);
  CHECK(read_from(*pair.disk, kClusterBytes, 2 * kClusterBytes) == std::string(2 * kClusterBytes, '\0'));
  CHECK(read_from(*pair.disk, 0, kClusterBytes) == ScratchFile::pattern(4 * kClusterBytes, 1).substr(0, kClusterBytes));
  // The base shows on where nothing was written.
  REQUIRE(pair.disk->discard(10 * kClusterBytes, kClusterBytes) == 0);
  CHECK(read_from(*pair.disk, 10 * kClusterBytes, kSector) == pair.original.substr(10 * kClusterBytes, kSector));
}

TEST(a_full_file_system_refuses_writes_and_keeps_the_rest) {
  Pair pair;
  REQUIRE(pair.reopen().is_ok());
  REQUIRE(write_to(*pair.disk, 0, std::string(kSector, 'a')) == 0);
  REQUIRE(pair.disk->flush() == 0);
  for (int room = 0; room < 4; ++room) {
    power.writes = 0;
    power.fail_after = room;
    CHECK_EQ(write_to(*pair.disk, 3 * kClusterBytes + kSector, std::string(kSector, 'b')), room < 4 ? ENOSPC : 0);
    power.fail_after = -1;
    CHECK(read_from(*pair.disk, 3 * kClusterBytes, kClusterBytes) ==
          pair.original.substr(3 * kClusterBytes, kClusterBytes));
  }
  CHECK_EQ(write_to(*pair.disk, 3 * kClusterBytes + kSector, std::string(kSector, 'b')), 0);
  power.writes = 0;
  power.fail_after = 0;
  CHECK_EQ(pair.disk->flush(), ENOSPC);
  power.fail_after = -1;
  CHECK_EQ(pair.disk->flush(), 0);  // there was room again
  REQUIRE(pair.reopen().is_ok());
  CHECK(read_from(*pair.disk, 3 * kClusterBytes + kSector, kSector) == std::string(kSector, 'b'));
}

// A large disk of which only every kStride-th cluster is used, so that a bitmap block spans many sectors and can be
// torn.
constexpr uint64_t kUsedClusters = 24;
constexpr uint64_t kStride = 640;
constexpr uint64_t kWideDisk = kUsedClusters * kStride * kClusterBytes;
constexpr uint64_t kSectorsPerCluster = kClusterBytes / kSector;

uint64_t used_offset(uint64_t sector) {
  return sector / kSectorsPerCluster * kStride * kClusterBytes + sector % kSectorsPerCluster * kSector;
}

// Everything a sector of the used clusters may read as after a power failure: what was flushed, and what was written
// since.
struct Model {
  explicit Model(const std::string& original) {
    for (uint64_t sector = 0; sector < original.size() / kSector; ++sector) {
      allowed.push_back({original.substr(sector * kSector, kSector)});
    }
  }
  void wrote(uint64_t sector, const std::string& bytes) {
    for (uint64_t done = 0; done < bytes.size(); done += kSector) {
      allowed[sector + done / kSector].push_back(bytes.substr(done, kSector));
    }
  }
  void flushed() {
    for (std::vector<std::string>& versions : allowed) versions = {versions.back()};
  }
  // What was found is what there is from now on, and if it is on the disk, all there can be. False if it should not be
  // there.
  bool found(uint64_t sector, const std::string& bytes, bool on_disk) {
    std::vector<std::string>& versions = allowed[sector];
    const bool expected = std::find(versions.begin(), versions.end(), bytes) != versions.end();
    if (on_disk) versions.clear();
    versions.push_back(bytes);
    return expected;
  }
  std::vector<std::vector<std::string>> allowed;
};

void operate(OverlayDisk& disk, Model& model, std::mt19937_64& random) {
  const uint64_t in_cluster = random() % kSectorsPerCluster;
  const uint64_t sector = random() % kUsedClusters * kSectorsPerCluster + in_cluster;
  const uint64_t count = 1 + random() % (kSectorsPerCluster - in_cluster);
  const uint64_t kind = random() % 6;
  if (kind == 0) {
    CHECK_EQ(disk.flush(), 0);
    model.flushed();
  } else if (kind == 1) {
    CHECK_EQ(disk.write_zeroes(used_offset(sector), count * kSector, random() % 2 == 0), 0);
    model.wrote(sector, std::string(count * kSector, '\0'));
  } else {
    const std::string bytes = ScratchFile::pattern(count * kSector, static_cast<uint32_t>(random()));
    CHECK_EQ(write_to(disk, used_offset(sector), bytes), 0);
    model.wrote(sector, bytes);
  }
}

// Each sector of the file becomes as old as it likes to be.
void fail_power(const ScratchFile& overlay, std::mt19937_64& random) {
  const uint64_t mood = random() % 3;  // all old, all new, or any mixture
  const auto versions = power.versions;
  power.fd = -1;
  for (const auto& [sector, contents] : versions) {
    const uint64_t pick = mood == 0 ? 0 : mood == 1 ? contents.size() - 1 : random() % contents.size();
    overlay.write(sector * kSector, contents[pick]);
  }
  power.versions.clear();
}

TEST(power_failures_and_kills_at_any_moment) {
  std::mt19937_64 random(17);
  const std::string original = ScratchFile::pattern(kUsedClusters * kClusterBytes, 5);
  for (int round = 0; round < 40; ++round) {
    Pair pair(0);
    if (ftruncate(pair.base.fd(), kWideDisk) != 0) abort();
    for (uint64_t i = 0; i < kUsedClusters; ++i) {
      pair.base.write(i * kStride * kClusterBytes, original.substr(i * kClusterBytes, kClusterBytes));
    }
    power.versions.clear();
    REQUIRE(pair.reopen(kWideDisk).is_ok());
    Model model(original);
    for (int life = 0; life < 5; ++life) {
      for (uint64_t i = random() % 14; i > 0; --i) operate(*pair.disk, model, random);
      // Often in the midst of a flush, where most can go wrong.
      power.syncs_left = static_cast<int>(random() % 3);
      if (pair.disk->flush() == 0) model.flushed();
      // Now and then only the process is killed: what it wrote is there, but not on the disk yet.
      const bool power_fails = random() % 4 != 0;
      if (power_fails) fail_power(pair.overlay, random);
      const Status status = pair.reopen(kWideDisk);
      CHECK_EQ(std::string(status.message()), "");
      if (!status.is_ok()) return;
      for (uint64_t sector = 0; sector < kUsedClusters * kSectorsPerCluster; ++sector) {
        if (model.found(sector, read_from(*pair.disk, used_offset(sector), kSector), power_fails)) continue;
        check::report(__FILE__, __LINE__, "sector " + std::to_string(sector) + " is neither old nor new");
        return;
      }
    }
  }
}

TEST(foreign_and_damaged_overlays_are_refused_in_words) {
  const auto refusal = [](const std::function<void(Pair&)>& spoil, uint64_t size = kDisk) {
    Pair pair;
    if (!pair.reopen().is_ok()) abort();
    if (write_to(*pair.disk, 0, std::string(kSector, 'a')) != 0 || pair.disk->flush() != 0) abort();
    spoil(pair);
    return std::string(pair.reopen(size).message());
  };
  CHECK_EQ(refusal([](Pair&) {}), "");
  CHECK_CONTAINS(refusal([](Pair& p) { p.overlay.write(0, "QFI\xfb"); }), "device 7 is not a Volley overlay");
  CHECK_CONTAINS(refusal([](Pair& p) { p.overlay.write(8, "\2"); }), "version 2");
  CHECK_CONTAINS(refusal([](Pair& p) { p.overlay.write(60, "x"); }), "header does not match its checksum");
  CHECK_CONTAINS(refusal([](Pair& p) { p.overlay.write(24, "x"); }), "header does not match its checksum");
  CHECK_CONTAINS(refusal([](Pair&) {}, kDisk + kSector), "is for a disk of 2621440 bytes");
  CHECK_CONTAINS(refusal([](Pair& p) { p.base.write(100, "another"); }), "belongs to another base");
  CHECK_CONTAINS(refusal([](Pair& p) { p.base.write(kDisk - 9, "another"); }), "belongs to another base");
  CHECK_CONTAINS(refusal([](Pair& p) {
                   if (ftruncate(p.base.fd(), kDisk - 512) != 0) abort();
                 }),
                 "belongs to another base");
  CHECK_CONTAINS(refusal([](Pair& p) {
                   if (ftruncate(p.overlay.fd(), 100) != 0) abort();
                 }),
                 "too short");
  CHECK_CONTAINS(refusal([](Pair& p) {
                   if (ftruncate(p.overlay.fd(), 128 * 1024) != 0) abort();
                 }),
                 "damaged");
  CHECK_CONTAINS(refusal([](Pair& p) { p.overlay.write(0, std::string(4096, '\0')); }), "not a Volley overlay");
  // One copy of the bitmap may be damaged, both may not.
  CHECK_EQ(refusal([](Pair& p) { p.overlay.write(4096 + 100, "x"); }), "");
  CHECK_EQ(refusal([](Pair& p) { p.overlay.write(8192 + 100, "x"); }), "");
  CHECK_CONTAINS(refusal([](Pair& p) {
                   p.overlay.write(4096 + 100, "x");
                   p.overlay.write(8192 + 100, "x");
                 }),
                 "neither copy of block 0 of its bitmap is whole");
  Pair larger(kDisk + 4096);
  CHECK_CONTAINS(larger.reopen().message(), "a disk cannot be smaller than its base");
}

TEST(a_damaged_copy_loses_nothing) {
  for (const uint64_t copy : {4096u, 8192u}) {
    Pair pair;
    REQUIRE(pair.reopen().is_ok());
    for (uint64_t i = 0; i < 5; ++i) {
      REQUIRE(write_to(*pair.disk, i * kClusterBytes, std::string(kSector, 'a')) == 0);
      REQUIRE(pair.disk->flush() == 0);
    }
    pair.overlay.write(copy + 2000, "x");
    REQUIRE(pair.reopen().is_ok());
    for (uint64_t i = 0; i < 5; ++i) {
      CHECK(read_from(*pair.disk, i * kClusterBytes, kSector) == std::string(kSector, 'a'));
    }
  }
}

}  // namespace
}  // namespace volley
