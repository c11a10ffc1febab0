#pragma once

#include <pthread.h>
#include <sys/epoll.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/mutex.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "base/wake_fd.h"

namespace volley {

// Something that wants to hear of one descriptor that became ready. Called on the loop's thread.
class EventHandler {
 public:
  virtual void ready(uint32_t epoll_events) = 0;

 protected:
  ~EventHandler() = default;
};

// An EventHandler that calls a member function, for owners with several descriptors:
//   Handler<NetDevice, &NetDevice::tap_ready> on_tap_{*this};
template <typename Owner, void (Owner::*kMethod)(uint32_t epoll_events)>
class Handler final : public EventHandler {
 public:
  explicit Handler(Owner& owner) : owner_(owner) {}
  void ready(uint32_t epoll_events) override { (owner_.*kMethod)(epoll_events); }

 private:
  Owner& owner_;
};

// A piece of work that another thread has the loop do.
class LoopTask {
 public:
  virtual void run() = 0;

 protected:
  ~LoopTask() = default;
};

// A thread that waits for descriptors with epoll and calls their handlers, one after another. Devices that never wait
// (net, vsock, balloon, rng) share one loop; each disk has its own, because it does wait. The loop allocates nothing.
class DeviceLoop {
 public:
  enum class Kind { kDevices, kDisk };

  DeviceLoop() = default;
  DeviceLoop(const DeviceLoop&) = delete;
  DeviceLoop& operator=(const DeviceLoop&) = delete;

  // Before everything else: makes the descriptors. `number` tells this process's loops apart and is part of the
  // thread's name for disks.
  Status create(Kind kind, uint32_t number);
  bool is_created() const { return epoll_fd_.is_open(); }

  // On the loop's thread, or before start(). `events` as in epoll_ctl. A handler serves one descriptor and outlives its
  // registration; once remove() has returned it is not called any more, not even for an event that was already there.
  Status add(int fd, uint32_t events, EventHandler& handler);
  Status change(int fd, uint32_t events, EventHandler& handler);
  void remove(int fd, EventHandler& handler);

  Status start();
  // Instead of start(), for who brings a thread of their own: handles what is ready now. False if nothing was.
  bool turn() { return serve_events(0); }

  // From any other thread: has `task` run on the loop's thread and waits until it was. When the loop is paused it runs
  // all the same: tasks are how a stopped machine is looked at. Before start() the caller runs it itself.
  void run_and_wait(LoopTask& task);
  // Stops the loop between two handler calls. False if `deadline_ns` passed first; it then goes on. One thread at a
  // time pauses and resumes: a resume ends every pause, also one that another thread is still waiting for.
  [[nodiscard]] bool pause(uint64_t deadline_ns);
  void resume();

 private:
  static constexpr int kBatch = 16;

  static void* main(void* self);
  [[noreturn]] void loop();
  bool serve_events(int timeout_ms);
  void serve_requests();
  Status control(int operation, int fd, uint32_t events, EventHandler& handler, const char* verb);

  Kind kind_ = Kind::kDevices;
  uint32_t number_ = 0;
  WakeFd wake_;
  UniqueFd epoll_fd_;
  pthread_t thread_{};
  bool started_ = false;

  // The events being handled, so that remove() can take one back. Loop thread only.
  EventHandler* batch_[kBatch];
  int batch_count_ = 0;

  std::atomic<bool> requested_{false};  // somebody wants serve_requests(); set under the mutex
  Mutex mutex_;
  Condition changed_;
  LoopTask* task_ = nullptr;
  bool pause_wanted_ = false;
  bool paused_ = false;
};

}  // namespace volley
