#pragma once

#include <cstdint>

#include "base/status.h"
#include "base/unique_fd.h"
#include "kvm/kvm_system.h"
#include "memory/guest_memory.h"

namespace volley {

// One KVM virtual machine. The order of the set-up calls matters for speed: memory slots first, then the irqchip. An
// I/O device registered in the kernel (PIC, IOAPIC, PIT, ioeventfd) before a memory slot makes the slot wait for a
// grace period of several milliseconds.
class Vm {
 public:
  // KVM_CREATE_VM, again for as long as it is interrupted (it may say EINTR on a loaded host without any signal).
  Status create(const KvmSystem& kvm);
  Status add_memory(const GuestMemory& memory);
  // Tells KVM of a region that is new in `slot`, or changes the flags (KVM_MEM_*) of one that it knows. Errno, or 0.
  int set_region(uint32_t slot, const GuestRegion& region, uint32_t flags) const;
  // Whether the dirty log watches pages again when it is told to (KVM_CLEAR_DIRTY_LOG), and not whenever it is read.
  bool protects_manually() const { return protects_manually_; }
  // Local APICs only; `routes` GSIs are left to user space.
  Status enable_split_irqchip(uint64_t routes);
  // PIC, IOAPIC and local APICs in the kernel. No PIT: it costs the host a kernel thread per machine, and a kernel that
  // finds hardware-reduced ACPI tables does not look for one.
  Status create_full_irqchip();

  // Sets the level of an interrupt line of the full irqchip. An edge is a raise and a lower.
  void set_irq_line(uint32_t gsi, bool level) const;
  // Sends a fixed, edge-triggered interrupt to the local APIC with id `apic_id`. Errno, or 0.
  int signal_msi(uint32_t apic_id, uint8_t vector) const;

  // Has the kernel signal the eventfd `fd` when the guest writes the 32-bit `value` to `address`, instead of returning
  // from KVM_RUN. False if it cannot.
  bool signal_on_write(uint64_t address, uint32_t value, int fd) const;

  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  bool protects_manually_ = false;
};

}  // namespace volley
