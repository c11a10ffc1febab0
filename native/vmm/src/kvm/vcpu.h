#pragma once

#include <linux/kvm.h>

#include <cstdint>

#include "base/mapping.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "kvm/kvm_system.h"
#include "kvm/vm.h"

namespace volley {

// One virtual CPU: its descriptor and the kvm_run page it shares with the kernel.
class Vcpu {
 public:
  Status create(const Vm& vm, uint32_t index, size_t mapping_size);

  Status set_cpuid(const CpuidTable& table) const;
  Status get_cpuid(CpuidTable* table) const;
  // Sets one model-specific register.
  Status set_msr(uint32_t number, uint64_t value) const;
  Status get_special_registers(kvm_sregs* registers) const;
  Status set_special_registers(const kvm_sregs& registers) const;
  Status set_registers(const kvm_regs& registers) const;
  // Zeroes and false if the kernel refuses; for messages about a dying guest.
  bool get_registers(kvm_regs* registers) const;

  // Frequency of the guest's time stamp counter, 0 if KVM does not know it.
  uint64_t tsc_khz() const;

  // Enters the guest until something happens. 0, or an errno (EINTR and EAGAIN mean: look at the gate, come again).
  int run() const;
  // Tells a guest kernel that it was stopped, so that its watchdogs do not bark. Ignored by guests that never asked.
  void mark_guest_paused() const;

  kvm_run& shared() const { return *reinterpret_cast<kvm_run*>(run_.data()); }
  size_t shared_size() const { return run_.size(); }
  uint32_t index() const { return index_; }
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  Mapping run_;
  uint32_t index_ = 0;
};

}  // namespace volley
