// From launch to each way to end.
#include <cstring>

#include "base/clock.h"
#include "support/check.h"
#include "support/vmm_process.h"

namespace volley::test {
namespace {

// Starts a canary with `cmdline`, waits for its end and checks the whole record of it.
void check_end(const char* cmdline, volley_exit_reason reason, bool booted = true) {
  VmmProcess vmm({.cmdline = cmdline});
  if (booted) CHECK(vmm.await_booted());
  const std::optional<volley_message> exiting = vmm.await(VOLLEY_NOTE_EXITING);
  REQUIRE(exiting.has_value());
  CHECK_EQ(exiting->argument, static_cast<uint32_t>(reason));
  // The page file is complete before the note is sent.
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_EXITED));
  CHECK_EQ(vmm.stats().exit_reason, static_cast<uint32_t>(reason));
  CHECK(vmm.stats().exit_message[0] != '\0');
  CHECK(vmm.stats().exited_ns >= vmm.stats().run_ns);
  const std::optional<ProcessEnd> end = vmm.await_end();
  REQUIRE(end.has_value());
  CHECK(end->exited);
  CHECK_EQ(end->code, 0);
}

TEST(boots_and_reports_each_step_in_order) {
  VmmProcess vmm({.cmdline = "quiet print=1", .memory_mib = 32});
  const std::optional<volley_message> booted = vmm.await(VOLLEY_NOTE_BOOTED);
  REQUIRE(booted.has_value());
  const volley_stats& stats = vmm.stats();
  CHECK_EQ(stats.magic, static_cast<uint64_t>(VOLLEY_STATS_MAGIC));
  CHECK_EQ(stats.abi_version, VOLLEY_ABI_VERSION);
  CHECK_EQ(static_cast<pid_t>(stats.pid), vmm.pid());
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
  CHECK_EQ(booted->time_ns, stats.booted_ns);
  const uint64_t steps[] = {stats.entered_ns, stats.vm_created_ns, stats.memory_ns, stats.loaded_ns,
                            stats.vcpus_ns,   stats.run_ns,        stats.booted_ns, monotonic_ns()};
  for (size_t i = 0; i + 1 < sizeof(steps) / sizeof(steps[0]); ++i) CHECK(steps[i] != 0 && steps[i] <= steps[i + 1]);
  CHECK_EQ(stats.guest_memory_bytes, 32ull << 20);
  CHECK(stats.guest_memory_address != 0);
  CHECK(stats.vcpu_tids[0] != 0 && stats.vcpu_tids[0] != stats.pid);
  CHECK_EQ(stats.exits_mmio, 1u);
  CHECK_EQ(stats.unknown_io, 0u);
}

TEST(banner_names_memory_and_cmdline) {
  VmmProcess vmm({.cmdline = "print=2", .memory_mib = 24});
  REQUIRE(vmm.await_booted());
  const std::string expected = "canary: 24 MiB, print=2\ncanary: line 1 of 2\ncanary: line 2 of 2\n";
  REQUIRE(vmm.await_page([&](const volley_stats& stats) { return stats.serial_bytes >= expected.size(); }));
  CHECK_EQ(vmm.serial(), expected);
}

TEST(process_is_named_after_its_microvm) {
  VmmProcess vmm({.mutate = [](volley_config& config) { strcpy(config.id, "01JXYZABCDEFGHIJK"); }});
  REQUIRE(vmm.await_booted());
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/comm", vmm.pid());
  FILE* file = fopen(path, "re");
  REQUIRE(file != nullptr);
  char name[32] = "";
  CHECK(fgets(name, sizeof(name), file) != nullptr);
  fclose(file);
  CHECK_EQ(std::string(name), "vmm:ABCDEFGHIJK\n");
}

TEST(guest_powers_off) { check_end("exit=poweroff", VOLLEY_EXIT_POWER_OFF); }
TEST(guest_reboots) { check_end("exit=reboot", VOLLEY_EXIT_REBOOT); }
TEST(guest_panics) { check_end("exit=panic", VOLLEY_EXIT_PANIC); }
TEST(guest_triple_faults) { check_end("exit=triplefault", VOLLEY_EXIT_TRIPLE_FAULT); }
TEST(guest_ends_later) { check_end("exit=poweroff after=20", VOLLEY_EXIT_POWER_OFF); }
TEST(bad_cmdline_panics_before_booted) { check_end("no-such-word", VOLLEY_EXIT_PANIC, false); }

TEST(bad_cmdline_is_named_on_the_console) {
  VmmProcess vmm({.cmdline = "idle tuch=5"});
  REQUIRE(vmm.await_end().has_value());
  CHECK_CONTAINS(vmm.serial(), "canary: unknown word 'tuch=5'");
  CHECK_EQ(vmm.stats().booted_ns, 0u);
}

