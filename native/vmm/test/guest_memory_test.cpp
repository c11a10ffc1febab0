#include "memory/guest_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "memory/layout.h"
#include "support/check.h"

namespace volley {
namespace {

constexpr uint64_t kMib = 1ull << 20;
constexpr uint64_t kGib = 1ull << 30;

TEST(small_memory_is_one_region) {
  GuestMemory memory;
  REQUIRE(memory.map(4 * kMib, true).is_ok());
  CHECK_EQ(memory.regions().size(), 1u);
  CHECK_EQ(memory.range(0, 4 * kMib).size(), 4 * kMib);
  CHECK(memory.range(0, 4 * kMib + 1).empty());
  CHECK(memory.range(4 * kMib - 1, 2).empty());
  CHECK(memory.range(~0ull, 2).empty());
  CHECK(memory.range(1, ~0ull).empty());
}

TEST(large_memory_leaves_the_device_gap_out) {
  GuestMemory memory;
  REQUIRE(memory.map(5 * kGib, false).is_ok());
  CHECK_EQ(memory.regions().size(), 2u);
  CHECK(memory.range(kMmioGapStart, 1).empty());
  CHECK(memory.range(kMmioGapStart - 1, 2).empty());
  CHECK(memory.range(kMmioGapEnd - 1, 2).empty());
  CHECK_EQ(memory.range(kMmioGapEnd, 2 * kGib).size(), 2 * kGib);
  CHECK(memory.range(kMmioGapEnd, 2 * kGib + 1).empty());
  const uint64_t value = 0x1122334455667788;
  CHECK(memory.write_value(kMmioGapEnd, value));
  CHECK_EQ(memory.host_base()[kMmioGapStart], 0x88);
}

TEST(writes_outside_are_refused) {
  GuestMemory memory;
  REQUIRE(memory.map(2 * kMib, true).is_ok());
  const uint32_t value = 1;
  CHECK(memory.write_value(2 * kMib - 4, value));
  CHECK(!memory.write_value(2 * kMib - 3, value));
  CHECK(memory.write(0, {}));
}

TEST(files_are_read_whole_or_refused) {
  GuestMemory memory;
  REQUIRE(memory.map(2 * kMib, true).is_ok());
  const UniqueFd file(memfd_create("kernel", MFD_CLOEXEC));
  const char text[] = "0123456789";
  REQUIRE(write(file.get(), text, 10) == 10);
  CHECK(memory.read_from(file.get(), 2, 4096, 8, "the kernel").is_ok());
  CHECK_EQ(memory.host_base()[4096], '2');
  CHECK_CONTAINS(memory.read_from(file.get(), 0, 0, 11, "the kernel").message(), "ends after 10 bytes");
  CHECK_CONTAINS(memory.read_from(file.get(), 0, 2 * kMib - 4, 8, "the kernel").message(), "does not fit");
  const UniqueFd write_only(open("/dev/null", O_WRONLY | O_CLOEXEC));
  const Status refused = memory.read_from(write_only.get(), 0, 0, 8, "the kernel");
  CHECK_CONTAINS(refused.message(), "cannot read the kernel");
  CHECK_EQ(refused.detail(), static_cast<uint64_t>(EBADF));
}

}  // namespace
}  // namespace volley
