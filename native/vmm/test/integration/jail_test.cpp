// The jail from both sides: what /proc says about a jailed VMM, and what one can do that tries to break out.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <set>
#include <sstream>

#include "process/seccomp.h"
#include "support/check.h"
#include "support/vmm_process.h"
#include "void_namespaces.h"

namespace volley::test {
namespace {

constexpr uint32_t kUid = 4'000'017;
constexpr uint32_t kGid = 4'000'018;
constexpr uint32_t kOpenFiles = 100;
constexpr uint64_t kFileBytes = 1 << 20;
constexpr int kNotStopped = 100;

const VoidNamespaces& voids() {
  static const VoidNamespaces made = VoidNamespaces::make();
  return made;
}

// Building the whole jail needs root; without it these tests say so and prove nothing.
bool can_build(const char* test) {
  if (geteuid() == 0 && voids().barriers() == kVoidBarriers) return true;
  std::string why;
  for (const uint32_t barrier :
       {VOLLEY_BARRIER_MOUNTS, VOLLEY_BARRIER_NETWORK, VOLLEY_BARRIER_IPC, VOLLEY_BARRIER_UTS}) {
    if (!voids().why_not(barrier).empty()) why = voids().why_not(barrier);
  }
  fprintf(stderr, "SKIPPED %s: the jail needs root and namespaces (%s)\n", test, why.c_str());
  return false;
}

ShellOptions jailed(uint32_t barriers = VOLLEY_BARRIER_ALL) {
  ShellOptions options;
  options.barriers = barriers;
  options.uid = kUid;
  options.gid = kGid;
  options.open_files = kOpenFiles;
  options.file_bytes = kFileBytes;
  options.namespaces = voids().to_pass(barriers);
  return options;
}

uint32_t possible(uint32_t barriers) { return seccomp_is_possible() ? barriers : barriers & ~VOLLEY_BARRIER_SECCOMP; }

std::string proc(pid_t pid, const std::string& name) { return "/proc/" + std::to_string(pid) + '/' + name; }

std::string read_file(const std::string& path) {
  std::string text;
  FILE* file = fopen(path.c_str(), "re");
  if (file == nullptr) return text;
  char part[4096];
  while (const size_t n = fread(part, 1, sizeof(part), file)) text.append(part, n);
  fclose(file);
  return text;
}

// The words behind "name:" in a status file.
std::vector<std::string> field(const std::string& status, const std::string& name) {
  std::istringstream lines(status);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name + ':')) continue;
    std::istringstream words(line.substr(name.size() + 1));
    std::vector<std::string> found;
    for (std::string word; words >> word;) found.push_back(word);
    return found;
  }
  return {"absent"};
}

std::string link_of(const std::string& path) {
  char target[256];
  const ssize_t length = readlink(path.c_str(), target, sizeof(target));
  return length < 0 ? strerror(errno) : std::string(target, static_cast<size_t>(length));
}

std::vector<std::string> entries(const std::string& path) {
  std::vector<std::string> names;
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return {std::string("cannot open: ") + strerror(errno)};
  while (const dirent* entry = readdir(directory)) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) names.emplace_back(entry->d_name);
  }
  closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

using Words = std::vector<std::string>;

void check_words(const char* file, int line, const Words& found, const Words& expected) {
  std::string a;
  std::string b;
  for (const std::string& word : found) a += word + ' ';
  for (const std::string& word : expected) b += word + ' ';
  check::equal(file, line, "found", "expected", a, b);
}
#define CHECK_WORDS(found, ...) check_words(__FILE__, __LINE__, (found), Words{__VA_ARGS__})

