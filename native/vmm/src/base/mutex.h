#pragma once

#include <pthread.h>

#include <cstdint>

namespace volley {

// pthread's mutex and condition variable rather than std::mutex: the latter pull the exception machinery into the
// binary.
class Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  ~Mutex() { pthread_mutex_destroy(&mutex_); }

  void lock() { pthread_mutex_lock(&mutex_); }
  void unlock() { pthread_mutex_unlock(&mutex_); }

 private:
  friend class Condition;
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
};

class [[nodiscard]] MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) : mutex_(mutex) { mutex_.lock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  ~MutexLock() { mutex_.unlock(); }

 private:
  Mutex& mutex_;
};

class Condition {
 public:
  Condition() {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&condition_, &attributes);
    pthread_condattr_destroy(&attributes);
  }
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;
  ~Condition() { pthread_cond_destroy(&condition_); }

  void wait(Mutex& held) { pthread_cond_wait(&condition_, &held.mutex_); }
  // Returns false once CLOCK_MONOTONIC has passed `deadline_ns`.
  bool wait_until(Mutex& held, uint64_t deadline_ns) {
    timespec deadline{static_cast<time_t>(deadline_ns / 1'000'000'000u),
                      static_cast<long>(deadline_ns % 1'000'000'000u)};
    return pthread_cond_timedwait(&condition_, &held.mutex_, &deadline) == 0;
  }
  void wake_all() { pthread_cond_broadcast(&condition_); }

 private:
  pthread_cond_t condition_;
};

}  // namespace volley
