#pragma once

#include "boot/boot_protocol.h"
#include "devices/msi_power_button.h"

namespace volley {

// A flat 64-bit binary, loaded and entered at VOLLEY_KERNEL_BASE. Only vCPU 0 is started. At entry: rdi = bytes of
// guest memory, rsi = VOLLEY_CMDLINE_ADDRESS, rdx = TSC frequency in kHz (0 = unknown), interrupts off, the first GiB
// and the GiB of the device windows mapped one to one and open to ring 3.
class FlatBoot final : public BootProtocol {
 public:
  explicit FlatBoot(const Vm& vm) : vm_(vm), power_button_(vm) {}

  Status attach_devices(const BootPlatform& platform) override;
  Status load(const BootSource& source, const GuestMemory& memory) override;
  Status prepare_vcpu(const KvmSystem& kvm, const Vcpu& vcpu) override;
  bool sets_cpuid() const override { return false; }
  void announce_generation() override { vm_.signal_msi(0, VOLLEY_GENERATION_VECTOR); }
  PowerButton& power_button() override { return power_button_; }

 private:
  const Vm& vm_;
  MsiPowerButton power_button_;
  uint64_t memory_bytes_ = 0;
};

}  // namespace volley
