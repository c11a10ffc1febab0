// Makes of the VMM one that tries to break out: linked in front of the calls that put threads behind their filters, it
// does one forbidden thing right after. Which one, and on which thread, the environment says:
// VOLLEY_PROBE=thread:attempt. Who is not stopped leaves with exit code 100 + errno, 100 for success.
#include <fcntl.h>
#include <linux/kvm.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "process/seccomp.h"

namespace {

constexpr int kSuccess = 100;
constexpr unsigned long kCloneNewUser = 0x10000000;
constexpr unsigned long kUnknownRequest = 0xdead;

long connect_to_internet() {
  const long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return fd;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(80);
  address.sin_addr.s_addr = htonl(0x01010101);
  return syscall(SYS_connect, fd, &address, sizeof(address));
}

// A name that the test listens on, in its own network namespace.
long connect_to_neighbour() {
  const long fd = syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return fd;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const char* name = getenv("VOLLEY_PROBE_NEIGHBOUR");
  if (name == nullptr) return -1;
  strncpy(address.sun_path + 1, name, sizeof(address.sun_path) - 2);
  return syscall(SYS_connect, fd, &address, static_cast<unsigned>(offsetof(sockaddr_un, sun_path) + 1 + strlen(name)));
}

long host_pid() {
  const char* pid = getenv("VOLLEY_PROBE_PID");
  return pid == nullptr ? 1 : strtol(pid, nullptr, 10);
}

// At the start of its program: somewhere readable in any process without address randomisation, or a fault there.
long peek() {
  char byte;
  const iovec local{&byte, 1};
  const iovec remote{reinterpret_cast<void*>(0x400000), 1};
  return syscall(SYS_process_vm_readv, host_pid(), &local, 1, &remote, 1, 0);
}

long fork_one() {
  const long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(0);
  return child;
}

// As many processes as there may be; 0 only if it never came to an end.
long fork_bomb() {
  for (int i = 0; i < 1000; ++i) {
    const long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
      for (;;) pause();
    }
    if (child < 0) return child;
  }
  return 0;
}

long raise_limit() {
  const rlimit more{1 << 20, 1 << 20};
  return syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &more, nullptr);
}

// The handler that would report it.
long disarm_the_alarm() {
  struct {
    void* handler;
    unsigned long flags;
    void* restorer;
    unsigned long mask;
  } const ignore{reinterpret_cast<void*>(1), 0, nullptr, 0};
  return syscall(SYS_rt_sigaction, SIGSYS, &ignore, nullptr, 8);
}

// With the alarm blocked the kernel kills.
long violate_with_alarm_blocked() {
  const unsigned long everything = ~0ul;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &everything, nullptr, 8);
  return syscall(SYS_getppid);
}

long executable_memory() {
  void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? -1 : 0;
}

long execute_data() {
  static char page[8192];
  const auto address = (reinterpret_cast<unsigned long>(page) + 4095) & ~4095ul;
  return mprotect(reinterpret_cast<void*>(address), 4096, PROT_READ | PROT_EXEC);
}

long write_a_file() { return syscall(SYS_openat, AT_FDCWD, "/file", O_CREAT | O_WRONLY, 0600); }

long find_a_file() {
  const long fd = syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY);
  if (fd < 0) return fd;
  char entries[1024];
  // "." and ".." take 48 bytes.
  if (syscall(SYS_getdents64, fd, entries, sizeof(entries)) > 48) return 0;
  errno = ENOENT;
  return -1;
}

char* const kNoStrings[] = {nullptr};

