#include "control/vsock_asks.h"

namespace volley {

bool VsockAsks::ask(uint32_t request_id, uint32_t port) {
  {
    MutexLock lock(mutex_);
    if (count_ == kCapacity) return false;
    waiting_[(first_ + count_++) % kCapacity] = {request_id, port};
  }
  wake_.signal();
  return true;
}

bool VsockAsks::take(Ask* ask) {
  MutexLock lock(mutex_);
  if (count_ == 0) return false;
  *ask = waiting_[first_];
  first_ = (first_ + 1) % kCapacity;
  --count_;
  return true;
}

}  // namespace volley
