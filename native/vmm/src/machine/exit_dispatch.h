#pragma once

#include "abi/volley_abi.h"
#include "devices/io_bus.h"
#include "devices/serial.h"
#include "kvm/vcpu.h"
#include "machine/end_record.h"

namespace volley {

// Turns what KVM_RUN returned into device accesses, counters and ends.
class ExitDispatch {
 public:
  ExitDispatch(IoBus& ports, IoBus& mmio, volley_stats& stats, EndRecord& end)
      : ports_(ports), mmio_(mmio), stats_(stats), end_(end) {}

  // Handles the exit in `vcpu.shared()`. False if the vCPU must not run again.
  bool handle(const Vcpu& vcpu);
  // Handles a KVM_RUN that failed with an errno other than EINTR and EAGAIN.
  void run_failed(const Vcpu& vcpu, int error_number);

 private:
  void port_access(const Vcpu& vcpu);
  void mmio_access(kvm_run& run);
  void system_event(const kvm_run& run);
  void vmm_error(const Vcpu& vcpu, uint32_t suberror, const char* what);

  IoBus& ports_;
  IoBus& mmio_;
  volley_stats& stats_;
  EndRecord& end_;
};

}  // namespace volley
