#include "launch.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#include "clock.h"
#include "proc.h"
#include "vmm_files.h"

namespace volley {
namespace {

struct Image {
  UniqueFd fd;
  uint64_t size = 0;
};

Result<Image> OpenImage(const std::string& path, const char* what) {
  // Non-blocking: a path that names a FIFO must not hold a launcher thread for ever.
  Image image{UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)), 0};
  if (!image.fd) return FailedCall(errno, std::string("cannot open the ") + what + " " + path);
  struct stat info {};
  if (fstat(image.fd.get(), &info) < 0) return FailedCall(errno, std::string("cannot examine the ") + what);
  if (!S_ISREG(info.st_mode)) return Failure{EINVAL, std::string("the ") + what + " " + path + " is not a file"};
  if (info.st_size <= 0) return Failure{EINVAL, std::string("the ") + what + " " + path + " is empty"};
  image.size = static_cast<uint64_t>(info.st_size);
  return image;
}

Result<volley_config> MakeConfig(const LaunchOrder& order) {
  if (order.id.empty() || order.id.size() >= VOLLEY_ID_MAX || order.id.find('\0') != std::string::npos) {
    return Failure{EINVAL, "the id must have 1 to 63 bytes"};
  }
  if (order.cmdline.size() >= VOLLEY_CMDLINE_MAX || order.cmdline.find('\0') != std::string::npos) {
    return Failure{EINVAL, "the kernel command line must have at most 2047 bytes"};
  }
  volley_config config{};
  config.magic = VOLLEY_CONFIG_MAGIC;
  config.abi_version = VOLLEY_ABI_VERSION;
  config.boot_protocol = order.boot_protocol;
  config.irqchip = order.irqchip;
  config.vcpus = order.vcpus;
  config.memory_bytes = order.memory_bytes;
  config.cmdline_length = static_cast<uint32_t>(order.cmdline.size());
  memcpy(config.id, order.id.data(), order.id.size());
  memcpy(config.cmdline, order.cmdline.data(), order.cmdline.size());
  return config;
}

int PidfdOpen(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

}  // namespace

