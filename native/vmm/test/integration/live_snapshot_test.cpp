// Snapshots whose memory is written while the guest runs and writes to it.
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <iterator>
#include <string>

#include "support/check.h"
#include "support/device_microvm.h"
#include "support/snapshot_files.h"

namespace volley::test {
namespace {

// Within half a minute: a host may have much else to do.
bool has_said(VmmProcess& vmm, const std::string& words) {
  const auto said = [&](const volley_stats&) { return vmm.serial().find(words) != std::string::npos; };
  for (int i = 0; i < 6; ++i) {
    if (vmm.await_page(said)) return true;
  }
  return false;
}

LaunchOptions stirring(const std::string& rate) {
  return {.cmdline = "touch=48 recheck stir=" + rate, .memory_mib = 64};
}

// A clone of it finds memory as of one instant, its own registers included.
void check_whole(const SnapshotFiles& files) {
  LaunchOptions options{.memory_mib = 64};
  files.restore_by(options);
  VmmProcess clone(options);
  CHECK(has_said(clone, "generation "));
  // It panics where memory is another.
  CHECK(has_said(clone, "48 MiB intact"));
  CHECK(clone.serial().find("memory is not as it was") == std::string::npos);
}

uint64_t sum_of_rounds(const volley_snapshot_taken& taken) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i <= taken.rounds; ++i) sum += taken.round_pages[i];
  return sum;
}

TEST(memory_is_of_one_instant_while_the_guest_writes_to_it) {
  for (const char* rate : {"20", "200"}) {
    VmmProcess vmm(stirring(rate));
    REQUIRE(has_said(vmm, "touched 48 MiB"));
    for (int i = 0; i < 3; ++i) {
      SnapshotFiles files;
      const auto reply = files.take(vmm, VOLLEY_SNAPSHOT_LIVE);
      REQUIRE(reply.has_value());
      CHECK_EQ(std::string(reply->status == 0 ? "" : reply->payload.text), std::string());
      const volley_snapshot_taken& taken = reply->payload.snapshot_taken;
      CHECK(taken.tracking != VOLLEY_TRACKING_NONE);
      CHECK(taken.rounds >= 1 && taken.rounds <= VOLLEY_SNAPSHOT_MAX_ROUNDS);
      CHECK(taken.round_pages[0] >= 48 * 256);
      CHECK_EQ(sum_of_rounds(taken), taken.pages);
      CHECK(taken.pause_ns > 0 && taken.pause_ns < taken.total_ns);
      CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
      check_whole(files);
    }
  }
}

// The VMM of this build on another kernel: see probe/other_kvm.cpp.
LaunchOptions stirring_on(const std::string& kvm) {
  LaunchOptions options = stirring("200");
  options.shell.vmm_path = VOLLEY_OTHER_KVM_PATH;
  options.shell.environment = {"VOLLEY_KVM=" + kvm};
  return options;
}

// What is told as written is never less than all of its memory: two rounds get nowhere, and the rest, more than is
// held for after the pause, is copied while it stands still.
TEST(a_guest_that_outruns_the_copy_is_stopped_all_the_same) {
  VmmProcess vmm(stirring_on("all-written"));
  REQUIRE(has_said(vmm, "touched 48 MiB"));
  SnapshotFiles files;
  const auto reply = files.take(vmm, VOLLEY_SNAPSHOT_LIVE);
  REQUIRE(reply.has_value() && reply->status == 0);
  const volley_snapshot_taken& taken = reply->payload.snapshot_taken;
  CHECK_EQ(taken.converged, 0);
  CHECK_EQ(taken.rounds, 3u);
  CHECK_EQ(sum_of_rounds(taken), taken.pages);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
  check_whole(files);
}