TEST(too_much_to_touch_panics) {
  VmmProcess vmm({.cmdline = "touch=13", .memory_mib = 16});
  REQUIRE(vmm.await_end().has_value());
  CHECK_EQ(vmm.stats().exit_reason, static_cast<uint32_t>(VOLLEY_EXIT_PANIC));
  CHECK_CONTAINS(vmm.serial(), "canary: touch=13 does not fit");
}

TEST(touched_memory_is_really_touched) {
  VmmProcess vmm({.cmdline = "touch=12", .memory_mib = 16});
  REQUIRE(
      vmm.await_page([&](const volley_stats&) { return vmm.serial().find("touched 12 MiB") != std::string::npos; }));
  // Not statm: its counters may lag behind by a megabyte.
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", vmm.pid());
  FILE* file = fopen(path, "re");
  REQUIRE(file != nullptr);
  char line[128];
  long resident_kib = 0;
  while (fgets(line, sizeof(line), file) != nullptr && sscanf(line, "Rss: %ld", &resident_kib) != 1) {
  }
  fclose(file);
  CHECK(resident_kib >= 12 * 1024);
}

TEST(power_button_powers_off) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_STOP), 0);
  const std::optional<volley_message> exiting = vmm.await(VOLLEY_NOTE_EXITING);
  REQUIRE(exiting.has_value());
  CHECK_EQ(exiting->argument, static_cast<uint32_t>(VOLLEY_EXIT_POWER_OFF));
  CHECK_CONTAINS(vmm.serial(), "canary: power button, powering off");
  CHECK_EQ(vmm.await_end()->code, 0);
}

TEST(power_button_interrupts_a_busy_guest) {
  VmmProcess vmm({.cmdline = "burn=100"});
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_STOP), 0);
  const std::optional<volley_message> exiting = vmm.await(VOLLEY_NOTE_EXITING);
  REQUIRE(exiting.has_value());
  CHECK_EQ(exiting->argument, static_cast<uint32_t>(VOLLEY_EXIT_POWER_OFF));
}

TEST(power_button_can_be_ignored) {
  VmmProcess vmm({.cmdline = "nostop"});
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_STOP), 0);
  REQUIRE(vmm.await_page([&](const volley_stats&) { return vmm.serial().find("ignored") != std::string::npos; }));
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
}

TEST(a_hung_guest_can_be_ended) {
  VmmProcess vmm({.cmdline = "exit=hang"});
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_STOP), 0);
  vmm.send(VOLLEY_CMD_QUIT, 9);
  const std::optional<volley_message> exiting = vmm.await(VOLLEY_NOTE_EXITING);
  REQUIRE(exiting.has_value());
  CHECK_EQ(exiting->argument, static_cast<uint32_t>(VOLLEY_EXIT_REQUESTED));
  CHECK_EQ(vmm.await_end()->code, 0);
}

TEST(full_irqchip_and_more_vcpus_run_the_canary_too) {
  VmmProcess full({.irqchip = VOLLEY_IRQCHIP_FULL});
  CHECK(full.await_booted());
  CHECK_EQ(full.command(VOLLEY_CMD_STOP), 0);
  CHECK(full.await(VOLLEY_NOTE_EXITING).has_value());
  VmmProcess many({.vcpus = 4});
  REQUIRE(many.await_booted());
  REQUIRE(many.await_page([](const volley_stats& stats) { return stats.vcpu_tids[3] != 0; }));
  CHECK_EQ(many.stats().vcpu_tids[4], 0u);
  CHECK_EQ(many.command(VOLLEY_CMD_STOP), 0);
  CHECK(many.await(VOLLEY_NOTE_EXITING).has_value());
}

TEST(output_longer_than_the_ring_wraps) {
  VmmProcess vmm({.cmdline = "quiet print=2700 exit=poweroff"});
  REQUIRE(vmm.await_end().has_value());
  CHECK(vmm.stats().serial_bytes > VOLLEY_SERIAL_RING);
  const std::string text = vmm.serial();
  CHECK_EQ(text.size(), static_cast<size_t>(VOLLEY_SERIAL_RING));
  const std::string last = "canary: line 2700 of 2700\n";
  CHECK_EQ(text.substr(text.size() - last.size()), last);
}

TEST(an_idle_guest_uses_no_cpu) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  REQUIRE(vmm.await_page([](const volley_stats& stats) { return stats.serial_bytes > 0; }));
  usleep(50'000);  // it settles into its halt
  const uint64_t before = vmm.vcpu_cpu_ns();
  const uint64_t exits = vmm.stats().exits_total;
  usleep(200'000);
  CHECK_EQ(vmm.stats().exits_total, exits);
  CHECK(vmm.vcpu_cpu_ns() - before < 1'000'000);
}

}  // namespace
}  // namespace volley::test
