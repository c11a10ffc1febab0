// The stand-in, with the test in the agent's place. Needs no KVM.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <csignal>
#include <cstring>

#include "support/check.h"
#include "support/vmm_process.h"

namespace volley::test {
namespace {

LaunchOptions stand_in(const std::string& cmdline = "") {
  LaunchOptions options;
  options.cmdline = cmdline;
  options.kvm_path = "";
  options.shell.vmm_path = VOLLEY_STAND_IN_PATH;
  return options;
}

// Waits for the end and checks the whole record of it.
void check_end(VmmProcess& vmm, volley_exit_reason reason, const char* sentence, int code = 0) {
  const std::optional<volley_message> exiting = vmm.await(VOLLEY_NOTE_EXITING);
  REQUIRE(exiting.has_value());
  CHECK_EQ(exiting->argument, static_cast<uint32_t>(reason));
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_EXITED));
  CHECK_EQ(vmm.stats().exit_reason, static_cast<uint32_t>(reason));
  CHECK_CONTAINS(std::string(vmm.stats().exit_message), sentence);
  CHECK(vmm.stats().exited_ns >= vmm.stats().entered_ns);
  const std::optional<ProcessEnd> end = vmm.await_end();
  REQUIRE(end.has_value());
  CHECK(end->exited);
  CHECK_EQ(end->code, code);
}

void check_fate(const char* cmdline, volley_exit_reason reason) {
  VmmProcess vmm(stand_in(cmdline));
  CHECK(vmm.await_booted());
  check_end(vmm, reason, "the command line");
}

TEST(boots_without_kvm_and_says_what_it_is) {
  VmmProcess vmm(stand_in("idle"));
  const std::optional<volley_message> booted = vmm.await(VOLLEY_NOTE_BOOTED);
  REQUIRE(booted.has_value());
  CHECK_EQ(booted->time_ns, vmm.stats().booted_ns);
  CHECK_EQ(vmm.stats().magic, static_cast<uint64_t>(VOLLEY_STATS_MAGIC));
  CHECK_EQ(vmm.stats().abi_version, VOLLEY_ABI_VERSION);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
  CHECK_EQ(vmm.serial(), "stand-in: no guest runs here\n");
  // Nothing pretends that a machine was made, or that a guest ran.
  CHECK_EQ(vmm.stats().vm_created_ns, 0u);
  CHECK_EQ(vmm.stats().run_ns, 0u);
  CHECK_EQ(vmm.stats().guest_memory_bytes, 0u);
  CHECK_EQ(vmm.stats().vcpu_tids[0], 0u);
}

TEST(is_named_after_its_microvm) {
  LaunchOptions options = stand_in();
  options.mutate = [](volley_config& config) { strcpy(config.id, "01JXYZABCDEFGHIJK"); };
  VmmProcess vmm(options);
  REQUIRE(vmm.await_booted());
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/cmdline", vmm.pid());
  FILE* file = fopen(path, "re");
  REQUIRE(file != nullptr);
  char text[64] = "";
  CHECK(fread(text, 1, sizeof(text) - 1, file) > 0);
  fclose(file);
  CHECK_EQ(std::string(text), "volley-vmm");
  CHECK_EQ(std::string(text + sizeof("volley-vmm")), "01JXYZABCDEFGHIJK");
}

TEST(takes_the_user_of_its_slot) {
  if (getuid() != 0) {
    printf("SKIPPED: only root can become another user\n");
    return;
  }
  ShellOptions options = stand_in().shell;
  options.barriers |= VOLLEY_BARRIER_IDS;
  options.uid = 54'321;
  options.gid = 54'322;
  ShellProcess shell(options);
  const std::optional<volley_shell_report> report = shell.report();
  REQUIRE(report.has_value());
  CHECK_EQ(report->status, 0);
  CHECK((report->barriers & VOLLEY_BARRIER_IDS) != 0);
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/status", shell.pid);
  FILE* file = fopen(path, "re");
  REQUIRE(file != nullptr);
  unsigned uid = 0;
  unsigned gid = 0;
  char line[128];
  while (fgets(line, sizeof(line), file) != nullptr) {
    sscanf(line, "Uid: %u", &uid);
    sscanf(line, "Gid: %u", &gid);
  }
  fclose(file);
  CHECK_EQ(uid, 54'321u);
  CHECK_EQ(gid, 54'322u);
}

TEST(powers_off) { check_fate("exit=poweroff", VOLLEY_EXIT_POWER_OFF); }
TEST(reboots) { check_fate("exit=reboot", VOLLEY_EXIT_REBOOT); }
TEST(panics) { check_fate("print=3 exit=panic after=20", VOLLEY_EXIT_PANIC); }
TEST(triple_faults) { check_fate("exit=triplefault after=20", VOLLEY_EXIT_TRIPLE_FAULT); }

TEST(ends_when_the_power_button_is_pressed) {
  VmmProcess vmm(stand_in("zeros=0,0,64 write=0,0,64,5"));
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_STOP), 0);
  check_end(vmm, VOLLEY_EXIT_POWER_OFF, "power button");
}

