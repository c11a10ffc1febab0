#pragma once

#include <cstdint>

#include "base/status.h"
#include "kvm/vcpu.h"
#include "memory/guest_memory.h"

namespace volley {

// The state in which a guest is entered in 64-bit mode: flat segments from a GDT at kGdtAddress, the first GiB mapped
// one to one by 2 MiB pages, interrupts off, no IDT.
struct LongModeEntry {
  uint64_t instruction_pointer;
  uint64_t stack_pointer;
  uint64_t boot_parameters;     // rsi
  uint64_t first_argument = 0;  // rdi
  uint64_t third_argument = 0;  // rdx
};

// Who may use the boot mapping, and how far it reaches.
enum class BootMapping {
  kSupervisor,       // the first GiB, for ring 0 only: what the Linux boot protocol asks for
  kUserWithDevices,  // the first GiB and the GiB of the device windows, for ring 3 too: what flat guests are promised
};

// Writes page tables and GDT.
Status load_long_mode_tables(const GuestMemory& memory, BootMapping mapping = BootMapping::kSupervisor);
// Sets the registers of the vCPU that boots. (Other vCPUs wait in the kernel until the guest starts them.)
Status enter_long_mode(const Vcpu& vcpu, const LongModeEntry& entry);

}  // namespace volley
