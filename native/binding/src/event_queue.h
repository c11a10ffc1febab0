#ifndef VOLLEY_BINDING_EVENT_QUEUE_H
#define VOLLEY_BINDING_EVENT_QUEUE_H

#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "events.h"

namespace volley {

/// One queue for all threads, so that events of one VMM keep their order. The consumer is woken once per batch, not
/// once per event.
class EventQueue {
 public:
  explicit EventQueue(std::function<void()> wake) : wake_(std::move(wake)) {}

  void Push(Event event) {
    {
      std::lock_guard lock(mutex_);
      events_.push_back(std::move(event));
      if (std::exchange(awake_, true)) return;
    }
    wake_();
  }

  std::vector<Event> Take() {
    std::lock_guard lock(mutex_);
    awake_ = false;
    return std::exchange(events_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<Event> events_;
  bool awake_ = false;
  const std::function<void()> wake_;
};

}  // namespace volley

#endif
