#include "snapshot/vcpu_state.h"

#include <sys/ioctl.h>

#include <cerrno>

#include "kvm/kvm_ioctls.h"

namespace volley {
namespace {

constexpr uint32_t kMsrTscDeadline = 0x6e0;

struct MsrIndexList {
  uint32_t count = 512;
  uint32_t indices[512];
};

struct MsrList {
  uint32_t count;
  uint32_t padding;
  kvm_msr_entry entries[VcpuState::kMaxMsrs];
};

// What the number of an ioctl is to this libc: an int or an unsigned long. The kernel looks at 32 bits.
template <typename T>
T number_of(int (*)(int, T, ...));
using Number = decltype(number_of(&ioctl));

Status get(const Vcpu& vcpu, unsigned long request, void* into, const char* what) {
  if (ioctl(vcpu.fd(), static_cast<Number>(request), into) >= 0) return Status::ok();
  return Status::system_error(errno, "cannot read the %s of vCPU %u", what, vcpu.index());
}

Status set(const Vcpu& vcpu, unsigned long request, const void* from, const char* what) {
  if (ioctl(vcpu.fd(), static_cast<Number>(request), from) >= 0) return Status::ok();
  return Status::system_error(errno, "the snapshot's %s of vCPU %u cannot be restored here", what, vcpu.index());
}

// Where the state is larger than KVM_GET_XSAVE can give, only KVM_GET_XSAVE2 gives it.
Status save_extended_state(const KvmSystem& kvm, const Vcpu& vcpu, VcpuState* state) {
  const int bytes = ioctl(kvm.fd(), KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
  if (bytes > static_cast<int>(VcpuState::kExtendedBytes)) {
    return Status::error("this processor has %d bytes of extended state, more than a snapshot holds", bytes);
  }
  return get(vcpu, bytes > 0 ? kKvmGetXsave2 : kKvmGetXsave, state->extended_state, "extended state");
}

// Those that KVM names and has; some of its list a given guest does not have.
Status save_msrs(const KvmSystem& kvm, const Vcpu& vcpu, VcpuState* state) {
  MsrIndexList known;
  if (ioctl(kvm.fd(), kKvmGetMsrIndexList, &known) < 0) {
    return Status::system_error(errno, "cannot ask which MSRs there are");
  }
  state->msr_count = 0;
  for (uint32_t next = 0; next < known.count;) {
    MsrList list{};
    while (list.count < VcpuState::kMaxMsrs && next + list.count < known.count) {
      list.entries[list.count].index = known.indices[next + list.count];
      ++list.count;
    }
    const int got = ioctl(vcpu.fd(), kKvmGetMsrs, &list);
    if (got < 0) return Status::system_error(errno, "cannot read the MSRs of vCPU %u", vcpu.index());
    for (int i = 0; i < got; ++i) {
      if (state->msr_count == VcpuState::kMaxMsrs) return Status::error("vCPU %u has too many MSRs", vcpu.index());
      state->msrs[state->msr_count++] = list.entries[i];
    }
    next += static_cast<uint32_t>(got);
    // The one that it stopped at is not there.
    if (static_cast<uint32_t>(got) < list.count) ++next;
  }
  return Status::ok();
}

// In the order in which they were, but for the deadline of the timer, which counts from the time stamp counter.
Status restore_msrs(const Vcpu& vcpu, const VcpuState& state) {
  MsrList list{};
  const kvm_msr_entry* deadline = nullptr;
  for (uint32_t i = 0; i < state.msr_count; ++i) {
    if (state.msrs[i].index == kMsrTscDeadline) {
      deadline = &state.msrs[i];
    } else {
      list.entries[list.count++] = state.msrs[i];
    }
  }
  if (deadline != nullptr) list.entries[list.count++] = *deadline;
  uint32_t done = 0;
  while (done < list.count) {
    MsrList rest{};
    rest.count = list.count - done;
    for (uint32_t i = 0; i < rest.count; ++i) rest.entries[i] = list.entries[done + i];
    const int put = ioctl(vcpu.fd(), kKvmSetMsrs, &rest);
    if (put < 0) return Status::system_error(errno, "cannot restore the MSRs of vCPU %u", vcpu.index());
    done += static_cast<uint32_t>(put);
    if (done == list.count) break;
    // Some can be read and not be written; those that hold nothing are as they were.
    if (list.entries[done].data != 0) {
      return Status::error("this host's KVM refuses MSR %#x of the snapshot's vCPU %u", list.entries[done].index,
                           vcpu.index());
    }
    ++done;
  }
  return Status::ok();
}

}  // namespace

Status save_vcpu(const KvmSystem& kvm, const Vcpu& vcpu, VcpuState* state) {
  *state = {};
  const struct {
    unsigned long request;
    void* into;
    const char* what;
  } parts[] = {
      {KVM_GET_MP_STATE, &state->run_state, "run state"},
      {KVM_GET_REGS, &state->registers, "registers"},
      {KVM_GET_SREGS, &state->special_registers, "special registers"},
      {KVM_GET_XCRS, &state->extended_controls, "extended control registers"},
      {KVM_GET_DEBUGREGS, &state->debug_registers, "debug registers"},
      {KVM_GET_LAPIC, &state->local_apic, "local APIC"},
      {KVM_GET_VCPU_EVENTS, &state->events, "events"},
  };
  for (const auto& part : parts) {
    if (Status status = get(vcpu, part.request, part.into, part.what); !status.is_ok()) return status;
  }
  if (Status status = save_extended_state(kvm, vcpu, state); !status.is_ok()) return status;
  return save_msrs(kvm, vcpu, state);
}

Status restore_vcpu(const Vcpu& vcpu, const VcpuState& state) {
  if (state.msr_count > VcpuState::kMaxMsrs) return Status::error("the snapshot's vCPU %u is corrupt", vcpu.index());
  // The local APIC wants its base address (a special register) before, the MSR of its timer's deadline comes after it.
  const struct {
    unsigned long request;
    const void* from;
    const char* what;
  } parts[] = {
      {KVM_SET_MP_STATE, &state.run_state, "run state"},
      {KVM_SET_REGS, &state.registers, "registers"},
      {KVM_SET_SREGS, &state.special_registers, "special registers"},
      {kKvmSetXsave, state.extended_state, "extended state"},
      {KVM_SET_XCRS, &state.extended_controls, "extended control registers"},
      {KVM_SET_DEBUGREGS, &state.debug_registers, "debug registers"},
      {KVM_SET_LAPIC, &state.local_apic, "local APIC"},
  };
  for (const auto& part : parts) {
    // A processor without any has no call to set them either.
    if (part.from == &state.extended_controls && state.extended_controls.nr_xcrs == 0) continue;
    if (Status status = set(vcpu, part.request, part.from, part.what); !status.is_ok()) return status;
  }
  if (Status status = restore_msrs(vcpu, state); !status.is_ok()) return status;
  return set(vcpu, KVM_SET_VCPU_EVENTS, &state.events, "events");
}

}  // namespace volley
