#include "birth/jail.h"

#include <linux/capability.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "process/seccomp.h"

namespace volley {
namespace {

// Threads of the largest microVM: control, vCPUs, a loop per disk and one for all other devices; and some to spare.
constexpr rlim_t kThreads = 1 + VOLLEY_MAX_VCPUS + VOLLEY_MAX_DEVICES + 1 + 8;

volley_shell_report empty_report() {
  volley_shell_report report{};
  report.magic = VOLLEY_SHELL_MAGIC;
  report.abi_version = VOLLEY_ABI_VERSION;
  return report;
}

Status enter_namespace(const InheritedFds& namespaces, uint16_t role, int type) {
  const int fd = namespaces.find(role);
  if (fd < 0) return Status::system_error(EBADF, "its namespace did not come with the order");
  if (setns(fd, type) != 0) return Status::system_error(errno, "setns");
  return Status::ok();
}

// The agent made it empty, as far as the agent knows; but this process is who relies on it.
Status check_empty_root() {
  struct statfs root {};
  if (statfs("/", &root) != 0) return Status::system_error(errno, "statfs");
  const bool empty = root.f_type == TMPFS_MAGIC && root.f_files - root.f_ffree == 1;  // the root folder itself
  if (!empty || (root.f_flags & ST_RDONLY) == 0) {
    return Status::system_error(ENOTEMPTY, "its root is not an empty, read-only tmpfs");
  }
  return Status::ok();
}

Status enter_void_mounts(const InheritedFds& namespaces) {
  if (Status status = enter_namespace(namespaces, VOLLEY_ROLE_NS_MOUNT, CLONE_NEWNS); !status.is_ok()) return status;
  return check_empty_root();
}

Status check_own_pids() {
  if (getpid() == 1) return Status::ok();
  return Status::system_error(EPERM, "the process was not born in a pid namespace of its own");
}

Status unshare_one(int flag) { return unshare(flag) == 0 ? Status::ok() : Status::system_error(errno, "unshare"); }

// The raw calls: those of a libc would signal all threads to do the same.
Status become(uint32_t uid, uint32_t gid) {
  if (syscall(SYS_setgroups, 0, nullptr) != 0 && !(errno == EPERM && getuid() == uid && getgid() == gid)) {
    return Status::system_error(errno, "setgroups");
  }
  if (syscall(SYS_setresgid, gid, gid, gid) != 0) return Status::system_error(errno, "setresgid to %u", gid);
  if (syscall(SYS_setresuid, uid, uid, uid) != 0) return Status::system_error(errno, "setresuid to %u", uid);
  uid_t ids[3];
  if (syscall(SYS_getresuid, &ids[0], &ids[1], &ids[2]) != 0 || ids[0] != uid || ids[1] != uid || ids[2] != uid) {
    return Status::system_error(EPERM, "the user is not %u afterwards", uid);
  }
  return Status::ok();
}

// EPERM without CAP_SETPCAP: whoever lacks that has nothing that the set could bound once no_new_privs is on.
Status empty_bounding_set() {
  for (unsigned long capability = 0; capability < 64; ++capability) {
    const int has = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (has < 0) break;  // beyond the last one that this kernel knows
    if (has == 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EPERM) return Status::ok();
    return Status::system_error(errno, "drop capability %lu from the bounding set", capability);
  }
  return Status::ok();
}

Status give_up_capabilities() {
  if (Status status = empty_bounding_set(); !status.is_ok()) return status;
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    return Status::system_error(errno, "clear the ambient set");
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capset, &header, none) != 0) return Status::system_error(errno, "capset");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Status::system_error(errno, "no_new_privs");
  return Status::ok();
}

Status limit(decltype(RLIMIT_NOFILE) resource, rlim_t value, const char* name) {
  rlimit limits{};
  if (getrlimit(resource, &limits) != 0) return Status::system_error(errno, "getrlimit %s", name);
  limits.rlim_max = std::min(limits.rlim_max, value);
  limits.rlim_cur = limits.rlim_max;
  return setrlimit(resource, &limits) == 0 ? Status::ok() : Status::system_error(errno, "setrlimit %s", name);
}

