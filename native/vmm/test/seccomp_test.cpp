// The filters as the kernel will run them, interpreted: what they allow is exactly what the rules say, and nothing that
// a jail must not have.
#include "process/seccomp.h"

#include <sys/syscall.h>

#include <cerrno>
#include <set>
#include <string>
#include <vector>

#include "process/seccomp_rules.h"
#include "process/syscall_names.h"
#include "support/check.h"

namespace volley {
namespace {

constexpr uint32_t kX32 = 0x40000000;
constexpr uint32_t kLastCall = 600;  // beyond the last one that exists

struct Kind {
  ThreadKind kind;
  const bpf::Table& table;
  const char* name;
};
const Kind kKinds[] = {
    {ThreadKind::kShell, rules::kShell, "shell"},      {ThreadKind::kControl, rules::kControl, "control"},
    {ThreadKind::kVcpu, rules::kVcpu, "vcpu"},         {ThreadKind::kDeviceLoop, rules::kDeviceLoop, "devices"},
    {ThreadKind::kDiskLoop, rules::kDiskLoop, "disk"},
};

seccomp_data call(uint32_t number, std::vector<uint64_t> arguments = {}) {
  seccomp_data data{};
  data.nr = static_cast<int>(number);
  data.arch = AUDIT_ARCH_X86_64;
  for (size_t i = 0; i < arguments.size(); ++i) data.args[i] = arguments[i];
  return data;
}

// Classic BPF, as far as the assembler uses it. Anything else is a failure of the test.
uint32_t interpret(std::span<const sock_filter> program, const seccomp_data& data,
                   std::set<size_t>* visited = nullptr) {
  uint32_t accumulator = 0;
  for (size_t at = 0; at < program.size(); ++at) {
    const sock_filter& i = program[at];
    if (visited != nullptr) visited->insert(at);
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        CHECK(i.k % 4 == 0 && i.k + 4 <= sizeof(data));
        memcpy(&accumulator, reinterpret_cast<const char*>(&data) + i.k, sizeof(accumulator));
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= i.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += accumulator == i.k ? i.jt : i.jf;
        break;
      case BPF_RET | BPF_K:
        return i.k;
      default:
        check::report(__FILE__, __LINE__, "unknown instruction " + std::to_string(i.code));
        return 0;
    }
  }
  check::report(__FILE__, __LINE__, "the program runs off its end");
  return 0;
}

uint32_t by_table(std::span<const bpf::Rule> table, const seccomp_data& data) {
  for (const bpf::Rule& rule : table) {
    if (rule.call != static_cast<uint32_t>(data.nr)) continue;
    bool met = true;
    for (uint32_t i = 0; i < rule.condition_count; ++i) {
      const bpf::Condition& c = rule.conditions[i];
      met = met && (static_cast<uint32_t>(data.args[c.argument]) & c.mask) == c.value;
    }
    if (met) return rule.refuse_with == 0 ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | rule.refuse_with;
  }
  return SECCOMP_RET_TRAP;
}

seccomp_data call_of(const bpf::Rule& rule) {
  seccomp_data data = call(rule.call);
  for (uint32_t i = 0; i < rule.condition_count; ++i) {
    data.args[rule.conditions[i].argument] |= rule.conditions[i].value;
  }
  return data;
}

// Every number there is and some that are not, with arguments on, beside and far from what the rules look for.
std::vector<seccomp_data> many_calls() {
  std::set<uint64_t> values = {0, 1, 2, 3, 4, 7, 0x80000000, 0xffffffff, ~0ull};
  for (const bpf::Rule& rule : std::span<const bpf::Rule>(rules::kShell)) {
    for (uint32_t i = 0; i < rule.condition_count; ++i) {
      const uint64_t value = rule.conditions[i].value;
      values.insert({value, value + 1, value ^ 0x100, value | (1ull << 33)});
    }
  }
  std::vector<seccomp_data> calls;
  for (uint32_t number = 0; number < kLastCall; ++number) {
    for (const uint64_t value : values) {
      for (size_t argument = 0; argument < 4; ++argument) {
        calls.push_back(call(number));
        calls.back().args[argument] = value;
      }
    }
    calls.push_back(call(number | kX32));
  }
  return calls;
}

TEST(filters_do_what_the_rules_say) {
  const std::vector<seccomp_data> calls = many_calls();
  for (const Kind& kind : kKinds) {
    size_t wrong = 0;
    for (const seccomp_data& data : calls) {
      if (interpret(seccomp_program(kind.kind), data) != by_table(kind.table, data)) ++wrong;
    }
    CHECK_EQ(wrong, 0u);
  }
}

TEST(every_rule_is_needed_and_every_instruction_is_reached) {
  for (const Kind& kind : kKinds) {
    const std::span<const bpf::Rule> table = kind.table;
    std::set<size_t> visited;
    for (size_t i = 0; i < table.size(); ++i) {
      const seccomp_data data = call_of(table[i]);
      CHECK(interpret(seccomp_program(kind.kind), data, &visited) != SECCOMP_RET_TRAP);
      std::vector<bpf::Rule> without(table.begin(), table.end());
      without.erase(without.begin() + static_cast<ptrdiff_t>(i));
      if (by_table(without, data) != SECCOMP_RET_TRAP) {
        check::report(__FILE__, __LINE__,
                      std::string(kind.name) + ": a rule for " + syscall_name(table[i].call) + " is not needed");
      }
      // What no alternative of the call allows.
      seccomp_data odd = call(table[i].call, {0xdeadbeef, 0xdeadbeef, 0xdeadbeef, 0xdeadbeef});
      interpret(seccomp_program(kind.kind), odd, &visited);
    }
    seccomp_data foreign = call(0);
    foreign.arch = AUDIT_ARCH_I386;
    CHECK_EQ(interpret(seccomp_program(kind.kind), foreign, &visited), SECCOMP_RET_KILL_PROCESS);
    interpret(seccomp_program(kind.kind), call(kLastCall), &visited);
    CHECK_EQ(visited.size(), seccomp_program(kind.kind).size());
  }
}

TEST(the_shell_may_do_all_that_threads_may_do_later) {
  for (const Kind& kind : kKinds) {
    for (const bpf::Rule& rule : std::span<const bpf::Rule>(kind.table)) {
      CHECK(interpret(seccomp_program(ThreadKind::kShell), call_of(rule)) != SECCOMP_RET_TRAP);
    }
  }
}

// None of it with any argument, for any thread, at any time.
TEST(what_a_jail_must_not_have_is_refused) {
  const uint32_t kNever[] = {SYS_open,
                             SYS_openat,
                             SYS_openat2,
                             SYS_creat,
                             SYS_open_by_handle_at,
                             SYS_name_to_handle_at,
                             SYS_memfd_create,
                             SYS_stat,
                             SYS_lstat,
                             SYS_access,
                             SYS_faccessat,
                             SYS_readlink,
                             SYS_getdents64,
                             SYS_getcwd,
                             SYS_chdir,
                             SYS_link,
                             SYS_linkat,
                             SYS_unlink,
                             SYS_unlinkat,
                             SYS_rename,
                             SYS_renameat2,
                             SYS_mkdir,
                             SYS_mknod,
                             SYS_mknodat,
                             SYS_symlink,
                             SYS_chmod,
                             SYS_fchmod,
                             SYS_chown,
                             SYS_fchown,
                             SYS_truncate,
                             SYS_utimensat,
                             SYS_inotify_init1,
                             SYS_fanotify_init,
                             SYS_execve,
                             SYS_execveat,
                             SYS_fork,
                             SYS_vfork,
                             SYS_socket,
                             SYS_socketpair,
                             SYS_connect,
                             SYS_bind,
                             SYS_listen,
                             SYS_accept,
                             SYS_setsockopt,
                             SYS_ptrace,
                             SYS_process_vm_readv,
                             SYS_process_vm_writev,
                             SYS_kill,
                             SYS_rt_sigqueueinfo,
                             SYS_rt_tgsigqueueinfo,
                             SYS_pidfd_open,
                             SYS_pidfd_getfd,
                             SYS_pidfd_send_signal,
                             SYS_kcmp,
                             SYS_mount,
                             SYS_umount2,
                             SYS_pivot_root,
                             SYS_chroot,
                             SYS_unshare,
                             SYS_setns,
                             SYS_fsopen,
                             SYS_fsmount,
                             SYS_move_mount,
                             SYS_open_tree,
                             SYS_setuid,
                             SYS_setgid,
                             SYS_setreuid,
                             SYS_setregid,
                             SYS_setresuid,
                             SYS_setresgid,
                             SYS_setgroups,
                             SYS_setfsuid,
                             SYS_capset,
                             SYS_bpf,
                             SYS_perf_event_open,
                             SYS_userfaultfd,
                             SYS_io_uring_setup,
                             SYS_io_uring_enter,
                             SYS_io_setup,
                             SYS_keyctl,
                             SYS_add_key,
                             SYS_request_key,
                             SYS_init_module,
                             SYS_finit_module,
                             SYS_delete_module,
                             SYS_kexec_load,
                             SYS_reboot,
                             SYS_swapon,
                             SYS_sethostname,
                             SYS_setrlimit,
                             SYS_prlimit64,
                             SYS_sched_setaffinity,
                             SYS_sched_setscheduler,
                             SYS_setpriority,
                             SYS_personality,
                             SYS_modify_ldt,
                             SYS_iopl,
                             SYS_ioperm,
                             SYS_quotactl,
                             SYS_acct,
                             SYS_syslog,
                             SYS_clock_settime,
                             SYS_settimeofday,
                             SYS_adjtimex,
                             SYS_shmget,
                             SYS_shmat,
                             SYS_msgget,
                             SYS_semget,
                             SYS_mq_open,
                             SYS_mremap,
                             SYS_remap_file_pages,
                             SYS_pkey_mprotect,
                             SYS_splice,
                             SYS_vmsplice,
                             SYS_tee,
                             SYS_sendfile,
                             SYS_dup,
                             SYS_dup2,
                             SYS_dup3,
                             SYS_pipe,
                             SYS_pipe2,
                             SYS_setsid,
                             SYS_setpgid,
                             SYS_vhangup,
                             SYS_landlock_create_ruleset,
                             SYS_process_madvise,
                             SYS_set_mempolicy,
                             SYS_mbind,
                             SYS_move_pages,
                             SYS_migrate_pages,
                             SYS_timer_create,
                             SYS_setitimer,
                             SYS_alarm,
                             SYS_signalfd4,
                             SYS_arch_prctl};
  for (const uint32_t number : kNever) {
    for (const uint64_t argument : {0ull, 1ull, 2ull, 0x10000ull, ~0ull}) {
      const seccomp_data data = call(number, {argument, argument, argument, argument});
      for (const Kind& kind : kKinds) {
        if (interpret(seccomp_program(kind.kind), data) == SECCOMP_RET_TRAP) continue;
        check::report(__FILE__, __LINE__, std::string(kind.name) + " may call " + syscall_name(number));
      }
    }
  }
}

void check_refused_by_all(const seccomp_data& data, bool shell_too = true) {
  for (const Kind& kind : kKinds) {
    if (kind.kind == ThreadKind::kShell && !shell_too) continue;
    CHECK_EQ(interpret(seccomp_program(kind.kind), data), SECCOMP_RET_TRAP);
  }
}

TEST(arguments_are_looked_at) {
  check_refused_by_all(call(SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC}));
  check_refused_by_all(call(SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC}));
  check_refused_by_all(call(SYS_mprotect, {0, 4096, PROT_EXEC}));
  check_refused_by_all(call(SYS_clone, {SIGCHLD}));
  check_refused_by_all(call(SYS_clone, {rules::kThread & ~CLONE_THREAD}));
  check_refused_by_all(call(SYS_clone, {rules::kThread | CLONE_NEWUSER}));
  check_refused_by_all(call(SYS_ioctl, {0, TUNSETIFF}));
  check_refused_by_all(call(SYS_ioctl, {0, 0x5412}));  // TIOCSTI
  check_refused_by_all(call(SYS_ioctl, {0, KVM_SET_GSI_ROUTING}));
  check_refused_by_all(call(SYS_tkill, {1, SIGKILL}));
  check_refused_by_all(call(SYS_tgkill, {1, 1, SIGKILL}));
  check_refused_by_all(call(SYS_tgkill, {1, 1, SIGSYS}));
  check_refused_by_all(call(SYS_madvise, {0, 4096, 12}));  // MADV_MERGEABLE: how one guest spies on another
  check_refused_by_all(call(SYS_prctl, {PR_SET_SECCOMP}));
  check_refused_by_all(call(SYS_prctl, {PR_SET_DUMPABLE, 1}));
  check_refused_by_all(call(SYS_rt_sigaction, {SIGSYS}));
  check_refused_by_all(call(SYS_rt_sigaction, {SIGSEGV}));
  check_refused_by_all(call(SYS_fcntl, {0, F_DUPFD}));
  check_refused_by_all(call(SYS_fcntl, {0, F_SETOWN}));
  check_refused_by_all(call(SYS_seccomp, {SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER}));
  // The way of the 32-bit world, and of x32.
  check_refused_by_all(call(SYS_read | kX32));
}

