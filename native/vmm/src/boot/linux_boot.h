#pragma once

#include "boot/boot_protocol.h"

namespace volley {

// A stock Linux kernel (bzImage or ELF vmlinux) by the 64-bit boot protocol, zero page in rsi.
class LinuxBoot final : public BootProtocol {
 public:
  explicit LinuxBoot(const Vm& vm) : power_button_(vm) {}

  Status attach_devices(const BootPlatform& platform) override;
  Status load(const BootSource& source, const GuestMemory& memory) override;
  Status prepare_vcpu(const KvmSystem& kvm, const Vcpu& vcpu) override;
  PowerButton& power_button() override { return power_button_; }

 private:
  class Button final : public PowerButton {
   public:
    explicit Button(const Vm& vm) : vm_(vm) {}
    int press() override;

   private:
    [[maybe_unused]] const Vm& vm_;
  };
  Button power_button_;
};

}  // namespace volley
