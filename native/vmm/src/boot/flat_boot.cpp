#include "boot/flat_boot.h"

#include "boot/long_mode.h"
#include "memory/layout.h"

namespace volley {

Status FlatBoot::attach_devices(const BootPlatform&) { return Status::ok(); }

Status FlatBoot::load(const BootSource& source, const GuestMemory& memory) {
  memory_bytes_ = memory.size();
  if (Status status = memory.read_from(source.kernel_fd, 0, VOLLEY_KERNEL_BASE, source.kernel_size, "the flat kernel");
      !status.is_ok()) {
    return status;
  }
  if (Status status = load_cmdline(source, memory); !status.is_ok()) return status;
  if (!memory.write(kGenerationIdAddress, source.generation_id)) {
    return Status::error("the generation id does not fit into guest memory");
  }
  return load_long_mode_tables(memory, BootMapping::kUserWithDevices);
}

Status FlatBoot::prepare_vcpu(const KvmSystem&, const Vcpu& vcpu) {
  if (vcpu.index() != 0) return Status::ok();
  return enter_long_mode(vcpu, {.instruction_pointer = VOLLEY_KERNEL_BASE,
                                .stack_pointer = kBootStackTop,
                                .boot_parameters = VOLLEY_CMDLINE_ADDRESS,
                                .first_argument = memory_bytes_,
                                .third_argument = vcpu.tsc_khz()});
}

}  // namespace volley
