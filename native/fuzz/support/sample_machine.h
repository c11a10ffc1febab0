#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <memory>

#include "abi/volley_abi.h"
#include "base/wake_fd.h"
#include "birth/inherited_fds.h"
#include "machine/guest_core.h"
#include "machine/machine.h"
#include "support/bounded_file.h"
#include "support/demand.h"
#include "support/fake_kvm.h"
#include "support/fake_tap.h"

namespace volley::fuzz {

// A listening Unix socket under a name of the kernel's choice.
inline int listening_socket(int type, sockaddr_un* name, socklen_t* name_bytes) {
  const int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  demand(fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address.sun_family)) == 0 &&
             listen(fd, 16) == 0,
         "no listener");
  *name_bytes = sizeof(*name);
  demand(getsockname(fd, reinterpret_cast<sockaddr*>(name), name_bytes) == 0, "no name");
  return fd;
}

// A machine on a KVM that runs nothing, and the descriptors that the devices of sample_config() want. Nothing in it is
// ever taken apart: who makes one needs a DescriptorScope and unmap_all().
struct SampleMachine {
  SampleMachine(uint64_t disk_bytes, const void* kernel, size_t kernel_bytes)
      : disk(disk_bytes, disk_bytes), base(disk_bytes, 0), overlay(0, ~0ull >> 1), kernel_file(kernel_bytes, 0) {
    kernel_file.write(0, kernel, kernel_bytes);
    demand(wake.create().is_ok(), "no eventfd");
    listener = listening_socket(SOCK_STREAM, &listener_name, &listener_name_bytes);
    const bool added = fds.add(VOLLEY_ROLE_VSOCK, listener) && fds.add(VOLLEY_ROLE_KERNEL, kernel_file.fd()) &&
                       fds.add(device_role(0), disk.fd()) && fds.add(device_role(1), tap.fd()) &&
                       fds.add(device_role(5), base.fd()) && fds.add(overlay_role(5), overlay.fd());
    demand(added, "no room for descriptors");
  }

  static constexpr uint8_t kMac[6] = {2, 0, 0, 0, 0, 0};
  BoundedFile disk;
  BoundedFile base;
  BoundedFile overlay;
  BoundedFile kernel_file;
  FakeTap tap{kMac};
  sockaddr_un listener_name{};
  socklen_t listener_name_bytes = 0;
  int listener = -1;
  InheritedFds fds;
  volley_stats stats{};
  uint8_t serial_ring[VOLLEY_SERIAL_RING] = {};
  WakeFd wake;
  GuestCore core{open_fake_kvm()};
  std::unique_ptr<Machine> machine;

  // Builds it as the VMM does.
  Status build(const volley_config& config) {
    machine = std::make_unique<Machine>(core, stats, SerialRing(serial_ring, stats.serial_bytes), wake);
    BootSource source;
    if (Status status = boot_source_of(config, fds, &source); !status.is_ok()) return status;
    return machine->build(config, source, fds);
  }
};

}  // namespace volley::fuzz