TEST(ends_when_it_is_asked_to) {
  VmmProcess vmm(stand_in());
  REQUIRE(vmm.await_booted());
  vmm.send(VOLLEY_CMD_QUIT, 1);
  check_end(vmm, VOLLEY_EXIT_REQUESTED, "asked");
}

TEST(does_not_hear_the_button_where_a_canary_would_not) {
  for (const char* cmdline : {"nostop", "exit=hang"}) {
    VmmProcess vmm(stand_in(cmdline));
    REQUIRE(vmm.await_booted());
    CHECK_EQ(vmm.command(VOLLEY_CMD_STOP), 0);
    CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
    CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
  }
}

TEST(stands_still_while_it_is_paused) {
  VmmProcess vmm(stand_in());
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_PAUSE), 0);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_PAUSED));
  CHECK(vmm.stats().paused_ns != 0);
  CHECK_EQ(vmm.command(VOLLEY_CMD_STOP), 0);
  CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_PAUSED));
  CHECK_EQ(vmm.command(VOLLEY_CMD_RESUME), 0);
  check_end(vmm, VOLLEY_EXIT_POWER_OFF, "power button");
}

TEST(starts_paused_when_told_to) {
  LaunchOptions options = stand_in("exit=panic");
  options.flags = VOLLEY_FLAG_START_PAUSED;
  VmmProcess vmm(options);
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_PAUSED));
  CHECK_EQ(vmm.command(VOLLEY_CMD_RESUME), 0);
  check_end(vmm, VOLLEY_EXIT_PANIC, "the command line");
}

TEST(outlives_its_agent_and_tells_the_next_one_that_it_has_booted) {
  VmmProcess vmm(stand_in());
  REQUIRE(vmm.await_booted());
  vmm.use(vmm.connect());
  CHECK(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
}

TEST(refuses_what_needs_a_guest) {
  VmmProcess vmm(stand_in());
  REQUIRE(vmm.await_booted());
  for (const uint32_t type :
       {VOLLEY_CMD_CTRL_ALT_DEL, VOLLEY_CMD_SERIAL_INPUT, VOLLEY_CMD_SET_LIMIT, VOLLEY_CMD_SET_BALLOON}) {
    CHECK_EQ(vmm.command(type), ENOTSUP);
  }
  volley_message order{};
  order.type = VOLLEY_CMD_SNAPSHOT;
  const std::optional<volley_message> answer = vmm.request(order);
  REQUIRE(answer.has_value());
  CHECK_EQ(answer->status, ENOTSUP);
  CHECK_CONTAINS(std::string(answer->payload.text), "no guest");
  CHECK_EQ(vmm.command(12'345), ENOSYS);
}

TEST(goes_on_from_no_snapshot) {
  LaunchOptions options = stand_in();
  options.flags = VOLLEY_FLAG_RESTORE;
  options.mutate = [](volley_config& config) { config.kernel_size = 0; };
  VmmProcess vmm(options);
  check_end(vmm, VOLLEY_EXIT_VMM_ERROR, "no guest", 1);
}

TEST(is_not_primed) {
  ShellProcess shell(stand_in().shell);
  REQUIRE(shell.report().has_value());
  CHECK_EQ(send_prime_order(shell.socket.get(), {}), 0);
  const std::optional<volley_shell_report> report = shell.report();
  REQUIRE(report.has_value());
  CHECK_EQ(report->status, ENOTSUP);
}

TEST(plays_canaries_only) {
  LaunchOptions options = stand_in();
  options.irqchip = VOLLEY_IRQCHIP_FULL;
  options.mutate = [](volley_config& config) { config.boot_protocol = VOLLEY_BOOT_LINUX; };
  VmmProcess vmm(options);
  check_end(vmm, VOLLEY_EXIT_VMM_ERROR, "canaries", 1);
}

TEST(a_word_that_no_canary_knows_is_a_panic_before_it_has_booted) {
  VmmProcess vmm(stand_in("idle tuch=5"));
  check_end(vmm, VOLLEY_EXIT_PANIC, "a word");
  CHECK_EQ(vmm.stats().booted_ns, 0u);
  CHECK_CONTAINS(vmm.serial(), "'tuch=5'");
}

TEST(nobody_listens_where_a_guest_would) {
  UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socklen_t length = sizeof(address);
  REQUIRE(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address.sun_family)) == 0);
  REQUIRE(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  REQUIRE(listen(listener.get(), 1) == 0);
  LaunchOptions options = stand_in();
  options.descriptors = {{VOLLEY_ROLE_VSOCK, listener.get()}};
  VmmProcess vmm(options);
  listener.reset();
  REQUIRE(vmm.await_booted());
  const UniqueFd caller(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(connect(caller.get(), reinterpret_cast<sockaddr*>(&address), length) < 0);
  CHECK_EQ(errno, ECONNREFUSED);
}

TEST(is_killed) {
  VmmProcess vmm(stand_in());
  REQUIRE(vmm.await_booted());
  kill(vmm.pid(), SIGKILL);
  const std::optional<ProcessEnd> end = vmm.await_end();
  REQUIRE(end.has_value());
  CHECK(!end->exited);
  CHECK_EQ(end->code, SIGKILL);
}

}  // namespace
}  // namespace volley::test
