#include "process/crash_handlers.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>

#include "base/clock.h"
#include "stats/page_file.h"

namespace volley {
namespace {

constexpr size_t kCrashStackBytes = 16 * 1024;

volley_stats* crash_stats = nullptr;
// In .bss: costs nothing until a handler runs.
alignas(16) uint8_t crash_stacks[kCrashStacks][kCrashStackBytes];

struct Crash {
  int signal;
  volley_exit_reason reason;
  const char* sentence;
};
constexpr Crash kCrashes[] = {
    {SIGSYS, VOLLEY_EXIT_JAIL_VIOLATION, "the VMM made a system call that its jail forbids"},
    {SIGBUS, VOLLEY_EXIT_VMM_ERROR, "the VMM got SIGBUS: no memory behind a mapping, or the page file was cut"},
    {SIGSEGV, VOLLEY_EXIT_VMM_ERROR, "the VMM got SIGSEGV: a bug in the VMM"},
    {SIGILL, VOLLEY_EXIT_VMM_ERROR, "the VMM got SIGILL: a bug in the VMM"},
    {SIGFPE, VOLLEY_EXIT_VMM_ERROR, "the VMM got SIGFPE: a bug in the VMM"},
    {SIGABRT, VOLLEY_EXIT_VMM_ERROR, "the VMM aborted: a bug in the VMM"},
};

void on_crash(int signal, siginfo_t* info, void*) {
  if (crash_stats == nullptr) _exit(128 + signal);
  volley_stats& stats = *crash_stats;
  for (const Crash& crash : kCrashes) {
    if (crash.signal != signal) continue;
    stats.exit_reason = crash.reason;
    stats.exit_detail =
        signal == SIGSYS && info->si_code > 0 ? static_cast<uint64_t>(info->si_syscall) : static_cast<uint64_t>(signal);
    // Plain loops and stores: nothing here may take a lock.
    size_t i = 0;
    for (; crash.sentence[i] != '\0' && i < sizeof(stats.exit_message) - 1; ++i)
      stats.exit_message[i] = crash.sentence[i];
    stats.exit_message[i] = '\0';
  }
  publish(stats.exited_ns, monotonic_ns());
  publish_state(stats, VOLLEY_VMM_EXITED);
  _exit(1);
}

}  // namespace

void report_crashes_to(volley_stats& stats) { crash_stats = &stats; }

void install_crash_handlers() {
  for (const Crash& crash : kCrashes) {
    struct sigaction action {};
    action.sa_sigaction = on_crash;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND;
    sigaction(crash.signal, &action, nullptr);
  }
}

void use_crash_stack(uint32_t thread) {
  stack_t stack{};
  stack.ss_sp = crash_stacks[thread];
  stack.ss_size = kCrashStackBytes;
  sigaltstack(&stack, nullptr);
}

}  // namespace volley
