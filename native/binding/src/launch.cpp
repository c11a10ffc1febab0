#include "launch.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "clock.h"
#include "orders.h"
#include "proc.h"
#include "vmm_files.h"

namespace volley {
namespace {

// It takes a millisecond. A host that needs this long is beyond help.
constexpr int kPrimeDeadlineMs = 10'000;

struct Image {
  UniqueFd fd;
  uint64_t size = 0;
};

Result<Image> OpenImage(const std::string& path, const char* what) {
  // Non-blocking: a path that names a FIFO must not hold a launcher thread for ever.
  Image image{UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)), 0};
  if (!image.fd.is_open()) return FailedCall(errno, std::string("cannot open the ") + what + " " + path);
  struct stat info {};
  if (fstat(image.fd.get(), &info) < 0) return FailedCall(errno, std::string("cannot examine the ") + what);
  if (!S_ISREG(info.st_mode)) return Failure{EINVAL, std::string("the ") + what + " " + path + " is not a file"};
  if (info.st_size <= 0) return Failure{EINVAL, std::string("the ") + what + " " + path + " is empty"};
  image.size = static_cast<uint64_t>(info.st_size);
  return image;
}

Result<UniqueFd> OpenKvm(const std::string& device) {
  if (device.empty()) return Failure{ENOTSUP, "the VMMs of this agent run no guests"};
  UniqueFd kvm(open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (!kvm.is_open()) return FailedCall(errno, "cannot open " + device);
  return kvm;
}

// What a guest is made of that goes on from a snapshot, before it is anybody.
struct SnapshotSource {
  UniqueFd kvm;
  UniqueFd state;
  UniqueFd memory;
};

Result<SnapshotSource> OpenSnapshot(const std::string& directory, const std::string& kvm_device) {
  auto kvm = OpenKvm(kvm_device);
  if (!kvm) return kvm.failure();
  auto state = OpenImage(directory + "/state", "snapshot's state");
  if (!state) return state.failure();
  auto memory = OpenImage(directory + "/memory", "snapshot's memory");
  if (!memory) return memory.failure();
  return SnapshotSource{std::move(*kvm), std::move(state->fd), std::move(memory->fd)};
}

Result<UniqueFd> OpenDisk(const std::string& path, int flags) {
  UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK, 0600));
  if (!fd.is_open()) return FailedCall(errno, "cannot open the disk " + path);
  struct stat info {};
  if (fstat(fd.get(), &info) < 0) return FailedCall(errno, "cannot examine the disk " + path);
  if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) {
    return Failure{EINVAL, "the disk " + path + " is neither a file nor a block device"};
  }
  // Only opening was not to wait.
  if (fcntl(fd.get(), F_SETFL, flags & O_ACCMODE) < 0) return FailedCall(errno, "cannot set up the disk " + path);
  return fd;
}

// Memory that nobody can change any more.
Result<UniqueFd> SealedFile(const std::string& bytes) {
  UniqueFd fd(memfd_create("initrd-extra", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.is_open()) return FailedCall(errno, "cannot make a file in memory");
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = write(fd.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailedCall(errno, "cannot write a file in memory");
    done += static_cast<size_t>(n);
  }
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
    return FailedCall(errno, "cannot seal a file in memory");
  }
  return fd;
}

Result<volley_config> MakeConfig(const LaunchOrder& order) {
  if (order.id.empty() || order.id.size() >= VOLLEY_ID_MAX || order.id.find('\0') != std::string::npos) {
    return Failure{EINVAL, "the id must have 1 to 63 bytes"};
  }
  if (order.cmdline.size() >= VOLLEY_CMDLINE_MAX || order.cmdline.find('\0') != std::string::npos) {
    return Failure{EINVAL, "the kernel command line must have at most 2047 bytes"};
  }
  if (order.devices.size() > VOLLEY_MAX_DEVICES) return Failure{EINVAL, "a microVM has at most 17 devices"};
  volley_config config{};
  config.magic = VOLLEY_CONFIG_MAGIC;
  config.abi_version = VOLLEY_ABI_VERSION;
  config.boot_protocol = order.boot_protocol;
  config.irqchip = order.irqchip;
  config.vcpus = order.vcpus;
  config.memory_bytes = order.memory_bytes;
  config.cmdline_length = static_cast<uint32_t>(order.cmdline.size());
  config.serial_limit = order.serial_limit;
  config.device_count = static_cast<uint32_t>(order.devices.size());
  for (size_t i = 0; i < order.devices.size(); ++i) config.devices[i] = order.devices[i].device;
  memcpy(config.id, order.id.data(), order.id.size());
  memcpy(config.cmdline, order.cmdline.data(), order.cmdline.size());
  if (getrandom(config.generation_id, sizeof config.generation_id, 0) != sizeof config.generation_id) {
    return FailedCall(errno, "cannot get random bytes");
  }
  return config;
}

