#include "shell.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#include <bit>
#include <cerrno>

#include "launch.h"
#include "orders.h"
#include "proc.h"

namespace volley {
namespace {

// A VMM reports within a millisecond of its start. The host that needs this long is beyond help.
constexpr int kReportDeadlineMs = 10'000;
// Nobody: for trying out whether another user can be become.
constexpr uint32_t kNobody = 65534;

struct Cgroups {
  UniqueFd birthplace;             // of the v2 hierarchy
  std::vector<std::string> moves;  // of v1 hierarchies
};

Result<Cgroups> OpenCgroups(const std::vector<std::string>& paths) {
  Cgroups cgroups;
  for (const std::string& path : paths) {
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.is_open()) return FailedCall(errno, "cannot open the cgroup " + path);
    struct statfs info {};
    if (fstatfs(fd.get(), &info) < 0) return FailedCall(errno, "cannot examine the cgroup " + path);
    if (info.f_type == CGROUP_SUPER_MAGIC) {
      cgroups.moves.push_back(path);
    } else if (info.f_type != CGROUP2_SUPER_MAGIC) {
      return Failure{EINVAL, path + " is not a directory of a cgroup hierarchy"};
    } else if (cgroups.birthplace.is_open()) {
      return Failure{EINVAL, path + " is the second cgroup of the v2 hierarchy: a process is in one"};
    } else {
      cgroups.birthplace = std::move(fd);
    }
  }
  return cgroups;
}

Result<bool> MoveInto(const std::string& cgroup, pid_t pid) {
  const std::string path = cgroup + "/cgroup.procs";
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.is_open()) return FailedCall(errno, "cannot open " + path);
  const std::string number = std::to_string(pid);
  const ssize_t n = write(fd.get(), number.data(), number.size());
  if (n < 0) return FailedCall(errno, "cannot move a VMM into the cgroup " + cgroup);
  return true;
}

// Ends the child unless it is kept.
class Cradle {
 public:
  explicit Cradle(Child child) : child_(std::move(child)) {}
  ~Cradle() {
    if (child_.pidfd.is_open()) KillAndReap(child_.pidfd.get());
  }
  Cradle(const Cradle&) = delete;
  Cradle& operator=(const Cradle&) = delete;

  pid_t pid() const { return child_.pid; }
  int pidfd() const { return child_.pidfd.get(); }
  UniqueFd Keep() { return std::move(child_.pidfd); }

 private:
  Child child_;
};

}  // namespace

const VoidNamespaces& Nursery::Voids() {
  std::lock_guard lock(mutex_);
  if (!voids_) voids_.emplace(VoidNamespaces::make());
  return *voids_;
}

Result<HeldShell> Nursery::Make(ChildLauncher& launcher, const ShellOrder& order, uint32_t* failed) {
  auto cgroups = OpenCgroups(order.cgroup_paths);
  if (!cgroups) return cgroups.failure();
  std::vector<PassedFd> namespaces;
  if (const uint32_t voids = order.barriers & kVoidBarriers; voids != 0) {
    const VoidNamespaces& made = Voids();
    if (const uint32_t lacking = voids & ~made.barriers(); lacking != 0) {
      const uint32_t first = lacking & (~lacking + 1);
      if (failed != nullptr) *failed = first;
      return Failure{EPERM, "the jail cannot be built: " + made.why_not(first)};
    }
    namespaces = made.to_pass(voids);
  }

  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return FailedCall(errno, "cannot make sockets");
  HeldShell shell;
  shell.birth = UniqueFd(ends[0]);
  UniqueFd theirs(ends[1]);

  ChildOrder child_order;
  child_order.executable = executable_;
  child_order.birth = theirs.get();
  child_order.cgroup = cgroups->birthplace.get();
  child_order.own_pids = (order.barriers & VOLLEY_BARRIER_PIDS) != 0;
  auto child = launcher.Spawn(child_order);
  theirs.reset();
  if (!child) {
    if (failed != nullptr && child_order.own_pids && child.failure().error == EPERM) *failed = VOLLEY_BARRIER_PIDS;
    return child.failure();
  }
  Cradle cradle(std::move(*child));
  for (const std::string& cgroup : cgroups->moves) {
    auto moved = MoveInto(cgroup, cradle.pid());
    if (!moved) return moved.failure();
  }

  volley_jail_order jail{};
  jail.barriers = order.barriers;
  jail.uid = order.uid;
  jail.gid = order.gid;
  jail.open_files = order.open_files;
  jail.file_bytes = order.file_bytes;
  volley_shell_report report{};
  int error = send_jail_order(shell.birth.get(), jail, namespaces);
  if (error == 0) error = receive_shell_report(shell.birth.get(), kReportDeadlineMs, &report);
  if (error == EPIPE) return Failure{EPIPE, "the VMM ended before it was jailed"};
  if (error == EPROTO) return Failure{EPROTO, "the VMM is of another version than this agent"};
  if (error != 0) return FailedCall(error, "the VMM does not report on its jail");
  if (report.status != 0) {
    if (failed != nullptr) *failed = report.failed;
    return Failure{report.status, std::string("the jail cannot be built: ") + report.message};
  }

  auto stat = ReadProcessStat(cradle.pid());
  if (!stat) return stat.failure();
  shell.pid = cradle.pid();
  shell.start_ticks = std::move(stat->start_ticks);
  shell.barriers = report.barriers;
  shell.pidfd = cradle.Keep();
  return shell;
}

Nursery::Possibilities Nursery::Try(ChildLauncher& launcher) {
  Possibilities found;
  ShellOrder order;
  order.barriers = VOLLEY_BARRIER_ALL;
  order.uid = kNobody;
  order.gid = kNobody;
  order.open_files = 64;
  while (order.barriers != 0) {
    uint32_t failed = 0;
    auto shell = Make(launcher, order, &failed);
    if (shell) {
      KillAndReap(shell->pidfd.get());
      found.barriers = shell->barriers;
      break;
    }
    if (std::popcount(failed) != 1 || (order.barriers & failed) == 0) {
      // Nothing about a barrier: there is no VMM at all then.
      for (uint32_t rest = order.barriers; rest != 0; rest &= rest - 1) {
        found.missing.push_back({rest & (~rest + 1), shell.failure().message});
      }
      break;
    }
    found.missing.push_back({failed, shell.failure().message});
    order.barriers &= ~failed;
  }
  const uint32_t silent = order.barriers & ~found.barriers;
  if (found.barriers != 0 && (silent & VOLLEY_BARRIER_SECCOMP) != 0) {
    found.missing.push_back({VOLLEY_BARRIER_SECCOMP, "this VMM was built with sanitizers, which a filter would end"});
  }
  return found;
}

}  // namespace volley
