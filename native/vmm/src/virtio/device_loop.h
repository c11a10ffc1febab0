#pragma once

#include <atomic>
#include <cstdint>

#include "base/mutex.h"
#include "base/status.h"
#include "base/wake_fd.h"

namespace volley {

// Something that wants to hear of a descriptor that became ready. Called on the loop's thread.
class EventHandler {
 public:
  virtual void ready(uint32_t epoll_events) = 0;

 protected:
  ~EventHandler() = default;
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
  DeviceLoop() = default;
  DeviceLoop(const DeviceLoop&) = delete;
  DeviceLoop& operator=(const DeviceLoop&) = delete;

  // Before start(): makes the epoll descriptor. `name` (at most 15 bytes) is the thread's.
  Status create(const char* name);
  // On the loop's thread, or before start(). `events` as in epoll_ctl. The handler must outlive its registration.
  Status add(int fd, uint32_t events, EventHandler& handler);
  Status change(int fd, uint32_t events, EventHandler& handler);
  void remove(int fd);

  Status start();

  // From any other thread: has `task` run on the loop's thread and waits until it was. When the loop is paused it runs
  // all the same: tasks are how a stopped machine is looked at.
  void run_and_wait(LoopTask& task);
  // Stops the loop between two handler calls. False if `deadline_ns` passed first; it then goes on.
  [[nodiscard]] bool pause(uint64_t deadline_ns);
  void resume();

 private:
  struct Impl;
  friend struct Impl;

  WakeFd wake_;
  int epoll_fd_ = -1;
  const char* name_ = "";
  Mutex mutex_;
  Condition changed_;
  LoopTask* task_ = nullptr;
  bool pause_wanted_ = false;
  bool paused_ = false;
};

}  // namespace volley