TEST(all_barriers_hold_and_the_guest_boots) {
  if (!can_build("all_barriers_hold_and_the_guest_boots")) return;
  ShellProcess shell(jailed());
  const std::optional<volley_shell_report> report = shell.report();
  REQUIRE(report.has_value());
  CHECK_EQ(std::string(report->message), "");
  CHECK_EQ(report->status, 0);
  CHECK_EQ(report->barriers, possible(VOLLEY_BARRIER_ALL));
  VmmProcess vmm({.vcpus = 2}, std::move(shell));
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.stats().barriers, possible(VOLLEY_BARRIER_ALL));
  CHECK_EQ(static_cast<pid_t>(vmm.stats().pid), vmm.pid());
  CHECK_EQ(vmm.command(VOLLEY_CMD_PAUSE), 0);
  CHECK_EQ(vmm.command(VOLLEY_CMD_RESUME), 0);
  CHECK_EQ(vmm.command(VOLLEY_CMD_STOP), 0);
  const std::optional<ProcessEnd> end = vmm.await_end();
  REQUIRE(end.has_value());
  CHECK_EQ(end->code, 0);
  CHECK_EQ(vmm.stats().exit_reason, static_cast<uint32_t>(VOLLEY_EXIT_POWER_OFF));
}

TEST(no_thread_has_any_right) {
  if (!can_build("no_thread_has_any_right")) return;
  VmmProcess vmm({.vcpus = 3, .shell = jailed()});
  REQUIRE(vmm.await_booted());
  REQUIRE(vmm.await_page([](const volley_stats& stats) { return stats.vcpu_tids[2] != 0; }));
  const std::string uid = std::to_string(kUid);
  const std::string gid = std::to_string(kGid);
  const Words threads = entries(proc(vmm.pid(), "task"));
  CHECK(threads.size() >= 4);
  for (const std::string& thread : threads) {
    // A vCPU thread may still be on its way behind its filter: its last step before the guest.
    const std::string path = proc(vmm.pid(), "task/" + thread + "/status");
    std::string status = read_file(path);
    CHECK_WORDS(field(status, "Uid"), uid, uid, uid, uid);
    CHECK_WORDS(field(status, "Gid"), gid, gid, gid, gid);
    CHECK_WORDS(field(status, "Groups"), );
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
      CHECK_WORDS(field(status, set), "0000000000000000");
    }
    CHECK_WORDS(field(status, "NoNewPrivs"), "1");
    CHECK_WORDS(field(status, "Seccomp"), seccomp_is_possible() ? "2" : "0");
  }
  // In its own pid namespace it is the first process.
  CHECK_WORDS(field(read_file(proc(vmm.pid(), "status")), "NSpid"), std::to_string(vmm.pid()), "1");
}

TEST(every_thread_gets_a_filter_of_its_own) {
  if (!seccomp_is_possible()) return;
  VmmProcess vmm({.vcpus = 2});
  REQUIRE(vmm.await_booted());
  REQUIRE(vmm.await_page([](const volley_stats& stats) { return stats.vcpu_tids[1] != 0; }));
  CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
  for (const std::string& thread : entries(proc(vmm.pid(), "task"))) {
    const std::string path = proc(vmm.pid(), "task/" + thread + "/status");
    // The second vCPU's thread has published its number just before it goes behind its filter.
    CHECK(vmm.await_page([&](const volley_stats&) { return field(read_file(path), "Seccomp_filters") == Words{"2"}; }));
  }
}

TEST(namespaces_are_others_than_ours_and_only_void_ones_are_shared) {
  if (!can_build("namespaces_are_others_than_ours_and_only_void_ones_are_shared")) return;
  VmmProcess first({.shell = jailed()});
  VmmProcess second({.shell = jailed()});
  REQUIRE(first.await_booted() && second.await_booted());
  for (const char* kind : {"mnt", "net", "ipc", "uts", "pid", "user", "cgroup"}) {
    const std::string name = std::string("ns/") + kind;
    CHECK(link_of(proc(first.pid(), name)) != link_of("/proc/self/" + name));
    const bool shared = link_of(proc(first.pid(), name)) == link_of(proc(second.pid(), name));
    const std::set<std::string> kVoid = {"mnt", "net", "ipc", "uts"};
    CHECK_EQ(shared, kVoid.contains(kind));
  }
}

