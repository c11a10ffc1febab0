#pragma once

#include <cstdint>

#include "kvm/kvm_system.h"

namespace volley {

// The processor that guests of this host find, to be compared between hosts: a guest that goes on from a snapshot must
// find the one it had.
struct CpuIdentity {
  char vendor[12];
  uint32_t family;
  uint32_t model;
  uint32_t stepping;
  uint32_t features;  // CRC-32C of the whole table of a guest with one vCPU
};

Status identify_cpu(const KvmSystem& kvm, CpuIdentity* identity);

}  // namespace volley
