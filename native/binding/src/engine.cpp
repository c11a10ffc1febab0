#include "engine.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>

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
  if (!fd) return FailedCall(errno, "cannot open the VMM " + path);
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
  std::unique_ptr<Engine> engine(new Engine(std::move(wake)));
  auto executable = OpenExecutable(options.vmm_path);
  if (!executable) return executable.failure();
  engine->executable_ = std::move(*executable);
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

void Engine::Launch(uint32_t request, LaunchOrder order) {
  Enqueue([this, request, order = std::move(order)](ChildLauncher& launcher) {
    auto held = LaunchVmm(launcher, executable_.get(), order);
    if (!held) return events_.Push(RefusedEvent{request, held.failure()});
    Hold(request, std::move(*held), order.directory);
  });
}

void Engine::Adopt(uint32_t request, AdoptOrder order) {
  Enqueue([this, request, order = std::move(order)](ChildLauncher&) {
    auto adopted = AdoptVmm(order, boot_id_);
    if (auto* evidence = std::get_if<ExitEvidence>(&adopted)) {
      return events_.Push(GoneEvent{request, std::move(*evidence)});
    }
    Hold(request, std::move(std::get<HeldVmm>(adopted)), order.directory);
  });
}

void Engine::Find(uint32_t request, std::string id, std::string directory) {
  Enqueue([this, request, id = std::move(id), directory = std::move(directory)](ChildLauncher&) {
    const auto found = FindVmm(id, directory);
    events_.Push(found ? FoundEvent{request, found->pid, found->start_ticks} : FoundEvent{request, 0, {}});
  });
}

void Engine::Hold(uint32_t request, HeldVmm held, const std::string& directory) {
  const auto vmm = std::make_shared<Vmm>();
  vmm->handle = next_handle_++;
  vmm->pid = held.pid;
  vmm->is_child = held.is_child;
  vmm->launched_ns = held.launched_ns;
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
                               vmm->is_child ? directory : std::string()});
    return;
  }
  // Only a host without kernel memory gets here. A VMM that cannot be watched must not go on unseen.
  if (vmm->is_child) {
    KillAndReap(vmm->pidfd.get());
    RemoveVmmFiles(directory);
  }
  vmm->pidfd.Reset();
  lock.unlock();
  monitor_.Release(vmm->handle);
  events_.Push(RefusedEvent{request, watched.failure()});
}

int Engine::Send(uint32_t handle, uint32_t type, uint32_t request) {
  const auto vmm = monitor_.Find(handle);
  if (!vmm) return ESRCH;
  std::lock_guard lock(vmm->mutex);
  if (!vmm->control) return ENOTCONN;
  if (vmm->awaited.size() >= kAwaitedAtMost) return EAGAIN;
  volley_message message{};
  message.type = type;
  message.request_id = request;
  ssize_t n = 0;
  do {
    n = send(vmm->control.get(), &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno;
  vmm->awaited.push_back(request);
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
  if (!vmm->pidfd) return 0;
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
    if (vmm && vmm->pidfd) KillAndReap(vmm->pidfd.get());
    RemoveVmmFiles(launched->directory);
  }
}

}  // namespace volley
