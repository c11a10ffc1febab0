#include "memory/write_marks.h"

#include <atomic>
#include <thread>

#include "memory/guest_memory.h"
#include "support/check.h"

namespace volley {
namespace {

constexpr uint64_t kMib = 1ull << 20;

TEST(nothing_is_marked_unless_somebody_wants_to_know) {
  uint64_t words[4] = {};
  WriteMarks marks;
  marks.mark(0, 5);
  CHECK_EQ(marks.take(0), 0u);
  marks.begin(words);
  CHECK_EQ(marks.take(0), 0u);
  marks.mark(1, 1);
  marks.end();
  marks.mark(2, 2);
  marks.begin(words);
  CHECK_EQ(marks.take(0), 0u);
}

TEST(marks_are_taken_once) {
  uint64_t words[4] = {};
  WriteMarks marks;
  marks.begin(words);
  marks.mark(3, 3);
  marks.mark(62, 129);
  CHECK_EQ(marks.take(0), uint64_t{8} | uint64_t{3} << 62);
  CHECK_EQ(marks.take(1), ~uint64_t{0});
  CHECK_EQ(marks.take(2), uint64_t{3});
  CHECK_EQ(marks.take(3), 0u);
  CHECK_EQ(marks.take(0), 0u);
  marks.mark(0, 0);
  CHECK_EQ(marks.take(0), 1u);
}

TEST(guest_memory_marks_all_pages_of_a_write) {
  GuestMemory memory;
  REQUIRE(memory.map(2 * kMib, true).is_ok());
  uint64_t words[8] = {};
  memory.marks().begin(words);
  memory.wrote(memory.host_base() + 4095, 2);
  CHECK_EQ(memory.marks().take(0), 3u);
  memory.wrote(memory.host_base() + 4096, 4096);
  CHECK_EQ(memory.marks().take(0), 2u);
  memory.wrote(memory.host_base(), 0);
  CHECK_EQ(memory.marks().take(0), 0u);
  memory.wrote(memory.host_base() + 2 * kMib - 1, 1);
  CHECK_EQ(memory.marks().take(7), uint64_t{1} << 63);
}

// One writes a page and marks it, the other takes marks and copies: its last copy is what was written last.
TEST(a_write_is_in_the_copy_or_marked) {
  uint64_t words[4] = {};
  WriteMarks marks;
  constexpr uint64_t kWrites = 200'000;
  std::atomic<uint64_t> page{0};
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (uint64_t i = 1; i <= kWrites; ++i) {
      page.store(i, std::memory_order_relaxed);
      marks.mark(9, 9);
    }
    done.store(true, std::memory_order_release);
  });
  marks.begin(words);
  uint64_t copy = page.load(std::memory_order_relaxed);
  for (bool last = false; !last;) {
    last = done.load(std::memory_order_acquire);
    if (marks.take(0) != 0) copy = page.load(std::memory_order_relaxed);
  }
  writer.join();
  CHECK_EQ(copy, kWrites);
}

}  // namespace
}  // namespace volley
