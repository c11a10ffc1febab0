// The binding without JavaScript: launcher threads, the monitor and the table of VMMs.
#ifndef VOLLEY_BINDING_ENGINE_H
#define VOLLEY_BINDING_ENGINE_H

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "child_launcher.h"
#include "event_queue.h"
#include "launch.h"
#include "monitor.h"
#include "result.h"
#include "shell.h"

namespace volley {

struct EngineOptions {
  std::string vmm_path;
  /// Handed to every VMM; empty = none is, since the VMM is one that runs no guest.
  std::string kvm_device = "/dev/kvm";
  unsigned launch_threads = 4;
  /// Sockets of services that every guest may reach, by vsock port.
  std::map<uint32_t, std::string> vsock_services;
};

class Engine {
 public:
  /// `wake` is called from any thread when events wait to be taken.
  static Result<std::unique_ptr<Engine>> Open(const EngineOptions& options, std::function<void()> wake);
  ~Engine() { Close(); }

  // Answers come as events with the same request number.
  /// Launches into the shell with this handle, which is used up whatever happens; 0 = into a new one.
  void Launch(uint32_t request, LaunchOrder order, ShellOrder shell_order, uint32_t shell);
  void Prepare(uint32_t request, ShellOrder order);
  /// Makes a shell one for a clone of the snapshot in `directory`; one that cannot be is ended.
  void Prime(uint32_t request, uint32_t shell, std::string directory);
  void Adopt(uint32_t request, AdoptOrder order);
  void Find(uint32_t request, std::string id, std::string directory);

  /// Sends a command, and duplicates of at most two descriptors with it, without waiting. Returns 0 or an errno:
  /// ENOTCONN without a connection, EAGAIN when the VMM does not read its messages, ESRCH for an unknown handle.
  int Send(uint32_t handle, const volley_message& message, std::span<const int> descriptors = {});
  /// Ends a shell that is not needed.
  void Discard(uint32_t shell);
  /// Which barriers this agent can put up on this host. Takes some milliseconds the first time.
  const Nursery::Possibilities& Jail();
  /// Gives up waiting for an answer.
  void Abandon(uint32_t handle, uint32_t request);
  /// SIGKILL through the pidfd. Returns 0 (also after the end) or an errno.
  int Kill(uint32_t handle);
  std::shared_ptr<Vmm> Get(uint32_t handle) { return monitor_.Find(handle); }
  void Release(uint32_t handle) { monitor_.Release(handle); }

  std::vector<Event> TakeEvents() { return events_.Take(); }
  const std::string& boot_id() const { return boot_id_; }

  /// Ends all threads; VMMs go on running. A launch whose answer nobody will take any more is undone.
  void Close();

 private:
  using Job = std::function<void(ChildLauncher&)>;

  Engine(UniqueFd executable, const EngineOptions& options, std::function<void()> wake)
      : executable_(std::move(executable)),
        nursery_(executable_.get()),
        kvm_device_(options.kvm_device),
        events_(std::move(wake)),
        monitor_(events_, options.vsock_services) {}
  void Enqueue(Job job);
  void RunJobs(ChildLauncher& launcher);
  void LaunchNow(ChildLauncher& launcher, uint32_t request, const LaunchOrder& order, const ShellOrder& shell_order,
                 uint32_t shell);
  Result<bool> LaunchIntoShell(uint32_t request, const LaunchOrder& order, uint64_t launched_ns, Vmm& shell);
  void PrepareNow(ChildLauncher& launcher, uint32_t request, const ShellOrder& order);
  Result<bool> PrimeShell(uint32_t shell, const std::string& directory);
  void Hold(uint32_t request, HeldVmm held, const std::string& id);

  UniqueFd executable_;
  Nursery nursery_;
  const std::string kvm_device_;
  std::optional<Nursery::Possibilities> possibilities_;
  std::string boot_id_;
  EventQueue events_;
  Monitor monitor_;
  std::atomic<uint32_t> next_handle_{1};

  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Job> jobs_;
  bool closing_ = false;
  std::vector<std::unique_ptr<ChildLauncher>> launchers_;
  std::vector<std::thread> threads_;
};

}  // namespace volley

#endif
