#pragma once

#include <linux/ioctl.h>
#include <linux/kvm.h>

namespace volley {

// The number of an ioctl holds the size of its structure, and in C++ some kernel headers give those that end in a
// flexible array (kvm_cpuid2, kvm_msrs) four bytes too many: KVM then does not know the call. These are the numbers as
// C has them.
inline constexpr unsigned long with_header_of(unsigned long number, unsigned long bytes) {
  return (number & ~static_cast<unsigned long>(IOCSIZE_MASK)) | (bytes << IOCSIZE_SHIFT);
}
inline constexpr unsigned long kCountedListHeader = 8;  // a count and four bytes of padding
inline constexpr unsigned long kKvmGetSupportedCpuid = with_header_of(KVM_GET_SUPPORTED_CPUID, kCountedListHeader);
inline constexpr unsigned long kKvmSetCpuid2 = with_header_of(KVM_SET_CPUID2, kCountedListHeader);
inline constexpr unsigned long kKvmSetMsrs = with_header_of(KVM_SET_MSRS, kCountedListHeader);
static_assert(kKvmGetSupportedCpuid == 0xc008ae05 && kKvmSetCpuid2 == 0x4008ae90 && kKvmSetMsrs == 0x4008ae89);

}  // namespace volley
