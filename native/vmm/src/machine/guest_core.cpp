#include "machine/guest_core.h"

#include "base/clock.h"
#include "machine/snapshot_parts.h"
#include "snapshot/file_bytes.h"
#include "snapshot/vm_state.h"

namespace volley {
namespace {

constexpr uint64_t kSplitIrqchipRoutes = 24;
constexpr int kNoMemory = -1;

}  // namespace

Status GuestCore::make(const Shape& shape) { return make_room(shape, kNoMemory); }

// In the order that is cheap for KVM: memory slots before the irqchip.
Status GuestCore::make_room(const Shape& shape, int memory_fd) {
  shape_ = shape;
  if (Status status = kvm_.check(); !status.is_ok()) return status;
  if (Status status = vm_.create(kvm_); !status.is_ok()) return status;
  created_ns_ = monotonic_ns();
  if (Status status = memory_.map(shape.memory_bytes, shape.flat); !status.is_ok()) return status;
  if (memory_fd != kNoMemory) {
    if (Status status = map_snapshot_memory(memory_, memory_fd, snapshot_.header()); !status.is_ok()) return status;
  }
  if (Status status = vm_.add_memory(memory_); !status.is_ok()) return status;
  return shape.full_irqchip ? vm_.create_full_irqchip() : vm_.enable_split_irqchip(kSplitIrqchipRoutes);
}

Status GuestCore::make_vcpus() {
  size_t mapping_size = 0;
  if (Status status = kvm_.vcpu_mapping_size(&mapping_size); !status.is_ok()) return status;
  for (uint32_t i = 0; i < shape_.vcpus; ++i) {
    if (Status status = vcpus_[i].create(vm_, i, mapping_size); !status.is_ok()) return status;
  }
  return Status::ok();
}

Status GuestCore::prime(int state_fd, int memory_fd) {
  if (Status status = snapshot_.open(state_fd); !status.is_ok()) return status;
  const volley_snapshot_header& header = snapshot_.header();
  const Shape shape = {.memory_bytes = header.memory_bytes,
                       .vcpus = header.vcpus,
                       .flat = header.boot_protocol == VOLLEY_BOOT_FLAT,
                       .full_irqchip = header.irqchip == VOLLEY_IRQCHIP_FULL};
  if (memory_fd < 0) return Status::error("the snapshot's memory did not come with its state");
  if (Status status = make_room(shape, memory_fd); !status.is_ok()) return status;
  if (!shape.flat) {
    if (Status status = check_cpu(header, kvm_); !status.is_ok()) return status;
  }
  if (Status status = make_vcpus(); !status.is_ok()) return status;
  primed_ = true;
  return Status::ok();
}

Status GuestCore::load_state() const {
  for (uint32_t i = 0; i < shape_.vcpus; ++i) {
    if (Status status = load_vcpu(snapshot_, vcpus_[i], !shape_.flat); !status.is_ok()) return status;
  }
  VmState vm;
  if (Status status = snapshot_.read(VOLLEY_SECTION_VM, 0, bytes_of(vm)); !status.is_ok()) return status;
  return restore_vm(vm_, shape_.full_irqchip, vm);
}

}  // namespace volley
