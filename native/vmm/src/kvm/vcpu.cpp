#include "kvm/vcpu.h"

#include <sys/ioctl.h>

#include <cerrno>

#include "kvm/kvm_ioctls.h"

namespace volley {

Status Vcpu::create(const Vm& vm, uint32_t index, size_t mapping_size) {
  const int fd = ioctl(vm.fd(), KVM_CREATE_VCPU, static_cast<unsigned long>(index));
  if (fd < 0) return Status::system_error(errno, "cannot create vCPU %u", index);
  fd_.reset(fd);
  index_ = index;
  return run_.map_shared(fd, mapping_size, "a vCPU's run page");
}

Status Vcpu::set_cpuid(const CpuidTable& table) const {
  if (ioctl(fd_.get(), kKvmSetCpuid2, &table) < 0) {
    return Status::system_error(errno, "cannot set CPUID of vCPU %u", index_);
  }
  return Status::ok();
}

Status Vcpu::get_cpuid(CpuidTable* table) const {
  table->count = CpuidTable::kCapacity;
  if (ioctl(fd_.get(), kKvmGetCpuid2, table) < 0) {
    return Status::system_error(errno, "cannot read CPUID of vCPU %u", index_);
  }
  return Status::ok();
}

Status Vcpu::set_msr(uint32_t number, uint64_t value) const {
  // struct kvm_msrs with one entry.
  struct {
    uint32_t count = 1;
    uint32_t padding = 0;
    kvm_msr_entry entry{};
  } request;
  request.entry.index = number;
  request.entry.data = value;
  // The answer is how many registers were set.
  const int done = ioctl(fd_.get(), kKvmSetMsrs, &request);
  if (done < 0) return Status::system_error(errno, "cannot set MSR %#x of vCPU %u", number, index_);
  if (done == 0) return Status::error("KVM refused to set MSR %#x of vCPU %u", number, index_);
  return Status::ok();
}

Status Vcpu::get_special_registers(kvm_sregs* registers) const {
  if (ioctl(fd_.get(), KVM_GET_SREGS, registers) < 0) {
    return Status::system_error(errno, "cannot read the special registers of vCPU %u", index_);
  }
  return Status::ok();
}

Status Vcpu::set_special_registers(const kvm_sregs& registers) const {
  if (ioctl(fd_.get(), KVM_SET_SREGS, &registers) < 0) {
    return Status::system_error(errno, "cannot set the special registers of vCPU %u", index_);
  }
  return Status::ok();
}

Status Vcpu::set_registers(const kvm_regs& registers) const {
  if (ioctl(fd_.get(), KVM_SET_REGS, &registers) < 0) {
    return Status::system_error(errno, "cannot set the registers of vCPU %u", index_);
  }
  return Status::ok();
}

bool Vcpu::get_registers(kvm_regs* registers) const {
  *registers = {};
  return ioctl(fd_.get(), KVM_GET_REGS, registers) == 0;
}

uint64_t Vcpu::tsc_khz() const {
  const int khz = ioctl(fd_.get(), KVM_GET_TSC_KHZ, 0);
  return khz < 0 ? 0 : static_cast<uint64_t>(khz);
}

int Vcpu::run() const { return ioctl(fd_.get(), KVM_RUN, 0) < 0 ? errno : 0; }

void Vcpu::mark_guest_paused() const { ioctl(fd_.get(), KVM_KVMCLOCK_CTRL, 0); }

}  // namespace volley
