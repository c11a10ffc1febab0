// Makes of the VMM one on another kernel: linked in front of what asks KVM about the guest's writes. VOLLEY_KVM says
// which: `no-log` does not tell them; `all-written` tells of every page each time, as if the guest wrote to all of its
// memory faster than anybody could copy it. More than was written is never wrong, so the snapshot must be whole.
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "kvm/dirty_log.h"

namespace {

bool kvm_is(const char* kind) {
  const char* asked = getenv("VOLLEY_KVM");
  return asked != nullptr && strcmp(asked, kind) == 0;
}

}  // namespace

extern "C" {

int __real__ZNK6volley2Vm10set_regionEjRKNS_11GuestRegionEj(const volley::Vm*, uint32_t, const volley::GuestRegion&,
                                                            uint32_t);
int __wrap__ZNK6volley2Vm10set_regionEjRKNS_11GuestRegionEj(const volley::Vm*, uint32_t, const volley::GuestRegion&,
                                                            uint32_t);
int __wrap__ZNK6volley2Vm10set_regionEjRKNS_11GuestRegionEj(const volley::Vm* vm, uint32_t slot,
                                                            const volley::GuestRegion& region, uint32_t flags) {
  if (flags != 0 && kvm_is("no-log")) return EINVAL;
  return __real__ZNK6volley2Vm10set_regionEjRKNS_11GuestRegionEj(vm, slot, region, flags);
}

volley::Status __real__ZNK6volley8DirtyLog7collectESt4spanImLm18446744073709551615EE(const volley::DirtyLog*,
                                                                                     std::span<uint64_t>);
volley::Status __wrap__ZNK6volley8DirtyLog7collectESt4spanImLm18446744073709551615EE(const volley::DirtyLog*,
                                                                                     std::span<uint64_t>);
volley::Status __wrap__ZNK6volley8DirtyLog7collectESt4spanImLm18446744073709551615EE(const volley::DirtyLog* log,
                                                                                     std::span<uint64_t> words) {
  volley::Status status = __real__ZNK6volley8DirtyLog7collectESt4spanImLm18446744073709551615EE(log, words);
  if (kvm_is("all-written")) memset(words.data(), 0xff, words.size_bytes());
  return status;
}

}  // extern "C"