TEST(the_root_is_empty_and_read_only) {
  if (!can_build("the_root_is_empty_and_read_only")) return;
  VmmProcess vmm({.shell = jailed()});
  REQUIRE(vmm.await_booted());
  CHECK_WORDS(entries(proc(vmm.pid(), "root/")), );
  CHECK_WORDS(entries(proc(vmm.pid(), "cwd/")), );
  struct statvfs info {};
  REQUIRE(statvfs(proc(vmm.pid(), "root/").c_str(), &info) == 0);
  constexpr unsigned long kFlags = ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC;
  CHECK_EQ(info.f_flag & kFlags, kFlags);
  const std::string mounts = read_file(proc(vmm.pid(), "mountinfo"));
  CHECK_EQ(std::count(mounts.begin(), mounts.end(), '\n'), 1);
  CHECK_CONTAINS(mounts, " / / ro,nosuid,nodev,noexec");
  // Not even root gets anything in there.
  CHECK(open(proc(vmm.pid(), "root/file").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0);
  CHECK_EQ(errno, EROFS);
}

// Of a process that has made void namespaces in a chroot: 0 when there is nothing in the one of mounts.
int look_around_from_a_chroot(const char* folder) {
  // A mount namespace of its own, and a root folder that is not the root of that.
  if (unshare(CLONE_NEWNS) != 0) return 2;
  const std::string own_proc = std::string(folder) + "/proc";
  const bool built = mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                     mount("tmpfs", folder, "tmpfs", 0, nullptr) == 0 && mkdir(own_proc.c_str(), 0555) == 0 &&
                     mount("/proc", own_proc.c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0 && chroot(folder) == 0;
  if (!built) return 3;
  const VoidNamespaces made = VoidNamespaces::make();
  if (made.barriers() != kVoidBarriers) {
    fprintf(stderr, "mounts: %s\n", made.why_not(VOLLEY_BARRIER_MOUNTS).c_str());
    return 4;
  }
  const std::vector<PassedFd> fds = made.to_pass(VOLLEY_BARRIER_MOUNTS);
  if (fds.size() != 1 || setns(fds[0].fd, CLONE_NEWNS) != 0) return 5;
  return entries("/").empty() ? 0 : 6;
}

TEST(the_root_is_empty_too_when_the_agent_lives_in_a_chroot) {
  if (!can_build("the_root_is_empty_too_when_the_agent_lives_in_a_chroot")) return;
  char folder[] = "/tmp/volley-chroot-XXXXXX";
  REQUIRE(mkdtemp(folder) != nullptr);
  const pid_t child = fork();
  if (child == 0) _exit(look_around_from_a_chroot(folder));
  siginfo_t end{};
  const int waited = waitid(P_PID, static_cast<id_t>(child), &end, WEXITED);
  rmdir(folder);
  REQUIRE(waited == 0);
  CHECK_EQ(end.si_status, 0);
}

TEST(no_interface_is_up) {
  if (!can_build("no_interface_is_up")) return;
  VmmProcess vmm({.shell = jailed()});
  REQUIRE(vmm.await_booted());
  // No address, no route: nothing leads anywhere.
  CHECK_EQ(read_file(proc(vmm.pid(), "net/if_inet6")), "");
  const std::string routes = read_file(proc(vmm.pid(), "net/route"));
  CHECK(std::count(routes.begin(), routes.end(), '\n') <= 1);
  const std::string devices = read_file(proc(vmm.pid(), "net/dev"));
  CHECK_CONTAINS(devices, "lo:");
  CHECK(devices.find("eth") == std::string::npos);
}

TEST(limits_are_those_of_the_order) {
  if (!can_build("limits_are_those_of_the_order")) return;
  VmmProcess vmm({.shell = jailed()});
  REQUIRE(vmm.await_booted());
  const std::string limits = read_file(proc(vmm.pid(), "limits"));
  const auto limit = [&limits](const char* name) {
    const size_t at = limits.find(name);
    if (at == std::string::npos) return std::string("absent");
    std::istringstream words(limits.substr(at + 26));
    std::string soft;
    std::string hard;
    words >> soft >> hard;
    return soft == hard ? soft : soft + '/' + hard;
  };
  CHECK_EQ(limit("Max open files"), std::to_string(kOpenFiles));
  CHECK_EQ(limit("Max file size"), std::to_string(kFileBytes));
  CHECK_EQ(limit("Max core file size"), "0");
  CHECK_EQ(limit("Max locked memory"), "0");
  CHECK_EQ(limit("Max msgqueue size"), "0");
  CHECK_EQ(limit("Max realtime priority"), "0");
  CHECK_EQ(limit("Max processes"), std::to_string(1 + VOLLEY_MAX_VCPUS + VOLLEY_MAX_DEVICES + 1 + 8));
}

TEST(only_what_the_microvm_uses_is_open) {
  const UniqueFd leaked(open("/etc/passwd", O_RDONLY));  // not close-on-exec
  REQUIRE(leaked.is_open());
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
  std::multiset<std::string> found;
  for (const std::string& fd : entries(proc(vmm.pid(), "fd"))) {
    const std::string target = link_of(proc(vmm.pid(), "fd/" + fd));
    if (fd == "0" || fd == "1" || fd == "2") continue;  // the test's own, with an agent /dev/null
    found.insert(target.substr(0, target.find(target.starts_with("/") ? "\n" : "[")));
  }
  std::string all;
  for (const std::string& one : found) all += one + '\n';
  // /dev/kvm, the VM, one vCPU, the control socket and the agent's connection to it, eventfds: no kernel, no page file,
  // no socket of birth.
  CHECK_EQ(found.count("/dev/kvm"), 1u);
  CHECK_EQ(found.count("anon_inode:kvm-vm"), 1u);
  CHECK_EQ(found.count("anon_inode:kvm-vcpu:0"), 1u);
  CHECK_EQ(found.count("socket:"), 2u);
  for (const char* gone : {"canary", "pages", "passwd"}) CHECK(all.find(gone) == std::string::npos);
  CHECK(found.size() <= 7);
  if (found.size() > 7) fprintf(stderr, "%s", all.c_str());
}

TEST(no_memory_is_both_writable_and_executable) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  const std::string maps = read_file(proc(vmm.pid(), "maps"));
  CHECK(!maps.empty());
  CHECK(maps.find(" rwx") == std::string::npos);
}

TEST(a_barrier_that_cannot_be_put_up_is_named) {
  if (!can_build("a_barrier_that_cannot_be_put_up_is_named")) return;
  const auto check_refusal = [](const ShellOptions& options, uint32_t barrier, const char* words) {
    ShellProcess shell(options);
    const std::optional<volley_shell_report> report = shell.report();
    REQUIRE(report.has_value());
    CHECK(report->status != 0);
    CHECK_EQ(report->failed, barrier);
    CHECK_CONTAINS(std::string(report->message), words);
    CHECK_EQ(report->barriers & barrier, 0u);
    siginfo_t end{};
    REQUIRE(waitid(P_PID, static_cast<id_t>(shell.pid), &end, WEXITED) == 0);
    shell.pid = -1;
    CHECK_EQ(end.si_status, 1);
  };
  ShellOptions without = jailed();
  without.namespaces.clear();
  check_refusal(without, VOLLEY_BARRIER_NETWORK, "network: its namespace did not come");
  ShellOptions wrong = jailed();
  wrong.namespaces[0].fd = wrong.namespaces[1].fd;
  check_refusal(wrong, VOLLEY_BARRIER_MOUNTS, "mounts: setns: Invalid argument");
  ShellOptions full = jailed();
  const UniqueFd ours(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
  for (PassedFd& one : full.namespaces) {
    if (one.role == VOLLEY_ROLE_NS_MOUNT) one.fd = ours.get();
  }
  check_refusal(full, VOLLEY_BARRIER_MOUNTS, "mounts: its root is not an empty, read-only tmpfs");
  ShellOptions nobody = jailed();
  nobody.uid = 0xffffffff;
  check_refusal(nobody, VOLLEY_BARRIER_IDS, "ids: the user is not");
  ShellOptions unknown = jailed();
  unknown.barriers |= 0x8000;
  check_refusal(unknown, 0, "barriers 0x87ff");
}

TEST(without_rights_there_is_still_a_jail) {
  if (geteuid() != 0) return;  // then every other test is this one
  const UniqueFd kvm(open("/dev/kvm", O_RDWR | O_CLOEXEC));
  const pid_t child = fork();
  if (child == 0) {
    if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) _exit(2);
    ShellOptions options;
    options.barriers =
        VOLLEY_BARRIER_USER | VOLLEY_BARRIER_CAPABILITIES | VOLLEY_BARRIER_RLIMITS | VOLLEY_BARRIER_SECCOMP;
    ShellProcess shell(options);
    const std::optional<volley_shell_report> report = shell.report();
    if (!report || report->status != 0) _exit(3);
    const std::string status = read_file(proc(shell.pid, "status"));
    _exit(field(status, "CapBnd") == Words{"0000000000000000"} && field(status, "NoNewPrivs") == Words{"1"} ? 0 : 4);
  }
  siginfo_t end{};
  REQUIRE(waitid(P_PID, static_cast<id_t>(child), &end, WEXITED) == 0);
  if (end.si_status == 3) {
    fprintf(stderr, "SKIPPED without_rights_there_is_still_a_jail: no user namespaces for users here\n");
    return;
  }
  CHECK_EQ(end.si_status, 0);
}

TEST(a_shell_ends_with_its_agent_and_is_silent) {
  ShellProcess shell({});
  REQUIRE(shell.report().has_value());
  shell.socket.reset();
  siginfo_t end{};
  REQUIRE(waitid(P_PID, static_cast<id_t>(shell.pid), &end, WEXITED) == 0);
  shell.pid = -1;
  CHECK_EQ(end.si_code, CLD_EXITED);
  CHECK_EQ(end.si_status, 0);
}

TEST(a_shell_that_gets_nonsense_ends) {
  ShellProcess shell({});
  REQUIRE(shell.report().has_value());
  REQUIRE(send(shell.socket.get(), "nonsense", 8, 0) == 8);
  siginfo_t end{};
  REQUIRE(waitid(P_PID, static_cast<id_t>(shell.pid), &end, WEXITED) == 0);
  shell.pid = -1;
  CHECK_EQ(end.si_status, 1);
}

TEST(signals_that_mean_no_harm_do_none) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  for (const int signal : {SIGPIPE, SIGXFSZ, SIGHUP, SIGUSR1}) CHECK_EQ(kill(vmm.pid(), signal), 0);
  CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
}