TEST(once_the_guest_runs_nothing_can_be_made_any_more) {
  for (const uint32_t number : {SYS_mmap, SYS_mprotect, SYS_munmap, SYS_brk, SYS_clone, SYS_clone3, SYS_seccomp,
                                SYS_eventfd2, SYS_epoll_create1, SYS_timerfd_create, SYS_sigaltstack, SYS_rt_sigaction,
                                SYS_fstat, SYS_newfstatat, SYS_prctl, SYS_membarrier}) {
    check_refused_by_all(call(number), false);
    check_refused_by_all(call(number, {rules::kThread}), false);
    check_refused_by_all(call(number, {PR_SET_NAME}), false);
  }
  const std::vector<unsigned long> kSetUpOnly = {KVM_CREATE_VM, KVM_CREATE_VCPU, KVM_SET_REGS,
                                                 KVM_IOEVENTFD, KVM_ENABLE_CAP,  TUNSETVNETHDRSZ};
  for (const unsigned long request : kSetUpOnly) {
    check_refused_by_all(call(SYS_ioctl, {0, request}), false);
  }
  for (const Kind& kind : kKinds) {
    const bool runs = interpret(seccomp_program(kind.kind), call(SYS_ioctl, {0, KVM_RUN})) == SECCOMP_RET_ALLOW;
    CHECK_EQ(runs, kind.kind == ThreadKind::kVcpu || kind.kind == ThreadKind::kShell);
  }
  // A vCPU's thread reads and writes no file but what it has, and talks to nobody.
  for (const uint32_t number : {SYS_read, SYS_readv, SYS_preadv, SYS_sendmsg, SYS_recvmsg, SYS_accept4, SYS_close}) {
    CHECK_EQ(interpret(seccomp_program(ThreadKind::kVcpu), call(number)), SECCOMP_RET_TRAP);
  }
}

TEST(calls_have_names) {
  CHECK_EQ(std::string(syscall_name(SYS_read)), "read");
  CHECK_EQ(std::string(syscall_name(SYS_openat)), "openat");
  CHECK_EQ(std::string(syscall_name(SYS_rseq)), "rseq");
  CHECK_EQ(std::string(syscall_name(SYS_pidfd_send_signal)), "pidfd_send_signal");
  CHECK_EQ(std::string(syscall_name(SYS_futex_waitv)), "futex_waitv");
  for (const uint64_t unknown : {335ull, 400ull, 423ull, 470ull, 5000ull, ~0ull})
    CHECK(syscall_name(unknown) == nullptr);
}

}  // namespace
}  // namespace volley
