#include "support/fake_kvm.h"

#include <linux/kvm.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>

#include "kvm/kvm_ioctls.h"
#include "support/demand.h"
#include "support/fake_tap.h"

extern "C" int __wrap_ioctl(int fd, unsigned long request, ...);

namespace volley::fuzz {
namespace {

constexpr int kRunPageBytes = 3 * 4096;

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
    case kKvmSetMsrs:
      return 1;
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
