#ifndef VOLLEY_BINDING_MONITOR_H
#define VOLLEY_BINDING_MONITOR_H

#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "event_queue.h"
#include "oom_watch.h"
#include "result.h"
#include "unique_fd.h"
#include "vmm.h"

namespace volley {

/// One thread that watches the end and the control connection of every VMM with epoll: the work per event does not
/// depend on how many VMMs there are.
class Monitor {
 public:
  explicit Monitor(EventQueue& events) : events_(events) {}
  ~Monitor() { Stop(); }

  Result<bool> Start();
  /// Ends the thread; VMMs go on running, unwatched.
  void Stop();

  /// Begins to watch; the VMM's mutex must be held and its pidfd open. Callable from any thread.
  Result<bool> WatchLocked(const std::shared_ptr<Vmm>& vmm);
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

  EventQueue& events_;
  OomWatch oom_;
  UniqueFd epoll_;
  UniqueFd wake_;
  std::thread thread_;
  std::mutex mutex_;
  std::unordered_map<uint32_t, std::shared_ptr<Vmm>> vmms_;
};

}  // namespace volley

#endif
