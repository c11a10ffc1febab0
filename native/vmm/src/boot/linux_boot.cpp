#include "boot/linux_boot.h"

#include <cerrno>

namespace volley {

int LinuxBoot::Button::press() { return ENOSYS; }

Status LinuxBoot::attach_devices(const BootPlatform&) { return Status::ok(); }

Status LinuxBoot::load(const BootSource&, const GuestMemory&) {
  return Status::error("the linux boot protocol is not built into this VMM");
}

Status LinuxBoot::prepare_vcpu(const KvmSystem&, const Vcpu&) { return Status::ok(); }

}  // namespace volley
