#pragma once

#include "abi/volley_snapshot.h"
#include "base/status.h"
#include "devices/i8042.h"
#include "devices/serial.h"
#include "kvm/kvm_system.h"
#include "kvm/vcpu.h"
#include "memory/guest_memory.h"
#include "snapshot/state_reader.h"
#include "snapshot/state_writer.h"

namespace volley {

// VOLLEY_SECTION_PLATFORM.
struct PlatformState {
  Serial::State serial;
  I8042::State keyboard;
};

// Whether a snapshot is of a machine as the configuration has it. The devices are compared when they are there.
Status check_machine(const volley_snapshot_header& header, const volley_config& config);
// Whether this host shows guests the processor that the snapshot's guest has seen.
Status check_cpu(const volley_snapshot_header& header, const KvmSystem& kvm);
Status describe_cpu(const KvmSystem& kvm, volley_snapshot_header* header);

// Puts the snapshot's memory in the place of what has been mapped, which is all zeros.
Status map_snapshot_memory(GuestMemory& memory, int fd, const volley_snapshot_header& header);

// One vCPU with its CPUID, for guests that were given one.
Status store_vcpu(const KvmSystem& kvm, const Vcpu& vcpu, bool with_cpuid, StateWriter& to);
Status load_vcpu(const StateReader& from, const Vcpu& vcpu, bool with_cpuid);

}  // namespace volley
