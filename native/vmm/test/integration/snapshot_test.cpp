// Snapshots of the canary, and microVMs that go on from them.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
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

// What the canary says of its generation; empty if it does not within five seconds. A line that still comes is awaited:
// the guest prints it byte by byte.
std::string generation(VmmProcess& vmm) {
  const std::string word = "canary: generation ";
  std::string said;
  vmm.await_page([&](const volley_stats&) {
    const std::string serial = vmm.serial();
    const size_t at = serial.find(word);
    const size_t end = at == std::string::npos ? at : serial.find('\n', at);
    if (end != std::string::npos) said = serial.substr(at + word.size(), end - at - word.size());
    return !said.empty();
  });
  return said;
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

// A restore must end in an error that says this, and in no other way.
void check_refused(const SnapshotFiles& files, const std::string& reason, LaunchOptions options = {.memory_mib = 16}) {
  files.restore_by(options);
  VmmProcess vmm(options);
  const std::optional<ProcessEnd> end = vmm.await_end();
  REQUIRE(end.has_value());
  CHECK(end->exited && end->code == 1);
  CHECK_EQ(vmm.stats().exit_reason, static_cast<uint32_t>(VOLLEY_EXIT_VMM_ERROR));
  CHECK_CONTAINS(vmm.stats().exit_message, reason);
}

TEST(memory_is_in_a_clone_as_it_was_and_shared) {
  SnapshotFiles files;
  {
    VmmProcess vmm({.cmdline = "touch=32 recheck", .memory_mib = 64});
    REQUIRE(has_said(vmm, "touched 32 MiB"));
    REQUIRE(files.take(vmm)->status == 0);
  }
  VmmProcess clone(restored(files));
  CHECK(has_said(clone, "32 MiB intact"));
  // A page that is another one is seen: what the check is worth.
  const uint64_t wrong = 1;
  CHECK_EQ(pwrite(files.memory(), &wrong, sizeof(wrong), 20 << 20), static_cast<ssize_t>(sizeof(wrong)));
  VmmProcess spoilt(restored(files));
  CHECK(has_said(spoilt, "memory is not as it was"));
  // What a clone writes is its own.
  SnapshotFiles again;
  CHECK_EQ(again.take(clone)->status, 0);
}

TEST(a_diff_is_a_whole_snapshot) {
  SnapshotFiles base;
  VmmProcess vmm({.cmdline = "touch=32 recheck", .memory_mib = 64});
  REQUIRE(has_said(vmm, "touched 32 MiB"));
  REQUIRE(base.take(vmm)->status == 0);
  SnapshotFiles diff;
  const auto reply = diff.take(vmm, VOLLEY_SNAPSHOT_DIFF, &base);
  REQUIRE(reply.has_value() && reply->status == 0);
  CHECK(reply->payload.snapshot_taken.pages < 64);
  VmmProcess clone(restored(diff));
  CHECK(has_said(clone, "32 MiB intact"));
  SnapshotFiles stale;
  CHECK_EQ(stale.take(vmm, VOLLEY_SNAPSHOT_DIFF, &base)->status, ESTALE);
  // The checksum of the whole, kept by differences, is the one of a snapshot written in full.
  REQUIRE(vmm.command(VOLLEY_CMD_PAUSE) == 0);
  SnapshotFiles one;
  SnapshotFiles other;
  CHECK_EQ(one.take(vmm, VOLLEY_SNAPSHOT_DIFF, &diff)->status, 0);
  CHECK_EQ(other.take(vmm)->status, 0);
  CHECK_EQ(one.header().memory_checksum, other.header().memory_checksum);
}

TEST(what_is_no_snapshot_is_refused_with_a_reason) {
  const auto fresh = [](SnapshotFiles& files) {
    VmmProcess vmm({});
    REQUIRE(vmm.await_booted());
    REQUIRE(files.take(vmm)->status == 0);
  };
  const auto refused = [&](const std::string& reason, const std::function<void(SnapshotFiles&)>& spoil) {
    SnapshotFiles files;
    fresh(files);
    spoil(files);
    check_refused(files, reason);
  };
  refused("truncated", [](SnapshotFiles& files) { CHECK_EQ(ftruncate(files.state(), 4000), 0); });
  refused("truncated", [](SnapshotFiles& files) { CHECK_EQ(ftruncate(files.state(), 9000), 0); });
  refused("truncated", [](SnapshotFiles& files) { CHECK_EQ(ftruncate(files.memory(), 1 << 20), 0); });
  refused("format 2", [](SnapshotFiles& files) { files.forge([](auto& header) { header.version = 2; }); });
  refused("does not have its checksum", [](SnapshotFiles& files) {
    const uint8_t byte = 0x5a;
    CHECK_EQ(pwrite(files.state(), &byte, 1, VOLLEY_SNAPSHOT_HEADER_BYTES + 100), 1);
  });
  refused("lies outside",
          [](SnapshotFiles& files) { files.forge([](auto& header) { header.sections[0].length = 60'000; }); });
  refused("outside of it or overlaps", [](SnapshotFiles& files) {
    files.forge([](auto& header) { header.extents[0].length = header.memory_bytes + 4096; });
  });
  refused("another snapshot", [](SnapshotFiles& files) { files.forge([](auto& header) { header.id[0] ^= 1; }); });
  refused("lacks section", [](SnapshotFiles& files) { files.forge([](auto& header) { header.section_count = 1; }); });
  refused("cannot be restored", [](SnapshotFiles& files) {
    files.forge_section(VOLLEY_SECTION_VCPU, 0, [](uint8_t* bytes, size_t) {
      reinterpret_cast<VcpuState*>(bytes)->special_registers.cr0 = 0x80000000;  // paging without protection
    });
  });
  refused("corrupt", [](SnapshotFiles& files) {
    files.forge_section(VOLLEY_SECTION_VCPU, 0,
                        [](uint8_t* bytes, size_t) { reinterpret_cast<VcpuState*>(bytes)->msr_count = 1 << 30; });
  });
}

TEST(another_machine_than_the_snapshots_is_refused) {
  SnapshotFiles files;
  {
    VmmProcess vmm({});
    REQUIRE(vmm.await_booted());
    REQUIRE(files.take(vmm)->status == 0);
  }
  check_refused(files, "bytes of memory", {.memory_mib = 32});
  check_refused(files, "number of vCPUs", {.memory_mib = 16, .vcpus = 2});
  check_refused(files, "irqchip", {.memory_mib = 16, .irqchip = VOLLEY_IRQCHIP_FULL});
}

TEST(snapshots_hit_the_guest_at_every_moment) {
  for (const char* cmdline : {"print=1000000000", "burn=100", "burn=1", "touch=12 burn=50"}) {
    VmmProcess vmm({.cmdline = cmdline});
    REQUIRE(vmm.await_booted());
    for (int i = 0; i < 8; ++i) {
      SnapshotFiles files;
      REQUIRE(files.take(vmm)->status == 0);
      VmmProcess clone(restored(files, 16));
      if (std::string(cmdline).starts_with("print")) {
        // It has no eyes for anything else.
        CHECK(clone.await_page([](const volley_stats& stats) { return stats.serial_bytes > 1000; }));
      } else {
        CHECK(clone.await_booted());
      }
      CHECK_EQ(clone.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
    }
  }
}

TEST(a_full_irqchip_and_more_vcpus_come_along) {
  SnapshotFiles files;
  {
    VmmProcess vmm({.vcpus = 3, .irqchip = VOLLEY_IRQCHIP_FULL});
    REQUIRE(vmm.await_booted());
    REQUIRE(files.take(vmm)->status == 0);
  }
  LaunchOptions options{.vcpus = 3, .irqchip = VOLLEY_IRQCHIP_FULL};
  files.restore_by(options);
  VmmProcess clone(options);
  CHECK(clone.await_booted());
  CHECK_EQ(clone.command(VOLLEY_CMD_STOP), 0);
  CHECK(clone.await(VOLLEY_NOTE_EXITING).has_value());
}

}  // namespace
}  // namespace volley::test