int PidfdOpen(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

}  // namespace

struct PreparedLaunch {
  explicit PreparedLaunch(NewVmmFiles new_files) : files(std::move(new_files)) {}
  ~PreparedLaunch() {
    for (const std::string& path : made) unlink(path.c_str());
  }
  PreparedLaunch(const PreparedLaunch&) = delete;
  PreparedLaunch& operator=(const PreparedLaunch&) = delete;

  void Pass(uint16_t role, UniqueFd fd) {
    passed.push_back({role, fd.get()});
    owned.push_back(std::move(fd));
  }

  std::string directory;
  volley_config config{};
  NewVmmFiles files;
  UniqueFd control;
  UniqueFd pages;
  std::vector<PassedFd> passed;
  std::vector<UniqueFd> owned;
  std::vector<std::string> made;  // overlays that were not there before
};

void PreparedLaunchDeleter::operator()(PreparedLaunch* prepared) const { delete prepared; }

namespace {

Result<bool> AddDevice(PreparedLaunch& launch, const DeviceOrder& order, uint32_t index) {
  const auto role = static_cast<uint16_t>(VOLLEY_ROLE_DEVICE_FIRST + 2 * index);
  switch (order.device.type) {
    case VOLLEY_DEVICE_BLOCK: {
      const bool overlay = !order.overlay_path.empty();
      const bool writable = (order.device.flags & VOLLEY_BLOCK_READ_ONLY) == 0 && !overlay;
      auto disk = OpenDisk(order.path, writable ? O_RDWR : O_RDONLY);
      if (!disk) return disk.failure();
      launch.Pass(role, std::move(*disk));
      if (!overlay) return true;
      auto top = OpenDisk(order.overlay_path, O_RDWR);
      if (!top && top.failure().error == ENOENT) {
        top = OpenDisk(order.overlay_path, O_RDWR | O_CREAT | O_EXCL);
        if (top) launch.made.push_back(order.overlay_path);
      }
      if (!top) return top.failure();
      launch.Pass(static_cast<uint16_t>(role + 1), std::move(*top));
      return true;
    }
    case VOLLEY_DEVICE_NET: {
      // A duplicate: the caller may close its own as soon as it likes.
      UniqueFd tap(fcntl(order.tap_fd, F_DUPFD_CLOEXEC, 0));
      if (!tap.is_open()) return FailedCall(errno, "cannot hand over tap descriptor " + std::to_string(order.tap_fd));
      launch.Pass(role, std::move(tap));
      return true;
    }
    case VOLLEY_DEVICE_VSOCK: {
      auto listener = launch.files.MakeVsock();
      if (!listener) return listener.failure();
      launch.Pass(VOLLEY_ROLE_VSOCK, std::move(*listener));
      return true;
    }
    default:
      return true;
  }
}

}  // namespace

Result<PreparedLaunchPointer> PrepareLaunch(const LaunchOrder& order, uint64_t launched_ns,
                                            const std::string& kvm_device, const std::string& primed) {
  auto config = MakeConfig(order);
  if (!config) return config.failure();
  const bool restores = !order.restore_directory.empty();
  if (restores) config->flags |= VOLLEY_FLAG_RESTORE;
  if (!primed.empty() && primed != order.restore_directory) {
    return Failure{EINVAL, "the shell is primed with the snapshot in " + primed};
  }

  auto files = NewVmmFiles::Make(order.directory);
  if (!files) return files.failure();
  PreparedLaunchPointer launch(new PreparedLaunch(std::move(*files)));
  launch->directory = order.directory;
  if (restores && primed.empty()) {
    auto source = OpenSnapshot(order.restore_directory, kvm_device);
    if (!source) return source.failure();
    launch->Pass(VOLLEY_ROLE_KVM, std::move(source->kvm));
    launch->Pass(VOLLEY_ROLE_STATE, std::move(source->state));
    launch->Pass(VOLLEY_ROLE_MEMORY, std::move(source->memory));
  } else if (!restores) {
    if (!kvm_device.empty()) {
      auto kvm = OpenKvm(kvm_device);
      if (!kvm) return kvm.failure();
      launch->Pass(VOLLEY_ROLE_KVM, std::move(*kvm));
    }
    auto kernel = OpenImage(order.kernel_path, "kernel");
    if (!kernel) return kernel.failure();
    config->kernel_size = kernel->size;
    launch->Pass(VOLLEY_ROLE_KERNEL, std::move(kernel->fd));
  }
  if (!order.initrd_path.empty()) {
    auto image = OpenImage(order.initrd_path, "initial RAM disk");
    if (!image) return image.failure();
    config->initrd_size = image->size;
    launch->Pass(VOLLEY_ROLE_INITRD, std::move(image->fd));
  }
  if (!order.initrd_extra.empty()) {
    auto extra = SealedFile(order.initrd_extra);
    if (!extra) return extra.failure();
    config->initrd_extra_size = order.initrd_extra.size();
    launch->Pass(VOLLEY_ROLE_INITRD_EXTRA, std::move(*extra));
  }
  for (size_t i = 0; i < order.devices.size(); ++i) {
    auto added = AddDevice(*launch, order.devices[i], static_cast<uint32_t>(i));
    if (!added) return added.failure();
  }
  launch->passed.push_back({VOLLEY_ROLE_CONTROL, launch->files.listener()});
  launch->passed.push_back({VOLLEY_ROLE_PAGES, launch->files.pages()});

  // Before the VMM knows of it, so that it can never be said to have started without an agent to talk to.
  auto control = ConnectControl(launch->files.directory());
  if (!control) return control.failure();
  launch->control = std::move(*control);
  config->launched_ns = launched_ns;
  auto written = launch->files.WriteConfig(*config);
  if (!written) return written.failure();
  auto pages = OpenPages(launch->files.directory());
  if (!pages) return pages.failure();
  launch->pages = std::move(*pages);
  launch->config = *config;
  return launch;
}

