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
inline constexpr unsigned long kKvmGetMsrs = with_header_of(KVM_GET_MSRS, kCountedListHeader);
inline constexpr unsigned long kKvmGetCpuid2 = with_header_of(KVM_GET_CPUID2, kCountedListHeader);
inline constexpr unsigned long kKvmGetMsrIndexList = with_header_of(KVM_GET_MSR_INDEX_LIST, 4);  // a count alone
inline constexpr unsigned long kXsaveBytes = 4096;  // without what may follow
inline constexpr unsigned long kKvmGetXsave = with_header_of(KVM_GET_XSAVE, kXsaveBytes);
inline constexpr unsigned long kKvmGetXsave2 = with_header_of(KVM_GET_XSAVE2, kXsaveBytes);
inline constexpr unsigned long kKvmSetXsave = with_header_of(KVM_SET_XSAVE, kXsaveBytes);
static_assert(kKvmGetXsave == 0x9000aea4 && kKvmGetXsave2 == 0x9000aecf && kKvmSetXsave == 0x5000aea5);
static_assert(kKvmGetMsrs == 0xc008ae88 && kKvmGetMsrIndexList == 0xc004ae02 && kKvmGetCpuid2 == 0xc008ae91);
static_assert(kKvmGetSupportedCpuid == 0xc008ae05 && kKvmSetCpuid2 == 0x4008ae90 && kKvmSetMsrs == 0x4008ae89);

}  // namespace volley
