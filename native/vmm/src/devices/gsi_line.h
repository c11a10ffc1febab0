#pragma once

#include "devices/interrupt_line.h"
#include "kvm/vm.h"

namespace volley {

// A line into the in-kernel PIC and IOAPIC (full irqchip only).
class GsiLine final : public InterruptLine {
 public:
  GsiLine(const Vm& vm, uint32_t gsi) : vm_(vm), gsi_(gsi) {}
  void set(bool level) override { vm_.set_irq_line(gsi_, level); }

 private:
  const Vm& vm_;
  uint32_t gsi_;
};

}  // namespace volley
