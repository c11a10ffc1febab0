#pragma once

#include <linux/kvm.h>

#include <cstdint>

#include "base/status.h"
#include "kvm/vm.h"

namespace volley {

// What belongs to the whole virtual machine: its clock and, with the full irqchip, its interrupt controllers.
struct VmState {
  kvm_clock_data clock;
  uint32_t chip_count;  // 0 or 3: both PICs, the IOAPIC
  uint32_t reserved;
  kvm_irqchip chips[3];
};

Status save_vm(const Vm& vm, bool full_irqchip, VmState* state);
// The guest's clock goes on from where it was: the time between is no time for it. What day it is the host tells it.
Status restore_vm(const Vm& vm, bool full_irqchip, const VmState& state);

}  // namespace volley
