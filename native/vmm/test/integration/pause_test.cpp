// Pausing and resuming, also under races.
#include <unistd.h>

#include "base/clock.h"
#include "support/check.h"
#include "support/vmm_process.h"

namespace volley::test {
namespace {

constexpr useconds_t kLookAgainUs = 20'000;
constexpr useconds_t kParkingUs = 5'000;      // for the vCPU's thread to lie down after it was counted as stopped
constexpr uint64_t kFrozenCpuNs = 5'000'000;  // a running guest would use four times as much while we look

// A paused machine neither leaves the guest nor enters it, and its vCPU uses no CPU.
void check_frozen(VmmProcess& vmm) {
  const uint64_t exits = vmm.stats().exits_total;
  usleep(kParkingUs);
  const uint64_t cpu = vmm.vcpu_cpu_ns();
  usleep(kLookAgainUs);
  CHECK_EQ(vmm.stats().exits_total, exits);
  CHECK(vmm.vcpu_cpu_ns() - cpu < kFrozenCpuNs);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_PAUSED));
}

TEST(a_chatty_guest_stops_and_goes_on) {
  VmmProcess vmm({.cmdline = "print=1000000000"});
  REQUIRE(vmm.await_booted());
  const uint64_t before = monotonic_ns();
  CHECK_EQ(vmm.command(VOLLEY_CMD_PAUSE), 0);
  CHECK(vmm.stats().paused_ns >= before);
  check_frozen(vmm);
  const uint64_t bytes = vmm.stats().serial_bytes;
  CHECK_EQ(vmm.command(VOLLEY_CMD_RESUME), 0);
  CHECK(vmm.stats().resumed_ns >= vmm.stats().paused_ns);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
  CHECK(vmm.await_page([&](const volley_stats& stats) { return stats.serial_bytes > bytes; }));
}

TEST(a_busy_guest_stops_and_goes_on) {
  VmmProcess vmm({.cmdline = "burn=100"});
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_PAUSE), 0);
  check_frozen(vmm);
  const uint64_t cpu = vmm.vcpu_cpu_ns();
  CHECK_EQ(vmm.command(VOLLEY_CMD_RESUME), 0);
  CHECK(vmm.await_page([&](const volley_stats&) { return vmm.vcpu_cpu_ns() > cpu + 10 * kFrozenCpuNs; }));
}

TEST(a_halted_guest_stops_and_still_answers_afterwards) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_PAUSE), 0);
  check_frozen(vmm);
  CHECK_EQ(vmm.command(VOLLEY_CMD_RESUME), 0);
  CHECK_EQ(vmm.command(VOLLEY_CMD_STOP), 0);
  CHECK(vmm.await(VOLLEY_NOTE_EXITING).has_value());
}

TEST(pausing_twice_and_resuming_twice_change_nothing) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_RESUME), 0);
  CHECK_EQ(vmm.command(VOLLEY_CMD_PAUSE), 0);
  CHECK_EQ(vmm.command(VOLLEY_CMD_PAUSE), 0);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_PAUSED));
  CHECK_EQ(vmm.command(VOLLEY_CMD_RESUME), 0);
  CHECK_EQ(vmm.command(VOLLEY_CMD_RESUME), 0);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
}

TEST(the_power_button_waits_for_the_resume) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_PAUSE), 0);
  CHECK_EQ(vmm.command(VOLLEY_CMD_STOP), 0);
  check_frozen(vmm);
  CHECK_EQ(vmm.command(VOLLEY_CMD_RESUME), 0);
  const std::optional<volley_message> exiting = vmm.await(VOLLEY_NOTE_EXITING);
  REQUIRE(exiting.has_value());
  CHECK_EQ(exiting->argument, static_cast<uint32_t>(VOLLEY_EXIT_POWER_OFF));
}

TEST(a_paused_machine_can_be_ended) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_PAUSE), 0);
  vmm.send(VOLLEY_CMD_QUIT, 1);
  const std::optional<volley_message> exiting = vmm.await(VOLLEY_NOTE_EXITING);
  REQUIRE(exiting.has_value());
  CHECK_EQ(exiting->argument, static_cast<uint32_t>(VOLLEY_EXIT_REQUESTED));
}

TEST(started_paused_it_waits_for_the_first_resume) {
  VmmProcess vmm({.flags = VOLLEY_FLAG_START_PAUSED});
  REQUIRE(vmm.await_page([](const volley_stats& stats) { return stats.state == VOLLEY_VMM_PAUSED; }));
  CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
  CHECK_EQ(vmm.stats().run_ns, 0u);
  CHECK_EQ(vmm.stats().exits_total, 0u);
  CHECK_EQ(vmm.command(VOLLEY_CMD_RESUME), 0);
  CHECK(vmm.await_booted());
}

// Pauses hit the guest at every moment: in user code, in a port write, on its way into and out of a halt.
void storm(const char* cmdline, uint32_t vcpus) {
  VmmProcess vmm({.cmdline = cmdline, .vcpus = vcpus});
  REQUIRE(vmm.await_booted());
  for (int i = 0; i < 500; ++i) {
    REQUIRE(vmm.command(VOLLEY_CMD_PAUSE) == 0);
    const uint64_t exits = vmm.stats().exits_total;
    if (i % 50 == 0) {
      check_frozen(vmm);
    } else {
      CHECK_EQ(vmm.stats().exits_total, exits);
    }
    REQUIRE(vmm.command(VOLLEY_CMD_RESUME) == 0);
  }
  vmm.send(VOLLEY_CMD_QUIT, 1);
  CHECK(vmm.await_end().has_value());
}

TEST(storm_on_a_chatty_guest) { storm("print=1000000000", 1); }
TEST(storm_on_a_guest_that_wakes_and_sleeps) { storm("burn=1", 2); }
TEST(storm_on_an_idle_guest) { storm("idle", 4); }
TEST(storm_on_a_busy_guest) { storm("burn=100", 1); }

TEST(pausing_races_with_the_guests_own_end) {
  for (int i = 0; i < 30; ++i) {
    VmmProcess vmm({.cmdline = "exit=poweroff"});
    REQUIRE(vmm.await_booted());
    vmm.send(VOLLEY_CMD_PAUSE, 1);
    vmm.send(VOLLEY_CMD_RESUME, 2);
    const std::optional<volley_message> exiting = vmm.await(VOLLEY_NOTE_EXITING);
    REQUIRE(exiting.has_value());
    CHECK_EQ(exiting->argument, static_cast<uint32_t>(VOLLEY_EXIT_POWER_OFF));
    CHECK_EQ(vmm.await_end()->code, 0);
  }
}

}  // namespace
}  // namespace volley::test
