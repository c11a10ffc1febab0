#include "machine/exit_dispatch.h"

#include <linux/kvm.h>

#include <cinttypes>
#include <cstdio>

#include "stats/page_file.h"

namespace volley {

bool ExitDispatch::handle(const Vcpu& vcpu) {
  kvm_run& run = vcpu.shared();
  switch (run.exit_reason) {
    case KVM_EXIT_IO:
      count(stats_.exits_pio);
      port_access(vcpu);
      break;
    case KVM_EXIT_MMIO:
      count(stats_.exits_mmio);
      mmio_access(run);
      break;
    case KVM_EXIT_HLT:
      count(stats_.exits_hlt);
      break;
    case KVM_EXIT_INTR:
      count(stats_.exits_signal);
      break;
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_IOAPIC_EOI:
      break;
    case KVM_EXIT_SHUTDOWN:
      end_.end(VOLLEY_EXIT_TRIPLE_FAULT, static_cast<uint64_t>(KVM_EXIT_SHUTDOWN) << 32, "the guest triple-faulted");
      break;
    case KVM_EXIT_SYSTEM_EVENT:
      system_event(run);
      break;
    case KVM_EXIT_INTERNAL_ERROR:
      vmm_error(vcpu, run.internal.suberror, "KVM could not run the guest on (internal error)");
      break;
    case KVM_EXIT_FAIL_ENTRY:
      vmm_error(vcpu, static_cast<uint32_t>(run.fail_entry.hardware_entry_failure_reason),
                "KVM could not enter the guest");
      break;
    default:
      vmm_error(vcpu, 0, "KVM returned for a reason this VMM does not handle");
      break;
  }
  return !end_.ended();
}

void ExitDispatch::run_failed(const Vcpu& vcpu, int error_number) {
  end_.fail(Status::system_error(error_number, "KVM_RUN of vCPU %u failed", vcpu.index()));
}

void ExitDispatch::port_access(const Vcpu& vcpu) {
  kvm_run& run = vcpu.shared();
  const uint64_t port = run.io.port;
  const size_t size = run.io.size;
  const size_t total = size * run.io.count;
  if (run.io.data_offset > vcpu.shared_size() || total > vcpu.shared_size() - run.io.data_offset) {
    vmm_error(vcpu, 0, "KVM described port data outside the vCPU's run page");
    return;
  }
  uint8_t* data = reinterpret_cast<uint8_t*>(&run) + run.io.data_offset;
  const bool out = run.io.direction == KVM_EXIT_IO_OUT;
  // A string instruction arrives as one exit with many elements; the device sees them one by one, as on a real bus.
  for (size_t at = 0; at < total && !end_.ended(); at += size) {
    const bool answered = out ? ports_.write(port, {data + at, size}) : ports_.read(port, {data + at, size});
    if (!answered) count(stats_.unknown_io);
  }
}

void ExitDispatch::mmio_access(kvm_run& run) {
  const size_t length = run.mmio.len <= sizeof(run.mmio.data) ? run.mmio.len : sizeof(run.mmio.data);
  const bool answered = run.mmio.is_write != 0 ? mmio_.write(run.mmio.phys_addr, {run.mmio.data, length})
                                               : mmio_.read(run.mmio.phys_addr, {run.mmio.data, length});
  if (!answered) count(stats_.unknown_io);
}

void ExitDispatch::system_event(const kvm_run& run) {
  const uint64_t detail = (static_cast<uint64_t>(KVM_EXIT_SYSTEM_EVENT) << 32) | run.system_event.type;
  switch (run.system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
      end_.end(VOLLEY_EXIT_POWER_OFF, detail, "the guest powered off");
      return;
    case KVM_SYSTEM_EVENT_RESET:
      end_.end(VOLLEY_EXIT_REBOOT, detail, "the guest asked for a reset");
      return;
    case KVM_SYSTEM_EVENT_CRASH:
      end_.end(VOLLEY_EXIT_PANIC, detail, "the guest reported a crash");
      return;
    default:
      return;
  }
}

void ExitDispatch::vmm_error(const Vcpu& vcpu, uint32_t suberror, const char* what) {
  const uint32_t reason = vcpu.shared().exit_reason;
  kvm_regs registers;
  vcpu.get_registers(&registers);
  char message[VOLLEY_MESSAGE_MAX];
  snprintf(message, sizeof(message), "%s: exit reason %u, suberror %#x, vCPU %u at %#llx", what, reason, suberror,
           vcpu.index(), registers.rip);
  end_.end(VOLLEY_EXIT_VMM_ERROR, (static_cast<uint64_t>(reason) << 32) | suberror, message);
}

}  // namespace volley
