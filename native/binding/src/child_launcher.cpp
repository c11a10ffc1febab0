#include "child_launcher.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "volley_abi.h"

namespace volley {
namespace {

// Slots lie above every number that a VMM inherits, so that filling 0..3 never overwrites a source.
constexpr int kFirstSlot = 16;

enum Slot : size_t { kNull, kExecutable, kBirth };

// Room for an id of VOLLEY_ID_MAX - 1 bytes.
constexpr char kBlankId[] = "shell                                                          ";
static_assert(sizeof kBlankId == VOLLEY_ID_MAX);

// Shared by agent and child until exec. The child only reads it, but for the two fields that report a failure.
struct Errand {
  std::array<int, 3> slots{};
  int line = 0;  // the highest slot: descriptors above belong to the agent alone
  const char* const* arguments = nullptr;
  const char* volatile failed_call = nullptr;
  volatile int error = 0;
};

// Between clone and exec only these raw calls are used: glibc's wrappers write errno, which lies in memory shared with
// the agent, and sanitizers cannot follow a thread of execution they have not seen being born.
#define VOLLEY_CHILD_CODE __attribute__((no_sanitize("address", "thread", "undefined"))) static

VOLLEY_CHILD_CODE inline long Call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  long result = 0;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
               : "rcx", "r11", "memory");
  return result;
}

// The kernel's struct sigaction, which differs from glibc's.
struct KernelSigaction {
  void* handler;
  unsigned long flags;
  void* restorer;
  uint64_t mask;
};

VOLLEY_CHILD_CODE void Abandon(Errand* errand, const char* call, long result) {
  errand->failed_call = call;
  errand->error = static_cast<int>(-result);
  for (;;) Call(SYS_exit_group, 127);
}

// An agent that comes before its guests, by the kernel's choice of whom to kill or by its nice value, would hand that
// on to every one of them. What it was made to give up, in contrast, they give up too. Without /proc there is nothing
// to undo.
VOLLEY_CHILD_CODE void GiveUpPrecedence() {
  // The system call returns 20 - nice, so that no value looks like an error.
  constexpr long kNiceZero = 20;
  if (Call(SYS_getpriority, PRIO_PROCESS, 0) > kNiceZero) Call(SYS_setpriority, PRIO_PROCESS, 0, 0);

  const char score[] = "/proc/self/oom_score_adj";
  const long fd = Call(SYS_openat, AT_FDCWD, reinterpret_cast<long>(score), O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  char sign = 0;
  const char zero[] = "0";
  if (Call(SYS_pread64, fd, reinterpret_cast<long>(&sign), 1, 0) == 1 && sign == '-') {
    Call(SYS_pwrite64, fd, reinterpret_cast<long>(zero), 1, 0);
  }
  Call(SYS_close, fd);
}

VOLLEY_CHILD_CODE void RunChild(Errand* errand) {
  long result = Call(SYS_close_range, errand->line + 1, static_cast<long>(~0u), CLOSE_RANGE_UNSHARE);
  if (result < 0) Abandon(errand, "close_range", result);

  // A session of its own: no terminal, and no hang-up signal when the agent's session ends.
  if ((result = Call(SYS_setsid)) < 0) Abandon(errand, "setsid", result);
  const char root[] = "/";
  if ((result = Call(SYS_chdir, reinterpret_cast<long>(root))) < 0) Abandon(errand, "chdir", result);

  // No core files: they would carry a tenant's memory to the host's disk.
  const rlimit none{0, 0};
  Call(SYS_prlimit64, 0, RLIMIT_CORE, reinterpret_cast<long>(&none), 0);

  GiveUpPrecedence();

  // Handlers are gone already (CLONE_CLEAR_SIGHAND); this undoes what Node ignores, which would survive exec.
  const KernelSigaction by_default{};
  for (int signal = 1; signal <= 64; ++signal) {
    Call(SYS_rt_sigaction, signal, reinterpret_cast<long>(&by_default), 0, sizeof(uint64_t));
  }

  for (int fd = 0; fd <= 2; ++fd) {
    if ((result = Call(SYS_dup2, errand->slots[kNull], fd)) < 0) Abandon(errand, "dup2", result);
  }
  if ((result = Call(SYS_dup2, errand->slots[kBirth], VOLLEY_FD_BIRTH)) < 0) Abandon(errand, "dup2", result);

  const long executable = errand->slots[kExecutable];
  if ((result = Call(SYS_close_range, VOLLEY_FD_BIRTH + 1, executable - 1)) < 0) Abandon(errand, "close_range", result);
  if ((result = Call(SYS_close_range, executable + 1, static_cast<long>(~0u))) < 0) {
    Abandon(errand, "close_range", result);
  }

  const uint64_t no_signals = 0;
  result = Call(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&no_signals), 0, sizeof no_signals);
  if (result < 0) Abandon(errand, "sigprocmask", result);

  const char* const no_environment[] = {nullptr};
  const char here[] = "";
  result = Call(SYS_execveat, executable, reinterpret_cast<long>(here), reinterpret_cast<long>(errand->arguments),
                reinterpret_cast<long>(no_environment), AT_EMPTY_PATH);
  Abandon(errand, "execveat", result);
}

