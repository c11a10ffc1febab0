#include "kvm/kvm_system.h"

#include <sys/ioctl.h>

#include <cerrno>

#include "abi/volley_abi.h"
#include "kvm/kvm_ioctls.h"

namespace volley {
namespace {

constexpr struct {
  int capability;
  const char* name;
} kNeeded[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"}, {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},         {KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP"},
    {KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
};

}  // namespace

Status KvmSystem::check() const {
  const int version = ioctl(fd_, KVM_GET_API_VERSION, 0);
  if (version < 0) {
    return Status::system_error(errno, "descriptor %d is not /dev/kvm opened read-write", fd_);
  }
  if (version != KVM_API_VERSION) {
    return Status::error("/dev/kvm speaks API version %d, this VMM needs %d", version, KVM_API_VERSION);
  }
  for (const auto& needed : kNeeded) {
    if (ioctl(fd_, KVM_CHECK_EXTENSION, needed.capability) <= 0) {
      return Status::error("this host's KVM lacks %s, use Linux 4.12 or newer", needed.name);
    }
  }
  return Status::ok();
}

Status KvmSystem::vcpu_mapping_size(size_t* size) const {
  const int bytes = ioctl(fd_, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (bytes < 0) return Status::system_error(errno, "KVM_GET_VCPU_MMAP_SIZE failed");
  *size = static_cast<size_t>(bytes);
  return Status::ok();
}

Status KvmSystem::supported_cpuid(CpuidTable* table) const {
  table->count = CpuidTable::kCapacity;
  table->padding = 0;
  if (ioctl(fd_, kKvmGetSupportedCpuid, table) < 0) {
    return Status::system_error(errno, "KVM_GET_SUPPORTED_CPUID failed");
  }
  return Status::ok();
}

bool KvmSystem::has_tsc_deadline_timer() const {
  return ioctl(fd_, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
}

}  // namespace volley