Status limit_resources(const volley_jail_order& order) {
  struct {
    decltype(RLIMIT_NOFILE) resource;
    rlim_t value;
    const char* name;
  } const kLimits[] = {
      {RLIMIT_NOFILE, order.open_files, "NOFILE"},
      {RLIMIT_FSIZE, order.file_bytes == UINT64_MAX ? RLIM_INFINITY : static_cast<rlim_t>(order.file_bytes), "FSIZE"},
      {RLIMIT_CORE, 0, "CORE"},  // a core file would carry a tenant's memory to the host's disk
      {RLIMIT_MEMLOCK, 0, "MEMLOCK"},
      {RLIMIT_MSGQUEUE, 0, "MSGQUEUE"},
      {RLIMIT_RTPRIO, 0, "RTPRIO"},
      {RLIMIT_NICE, 0, "NICE"},
  };
  for (const auto& one : kLimits) {
    if (Status status = limit(one.resource, one.value, one.name); !status.is_ok()) return status;
  }
  // It counts all processes of a user; where the user is the agent's, others would be hit.
  if ((order.barriers & (VOLLEY_BARRIER_IDS | VOLLEY_BARRIER_USER)) == 0) return Status::ok();
  return limit(RLIMIT_NPROC, kThreads, "NPROC");
}

// One step at a time, each with the rights that the steps after it take away: namespaces while there are capabilities,
// the user, then a user namespace of that user's (in which the process has all capabilities once more, over nothing),
// then these capabilities, then what no right is needed for.
class Builder {
 public:
  Builder(const volley_jail_order& order, const InheritedFds& namespaces)
      : order_(order), namespaces_(namespaces), report_(empty_report()) {}

  volley_shell_report build() {
    if ((order_.barriers & ~VOLLEY_BARRIER_ALL) != 0) {
      return refused(
          Status::system_error(EINVAL, "barriers %#x: this VMM knows %#x", order_.barriers, VOLLEY_BARRIER_ALL));
    }
    namespace_step(VOLLEY_BARRIER_NETWORK, "network", VOLLEY_ROLE_NS_NETWORK, CLONE_NEWNET);
    namespace_step(VOLLEY_BARRIER_IPC, "ipc", VOLLEY_ROLE_NS_IPC, CLONE_NEWIPC);
    namespace_step(VOLLEY_BARRIER_UTS, "uts", VOLLEY_ROLE_NS_UTS, CLONE_NEWUTS);
    step(VOLLEY_BARRIER_MOUNTS, "mounts", [this] { return enter_void_mounts(namespaces_); });
    step(VOLLEY_BARRIER_CGROUP, "cgroup", [] { return unshare_one(CLONE_NEWCGROUP); });
    step(VOLLEY_BARRIER_PIDS, "pids", [] { return check_own_pids(); });
    if (wanted(VOLLEY_BARRIER_CAPABILITIES)) note(0, "capabilities", empty_bounding_set());
    step(VOLLEY_BARRIER_IDS, "ids", [this] { return become(order_.uid, order_.gid); });
    step(VOLLEY_BARRIER_USER, "user", [] { return unshare_one(CLONE_NEWUSER); });
    step(VOLLEY_BARRIER_CAPABILITIES, "capabilities", [] { return give_up_capabilities(); });
    step(VOLLEY_BARRIER_RLIMITS, "rlimits", [this] { return limit_resources(order_); });
    if (report_.status == 0) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (seccomp_is_possible()) {
      step(VOLLEY_BARRIER_SECCOMP, "seccomp", [] { return begin_seccomp(); });
    }
    return report_;
  }

 private:
  bool wanted(uint32_t barrier) const { return report_.status == 0 && (order_.barriers & barrier) != 0; }

  template <typename Step>
  void step(uint32_t barrier, const char* name, Step&& put_up) {
    if (wanted(barrier)) note(barrier, name, put_up());
  }

  void namespace_step(uint32_t barrier, const char* name, uint16_t role, int type) {
    step(barrier, name, [this, role, type] { return enter_namespace(namespaces_, role, type); });
  }

  void note(uint32_t barrier, const char* name, const Status& status) {
    if (status.is_ok()) {
      report_.barriers |= barrier;
      return;
    }
    report_.status = status.detail() == 0 ? EPERM : static_cast<int32_t>(status.detail());
    report_.failed = barrier;
    snprintf(report_.message, sizeof(report_.message), "%s: %.110s", name, status.message());
  }

  const volley_jail_order& order_;
  const InheritedFds& namespaces_;
  volley_shell_report report_;
};

}  // namespace

volley_shell_report enter_jail(const volley_jail_order& order, const InheritedFds& namespaces) {
  return Builder(order, namespaces).build();
}

volley_shell_report refused(const Status& why) {
  volley_shell_report report = empty_report();
  report.status = why.detail() == 0 ? EPROTO : static_cast<int32_t>(why.detail());
  snprintf(report.message, sizeof(report.message), "%.*s", static_cast<int>(sizeof(report.message) - 1), why.message());
  return report;
}

}  // namespace volley
