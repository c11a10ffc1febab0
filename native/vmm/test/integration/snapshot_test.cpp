// Snapshots of the canary, and microVMs that go on from them.
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <set>

#include "snapshot/vcpu_state.h"
#include "support/check.h"
#include "support/snapshot_files.h"

namespace volley::test {
namespace {

LaunchOptions restored(const SnapshotFiles& files, uint64_t memory_mib = 64) {
  LaunchOptions options{.memory_mib = memory_mib};
  files.restore_by(options);
  return options;
}

bool has_said(VmmProcess& vmm, const std::string& words) {
  return vmm.await_page([&](const volley_stats&) { return vmm.serial().find(words) != std::string::npos; });
}

// What the canary says of its generation; empty if it does not within five seconds.
std::string generation(VmmProcess& vmm) {
  const std::string word = "canary: generation ";
  has_said(vmm, word);
  const std::string serial = vmm.serial();
  const size_t at = serial.find(word);
  return at == std::string::npos ? "" : serial.substr(at + word.size(), 32);
}

TEST(a_snapshot_says_what_it_took_and_the_guest_goes_on) {
  VmmProcess vmm({.cmdline = "touch=32", .memory_mib = 64});
  REQUIRE(has_said(vmm, "touched 32 MiB"));
  SnapshotFiles files;
  const auto reply = files.take(vmm);
  REQUIRE(reply.has_value());
  CHECK_EQ(std::string(reply->status == 0 ? "" : reply->payload.text), std::string());
  const volley_snapshot_taken& taken = reply->payload.snapshot_taken;
  CHECK(taken.pages >= 32 * 256);
  CHECK(taken.pages < 34 * 256);
  CHECK(taken.bytes > taken.pages * 4096);
  CHECK(taken.pause_ns > 0 && taken.pause_ns <= taken.total_ns);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
  CHECK_EQ(vmm.command(VOLLEY_CMD_STOP), 0);
  CHECK(vmm.await(VOLLEY_NOTE_EXITING).has_value());

  const volley_snapshot_header header = files.header();
  CHECK_EQ(header.magic, static_cast<uint64_t>(VOLLEY_SNAPSHOT_MAGIC));
  CHECK_EQ(header.memory_bytes, 64u << 20);
  // Pages of zeros take no room.
  CHECK(files.allocated() < 40u << 20);
}

TEST(a_paused_machine_stays_paused_unless_it_is_told_otherwise) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_PAUSE), 0);
  SnapshotFiles first;
  CHECK_EQ(first.take(vmm)->status, 0);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_PAUSED));
  SnapshotFiles second;
  CHECK_EQ(second.take(vmm, VOLLEY_SNAPSHOT_RESUME)->status, 0);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
}

TEST(a_restored_guest_goes_on_and_has_a_new_generation) {
  SnapshotFiles files;
  {
    VmmProcess vmm({.cmdline = "touch=32", .memory_mib = 64});
    REQUIRE(has_said(vmm, "touched 32 MiB"));
    REQUIRE(files.take(vmm)->status == 0);
  }
  std::set<std::string> generations;
  for (int i = 0; i < 3; ++i) {
    VmmProcess clone(restored(files));
    REQUIRE(clone.await_booted());
    generations.insert(generation(clone));
    // It did not boot: it would have said so.
    CHECK(clone.serial().find("MiB") == std::string::npos);
    CHECK_EQ(clone.command(VOLLEY_CMD_STOP), 0);
    const auto exiting = clone.await(VOLLEY_NOTE_EXITING);
    REQUIRE(exiting.has_value());
    CHECK_EQ(exiting->argument, static_cast<uint32_t>(VOLLEY_EXIT_POWER_OFF));
  }
  CHECK_EQ(generations.size(), 3u);
  CHECK(!generations.contains(""));
}

}  // namespace
}  // namespace volley::test