// clone3 gives the child a stack of its own, so it cannot return from a C function: it is sent straight into RunChild.
VOLLEY_CHILD_CODE long CloneInto(clone_args* arguments, Errand* errand) {
  long result = 0;
  register void (*entry)(Errand*) asm("r8") = RunChild;
  register Errand* argument asm("r9") = errand;
  asm volatile(
      "syscall\n\t"
      "testq %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xorl %%ebp, %%ebp\n\t"
      "movq %%r9, %%rdi\n\t"
      "callq *%%r8\n\t"
      "ud2\n"
      "1:"
      : "=a"(result)
      : "a"(static_cast<long>(SYS_clone3)), "D"(arguments), "S"(sizeof *arguments), "r"(entry), "r"(argument)
      : "rcx", "r11", "memory");
  return result;
}

// Fills a launcher's slots for one spawn and empties them again: a slot left filled would keep a dead microVM's
// socket open.
class FilledSlots {
 public:
  FilledSlots(const std::array<UniqueFd, 3>& slots, int null) : slots_(slots), null_(null) {}
  ~FilledSlots() {
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (filled_[i]) dup3(null_, slots_[i].get(), O_CLOEXEC);
    }
  }
  FilledSlots(const FilledSlots&) = delete;
  FilledSlots& operator=(const FilledSlots&) = delete;

  bool Fill(Slot slot, int fd) {
    if (fd < 0) return true;
    filled_[slot] = true;
    return dup3(fd, slots_[slot].get(), O_CLOEXEC) >= 0;
  }

 private:
  const std::array<UniqueFd, 3>& slots_;
  const int null_;
  std::array<bool, 3> filled_{};
};

}  // namespace

Result<std::unique_ptr<ChildLauncher>> ChildLauncher::Make() {
  std::unique_ptr<ChildLauncher> launcher(new ChildLauncher());
  launcher->null_ = UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!launcher->null_.is_open()) return FailedCall(errno, "cannot open /dev/null");
  for (UniqueFd& slot : launcher->slots_) {
    slot = UniqueFd(fcntl(launcher->null_.get(), F_DUPFD_CLOEXEC, kFirstSlot));
    if (!slot.is_open()) return FailedCall(errno, "cannot reserve descriptors for starting VMMs");
  }
  void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return FailedCall(errno, "cannot map a stack for starting VMMs");
  launcher->stack_ = stack;
  return launcher;
}

ChildLauncher::~ChildLauncher() {
  if (stack_ != nullptr) munmap(stack_, kStackBytes);
}

Result<Child> ChildLauncher::Spawn(const ChildOrder& order) {
  FilledSlots filled(slots_, null_.get());
  if (!filled.Fill(kExecutable, order.executable) || !filled.Fill(kBirth, order.birth)) {
    return FailedCall(errno, "cannot lend descriptors to a VMM");
  }

  const char* const argv[] = {kVmmTitle, kBlankId, nullptr};
  Errand errand;
  for (size_t i = 0; i < kSlots; ++i) {
    errand.slots[i] = slots_[i].get();
    errand.line = std::max(errand.line, slots_[i].get());
  }
  errand.arguments = argv;

  int pidfd = -1;
  clone_args arguments{};
  arguments.flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
  arguments.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  arguments.exit_signal = SIGCHLD;
  arguments.stack = reinterpret_cast<uint64_t>(stack_);
  arguments.stack_size = kStackBytes;
  if (order.own_pids) arguments.flags |= CLONE_NEWPID;
  if (order.cgroup >= 0) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<uint64_t>(order.cgroup);
  }

  const long pid = CloneInto(&arguments, &errand);
  if (pid < 0) return FailedCall(static_cast<int>(-pid), "the kernel refused a new process (clone3)");

  Child child{static_cast<pid_t>(pid), UniqueFd(pidfd)};
  if (errand.failed_call != nullptr) {
    const int error = errand.error;
    siginfo_t ended{};
    while (waitid(P_PIDFD, static_cast<id_t>(child.pidfd.get()), &ended, WEXITED | __WALL) < 0 && errno == EINTR) {
    }
    return FailedCall(error, std::string("the new process could not become a VMM (") + errand.failed_call + ")");
  }
  return child;
}

}  // namespace volley