TEST(where_kvm_does_not_tell_what_is_written_a_guest_stands_still_for_it) {
  VmmProcess vmm(stirring_on("no-log"));
  REQUIRE(has_said(vmm, "touched 48 MiB"));
  for (int i = 0; i < 2; ++i) {
    SnapshotFiles files;
    const auto reply = files.take(vmm, VOLLEY_SNAPSHOT_LIVE);
    REQUIRE(reply.has_value() && reply->status == 0);
    const volley_snapshot_taken& taken = reply->payload.snapshot_taken;
    CHECK_EQ(taken.tracking, uint16_t{VOLLEY_TRACKING_NONE});
    CHECK_EQ(taken.rounds, 1u);
    CHECK_EQ(taken.round_pages[1], 0u);
    CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
    check_whole(files);
  }
}

TEST(the_checksum_follows_what_is_written_again) {
  VmmProcess vmm(stirring("200"));
  REQUIRE(has_said(vmm, "touched 48 MiB"));
  SnapshotFiles live;
  const auto reply = live.take(vmm, VOLLEY_SNAPSHOT_LIVE | VOLLEY_SNAPSHOT_STAY);
  REQUIRE(reply.has_value() && reply->status == 0);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_PAUSED));
  SnapshotFiles still;
  REQUIRE(still.take(vmm)->status == 0);
  CHECK_EQ(live.header().memory_checksum, still.header().memory_checksum);
  check_whole(live);
  // A diff to it, and while the guest runs again.
  CHECK_EQ(vmm.command(VOLLEY_CMD_RESUME), 0);
  SnapshotFiles diff;
  REQUIRE(diff.take(vmm, VOLLEY_SNAPSHOT_LIVE | VOLLEY_SNAPSHOT_DIFF, &still)->status == 0);
  check_whole(diff);
}

// Orders and commands that the VMM finds all at once: the order is begun when it reads the others.
class Burst {
 public:
  explicit Burst(VmmProcess& vmm) : vmm_(vmm) {
    // Stopped is who has no thread that runs.
    if (kill(vmm.pid(), SIGSTOP) != 0) abort();
    while (!is_stopped()) usleep(100);
  }
  ~Burst() { kill(vmm_.pid(), SIGCONT); }

  void order(const SnapshotFiles& files, uint32_t flags, uint32_t request) {
    volley_message message{};
    message.type = VOLLEY_CMD_SNAPSHOT;
    message.request_id = request;
    message.payload.snapshot.flags = flags;
    message.payload.snapshot.kvm_kind = VOLLEY_KVM_SOFTWARE;
    vmm_.send(message, files.state(), files.memory());
  }

 private:
  bool is_stopped() const {
    std::ifstream file("/proc/" + std::to_string(vmm_.pid()) + "/stat");
    const std::string stat((std::istreambuf_iterator<char>(file)), {});
    return stat.find(") T ") != std::string::npos;
  }

  VmmProcess& vmm_;
};

LaunchOptions touched() { return {.cmdline = "touch=48", .memory_mib = 64}; }

TEST(other_commands_are_answered_meanwhile) {
  for (const uint32_t flags : {0u, VOLLEY_SNAPSHOT_LIVE}) {
    VmmProcess vmm(touched());
    REQUIRE(has_said(vmm, "touched 48 MiB"));
    SnapshotFiles files;
    SnapshotFiles more;
    {
      Burst burst(vmm);
      burst.order(files, flags, 1);
      vmm.send(VOLLEY_CMD_PING, 2);
      burst.order(more, flags, 3);
      vmm.send(VOLLEY_CMD_RESUME, 4);
    }
    for (const uint32_t request : {2u, 3u, 4u, 1u}) {
      const auto reply = vmm.await(VOLLEY_REPLY);
      REQUIRE(reply.has_value());
      CHECK_EQ(reply->request_id, request);
      // One at a time; and a guest that stands still for it may not go on.
      const bool refused = request == 3 || (request == 4 && flags == 0);
      CHECK_EQ(reply->status, refused ? EBUSY : 0);
    }
    CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
  }
}

