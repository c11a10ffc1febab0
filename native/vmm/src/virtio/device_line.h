#pragma once

#include <cstdint>

#include "abi/volley_abi.h"
#include "devices/interrupt_line.h"
#include "kvm/vm.h"
#include "memory/layout.h"

namespace volley {

// The interrupt of one virtio device. Linux guests get an edge on the device's IOAPIC pin; flat guests, which have no
// IOAPIC, a vector on the local APIC of vCPU 0. KVM is asked directly: an irqfd on an IOAPIC pin would go through a
// kernel worker first.
class DeviceLine final : public InterruptLine {
 public:
  DeviceLine(const Vm& vm, uint32_t device, bool flat) : vm_(vm), device_(device), flat_(flat) {}

  void set(bool level) override {
    if (!flat_) {
      vm_.set_irq_line(device_gsi(device_), level);
    } else if (level) {
      vm_.signal_msi(0, static_cast<uint8_t>(VOLLEY_DEVICE_VECTOR + device_));
    }
  }

 private:
  const Vm& vm_;
  uint32_t device_;
  bool flat_;
};

}  // namespace volley
