#pragma once

#include "abi/volley_abi.h"
#include "base/status.h"
#include "kvm/kvm_system.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"
#include "memory/guest_memory.h"
#include "snapshot/state_reader.h"

namespace volley {

// What a guest runs on: KVM's machine, memory, vCPUs. None of it is anybody's own, so that it can be made of a snapshot
// before it is known which microVM will go on from there.
class GuestCore {
 public:
  struct Shape {
    uint64_t memory_bytes;
    uint32_t vcpus;
    bool flat;
    bool full_irqchip;
  };

  explicit GuestCore(int kvm_fd) : kvm_(kvm_fd) {}

  // For a guest that boots. The vCPUs come later: their first state is the boot protocol's to set.
  Status make(const Shape& shape);
  Status make_vcpus();
  // All of a guest that goes on from a snapshot, but for the state of its vCPUs. Memory and vCPUs are the snapshot's;
  // `state_fd` stays in use.
  Status prime(int state_fd, int memory_fd);
  bool is_primed() const { return primed_; }
  // What the guest was in the middle of, and its clocks, which begin to run with this: right before it goes on.
  Status load_state() const;

  const KvmSystem& kvm() const { return kvm_; }
  const Vm& vm() const { return vm_; }
  GuestMemory& memory() { return memory_; }
  Vcpu& vcpu(uint32_t index) { return vcpus_[index]; }
  const Shape& shape() const { return shape_; }
  // Of the snapshot that it is primed with.
  const StateReader& snapshot() const { return snapshot_; }
  uint64_t created_ns() const { return created_ns_; }

 private:
  Status make_room(const Shape& shape, int memory_fd);

  KvmSystem kvm_;
  Vm vm_;
  GuestMemory memory_;
  Vcpu vcpus_[VOLLEY_MAX_VCPUS];
  Shape shape_{};
  StateReader snapshot_;
  uint64_t created_ns_ = 0;
  bool primed_ = false;
};

}  // namespace volley