// ---- From inside ----

ShellOptions probing(const char* thread, const char* attempt, uint32_t barriers) {
  ShellOptions options = jailed(barriers);
  options.vmm_path = VOLLEY_PROBE_PATH;
  options.environment = {std::string("VOLLEY_PROBE=") + thread + ':' + attempt,
                         "VOLLEY_PROBE_PID=" + std::to_string(getpid())};
  return options;
}

constexpr uint64_t kDiskBytes = 1 << 20;

// In memory: nothing is left of it.
const UniqueFd& disk() {
  static const UniqueFd file = [] {
    UniqueFd made(memfd_create("disk", MFD_CLOEXEC));
    if (ftruncate(made.get(), static_cast<off_t>(kDiskBytes)) != 0) made.reset();
    return made;
  }();
  return file;
}

// A microVM with a thread of every kind.
LaunchOptions with_devices(ShellOptions shell) {
  LaunchOptions options;
  options.mutate = [](volley_config& config) {
    config.device_count = 2;
    config.devices[0].type = VOLLEY_DEVICE_RNG;
    config.devices[1].type = VOLLEY_DEVICE_BLOCK;
    config.devices[1].flags = VOLLEY_BLOCK_READ_ONLY;
    config.devices[1].size = kDiskBytes;
  };
  options.descriptors = {{VOLLEY_ROLE_DEVICE_FIRST + 2, disk().get()}};
  options.shell = std::move(shell);
  return options;
}

