#pragma once

#include <cstdint>

#include "kvm/kvm_system.h"

namespace volley {

// What one vCPU of a stock kernel should see, as far as it differs from what the host can give.
struct GuestCpu {
  uint32_t index;     // also its APIC id
  uint32_t count;     // vCPUs of the microVM: one package of that many cores, one thread each
  bool tsc_deadline;  // KVM's local APIC has the TSC deadline timer
};

// Turns the table of KVM_GET_SUPPORTED_CPUID into that of one vCPU: its APIC ids and topology in every leaf that tells
// them, marked as running under a hypervisor (the KVM leaves with kvmclock are in the host's table already), and
// without what we do not offer (performance counters, turbo, user-mode wait instructions). Leaves that the host's CPU
// does not have are not invented.
void adapt_cpuid(CpuidTable* table, const GuestCpu& cpu);

}  // namespace volley
