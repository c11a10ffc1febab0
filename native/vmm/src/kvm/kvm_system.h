#pragma once

#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>

#include "base/status.h"

namespace volley {

// A CPUID table as KVM takes and gives it: struct kvm_cpuid2 with room for its entries.
struct CpuidTable {
  static constexpr uint32_t kCapacity = 128;

  uint32_t count = 0;
  uint32_t padding = 0;
  kvm_cpuid_entry2 entries[kCapacity];
};
static_assert(offsetof(CpuidTable, count) == offsetof(kvm_cpuid2, nent));
// Not sizeof(kvm_cpuid2): the kernel header's flexible array macro gives the struct (and kvm_msrs) a wrong size in C++.
static_assert(offsetof(CpuidTable, entries) == 8);

// /dev/kvm, as inherited from the agent.
class KvmSystem {
 public:
  explicit KvmSystem(int fd) : fd_(fd) {}

  // Checks that the descriptor is /dev/kvm, speaks the one API version there is and has what every microVM needs.
  Status check() const;
  int fd() const { return fd_; }
  // Bytes of one vCPU's kvm_run mapping.
  Status vcpu_mapping_size(size_t* size) const;
  // What the host and KVM can give to guests.
  Status supported_cpuid(CpuidTable* table) const;
  // Whether the in-kernel local APIC has the TSC deadline timer, which KVM_GET_SUPPORTED_CPUID does not tell.
  bool has_tsc_deadline_timer() const;

 private:
  int fd_;
};

}  // namespace volley
