#ifndef VOLLEY_BINDING_MONITOR_H
#define VOLLEY_BINDING_MONITOR_H

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/unique_fd.h"
#include "event_queue.h"
#include "oom_watch.h"
#include "result.h"
#include "vmm.h"
#include "vsock_broker.h"

namespace volley {

/// One thread that watches the end and the control connection of every VMM with epoll: the work per event does not
/// depend on how many VMMs there are.
class Monitor {
 public:
  Monitor(EventQueue& events, std::map<uint32_t, std::string> vsock_services)
      : events_(events), broker_(std::move(vsock_services)) {}
  ~Monitor() { Stop(); }

  Result<bool> Start();
  /// Ends the thread; VMMs go on running, unwatched.
  void Stop();

  /// Begins to watch; the VMM's mutex must be held and its pidfd open. Callable from any thread.
  Result<bool> WatchLocked(const std::shared_ptr<Vmm>& vmm);
  /// Begins to watch the control connection of a shell that became a microVM.
  Result<bool> WatchControlLocked(const Vmm& vmm);
  template <class Visit>
  void ForEach(Visit&& visit) {
    std::lock_guard lock(mutex_);
    for (const auto& [handle, vmm] : vmms_) visit(*vmm);
  }
  std::shared_ptr<Vmm> Find(uint32_t handle);
  /// Closes what is held for a VMM. A child that still runs stays watched, unseen, so that its end leaves no zombie.
  void Release(uint32_t handle);

 private:
  void Run();
  /// `locked` functions expect the VMM's mutex to be held.
  void ReadControl(Vmm& vmm);
  void ReadControlLocked(Vmm& vmm);
  void TakeMessageLocked(Vmm& vmm, const volley_message& message);
  void ReportBootLocked(Vmm& vmm, uint64_t at_ns);
  void DisconnectLocked(Vmm& vmm, const char* why);
  void HandleEnd(const std::shared_ptr<Vmm>& vmm);
  void Forget(uint32_t handle);

  void TakeAskLocked(Vmm& vmm, const volley_message& ask);
  void AskAgain();

  EventQueue& events_;
  VsockBroker broker_;
  struct Postponed {
    uint32_t handle;
    volley_message ask;
    uint64_t until_ns;
  };
  std::vector<Postponed> postponed_;  // connections that a service had no room for
  OomWatch oom_;
  UniqueFd epoll_;
  UniqueFd wake_;
  std::thread thread_;
  std::mutex mutex_;
  std::unordered_map<uint32_t, std::shared_ptr<Vmm>> vmms_;
};

}  // namespace volley

#endif
