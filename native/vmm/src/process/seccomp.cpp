#include "process/seccomp.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "process/bpf.h"
#include "process/seccomp_rules.h"

namespace volley {
namespace {

// The kernel sends SIGSYS, and the handler writes down which call it was (process/crash_handlers.h). A thread that has
// blocked or spoilt that signal is killed with it.
constexpr uint32_t kViolation = SECCOMP_RET_TRAP;

constexpr bpf::Program kPrograms[] = {
    bpf::assemble(rules::kShell, kViolation),    bpf::assemble(rules::kControl, kViolation),
    bpf::assemble(rules::kVcpu, kViolation),     bpf::assemble(rules::kDeviceLoop, kViolation),
    bpf::assemble(rules::kDiskLoop, kViolation),
};
static_assert(rules::kShell.sound && kPrograms[0].sound && kPrograms[1].sound && kPrograms[2].sound &&
              kPrograms[3].sound && kPrograms[4].sound);
static_assert(static_cast<int>(ThreadKind::kShell) == 0 && static_cast<int>(ThreadKind::kControl) == 1 &&
              static_cast<int>(ThreadKind::kVcpu) == 2 && static_cast<int>(ThreadKind::kDeviceLoop) == 3 &&
              static_cast<int>(ThreadKind::kDiskLoop) == 4);

// Written once, while there is one thread.
bool begun = false;

Status install(ThreadKind kind) {
  const bpf::Program& program = kPrograms[static_cast<int>(kind)];
  const sock_fprog filter{program.length, const_cast<sock_filter*>(program.instructions.data())};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
    return Status::system_error(errno, "cannot put a thread behind its filter of system calls");
  }
  return Status::ok();
}

}  // namespace

std::span<const sock_filter> seccomp_program(ThreadKind kind) { return kPrograms[static_cast<int>(kind)].code(); }

bool seccomp_is_possible() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return false;
#else
  return true;
#endif
}

Status begin_seccomp() {
  // Without it a filter needs CAP_SYS_ADMIN.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Status::system_error(errno, "no_new_privs");
  if (Status status = install(ThreadKind::kShell); !status.is_ok()) return status;
  begun = true;
  return Status::ok();
}

Status enter_seccomp(ThreadKind kind) { return begun ? install(kind) : Status::ok(); }

}  // namespace volley