Result<bool> Prime(int birth, const std::string& directory, const std::string& kvm_device) {
  auto source = OpenSnapshot(directory, kvm_device);
  if (!source) return source.failure();
  const PassedFd passed[] = {{VOLLEY_ROLE_KVM, source->kvm.get()},
                             {VOLLEY_ROLE_STATE, source->state.get()},
                             {VOLLEY_ROLE_MEMORY, source->memory.get()}};
  volley_shell_report report{};
  int error = send_prime_order(birth, passed);
  if (error == 0) error = receive_shell_report(birth, kPrimeDeadlineMs, &report);
  if (error == EPIPE) return Failure{ESRCH, "the shell to prime has ended"};
  if (error != 0) return FailedCall(error, "the shell does not say that it is primed");
  if (report.status != 0) return Failure{report.status, std::string("a clone cannot be made ready: ") + report.message};
  return true;
}

Result<HeldVmm> LaunchInto(HeldShell& shell, PreparedLaunchPointer launch) {
  // From here on the page file names the process, even if the agent dies before it has written down the pid. If it dies
  // before it has sent the order, the process ends by itself.
  auto named = launch->files.WritePid(shell.pid);
  if (!named) return named.failure();
  const int error = send_launch_order(shell.birth.get(), launch->passed);
  if (error == EPIPE) return Failure{EPIPE, "the VMM ended before it was told which microVM it is"};
  if (error != 0) return FailedCall(error, "cannot hand the microVM over to its VMM");
  launch->files.Keep();
  launch->made.clear();

  HeldVmm held;
  held.pid = shell.pid;
  held.is_child = true;
  held.start_ticks = shell.start_ticks;
  held.launched_ns = launch->config.launched_ns;
  held.pidfd = std::move(shell.pidfd);
  held.control = std::move(launch->control);
  held.pages = std::make_shared<const PageFile>(std::move(launch->pages));
  held.directory = launch->directory;
  for (uint32_t i = 0; i < launch->config.device_count; ++i) held.devices.push_back(launch->config.devices[i].type);
  shell.birth.reset();
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
  if (!held.pidfd.is_open()) return gone();
  // The pidfd comes first: a start time read afterwards that fits proves that both are the remembered process.
  auto stat = ReadProcessStat(order.pid);
  if (!stat || stat->start_ticks != order.start_ticks || HasEnded(held.pidfd.get())) return gone();

  // A VMM without its page file or socket still has to be watched, and killed when asked: never refused.
  if (!held.pages) held.pages = std::make_shared<const PageFile>(UniqueFd());
  if (directory) {
    if (auto control = ConnectControl(directory->get())) held.control = std::move(*control);
  }
  held.directory = order.directory;
  if (auto config = held.pages->ReadConfig()) {
    held.launched_ns = config->launched_ns;
    const uint32_t count = std::min(config->device_count, VOLLEY_MAX_DEVICES);
    for (uint32_t i = 0; i < count; ++i) held.devices.push_back(config->devices[i].type);
  }
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
  if (!pidfd.is_open()) return std::nullopt;
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