void check_violation(const char* thread, const char* attempt, uint64_t call, const char* name, uint32_t barriers) {
  VmmProcess vmm(with_devices(probing(thread, attempt, barriers)));
  const std::optional<ProcessEnd> end = vmm.await_end();
  REQUIRE(end.has_value());
  CHECK(end->exited);
  const std::string message = vmm.stats().exit_message;
  const std::string expected = std::string("its jail forbids: ") + name + " (" + std::to_string(call) + ")";
  if (vmm.stats().exit_reason != VOLLEY_EXIT_JAIL_VIOLATION || vmm.stats().exit_detail != call ||
      vmm.state() != VOLLEY_VMM_EXITED || message.find(expected) == std::string::npos || end->code != 1) {
    check::report(__FILE__, __LINE__,
                  std::string(thread) + " was not stopped at " + attempt + ": exit code " + std::to_string(end->code) +
                      ", \"" + message + "\"");
  }
}

struct Forbidden {
  const char* attempt;
  long call;
  const char* name;
};
const Forbidden kForbidden[] = {
    {"openat", SYS_openat, "openat"},
    {"open", SYS_open, "open"},
    {"create", SYS_openat, "openat"},
    {"mkdir", SYS_mkdir, "mkdir"},
    {"mknod", SYS_mknod, "mknod"},
    {"socket", SYS_socket, "socket"},
    {"ptrace", SYS_ptrace, "ptrace"},
    {"peek", SYS_process_vm_readv, "process_vm_readv"},
    {"kill", SYS_kill, "kill"},
    {"tkill", SYS_tkill, "tkill"},
    {"fork", SYS_clone, "clone"},
    {"vfork", SYS_clone, "clone"},
    {"newuser", SYS_clone, "clone"},
    {"execve", SYS_execve, "execve"},
    {"mount", SYS_mount, "mount"},
    {"umount", SYS_umount2, "umount2"},
    {"chroot", SYS_chroot, "chroot"},
    {"unshare", SYS_unshare, "unshare"},
    {"setuid", SYS_setuid, "setuid"},
    {"setgid", SYS_setgid, "setgid"},
    {"prlimit", SYS_prlimit64, "prlimit64"},
    {"mmap", SYS_mmap, "mmap"},
    {"mprotect", SYS_mprotect, "mprotect"},
    {"ioctl", SYS_ioctl, "ioctl"},
    {"rt_sigaction", SYS_rt_sigaction, "rt_sigaction"},
    {"bpf", SYS_bpf, "bpf"},
    {"userfaultfd", SYS_userfaultfd, "userfaultfd"},
    {"io_uring_setup", SYS_io_uring_setup, "io_uring_setup"},
};

