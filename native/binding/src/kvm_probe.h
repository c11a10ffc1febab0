// What this host's KVM can do.
#ifndef VOLLEY_BINDING_KVM_PROBE_H
#define VOLLEY_BINDING_KVM_PROBE_H

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kvm/cpu_identity.h"

namespace volley {

struct KvmReport {
  bool available = false;
  std::string reason;  // why not, and what to do about it
  int api_version = 0;
  bool hardware = false;
  std::string module;  // kvm_intel, kvm_amd, kvm_pvm; empty when built in or unknown
  int max_vcpus = 0;
  std::optional<CpuIdentity> cpu;  // that guests are shown
  std::vector<std::pair<std::string, int>> capabilities;
};

KvmReport ProbeKvm(const char* device = "/dev/kvm");

}  // namespace volley

#endif
