#pragma once

#include "devices/power_button.h"
#include "kvm/vm.h"

namespace volley {

// The power button of a flat guest: interrupt VOLLEY_POWER_BUTTON_VECTOR on the local APIC of vCPU 0. It needs no
// IOAPIC and no interrupt routing, so it works with the split irqchip, and it wakes a halted vCPU inside the kernel.
class MsiPowerButton final : public PowerButton {
 public:
  explicit MsiPowerButton(const Vm& vm) : vm_(vm) {}
  int press() override;

 private:
  const Vm& vm_;
};

}  // namespace volley