struct Attempt {
  const char* name;
  long (*make)();
};
const Attempt kAttempts[] = {
    {"openat", [] { return syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY); }},
    {"open", [] { return syscall(SYS_open, "/proc/self/status", O_RDONLY); }},
    {"up", [] { return syscall(SYS_openat, AT_FDCWD, "../../../../../../../../../../../../etc/passwd", O_RDONLY); }},
    {"create", write_a_file},
    {"list", find_a_file},
    {"mkdir", [] { return syscall(SYS_mkdir, "/folder", 0700); }},
    {"mknod", [] { return syscall(SYS_mknod, "/kmem", 0020600, (1 << 8) | 2); }},
    {"socket", connect_to_internet},
    {"neighbour", connect_to_neighbour},
    {"ptrace", [] { return syscall(SYS_ptrace, PTRACE_ATTACH, host_pid(), 0, 0); }},
    {"peek", peek},
    {"kill", [] { return syscall(SYS_kill, host_pid(), 0); }},
    {"tkill", [] { return syscall(SYS_tkill, host_pid(), SIGTERM); }},
    {"fork", fork_one},
    {"forkbomb", fork_bomb},
    {"vfork", [] { return syscall(SYS_clone, 0x4100 | SIGCHLD, 0, 0, 0, 0); }},
    {"execve", [] { return syscall(SYS_execve, "/bin/sh", kNoStrings, kNoStrings); }},
    {"mount", [] { return syscall(SYS_mount, "none", "/", "tmpfs", 0, nullptr); }},
    {"remount", [] { return syscall(SYS_mount, nullptr, "/", nullptr, 32, nullptr); }},  // MS_REMOUNT, writable
    {"umount", [] { return syscall(SYS_umount2, "/", 2); }},
    {"chroot", [] { return syscall(SYS_chroot, "/"); }},
    {"unshare", [] { return syscall(SYS_unshare, 0x20000); }},  // CLONE_NEWNS
    {"newuser", [] { return syscall(SYS_clone, kCloneNewUser | SIGCHLD, 0, 0, 0, 0); }},
    {"setuid", [] { return syscall(SYS_setuid, 0); }},
    {"setgid", [] { return syscall(SYS_setgid, 0); }},
    {"sethostname", [] { return syscall(SYS_sethostname, "mine", 4); }},
    {"prlimit", raise_limit},
    {"mmap", executable_memory},
    {"mprotect", execute_data},
    {"ioctl", [] { return syscall(SYS_ioctl, 0, kUnknownRequest, 0); }},
    {"create_vm", [] { return syscall(SYS_ioctl, 0, KVM_CREATE_VM, 0); }},
    {"rt_sigaction", disarm_the_alarm},
    {"blocked", violate_with_alarm_blocked},
    {"bpf", [] { return syscall(SYS_bpf, 0, nullptr, 0); }},
    {"userfaultfd", [] { return syscall(SYS_userfaultfd, 0); }},
    {"io_uring_setup", [] { return syscall(SYS_io_uring_setup, 1, nullptr); }},
    {"x32", [] { return syscall(0x40000000 | SYS_getpid); }},
    // The way into the kernel of 32-bit programs, where 20 is getpid.
    {"int80",
     [] {
       long result = 20;
       asm volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
       return result;
     }},
};

void try_it(const char* thread) {
  const char* what = getenv("VOLLEY_PROBE");
  const size_t length = strlen(thread);
  if (what == nullptr || strncmp(what, thread, length) != 0 || what[length] != ':') return;
  for (const Attempt& attempt : kAttempts) {
    if (strcmp(attempt.name, what + length + 1) != 0) continue;
    errno = 0;
    const long result = attempt.make();
    syscall(SYS_exit_group, result >= 0 ? kSuccess : kSuccess + errno);
  }
  syscall(SYS_exit_group, 99);
}

}  // namespace

// What the linker puts in place of volley::begin_seccomp() and volley::enter_seccomp(), and those themselves.
extern "C" {
volley::Status __real__ZN6volley13begin_seccompEv();
volley::Status __wrap__ZN6volley13begin_seccompEv();
volley::Status __real__ZN6volley13enter_seccompENS_10ThreadKindE(volley::ThreadKind kind);
volley::Status __wrap__ZN6volley13enter_seccompENS_10ThreadKindE(volley::ThreadKind kind);
}

volley::Status __wrap__ZN6volley13begin_seccompEv() {
  volley::Status status = __real__ZN6volley13begin_seccompEv();
  try_it("shell");
  return status;
}

volley::Status __wrap__ZN6volley13enter_seccompENS_10ThreadKindE(volley::ThreadKind kind) {
  volley::Status status = __real__ZN6volley13enter_seccompENS_10ThreadKindE(kind);
  constexpr const char* kNames[] = {"shell", "control", "vcpu", "devices", "disk"};
  try_it(kNames[static_cast<int>(kind)]);
  return status;
}