// The filter alone: it stops each of these by itself, on each kind of thread, and says which it was.
TEST(forbidden_calls_end_the_vmm_with_their_name) {
  if (!seccomp_is_possible()) return;
  constexpr uint32_t kAlone = VOLLEY_BARRIER_CAPABILITIES | VOLLEY_BARRIER_SECCOMP;
  for (const Forbidden& forbidden : kForbidden) {
    for (const char* thread : {"control", "vcpu", "devices", "disk"}) {
      check_violation(thread, forbidden.attempt, static_cast<uint64_t>(forbidden.call), forbidden.name, kAlone);
    }
  }
  check_violation("vcpu", "create_vm", SYS_ioctl, "ioctl", kAlone);
}

// While there is no page to write to, the exit code tells.
TEST(forbidden_calls_end_a_shell) {
  if (!seccomp_is_possible()) return;
  for (const Forbidden& forbidden : kForbidden) {
    ShellProcess shell(probing("shell", forbidden.attempt, VOLLEY_BARRIER_CAPABILITIES | VOLLEY_BARRIER_SECCOMP));
    CHECK(!shell.report().has_value());
    siginfo_t end{};
    REQUIRE(waitid(P_PID, static_cast<id_t>(shell.pid), &end, WEXITED) == 0);
    shell.pid = -1;
    CHECK_EQ(end.si_code, CLD_EXITED);
    CHECK_EQ(end.si_status, 128 + SIGSYS);
  }
}

