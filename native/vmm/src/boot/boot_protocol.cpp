#include "boot/boot_protocol.h"

#include <cstring>

#include "abi/volley_abi.h"

namespace volley {
namespace {

Status find(const InheritedFds& fds, uint32_t role, uint64_t size, const char* what, int* fd) {
  if (size == 0) return Status::ok();
  *fd = fds.find(role);
  return *fd >= 0 ? Status::ok() : Status::error("the launch order brought no descriptor of %s (role %u)", what, role);
}

}  // namespace

Status boot_source_of(const volley_config& config, const InheritedFds& fds, BootSource* source) {
  source->kernel_size = config.kernel_size;
  source->initrd_size = config.initrd_size;
  source->initrd_extra_size = config.initrd_extra_size;
  source->cmdline = config.cmdline;
  source->cmdline_length = config.cmdline_length;
  source->vcpus = config.vcpus;
  source->devices = config.device_count;
  memcpy(source->generation_id, config.generation_id, sizeof source->generation_id);
  Status status = find(fds, VOLLEY_ROLE_KERNEL, config.kernel_size, "the kernel", &source->kernel_fd);
  if (!status.is_ok()) return status;
  status = find(fds, VOLLEY_ROLE_INITRD, config.initrd_size, "the initial ram disk", &source->initrd_fd);
  if (!status.is_ok()) return status;
  return find(fds, VOLLEY_ROLE_INITRD_EXTRA, config.initrd_extra_size, "the second initial ram disk",
              &source->initrd_extra_fd);
}

Status load_cmdline(const BootSource& source, const GuestMemory& memory) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(source.cmdline);
  if (!memory.write(VOLLEY_CMDLINE_ADDRESS, {bytes, source.cmdline_length + 1u})) {
    return Status::error("the command line does not fit into guest memory");
  }
  return Status::ok();
}

}  // namespace volley
