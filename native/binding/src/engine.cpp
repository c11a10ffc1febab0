#include "engine.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>

#include "clock.h"
#include "descriptor_limit.h"
#include "proc.h"
#include "vmm_files.h"

namespace volley {
namespace {

constexpr size_t kAwaitedAtMost = 64;

// Threads are born with the signal mask of their maker: signals are Node's main thread's business.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

Result<UniqueFd> OpenExecutable(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.is_open()) return FailedCall(errno, "cannot open the VMM " + path);
  struct stat info {};
  if (fstat(fd.get(), &info) < 0) return FailedCall(errno, "cannot examine the VMM " + path);
  if (!S_ISREG(info.st_mode) || (info.st_mode & 0111) == 0) {
    return Failure{EACCES, "the VMM " + path + " is not an executable file"};
  }
  return fd;
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::Open(const EngineOptions& options, std::function<void()> wake) {
  RaiseDescriptorLimit();
  auto executable = OpenExecutable(options.vmm_path);
  if (!executable) return executable.failure();
  std::unique_ptr<Engine> engine(new Engine(std::move(*executable), options, std::move(wake)));
  auto boot_id = ReadBootId();
  if (!boot_id) return boot_id.failure();
  engine->boot_id_ = *boot_id;
  for (unsigned i = 0; i < options.launch_threads; ++i) {
    auto launcher = ChildLauncher::Make();
    if (!launcher) return launcher.failure();
    engine->launchers_.push_back(std::move(*launcher));
  }

  const AllSignalsBlocked blocked;
  auto started = engine->monitor_.Start();
  if (!started) return started.failure();
  for (auto& launcher : engine->launchers_) {
    engine->threads_.emplace_back([self = engine.get(), &launcher] { self->RunJobs(*launcher); });
    pthread_setname_np(engine->threads_.back().native_handle(), "vmm-launcher");
  }
  return engine;
}

void Engine::Enqueue(Job job) {
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  work_.notify_one();
}

void Engine::RunJobs(ChildLauncher& launcher) {
  for (;;) {
    std::unique_lock lock(mutex_);
    work_.wait(lock, [this] { return closing_ || !jobs_.empty(); });
    if (closing_) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job(launcher);
  }
}

void Engine::Launch(uint32_t request, LaunchOrder order, ShellOrder shell_order, uint32_t shell) {
  Enqueue([this, request, order = std::move(order), shell_order = std::move(shell_order),
           shell](ChildLauncher& launcher) { LaunchNow(launcher, request, order, shell_order, shell); });
}

void Engine::LaunchNow(ChildLauncher& launcher, uint32_t request, const LaunchOrder& order,
                       const ShellOrder& shell_order, uint32_t shell) {
  const uint64_t launched_ns = MonotonicNs();
  if (shell != 0) {
    const auto vmm = monitor_.Find(shell);
    auto launched = vmm ? LaunchIntoShell(request, order, launched_ns, *vmm)
                        : Result<bool>(Failure{ESRCH, "the shell to launch into has ended"});
    if (launched) return;
    Discard(shell);
    return events_.Push(RefusedEvent{request, launched.failure()});
  }
  auto prepared = PrepareLaunch(order, launched_ns, kvm_device_);
  if (!prepared) return events_.Push(RefusedEvent{request, prepared.failure()});
  auto made = nursery_.Make(launcher, shell_order);
  if (!made) {
    prepared->reset();
    return events_.Push(RefusedEvent{request, made.failure()});
  }
  auto held = LaunchInto(*made, std::move(*prepared));
  if (held) return Hold(request, std::move(*held), order.id);
  KillAndReap(made->pidfd.get());
  events_.Push(RefusedEvent{request, held.failure()});
}

Result<bool> Engine::LaunchIntoShell(uint32_t request, const LaunchOrder& order, uint64_t launched_ns, Vmm& shell) {
  std::string primed;
  {
    std::lock_guard lock(shell.mutex);
    primed = shell.primed;
  }
  auto prepared = PrepareLaunch(order, launched_ns, kvm_device_, primed);
  if (!prepared) return prepared.failure();
  std::lock_guard lock(shell.mutex);
  if (!shell.is_shell || !shell.pidfd.is_open() || !shell.birth.is_open()) {
    return Failure{ESRCH, "the shell to launch into has ended"};
  }
  HeldShell held_shell;
  held_shell.pid = shell.pid;
  held_shell.start_ticks = shell.start_ticks;
  held_shell.birth = std::move(shell.birth);
  held_shell.pidfd = std::move(shell.pidfd);
  auto held = LaunchInto(held_shell, std::move(*prepared));
  // The same descriptor as before: it is watched already.
  shell.pidfd = held ? std::move(held->pidfd) : std::move(held_shell.pidfd);
  if (!held) return held.failure();

  shell.is_shell = false;
  shell.id = order.id;
  shell.directory = order.directory;
  shell.launched_ns = launched_ns;
  shell.devices = std::move(held->devices);
  shell.pages = std::move(held->pages);
  shell.control = std::move(held->control);
  auto watched = monitor_.WatchControlLocked(shell);
  if (!watched) {
    syscall(SYS_pidfd_send_signal, shell.pidfd.get(), SIGKILL, nullptr, 0);
    shell.released = true;  // reaped by the monitor, and nobody hears of it
    RemoveVmmFiles(order.directory);
    return watched.failure();
  }
  events_.Push(LaunchedEvent{request, shell.handle, shell.pid, shell.start_ticks, 0, order.directory});
  return true;
}

void Engine::Prepare(uint32_t request, ShellOrder order) {
  Enqueue([this, request, order = std::move(order)](ChildLauncher& launcher) { PrepareNow(launcher, request, order); });
}

void Engine::PrepareNow(ChildLauncher& launcher, uint32_t request, const ShellOrder& order) {
  auto shell = nursery_.Make(launcher, order);
  if (!shell) return events_.Push(RefusedEvent{request, shell.failure()});
  const auto vmm = std::make_shared<Vmm>();
  vmm->handle = next_handle_++;
  vmm->pid = shell->pid;
  vmm->is_child = true;
  vmm->is_shell = true;
  vmm->start_ticks = std::move(shell->start_ticks);
  vmm->birth = std::move(shell->birth);
  vmm->pidfd = std::move(shell->pidfd);
  std::unique_lock lock(vmm->mutex);
  auto watched = monitor_.WatchLocked(vmm);
  if (watched) return events_.Push(ShellEvent{request, vmm->handle, vmm->pid, shell->barriers});
  KillAndReap(vmm->pidfd.get());
  vmm->pidfd.reset();
  lock.unlock();
  monitor_.Release(vmm->handle);
  events_.Push(RefusedEvent{request, watched.failure()});
}

void Engine::Prime(uint32_t request, uint32_t shell, std::string directory) {
  Enqueue([this, request, shell, directory = std::move(directory)](ChildLauncher&) {
    auto primed = PrimeShell(shell, directory);
    if (primed) return events_.Push(PrimedEvent{request});
    Discard(shell);
    events_.Push(RefusedEvent{request, primed.failure()});
  });
}

Result<bool> Engine::PrimeShell(uint32_t shell, const std::string& directory) {
  const auto vmm = monitor_.Find(shell);
  if (!vmm) return Failure{ESRCH, "the shell to prime has ended"};
  // Without the lock: the monitor must not wait for an answer of the shell's.
  UniqueFd birth;
  {
    std::lock_guard lock(vmm->mutex);
    if (!vmm->is_shell || !vmm->birth.is_open())
      return Failure{ESRCH, "the shell to prime has ended, or is being used"};
    if (!vmm->primed.empty()) return Failure{EINVAL, "the shell is primed already"};
    birth = std::move(vmm->birth);
  }
  auto primed = volley::Prime(birth.get(), directory, kvm_device_);
  if (!primed) return primed.failure();
  std::lock_guard lock(vmm->mutex);
  if (!vmm->is_shell || !vmm->pidfd.is_open()) return Failure{ESRCH, "the shell to prime has ended"};
  vmm->birth = std::move(birth);
  vmm->primed = directory;
  return true;
}

void Engine::Discard(uint32_t shell) {
  const auto vmm = monitor_.Find(shell);
  if (!vmm) return;
  std::lock_guard lock(vmm->mutex);
  if (!vmm->is_shell || !vmm->pidfd.is_open()) return;
  vmm->birth.reset();
  syscall(SYS_pidfd_send_signal, vmm->pidfd.get(), SIGKILL, nullptr, 0);
}

const Nursery::Possibilities& Engine::Jail() {
  if (!possibilities_) {
    // The calling thread may have handlers that must not run in a child.
    const AllSignalsBlocked blocked;
    auto launcher = ChildLauncher::Make();
    possibilities_ = launcher ? nursery_.Try(**launcher) : Nursery::Possibilities{};
  }
  return *possibilities_;
}

void Engine::Adopt(uint32_t request, AdoptOrder order) {
  Enqueue([this, request, order = std::move(order)](ChildLauncher&) {
    auto adopted = AdoptVmm(order, boot_id_);
    if (auto* evidence = std::get_if<ExitEvidence>(&adopted)) {
      return events_.Push(GoneEvent{request, std::move(*evidence)});
    }
    Hold(request, std::move(std::get<HeldVmm>(adopted)), order.id);
  });
}

void Engine::Find(uint32_t request, std::string id, std::string directory) {
  Enqueue([this, request, id = std::move(id), directory = std::move(directory)](ChildLauncher&) {
    const auto found = FindVmm(id, directory);
    events_.Push(found ? FoundEvent{request, found->pid, found->start_ticks} : FoundEvent{request, 0, {}});
  });
}

void Engine::Hold(uint32_t request, HeldVmm held, const std::string& id) {
  const auto vmm = std::make_shared<Vmm>();
  vmm->handle = next_handle_++;
  vmm->pid = held.pid;
  vmm->is_child = held.is_child;
  vmm->launched_ns = held.launched_ns;
  vmm->id = id;
  vmm->directory = held.directory;
  vmm->devices = std::move(held.devices);
  vmm->pages = std::move(held.pages);
  vmm->pidfd = std::move(held.pidfd);
  vmm->control = std::move(held.control);
  vmm->boot_reported = held.booted_ns != 0;

  // The monitor and the JavaScript thread take this lock before they do anything with the VMM. So it is known to both
  // by the time anybody can name it, and nothing is said about it before this event.
  std::unique_lock lock(vmm->mutex);
  auto watched = monitor_.WatchLocked(vmm);
  if (watched) {
    events_.Push(LaunchedEvent{request, vmm->handle, held.pid, std::move(held.start_ticks), held.booted_ns,
                               vmm->is_child ? held.directory : std::string()});
    return;
  }
  // Only a host without kernel memory gets here. A VMM that cannot be watched must not go on unseen.
  if (vmm->is_child) {
    KillAndReap(vmm->pidfd.get());
    RemoveVmmFiles(held.directory);
  }
  vmm->pidfd.reset();
  lock.unlock();
  monitor_.Release(vmm->handle);
  events_.Push(RefusedEvent{request, watched.failure()});
}

int Engine::Send(uint32_t handle, const volley_message& message, std::span<const int> descriptors) {
  const auto vmm = monitor_.Find(handle);
  if (!vmm) return ESRCH;
  std::lock_guard lock(vmm->mutex);
  if (!vmm->control.is_open()) return ENOTCONN;
  if (vmm->awaited.size() >= kAwaitedAtMost) return EAGAIN;
  if (descriptors.size() > 2) return EINVAL;
  iovec part{const_cast<volley_message*>(&message), sizeof message};
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!descriptors.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t n = 0;
  do {
    n = sendmsg(vmm->control.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno;
  vmm->awaited.push_back(message.request_id);
  return 0;
}

void Engine::Abandon(uint32_t handle, uint32_t request) {
  const auto vmm = monitor_.Find(handle);
  if (!vmm) return;
  std::lock_guard lock(vmm->mutex);
  std::erase(vmm->awaited, request);
}

int Engine::Kill(uint32_t handle) {
  const auto vmm = monitor_.Find(handle);
  if (!vmm) return 0;
  std::lock_guard lock(vmm->mutex);
  if (!vmm->pidfd.is_open()) return 0;
  vmm->kill_requested = true;
  if (syscall(SYS_pidfd_send_signal, vmm->pidfd.get(), SIGKILL, nullptr, 0) == 0 || errno == ESRCH) return 0;
  vmm->kill_requested = false;
  return errno;
}

void Engine::Close() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    jobs_.clear();
  }
  work_.notify_all();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  monitor_.Stop();
  for (const Event& event : events_.Take()) {
    const auto* launched = std::get_if<LaunchedEvent>(&event);
    if (launched == nullptr || launched->directory.empty()) continue;
    const auto vmm = monitor_.Find(launched->handle);
    if (vmm && vmm->pidfd.is_open()) KillAndReap(vmm->pidfd.get());
    RemoveVmmFiles(launched->directory);
  }
  // Shells end by themselves now that their sockets close; but somebody has to collect them.
  monitor_.ForEach([](Vmm& vmm) {
    if (vmm.is_shell && vmm.pidfd.is_open()) KillAndReap(vmm.pidfd.get());
  });
}

}  // namespace volley
