#include "support/fake_kvm.h"

#include <linux/kvm.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>

#include "kvm/kvm_ioctls.h"
#include "kvm/kvm_system.h"
#include "support/demand.h"
#include "support/fake_tap.h"

extern "C" int __wrap_ioctl(int fd, unsigned long request, ...);

namespace volley::fuzz {
namespace {

constexpr int kRunPageBytes = 3 * 4096;
constexpr uint32_t kMostMsrs = 256;  // MAX_IO_MSRS of KVM
constexpr uint32_t kUnknownMsr = 0xf0000000;
constexpr unsigned long kEntriesAt = 8;  // in lists of KVM

int memory_file(const char* name, long bytes) {
  const int fd = memfd_create(name, MFD_CLOEXEC);
  demand(fd >= 0 && ftruncate(fd, bytes) == 0, "no memory file");
  return fd;
}

}  // namespace

int open_fake_kvm() { return memory_file("kvm", 0); }

int kvm_control(int, unsigned long request, unsigned long argument) {
  switch (request) {
    case KVM_GET_API_VERSION:
      return KVM_API_VERSION;
    case KVM_CHECK_EXTENSION:
      return 1;
    case KVM_GET_VCPU_MMAP_SIZE:
      return kRunPageBytes;
    case KVM_CREATE_VM:
      return memory_file("vm", 0);
    case KVM_CREATE_VCPU:
      return memory_file("vcpu", kRunPageBytes);
    case KVM_GET_TSC_KHZ:
      return 2'000'000;
    case kKvmSetMsrs: {
      // As KVM: up to the first that it does not know.
      const auto* const list = reinterpret_cast<const kvm_msrs*>(argument);
      demand(list->nmsrs <= kMostMsrs, "more MSRs than KVM takes");
      const auto* const entries = reinterpret_cast<const kvm_msr_entry*>(argument + kEntriesAt);
      uint32_t done = 0;
      while (done < list->nmsrs && entries[done].index < kUnknownMsr) ++done;
      return static_cast<int>(done);
    }
    case kKvmSetCpuid2: {
      const auto* const table = reinterpret_cast<const kvm_cpuid2*>(argument);
      demand(table->nent <= CpuidTable::kCapacity, "a longer CPUID table than there is room for");
      const auto* const entries = reinterpret_cast<const kvm_cpuid_entry2*>(argument + kEntriesAt);
      volatile uint32_t read = 0;
      for (uint32_t i = 0; i < table->nent; ++i) read = read + entries[i].function;
      return 0;
    }
    case KVM_SET_IRQCHIP:
      demand(reinterpret_cast<const kvm_irqchip*>(argument)->chip_id < 3, "an interrupt controller that there is not");
      return 0;
    case KVM_GET_DIRTY_LOG:
    case KVM_CLEAR_DIRTY_LOG:
      return 0;
    case kKvmGetSupportedCpuid: {
      auto* const table = reinterpret_cast<kvm_cpuid2*>(argument);
      table->nent = 0;
      return 0;
    }
    default:
      return 0;
  }
}

}  // namespace volley::fuzz

int __wrap_ioctl(int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  const unsigned long argument = va_arg(list, unsigned long);
  va_end(list);
  if (_IOC_TYPE(request) == KVMIO) return volley::fuzz::kvm_control(fd, request, argument);
  volley::fuzz::FakeTap* const tap = volley::fuzz::tap_of(fd);
  if (tap != nullptr) return tap->control(request, argument);
  errno = ENOTTY;
  return -1;
}
