#include "process/crash_handlers.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>

#include "base/clock.h"
#include "process/syscall_names.h"
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
    {SIGXCPU, VOLLEY_EXIT_VMM_ERROR, "the VMM got SIGXCPU: somebody has limited its CPU time, and it is used up"},
};

// Plain loops and stores: nothing in a handler may take a lock.
class Sentence {
 public:
  explicit Sentence(char (&to)[VOLLEY_MESSAGE_MAX]) : to_(to) { to_[0] = '\0'; }
  void add(const char* text) {
    for (; *text != '\0' && length_ < VOLLEY_MESSAGE_MAX - 1; ++text) to_[length_++] = *text;
    to_[length_] = '\0';
  }
  void add(uint64_t number) {
    char digits[21];
    char* first = digits + sizeof(digits) - 1;
    *first = '\0';
    do {
      *--first = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    add(first);
  }

 private:
  char (&to_)[VOLLEY_MESSAGE_MAX];
  size_t length_ = 0;
};

void on_crash(int signal, siginfo_t* info, void*) {
  if (crash_stats == nullptr) _exit(128 + signal);
  volley_stats& stats = *crash_stats;
  for (const Crash& crash : kCrashes) {
    if (crash.signal != signal) continue;
    stats.exit_reason = crash.reason;
    stats.exit_detail = static_cast<uint64_t>(signal);
    Sentence sentence(stats.exit_message);
    sentence.add(crash.sentence);
    if (signal != SIGSYS || info->si_code <= 0) continue;  // sent by a process, not by the kernel
    const auto number = static_cast<uint64_t>(info->si_syscall);
    const char* name = syscall_name(number);
    stats.exit_detail = number;
    sentence.add(": ");
    sentence.add(name == nullptr ? "number" : name);
    sentence.add(" (");
    sentence.add(number);
    sentence.add(")");
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
    action.sa_flags = static_cast<int>(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND);
    sigaction(crash.signal, &action, nullptr);
  }
  // A file that may not grow any further fails the guest's request, with EFBIG, not the VMM.
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGXFSZ, &ignore, nullptr);
}

void ignore_harmless_signals() {
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  for (const int signal : {SIGPIPE, SIGXFSZ, SIGHUP}) sigaction(signal, &ignore, nullptr);
}

void use_crash_stack(uint32_t thread) {
  stack_t stack{};
  stack.ss_sp = crash_stacks[thread];
  stack.ss_size = kCrashStackBytes;
  sigaltstack(&stack, nullptr);
}

}  // namespace volley
