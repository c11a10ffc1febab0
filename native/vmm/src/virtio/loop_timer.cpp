#include "virtio/loop_timer.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace volley {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;

}  // namespace

Status LoopTimer::create(DeviceLoop& loop) {
  fd_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!fd_.is_open()) return Status::system_error(errno, "cannot create a timer");
  return loop.add(fd_.get(), EPOLLIN, *this);
}

void LoopTimer::set(uint64_t at_ns) { program(std::max<uint64_t>(at_ns, 1)); }

void LoopTimer::program(uint64_t at_ns) {
  if (at_ns == due_ns_) return;
  due_ns_ = at_ns;
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(at_ns / kNsPerSecond);
  when.it_value.tv_nsec = static_cast<long>(at_ns % kNsPerSecond);
  timerfd_settime(fd_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void LoopTimer::ready(uint32_t) {
  uint64_t count = 0;
  // An alarm that was moved after it had become ready has nothing to say.
  if (read(fd_.get(), &count, sizeof(count)) != sizeof(count)) return;
  const uint64_t due = due_ns_;
  due_ns_ = 0;
  if (due != 0) handler_.expired(due);
}

}  // namespace volley
