#pragma once

#include "boot/boot_protocol.h"
#include "boot/linux_image.h"
#include "devices/gsi_line.h"
#include "memory/layout.h"

namespace volley {

// A stock Linux kernel (bzImage or ELF vmlinux) by the 64-bit boot protocol, zero page in rsi; or any kernel by PVH,
// where the file has no 64-bit entry point (see boot/pvh.h). Only vCPU 0 is started; the kernel finds the others in the
// ACPI tables and wakes them through the local APICs. Needs the full irqchip.
class LinuxBoot final : public BootProtocol {
 public:
  explicit LinuxBoot(const Vm& vm) : generation_line_(vm, kGenerationGsi), power_button_(vm) {}

  Status attach_devices(const BootPlatform& platform) override;
  Status load(const BootSource& source, const GuestMemory& memory) override;
  Status prepare_vcpu(const KvmSystem& kvm, const Vcpu& vcpu) override;
  bool sets_cpuid() const override { return true; }
  void announce_generation() override { generation_line_.pulse(); }
  PowerButton& power_button() override { return power_button_; }

 private:
  // An edge on the line that the ACPI tables give to the generic event device.
  class Button final : public PowerButton {
   public:
    explicit Button(const Vm& vm);
    int press() override;

   private:
    GsiLine line_;
  };

  GsiLine generation_line_;
  Button power_button_;
  uint32_t vcpus_ = 1;
  uint64_t entry_ = 0;
  bool pvh_ = false;
};

// Where both initial ram disks lie in guest memory, one behind the other; size 0 = there is none.
struct LoadedInitrd {
  uint64_t address = 0;
  uint64_t size = 0;
};

// The steps of LinuxBoot::load that write kernel, initial ram disk and zero page, for tests. `image` must come from
// parse_linux_image of the same kernel.
Status load_linux_image(const LinuxImage& image, int kernel_fd, const GuestMemory& memory);
Status load_linux_initrd(const LinuxImage& image, const BootSource& source, const GuestMemory& memory,
                         LoadedInitrd* loaded);
Status write_zero_page(const LinuxImage& image, const BootSource& source, const LoadedInitrd& initrd,
                       const GuestMemory& memory);
// The PVH entry point that the notes of the file name, found to lie inside of what it loads.
Status read_pvh_entry(const LinuxImage& image, int kernel_fd, uint64_t* entry);
// The only firmware there is: on a hardware-reduced machine without EFI a stock kernel that is not told how to reset
// goes back to real mode and jumps to the reset vector, so there is code which asks for a reset.
Status write_reset_vector(const GuestMemory& memory);

}  // namespace volley
