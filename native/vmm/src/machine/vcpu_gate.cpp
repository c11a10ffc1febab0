#include "machine/vcpu_gate.h"

namespace volley {

void VcpuGate::pass(const Vcpu& vcpu, bool settled) {
  MutexLock lock(mutex_);
  vcpu.shared().immediate_exit = closed_ && !settled ? 1 : 0;
  if (!closed_ || !settled) return;
  vcpu.mark_guest_paused();
  ++stopped_;
  stopped_changed_.wake_all();
  while (closed_) opened_.wait(mutex_);
  --stopped_;
}

void VcpuGate::park_for_ever() {
  MutexLock lock(mutex_);
  ++stopped_;
  stopped_changed_.wake_all();
  for (;;) opened_.wait(mutex_);
}

void VcpuGate::close() {
  MutexLock lock(mutex_);
  closed_ = true;
}

void VcpuGate::open() {
  MutexLock lock(mutex_);
  closed_ = false;
  opened_.wake_all();
}

bool VcpuGate::wait_all_stopped(uint64_t deadline_ns) {
  MutexLock lock(mutex_);
  while (stopped_ < population_) {
    if (!stopped_changed_.wait_until(mutex_, deadline_ns)) return stopped_ == population_;
  }
  return true;
}

}  // namespace volley
