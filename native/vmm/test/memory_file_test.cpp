#include "snapshot/memory_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "base/unique_fd.h"
#include "snapshot/page_set.h"
#include "support/check.h"

namespace volley {
namespace {

constexpr uint64_t kPages = 512;
constexpr uint64_t kPage = 4096;

struct Bench {
  Bench() : file(memfd_create("memory", MFD_CLOEXEC)) {
    if (!memory.map(kPages * kPage, true).is_ok()) abort();
    writer = MemoryWriter(memory, file.get());
  }
  void put(uint64_t page, uint64_t value) { memcpy(memory.host_base() + page * kPage, &value, sizeof(value)); }
  uint64_t in_file(uint64_t page) const {
    uint64_t value = 0;
    if (pread(file.get(), &value, sizeof(value), static_cast<off_t>(page * kPage)) < 0) abort();
    return value;
  }
  void write_all() {
    for (uint64_t at = 0; at < kPages; at += MemoryWriter::kPagesAtOnce) {
      CHECK(writer.write(at, MemoryWriter::kPagesAtOnce).is_ok());
    }
  }
  // Of what is in memory now, written at once.
  uint64_t checksum() {
    const UniqueFd other(memfd_create("other", MFD_CLOEXEC));
    MemoryWriter at_once(memory, other.get());
    for (uint64_t at = 0; at < kPages; at += MemoryWriter::kPagesAtOnce) {
      CHECK(at_once.write(at, MemoryWriter::kPagesAtOnce).is_ok());
    }
    volley_snapshot_header header{};
    CHECK(at_once.finish(&header).is_ok());
    return header.memory_checksum;
  }

  GuestMemory memory;
  UniqueFd file;
  MemoryWriter writer;
};

TEST(pages_of_zeros_are_left_out_until_they_were_written) {
  Bench bench;
  bench.put(3, 7);
  bench.write_all();
  CHECK_EQ(bench.writer.pages_written(), 1u);
  bench.put(3, 0);
  bench.put(400, 9);
  CHECK(bench.writer.update(0, 8).is_ok());
  CHECK(bench.writer.update(396, 8).is_ok());
  CHECK_EQ(bench.writer.pages_written(), 3u);
  CHECK_EQ(bench.in_file(3), 0u);
  CHECK_EQ(bench.in_file(400), 9u);
  volley_snapshot_header header{};
  CHECK(bench.writer.finish(&header).is_ok());
  CHECK_EQ(header.memory_checksum, bench.checksum());
}

TEST(held_pages_are_as_they_were_when_they_were_held) {
  Bench bench;
  bench.put(10, 1);
  bench.put(11, 2);
  bench.write_all();
  bench.put(10, 3);
  bench.put(11, 4);
  bench.put(50, 5);
  const uint64_t expected = bench.checksum();
  std::vector<uint8_t> room(16 * MemoryWriter::kHeldBytes);
  bench.writer.reserve(room, 4);
  bench.writer.hold(10, 2);
  bench.writer.hold(50, 1);
  bench.put(10, 99);
  bench.put(50, 99);
  CHECK(bench.writer.write_held().is_ok());
  CHECK_EQ(bench.in_file(10), 3u);
  CHECK_EQ(bench.in_file(11), 4u);
  CHECK_EQ(bench.in_file(50), 5u);
  volley_snapshot_header header{};
  CHECK(bench.writer.finish(&header).is_ok());
  CHECK_EQ(header.memory_checksum, expected);
}

TEST(a_set_of_pages_gives_them_in_runs) {
  uint64_t words[PageSet::words_for(130)] = {};
  PageSet set(words, 130);
  CHECK_EQ(set.count(), 0u);
  CHECK_EQ(set.next_run(0, ~0ull, 64).count, 0u);
  set.words()[0] = 0xf0;
  set.words()[1] = ~0ull;
  set.words()[2] = 1;
  CHECK_EQ(set.count(), 69u);
  PageSet::Run run = set.next_run(0, ~0ull, 64);
  CHECK(run.first == 4 && run.count == 4);
  run = set.next_run(8, ~0ull, 64);
  CHECK(run.first == 64 && run.count == 64);
  run = set.next_run(128, ~0ull, 64);
  CHECK(run.first == 128 && run.count == 1);
  run = set.next_run(8, 70, 64);
  CHECK(run.first == 64 && run.count == 6);
  set.fill();
  CHECK_EQ(set.count(), 130u);
  set.clear();
  CHECK_EQ(set.count(), 0u);
}

}  // namespace
}  // namespace volley