TEST(a_guest_that_is_paused_meanwhile_stays_so) {
  for (const uint32_t flags : {0u, VOLLEY_SNAPSHOT_LIVE}) {
    VmmProcess vmm(touched());
    REQUIRE(has_said(vmm, "touched 48 MiB"));
    SnapshotFiles files;
    {
      Burst burst(vmm);
      burst.order(files, flags, 1);
      vmm.send(VOLLEY_CMD_PAUSE, 2);
    }
    for (const uint32_t request : {2u, 1u}) {
      const auto reply = vmm.await(VOLLEY_REPLY);
      REQUIRE(reply.has_value());
      CHECK_EQ(reply->request_id, request);
      CHECK_EQ(reply->status, 0);
    }
    CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_PAUSED));
  }
}

// Without a whole header there is no snapshot.
TEST(a_vmm_that_is_told_to_end_meanwhile_does_so_and_leaves_no_snapshot) {
  VmmProcess vmm(touched());
  REQUIRE(has_said(vmm, "touched 48 MiB"));
  SnapshotFiles files;
  {
    Burst burst(vmm);
    burst.order(files, VOLLEY_SNAPSHOT_LIVE, 1);
    vmm.send(VOLLEY_CMD_QUIT, 2);
  }
  CHECK(vmm.await(VOLLEY_NOTE_EXITING).has_value());
  volley_snapshot_header header{};
  CHECK(pread(files.state(), &header, sizeof(header), 0) == 0 || header.magic == 0);
}

TEST(an_agent_that_goes_away_ends_the_snapshot_and_the_guest_goes_on) {
  for (const uint32_t flags : {0u, VOLLEY_SNAPSHOT_LIVE}) {
    VmmProcess vmm(touched());
    REQUIRE(has_said(vmm, "touched 48 MiB"));
    SnapshotFiles files;
    {
      Burst burst(vmm);
      burst.order(files, flags, 1);
      vmm.send(VOLLEY_CMD_PING, 2);
    }
    REQUIRE(vmm.await(VOLLEY_REPLY).has_value());
    vmm.use(vmm.connect());
    CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
    CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
    SnapshotFiles again;
    CHECK_EQ(again.take(vmm, VOLLEY_SNAPSHOT_LIVE)->status, 0);
  }
}

// The disk is read into guest memory, and the rings are written, by the VMM: the dirty log does not see it.
TEST(what_devices_write_meanwhile_is_in_it) {
  const TemporaryFile disk(8 << 20);
  SnapshotFiles files;
  {
    DeviceMicrovm microvm;
    microvm.disk(disk);
    microvm.rng();
    microvm.start("write=0,0,2048,7 rng=16 reads=0,200000,65536,4 verify=0,0,2048,7 rng=16");
    CHECK_CONTAINS(microvm.result("rng", 0), "ok");
    for (int i = 0; i < 4; ++i) {
      SnapshotFiles one;
      const auto reply = one.take(microvm.vmm(), VOLLEY_SNAPSHOT_LIVE);
      REQUIRE(reply.has_value());
      CHECK_EQ(std::string(reply->status == 0 ? "" : reply->payload.text), std::string());
      // It stands still later: what is then in memory is what a live one must have had.
      SnapshotFiles live;
      REQUIRE(live.take(microvm.vmm(), VOLLEY_SNAPSHOT_LIVE | VOLLEY_SNAPSHOT_STAY)->status == 0);
      SnapshotFiles still;
      REQUIRE(still.take(microvm.vmm())->status == 0);
      CHECK_EQ(live.header().memory_checksum, still.header().memory_checksum);
      CHECK_EQ(microvm.vmm().command(VOLLEY_CMD_RESUME), 0);
      if (i == 3) REQUIRE(files.take(microvm.vmm(), VOLLEY_SNAPSHOT_LIVE)->status == 0);
    }
  }
  DeviceMicrovm clone;
  clone.disk(disk);
  clone.rng();
  clone.restore(files);
  CHECK(clone.vmm().await_booted());
}

}  // namespace
}  // namespace volley::test
