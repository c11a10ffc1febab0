#include "virtio/device_loop.h"

#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>

#include "process/crash_handlers.h"
#include "process/seccomp.h"

namespace volley {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 1024 * 1024;
#else
constexpr size_t kStackBytes = 64 * 1024;
#endif

}  // namespace

Status DeviceLoop::create(Kind kind, uint32_t number) {
  kind_ = kind;
  number_ = number;
  epoll_fd_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_fd_.is_open()) return Status::system_error(errno, "cannot create an epoll descriptor");
  if (Status status = wake_.create(); !status.is_ok()) return status;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;  // the loop itself
  if (epoll_ctl(epoll_fd_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) {
    return Status::system_error(errno, "cannot watch the wake-up descriptor of a device thread");
  }
  return Status::ok();
}

Status DeviceLoop::control(int operation, int fd, uint32_t events, EventHandler& handler, const char* verb) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &handler;
  if (epoll_ctl(epoll_fd_.get(), operation, fd, &event) != 0) {
    return Status::system_error(errno, "cannot %s descriptor %d of a device", verb, fd);
  }
  return Status::ok();
}

Status DeviceLoop::add(int fd, uint32_t events, EventHandler& handler) {
  return control(EPOLL_CTL_ADD, fd, events, handler, "watch");
}

Status DeviceLoop::change(int fd, uint32_t events, EventHandler& handler) {
  return control(EPOLL_CTL_MOD, fd, events, handler, "change the watch on");
}

void DeviceLoop::remove(int fd, EventHandler& handler) {
  epoll_ctl(epoll_fd_.get(), EPOLL_CTL_DEL, fd, nullptr);
  for (int i = 0; i < batch_count_; ++i) {
    if (batch_[i] == &handler) batch_[i] = nullptr;
  }
}

Status DeviceLoop::start() {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, std::max(kStackBytes, static_cast<size_t>(PTHREAD_STACK_MIN)));
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  started_ = true;
  const int error_number = pthread_create(&thread_, &attributes, main, this);
  pthread_attr_destroy(&attributes);
  if (error_number == 0) return Status::ok();
  started_ = false;
  return Status::system_error(error_number, "cannot start a device thread");
}

void* DeviceLoop::main(void* self) {
  static_cast<DeviceLoop*>(self)->loop();
  return nullptr;
}

void DeviceLoop::loop() {
  char name[16] = "devices";
  if (kind_ == Kind::kDisk) snprintf(name, sizeof(name), "disk:%u", number_);
  prctl(PR_SET_NAME, name);
  use_crash_stack(kDeviceCrashStacks + number_);
  // Not to serve a guest from a thread without its filter; the crash handlers say what happened.
  if (!enter_seccomp(kind_ == Kind::kDisk ? ThreadKind::kDiskLoop : ThreadKind::kDeviceLoop).is_ok()) abort();
  for (;;) serve_events(-1);
}

bool DeviceLoop::serve_events(int timeout_ms) {
  if (requested_.load(std::memory_order_acquire)) serve_requests();
  epoll_event events[kBatch];
  const int count = epoll_wait(epoll_fd_.get(), events, kBatch, timeout_ms);
  batch_count_ = std::max(count, 0);
  for (int i = 0; i < batch_count_; ++i) batch_[i] = static_cast<EventHandler*>(events[i].data.ptr);
  for (int i = 0; i < batch_count_; ++i) {
    if (events[i].data.ptr == nullptr) {
      wake_.drain();
    }
    if (requested_.load(std::memory_order_acquire)) serve_requests();
    // Looked at now and not before: a handler or a task may have removed it.
    if (batch_[i] != nullptr) batch_[i]->ready(events[i].events);
  }
  batch_count_ = 0;
  return count > 0;
}

void DeviceLoop::serve_requests() {
  mutex_.lock();
  for (;;) {
    if (task_ != nullptr) {
      LoopTask* task = task_;
      mutex_.unlock();
      task->run();
      mutex_.lock();
      task_ = nullptr;
      changed_.wake_all();
    } else if (pause_wanted_) {
      paused_ = true;
      changed_.wake_all();
      changed_.wait(mutex_);
    } else {
      break;
    }
  }
  paused_ = false;
  requested_.store(false, std::memory_order_relaxed);
  mutex_.unlock();
}

void DeviceLoop::run_and_wait(LoopTask& task) {
  if (!started_) {
    task.run();
    return;
  }
  MutexLock lock(mutex_);
  while (task_ != nullptr) changed_.wait(mutex_);
  task_ = &task;
  requested_.store(true, std::memory_order_release);
  wake_.signal();
  changed_.wake_all();
  while (task_ == &task) changed_.wait(mutex_);
}

bool DeviceLoop::pause(uint64_t deadline_ns) {
  if (!started_) return true;
  MutexLock lock(mutex_);
  pause_wanted_ = true;
  requested_.store(true, std::memory_order_release);
  wake_.signal();
  while (!paused_) {
    if (changed_.wait_until(mutex_, deadline_ns) || paused_) continue;
    pause_wanted_ = false;
    return false;
  }
  return true;
}

void DeviceLoop::resume() {
  if (!started_) return;
  MutexLock lock(mutex_);
  pause_wanted_ = false;
  changed_.wake_all();
}

}  // namespace volley