Result<HeldVmm> LaunchVmm(ChildLauncher& launcher, int executable, const LaunchOrder& order) {
  auto config = MakeConfig(order);
  if (!config) return config.failure();

  UniqueFd kvm(open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm) return FailedCall(errno, "cannot open /dev/kvm");
  auto kernel = OpenImage(order.kernel_path, "kernel");
  if (!kernel) return kernel.failure();
  config->kernel_size = kernel->size;
  UniqueFd initrd;
  if (!order.initrd_path.empty()) {
    auto image = OpenImage(order.initrd_path, "initial RAM disk");
    if (!image) return image.failure();
    initrd = std::move(image->fd);
    config->initrd_size = image->size;
  }
  UniqueFd cgroup;
  if (!order.cgroup_path.empty()) {
    cgroup = UniqueFd(open(order.cgroup_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!cgroup) return FailedCall(errno, "cannot open the cgroup " + order.cgroup_path);
  }

  auto files = NewVmmFiles::Make(order.directory);
  if (!files) return files.failure();
  // Before the process exists, so that it can never be said to have started without an agent to talk to.
  auto control = ConnectControl(files->directory());
  if (!control) return control.failure();
  config->launched_ns = MonotonicNs();
  auto written = files->WriteConfig(*config);
  if (!written) return written.failure();
  auto pages = OpenPages(files->directory());
  if (!pages) return pages.failure();

  ChildOrder child_order;
  child_order.executable = executable;
  child_order.kvm = kvm.get();
  child_order.control = files->listener();
  child_order.pages = files->pages();
  child_order.kernel = kernel->fd.get();
  child_order.initrd = initrd.get();
  child_order.cgroup = cgroup.get();
  child_order.id = order.id;
  auto child = launcher.Spawn(child_order);
  if (!child) return child.failure();

  auto stat = ReadProcessStat(child->pid);
  if (!stat) {
    KillAndReap(child->pidfd.get());
    return stat.failure();
  }
  files->Keep();

  HeldVmm held;
  held.pid = child->pid;
  held.is_child = true;
  held.start_ticks = std::move(stat->start_ticks);
  held.launched_ns = config->launched_ns;
  held.pidfd = std::move(child->pidfd);
  held.control = std::move(*control);
  held.pages = std::make_shared<const PageFile>(std::move(*pages));
  return held;
}

std::variant<HeldVmm, ExitEvidence> AdoptVmm(const AdoptOrder& order, const std::string& boot_id) {
  HeldVmm held;
  held.pid = order.pid;
  held.start_ticks = order.start_ticks;

  std::string trouble;
  auto directory = OpenVmmDirectory(order.directory);
  if (directory) {
    if (auto pages = OpenPages(directory->get())) {
      held.pages = std::make_shared<const PageFile>(std::move(*pages));
    } else {
      trouble = pages.failure().message;
    }
  } else {
    trouble = directory.failure().message;
  }

  const auto gone = [&] {
    ExitEvidence evidence;
    if (held.pages) {
      evidence = ReadExitEvidence(*held.pages);
    } else {
      evidence.page_message = trouble;
    }
    if (evidence.at_ns == 0) evidence.at_ns = MonotonicNs();
    return evidence;
  };

  if (order.boot_id != boot_id) return gone();
  held.pidfd = UniqueFd(PidfdOpen(order.pid));
  if (!held.pidfd) return gone();
  // The pidfd comes first: a start time read afterwards that fits proves that both are the remembered process.
  auto stat = ReadProcessStat(order.pid);
  if (!stat || stat->start_ticks != order.start_ticks || HasEnded(held.pidfd.get())) return gone();

  // A VMM without its page file or socket still has to be watched, and killed when asked: never refused.
  if (!held.pages) held.pages = std::make_shared<const PageFile>(UniqueFd());
  if (directory) {
    if (auto control = ConnectControl(directory->get())) held.control = std::move(*control);
  }
  if (auto config = held.pages->ReadConfig()) held.launched_ns = config->launched_ns;
  if (auto stats = held.pages->ReadStats()) held.booted_ns = stats->booted_ns;
  return held;
}

std::optional<FoundVmm> FindVmm(const std::string& id, const std::string& directory_path) {
  auto directory = OpenVmmDirectory(directory_path);
  if (!directory) return std::nullopt;
  auto fd = OpenPages(directory->get());
  if (!fd) return std::nullopt;
  const PageFile pages(std::move(*fd));
  const auto pid = static_cast<pid_t>(pages.ReadClaimedPid());
  if (pid <= 1) return std::nullopt;
  const UniqueFd pidfd(PidfdOpen(pid));
  if (!pidfd) return std::nullopt;
  // The page may lie about the pid, so the process has to name itself as this microVM's VMM.
  auto stat = ReadProcessStat(pid);
  if (!stat || !IsVmmOf(pid, id) || HasEnded(pidfd.get())) return std::nullopt;
  return FoundVmm{pid, stat->start_ticks};
}

ExitEvidence ReadExitEvidence(const PageFile& pages) {
  ExitEvidence evidence;
  auto stats = pages.ReadStats();
  if (!stats) {
    evidence.page_message = stats.failure().message;
    return evidence;
  }
  if (stats->state != VOLLEY_VMM_EXITED) return evidence;
  // These two are the agent's to conclude: a VMM that writes them did not live to write anything.
  if (stats->exit_reason == VOLLEY_EXIT_KILLED || stats->exit_reason == VOLLEY_EXIT_OUT_OF_MEMORY) return evidence;
  evidence.page_reason = stats->exit_reason;
  evidence.page_detail = stats->exit_detail;
  evidence.page_message = stats->exit_message;
  evidence.at_ns = std::min(stats->exited_ns, MonotonicNs());
  return evidence;
}

bool HasEnded(int pidfd) {
  pollfd end{pidfd, POLLIN, 0};
  return poll(&end, 1, 0) > 0;
}

void KillAndReap(int pidfd) {
  syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
  siginfo_t ended{};
  while (waitid(P_PIDFD, static_cast<id_t>(pidfd), &ended, WEXITED | __WALL) < 0 && errno == EINTR) {
  }
}

}  // namespace volley
