#pragma once

#include <cstdint>

#include "abi/volley_abi.h"
#include "base/status.h"
#include "birth/inherited_fds.h"
#include "devices/guest_end_sink.h"
#include "devices/io_bus.h"
#include "devices/power_button.h"
#include "kvm/kvm_system.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"
#include "memory/guest_memory.h"

namespace volley {

// What to boot. The sizes were validated against the size of guest memory.
struct BootSource {
  int kernel_fd = -1;
  uint64_t kernel_size = 0;
  int initrd_fd = -1;  // valid only if initrd_size is not 0
  uint64_t initrd_size = 0;
  int initrd_extra_fd = -1;  // valid only if initrd_extra_size is not 0
  uint64_t initrd_extra_size = 0;
  const char* cmdline = "";  // NUL terminated
  uint32_t cmdline_length = 0;
  uint32_t vcpus = 1;
  uint32_t devices = 0;
  uint8_t generation_id[16] = {};
};

// Puts together what the configuration says and the descriptors that came with it. The command line is used in place.
// Fails if a file is missing.
Status boot_source_of(const volley_config& config, const InheritedFds& fds, BootSource* source);

// What the machine offers to a boot protocol that brings devices of its own.
struct BootPlatform {
  const Vm& vm;
  IoBus& ports;
  IoBus& mmio;
  GuestEndSink& end;
};

// One way to bring a guest to its first instruction. The machine calls the steps in this order, once each, before any
// vCPU runs; a failed step ends the VMM with its message. Serial console, i8042, pvpanic, ACPI sleep register and boot
// timer are the machine's own and always there.
class BootProtocol {
 public:
  // Attaches the devices that only guests of this protocol need.
  virtual Status attach_devices(const BootPlatform& platform) = 0;
  // Writes kernel, command line, page tables and firmware tables into guest memory.
  virtual Status load(const BootSource& source, const GuestMemory& memory) = 0;
  // Sets CPUID, MSRs and registers of one vCPU.
  virtual Status prepare_vcpu(const KvmSystem& kvm, const Vcpu& vcpu) = 0;
  // Whether prepare_vcpu() sets CPUID. The others' guests have no use for it.
  virtual bool sets_cpuid() const = 0;
  // Tells a guest that goes on from a snapshot to look at its generation id.
  virtual void announce_generation() = 0;
  // How VOLLEY_CMD_STOP reaches a guest of this protocol.
  virtual PowerButton& power_button() = 0;

 protected:
  ~BootProtocol() = default;
};

// Writes the command line, NUL included, to VOLLEY_CMDLINE_ADDRESS. Same for every protocol.
Status load_cmdline(const BootSource& source, const GuestMemory& memory);

}  // namespace volley
