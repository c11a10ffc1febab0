#include "snapshot/vm_state.h"

#include <sys/ioctl.h>

#include <cerrno>

namespace volley {
namespace {

constexpr uint32_t kChips = 3;

}  // namespace

Status save_vm(const Vm& vm, bool full_irqchip, VmState* state) {
  *state = {};
  if (ioctl(vm.fd(), KVM_GET_CLOCK, &state->clock) < 0) return Status::system_error(errno, "cannot read the clock");
  state->chip_count = full_irqchip ? kChips : 0;
  for (uint32_t i = 0; i < state->chip_count; ++i) {
    state->chips[i].chip_id = i;
    if (ioctl(vm.fd(), KVM_GET_IRQCHIP, &state->chips[i]) < 0) {
      return Status::system_error(errno, "cannot read interrupt controller %u", i);
    }
  }
  return Status::ok();
}

Status restore_vm(const Vm& vm, bool full_irqchip, const VmState& state) {
  if (state.chip_count != (full_irqchip ? kChips : 0)) {
    return Status::error("the snapshot has %u interrupt controllers of a machine", state.chip_count);
  }
  for (uint32_t i = 0; i < state.chip_count; ++i) {
    kvm_irqchip chip = state.chips[i];
    chip.chip_id = i;
    if (ioctl(vm.fd(), KVM_SET_IRQCHIP, &chip) < 0) {
      return Status::system_error(errno, "the snapshot's interrupt controller %u cannot be restored", i);
    }
  }
  kvm_clock_data clock{};
  clock.clock = state.clock.clock;
  if (ioctl(vm.fd(), KVM_SET_CLOCK, &clock) < 0) {
    return Status::system_error(errno, "the snapshot's clock cannot be restored");
  }
  return Status::ok();
}

}  // namespace volley
