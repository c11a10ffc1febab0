#pragma once

#include <cstdint>

#include "base/status.h"
#include "base/unique_fd.h"
#include "virtio/device_loop.h"

namespace volley {

// Something that wants to be called at a time. Called on the loop's thread.
class TimerHandler {
 public:
  // `due_ns` is when it should have been: a loop that was stopped is late.
  virtual void expired(uint64_t due_ns) = 0;

 protected:
  ~TimerHandler() = default;
};

// One alarm on a device's loop. Devices also use it to come back after a bounded piece of work: an alarm for now is
// served after everything else that is ready. The descriptor is made before the jail closes, setting it costs one call.
class LoopTimer final : private EventHandler {
 public:
  explicit LoopTimer(TimerHandler& handler) : handler_(handler) {}
  LoopTimer(const LoopTimer&) = delete;
  LoopTimer& operator=(const LoopTimer&) = delete;

  Status create(DeviceLoop& loop);
  // Calls once at `at_ns` (CLOCK_MONOTONIC, as early as can be if past), instead of what was set before.
  void set(uint64_t at_ns);
  void clear() { program(0); }
  // 0 if none is set.
  uint64_t due_ns() const { return due_ns_; }

 private:
  void ready(uint32_t epoll_events) override;
  void program(uint64_t at_ns);

  TimerHandler& handler_;
  UniqueFd fd_;
  uint64_t due_ns_ = 0;
};

}  // namespace volley
