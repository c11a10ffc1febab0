#include "kvm/vm.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cinttypes>
#include <ctime>

#include "memory/layout.h"

namespace volley {
namespace {

constexpr int kCreateAttempts = 100;
constexpr long kFirstRetryNs = 1'000;
constexpr long kLongestRetryNs = 1'000'000;

}  // namespace

Status Vm::create(const KvmSystem& kvm) {
  long wait_ns = kFirstRetryNs;
  for (int attempt = 0; attempt < kCreateAttempts; ++attempt) {
    const int fd = ioctl(kvm.fd(), KVM_CREATE_VM, 0);
    if (fd >= 0) {
      fd_.reset(fd);
      return Status::ok();
    }
    if (errno != EINTR) return Status::system_error(errno, "KVM_CREATE_VM failed");
    const timespec pause{0, wait_ns};
    nanosleep(&pause, nullptr);
    if (wait_ns < kLongestRetryNs) wait_ns *= 2;
  }
  return Status::system_error(EINTR, "KVM_CREATE_VM was interrupted %d times in a row", kCreateAttempts);
}

Status Vm::add_memory(const GuestMemory& memory) {
  uint32_t slot = 0;
  for (const GuestRegion& region : memory.regions()) {
    if (const int error = set_region(slot++, region, 0); error != 0) {
      return Status::system_error(error, "cannot give KVM %" PRIu64 " bytes of guest memory at %#" PRIx64, region.size,
                                  region.guest_address);
    }
  }
  // Decided here and not with the first snapshot: then no thread may enable capabilities any more. All pages count as
  // written at first where KVM can have it so (Linux 5.8): none has to be protected before it is copied.
  kvm_enable_cap request{};
  request.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2;
  constexpr uint64_t kManually = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
  constexpr uint64_t kAllAtFirst = KVM_DIRTY_LOG_INITIALLY_SET;
  for (const uint64_t wish : {kManually | kAllAtFirst, kManually}) {
    request.args[0] = wish;
    protects_manually_ = ioctl(fd_.get(), KVM_ENABLE_CAP, &request) == 0;
    if (protects_manually_) break;
  }
  return Status::ok();
}

int Vm::set_region(uint32_t slot, const GuestRegion& region, uint32_t flags) const {
  kvm_userspace_memory_region request{};
  request.slot = slot;
  request.flags = flags;
  request.guest_phys_addr = region.guest_address;
  request.memory_size = region.size;
  request.userspace_addr = reinterpret_cast<uint64_t>(region.host);
  return ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &request) < 0 ? errno : 0;
}

Status Vm::enable_split_irqchip(uint64_t routes) {
  kvm_enable_cap request{};
  request.cap = KVM_CAP_SPLIT_IRQCHIP;
  request.args[0] = routes;
  if (ioctl(fd_.get(), KVM_ENABLE_CAP, &request) < 0) {
    return Status::system_error(errno, "this KVM has no split irqchip");
  }
  return Status::ok();
}

Status Vm::create_full_irqchip() {
  if (ioctl(fd_.get(), KVM_SET_TSS_ADDR, kTssAddress) < 0) {
    return Status::system_error(errno, "KVM_SET_TSS_ADDR failed");
  }
  uint64_t identity_map = kIdentityMapAddress;
  if (ioctl(fd_.get(), KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0) {
    return Status::system_error(errno, "KVM_SET_IDENTITY_MAP_ADDR failed");
  }
  if (ioctl(fd_.get(), KVM_CREATE_IRQCHIP, 0) < 0) return Status::system_error(errno, "KVM_CREATE_IRQCHIP failed");
  return Status::ok();
}

void Vm::set_irq_line(uint32_t gsi, bool level) const {
  kvm_irq_level request{};
  request.irq = gsi;
  request.level = level ? 1 : 0;
  // It can only fail without an irqchip, and lines exist only where the machine made one.
  ioctl(fd_.get(), KVM_IRQ_LINE, &request);
}

int Vm::signal_msi(uint32_t apic_id, uint8_t vector) const {
  kvm_msi request{};
  request.address_lo = 0xfee00000u | (apic_id << 12);
  request.data = vector;
  return ioctl(fd_.get(), KVM_SIGNAL_MSI, &request) < 0 ? errno : 0;
}

bool Vm::signal_on_write(uint64_t address, uint32_t value, int fd) const {
  kvm_ioeventfd request{};
  request.datamatch = value;
  request.addr = address;
  request.len = sizeof(value);
  request.fd = fd;
  request.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
  return ioctl(fd_.get(), KVM_IOEVENTFD, &request) == 0;
}

}  // namespace volley