TEST(what_cannot_be_caught_is_killed) {
  if (!seccomp_is_possible()) return;
  constexpr uint32_t kAlone = VOLLEY_BARRIER_CAPABILITIES | VOLLEY_BARRIER_SECCOMP;
  // Also as the first process of a pid namespace, which ignores signals that it has no handler for.
  for (const uint32_t barriers : {kAlone, geteuid() == 0 ? kAlone | VOLLEY_BARRIER_PIDS : kAlone}) {
    for (const char* attempt : {"blocked", "int80"}) {
      VmmProcess vmm(with_devices(probing("control", attempt, barriers)));
      const std::optional<ProcessEnd> end = vmm.await_end();
      REQUIRE(end.has_value());
      if (strcmp(attempt, "int80") == 0 && end->exited) continue;  // this kernel has no 32-bit calls: SIGSEGV, reported
      CHECK(!end->exited);
      CHECK_EQ(end->code, SIGSYS);
      CHECK_EQ(vmm.stats().exit_reason, static_cast<uint32_t>(VOLLEY_EXIT_NONE));
    }
  }
  check_violation("control", "x32", 0x40000000 | SYS_getpid, "number", kAlone);
}

// All but the filter: each of the others stops what it is there for. `errors` are what the attempt may fail with.
void check_stopped(const char* attempt, const std::vector<int>& errors, const ShellOptions& shell) {
  VmmProcess vmm(with_devices(shell));
  const std::optional<ProcessEnd> end = vmm.await_end();
  REQUIRE(end.has_value());
  CHECK(end->exited);
  for (const int error : errors) {
    if (end->code == kNotStopped + error) return;
  }
  check::report(__FILE__, __LINE__,
                std::string(attempt) +
                    (end->code == kNotStopped ? " was not stopped" : " ended with code " + std::to_string(end->code)));
}

TEST(without_the_filter_the_other_barriers_hold) {
  if (!can_build("without_the_filter_the_other_barriers_hold")) return;
  constexpr uint32_t kOthers = VOLLEY_BARRIER_ALL & ~VOLLEY_BARRIER_SECCOMP;
  const UniqueFd neighbour(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = "volley-jail-test-" + std::to_string(getpid());
  memcpy(address.sun_path + 1, name.data(), name.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  REQUIRE(bind(neighbour.get(), reinterpret_cast<sockaddr*>(&address), length) == 0 && listen(neighbour.get(), 1) == 0);

  const struct {
    const char* attempt;
    std::vector<int> errors;
  } kStopped[] = {
      {"openat", {ENOENT}},
      {"open", {ENOENT}},
      {"up", {ENOENT}},
      {"create", {EROFS}},
      {"list", {ENOENT}},
      {"mkdir", {EROFS}},
      {"mknod", {EROFS, EPERM}},
      {"execve", {ENOENT}},
      {"socket", {ENETUNREACH}},
      {"neighbour", {ECONNREFUSED}},
      {"kill", {ESRCH}},
      {"tkill", {ESRCH}},
      {"ptrace", {ESRCH}},
      {"peek", {ESRCH}},
      {"forkbomb", {EAGAIN}},
      {"mount", {EPERM}},
      {"remount", {EPERM}},
      {"umount", {EPERM}},
      {"chroot", {EPERM}},
      {"unshare", {EPERM}},
      {"setuid", {EINVAL, EPERM}},  // user 0 does not even exist in an unmapped user namespace
      {"setgid", {EINVAL, EPERM}},
      {"sethostname", {EPERM}},
      {"prlimit", {EPERM}},
  };
  for (const auto& stopped : kStopped) {
    ShellOptions shell = probing("control", stopped.attempt, kOthers);
    shell.environment.push_back("VOLLEY_PROBE_NEIGHBOUR=" + name);
    check_stopped(stopped.attempt, stopped.errors, shell);
  }
  // The probe itself is sound: without any barrier what it does succeeds.
  for (const char* attempt : {"openat", "up", "list", "kill", "fork", "neighbour", "mmap"}) {
    ShellOptions free = probing("control", attempt, 0);
    free.uid = getuid();
    free.gid = getgid();
    free.environment.push_back("VOLLEY_PROBE_NEIGHBOUR=" + name);
    check_stopped(attempt, {0}, free);
  }
}

}  // namespace
}  // namespace volley::test
