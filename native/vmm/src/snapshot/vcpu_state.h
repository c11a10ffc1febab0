#pragma once

#include <linux/kvm.h>

#include <cstdint>

#include "base/status.h"
#include "kvm/kvm_system.h"
#include "kvm/vcpu.h"

namespace volley {

// All of a vCPU that a guest can tell, as KVM gives and takes it.
struct VcpuState {
  static constexpr uint32_t kMaxMsrs = 256;
  // struct kvm_xsave, with room for all that processors have today (AMX tiles need 11 KiB).
  static constexpr uint32_t kExtendedBytes = 16 * 1024;

  kvm_regs registers;
  kvm_sregs special_registers;
  kvm_debugregs debug_registers;
  kvm_mp_state run_state;
  uint32_t msr_count;
  kvm_vcpu_events events;
  kvm_xcrs extended_controls;
  uint8_t extended_state[kExtendedBytes];
  kvm_lapic_state local_apic;
  kvm_msr_entry msrs[kMaxMsrs];
};

// The vCPU must not be inside KVM_RUN, and have nothing left to do for an exit of its own (see VcpuGate).
Status save_vcpu(const KvmSystem& kvm, const Vcpu& vcpu, VcpuState* state);
// The vCPU is new and its CPUID set. KVM checks what it takes; a state that it refuses is an error that names the part.
Status restore_vcpu(const Vcpu& vcpu, const VcpuState& state);

}  // namespace volley
