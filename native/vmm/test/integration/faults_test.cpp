// What goes wrong: configurations, descriptors, signals.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "support/check.h"
#include "support/vmm_process.h"

namespace volley::test {
namespace {

// The VMM refuses with code 1 and a message that contains `words`.
void check_refused(const LaunchOptions& options, const char* words) {
  VmmProcess vmm(options);
  const std::optional<ProcessEnd> end = vmm.await_end();
  REQUIRE(end.has_value());
  CHECK(end->exited);
  CHECK_EQ(end->code, 1);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_EXITED));
  CHECK_EQ(vmm.stats().exit_reason, static_cast<uint32_t>(VOLLEY_EXIT_VMM_ERROR));
  CHECK_CONTAINS(std::string(vmm.stats().exit_message), words);
}

TEST(bad_configurations_are_refused_with_a_reason) {
  check_refused({.mutate = [](volley_config& c) { c.magic = 1; }}, "config.magic");
  check_refused({.mutate = [](volley_config& c) { c.vcpus = 0; }}, "config.vcpus is 0");
  check_refused({.mutate = [](volley_config& c) { c.memory_bytes = 1ull << 50; }}, "config.memory_bytes");
  check_refused({.mutate = [](volley_config& c) { memset(c.id, 'x', sizeof(c.id)); }}, "config.id");
  check_refused({.mutate = [](volley_config& c) { c.kernel_size += 1; }}, "the flat kernel ends after");
}

TEST(wrong_descriptors_are_refused_with_a_reason) { check_refused({.kvm_path = "/dev/null"}, "is not /dev/kvm"); }

TEST(an_agent_is_told_about_a_refusal) {
  VmmProcess vmm({.mutate = [](volley_config& c) { c.vcpus = 0; }});
  const std::optional<volley_message> exiting = vmm.await(VOLLEY_NOTE_EXITING);
  REQUIRE(exiting.has_value());
  CHECK_EQ(exiting->argument, static_cast<uint32_t>(VOLLEY_EXIT_VMM_ERROR));
}

TEST(a_short_page_file_is_refused) {
  VmmProcess vmm({.page_file_size = 4096});
  const std::optional<ProcessEnd> end = vmm.await_end();
  REQUIRE(end.has_value());
  CHECK(end->exited);
  CHECK_EQ(end->code, 1);
}

TEST(a_killed_vmm_leaves_a_readable_page_file) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  kill(vmm.pid(), SIGKILL);
  const std::optional<ProcessEnd> end = vmm.await_end();
  REQUIRE(end.has_value());
  CHECK(!end->exited);
  CHECK_EQ(end->code, SIGKILL);
  CHECK_EQ(vmm.stats().magic, static_cast<uint64_t>(VOLLEY_STATS_MAGIC));
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
  CHECK_EQ(vmm.stats().exit_reason, static_cast<uint32_t>(VOLLEY_EXIT_NONE));
  CHECK_CONTAINS(vmm.serial(), "canary: 16 MiB, idle");
  CHECK(!vmm.receive().has_value());
}

void check_signal(int signal, volley_exit_reason reason, const char* words) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  kill(vmm.pid(), signal);
  const std::optional<ProcessEnd> end = vmm.await_end();
  REQUIRE(end.has_value());
  CHECK(end->exited);
  CHECK_EQ(end->code, 1);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_EXITED));
  CHECK_EQ(vmm.stats().exit_reason, static_cast<uint32_t>(reason));
  CHECK_CONTAINS(std::string(vmm.stats().exit_message), words);
}

// A13, with signals_that_mean_no_harm_do_none.
TEST(crash_signals_leave_a_reason) {
  check_signal(SIGSYS, VOLLEY_EXIT_JAIL_VIOLATION, "its jail forbids");
  check_signal(SIGBUS, VOLLEY_EXIT_VMM_ERROR, "SIGBUS");
  check_signal(SIGSEGV, VOLLEY_EXIT_VMM_ERROR, "SIGSEGV");
  check_signal(SIGABRT, VOLLEY_EXIT_VMM_ERROR, "aborted");
  check_signal(SIGILL, VOLLEY_EXIT_VMM_ERROR, "SIGILL");
  check_signal(SIGFPE, VOLLEY_EXIT_VMM_ERROR, "SIGFPE");
  check_signal(SIGXCPU, VOLLEY_EXIT_VMM_ERROR, "SIGXCPU");
}

TEST(a_page_file_that_is_cut_ends_the_vmm) {
  VmmProcess vmm({.cmdline = "print=1000000000"});
  REQUIRE(vmm.await_booted());
  REQUIRE(ftruncate(vmm.page_file(), 0) == 0);
  CHECK(vmm.await_end().has_value());
}

TEST(descriptors_that_leak_in_are_closed) {
  const UniqueFd leaked(open("/dev/null", O_RDONLY));
  const int far = fcntl(leaked.get(), F_DUPFD, 200);
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  char path[64];
  for (const int fd : {leaked.get(), far}) {
    char target[64] = "";
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", vmm.pid(), fd);
    const ssize_t length = readlink(path, target, sizeof(target) - 1);
    CHECK(length < 0 || strcmp(target, "/dev/null") != 0);
  }
  close(far);
}

// The canary enters ring 3 with no way to handle a page fault: any access outside what is mapped.
TEST(a_kernel_that_is_not_one_ends_by_triple_fault) {
  // 0x0f 0x0b is an invalid instruction; without an IDT it cannot even be reported.
  char path[] = "/tmp/volley-kernel-XXXXXX";
  const UniqueFd file(mkstemp(path));
  REQUIRE(file.is_open());
  const uint8_t code[] = {0x0f, 0x0b};
  CHECK_EQ(write(file.get(), code, sizeof(code)), static_cast<ssize_t>(sizeof(code)));
  VmmProcess vmm({.kernel_path = path});
  unlink(path);
  const std::optional<ProcessEnd> end = vmm.await_end();
  REQUIRE(end.has_value());
  CHECK_EQ(vmm.stats().exit_reason, static_cast<uint32_t>(VOLLEY_EXIT_TRIPLE_FAULT));
}

}  // namespace
}  // namespace volley::test
