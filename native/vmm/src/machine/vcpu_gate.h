#pragma once

#include <cstdint>

#include "base/mutex.h"
#include "kvm/vcpu.h"

namespace volley {

// The one door every vCPU passes before each entry into the guest. Closing it and kicking the vCPUs stops the machine:
// - close() happens under the lock; a vCPU clears its immediate_exit flag under the same lock, before it looks at the
// door;
// - the kick sets immediate_exit after that and sends a signal, so a vCPU that had just passed the door comes straight
// back
//   from KVM_RUN, and one that sleeps in a HLT inside the kernel is woken.
// So there is no moment at which a kick is lost.
class VcpuGate {
 public:
  // How many vCPU threads there will be.
  void set_population(uint32_t vcpus) { population_ = vcpus; }

  // vCPU side: waits while the gate is closed. A vCPU is settled when KVM has nothing left to do for its last exit,
  // such as to put the answer to a read into a register. One that is not passes a closed gate too, with immediate_exit
  // set: KVM_RUN then does that and nothing else. So a vCPU that waits is all in what KVM tells of it.
  void pass(const Vcpu& vcpu, bool settled);
  // vCPU side: never returns. The thread counts as stopped from now on.
  [[noreturn]] void park_for_ever();

  // Control side.
  void close();
  void open();
  bool is_closed() const { return closed_; }
  // Waits until every vCPU has stopped. False when `deadline_ns` passes first.
  bool wait_all_stopped(uint64_t deadline_ns);

 private:
  Mutex mutex_;
  Condition opened_;
  Condition stopped_changed_;
  bool closed_ = false;
  uint32_t stopped_ = 0;
  uint32_t population_ = 0;
};

}  // namespace volley
