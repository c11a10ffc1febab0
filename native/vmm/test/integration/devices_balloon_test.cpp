// The balloon through a canary: memory really comes back to the host.
#include <cstdio>

#include "support/check.h"
#include "support/device_microvm.h"

namespace volley::test {
namespace {

constexpr uint64_t kMib = 1ull << 20;

// What the guest's memory takes in the VMM, in KiB.
uint64_t guest_resident_kib(VmmProcess& vmm) {
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/smaps", vmm.pid());
  FILE* file = fopen(path, "re");
  if (file == nullptr) return 0;
  char line[512];
  uint64_t total = 0;
  bool guest = false;
  while (fgets(line, sizeof(line), file) != nullptr) {
    unsigned long from = 0;
    unsigned long to = 0;
    unsigned long kib = 0;
    if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
      const uint64_t address = vmm.stats().guest_memory_address;
      guest = from < address + vmm.stats().guest_memory_bytes && address < to;
    } else if (guest && sscanf(line, "Rss: %lu", &kib) == 1) {
      total += kib;
    }
  }
  fclose(file);
  return total;
}

int set_balloon(DeviceMicrovm& microvm, uint64_t bytes) {
  volley_message message{};
  message.type = VOLLEY_CMD_SET_BALLOON;
  message.payload.bytes = bytes;
  const std::optional<volley_message> reply = microvm.vmm().request(message);
  return reply ? reply->status : -1;
}

bool await_actual(DeviceMicrovm& microvm, uint64_t bytes) {
  return microvm.vmm().await_page([&](const volley_stats& stats) { return stats.balloon.actual == bytes; });
}

// A9: what is taken comes off the VMM's memory, and is there again, empty, when given back.
TEST(memory_in_the_balloon_is_the_hosts) {
  DeviceMicrovm microvm;
  microvm.balloon(0);
  microvm.options().memory_mib = 64;
  microvm.start("touch=56 balloon");
  REQUIRE(
      microvm.vmm().await_page([&](const volley_stats&) { return guest_resident_kib(microvm.vmm()) >= 56 * 1024; }));
  REQUIRE(set_balloon(microvm, 32 * kMib) == 0);
  CHECK(await_actual(microvm, 32 * kMib));
  CHECK_EQ(microvm.vmm().stats().balloon.target, 32 * kMib);
  const uint64_t inflated = guest_resident_kib(microvm.vmm());
  // 32 of 64 MiB are taken, the last four of which nobody had touched.
  CHECK(inflated >= 28 * 1024 && inflated <= 29 * 1024);
  REQUIRE(set_balloon(microvm, 4 * kMib) == 0);
  CHECK(await_actual(microvm, 4 * kMib));
  // Deflating alone takes nothing from the host.
  CHECK(guest_resident_kib(microvm.vmm()) <= inflated + 1024);
  REQUIRE(set_balloon(microvm, 48 * kMib) == 0);
  CHECK(await_actual(microvm, 48 * kMib));
  microvm.stop();
}

TEST(a_balloon_may_begin_full) {
  DeviceMicrovm microvm;
  microvm.balloon(VOLLEY_BALLOON_DEFLATE_ON_OOM, 8 * kMib);
  microvm.options().memory_mib = 32;
  microvm.start("balloon");
  CHECK_CONTAINS(microvm.result("balloon"), "ok pages=2048");
  CHECK(await_actual(microvm, 8 * kMib));
  microvm.stop();
}

TEST(more_than_there_is_is_refused) {
  DeviceMicrovm microvm;
  microvm.balloon(0);
  microvm.options().memory_mib = 32;
  microvm.start("balloon");
  REQUIRE(microvm.vmm().await_booted());
  CHECK_EQ(set_balloon(microvm, 64 * kMib), EINVAL);
  CHECK_EQ(set_balloon(microvm, 0), 0);
  microvm.stop();
}

TEST(the_guest_is_asked_for_statistics) {
  DeviceMicrovm microvm;
  microvm.balloon(VOLLEY_BALLOON_STATISTICS, 0, 50);
  microvm.options().memory_mib = 32;
  microvm.start("balloon");
  REQUIRE(microvm.vmm().await_page([](const volley_stats& stats) { return stats.balloon.updated_ns != 0; }));
  const volley_balloon_stats& balloon = microvm.vmm().stats().balloon;
  CHECK_EQ(balloon.total_memory, 32 * kMib);
  CHECK_EQ(balloon.free_memory, 16 * kMib);
  CHECK_EQ(balloon.available_memory, 16 * kMib + 1);
  const uint64_t first = balloon.updated_ns;
  CHECK(microvm.vmm().await_page([&](const volley_stats& stats) { return stats.balloon.updated_ns > first; }));
  microvm.stop();
}

TEST(free_pages_that_are_reported_are_the_hosts) {
  DeviceMicrovm microvm;
  microvm.balloon(VOLLEY_BALLOON_REPORTING);
  microvm.options().memory_mib = 64;
  microvm.start("touch=40 wait=300 freepages=32768");
  REQUIRE(
      microvm.vmm().await_page([&](const volley_stats&) { return guest_resident_kib(microvm.vmm()) >= 40 * 1024; }));
  CHECK_CONTAINS(microvm.result("freepages"), "ok kib=32768");
  CHECK(guest_resident_kib(microvm.vmm()) <= 12 * 1024);
  CHECK_EQ(microvm.stats(0).write_bytes, 32 * kMib);
  microvm.stop();
}

}  // namespace
}  // namespace volley::test
