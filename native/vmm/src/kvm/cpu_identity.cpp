#include "kvm/cpu_identity.h"

#include <cstring>

#include "block/crc32c.h"
#include "kvm/guest_cpuid.h"

namespace volley {

Status identify_cpu(const KvmSystem& kvm, CpuIdentity* identity) {
  *identity = {};
  CpuidTable table{};
  if (Status status = kvm.supported_cpuid(&table); !status.is_ok()) return status;
  // Takes out what differs between the processors of one host.
  adapt_cpuid(&table, {.index = 0, .count = 1, .tsc_deadline = kvm.has_tsc_deadline_timer()});
  for (uint32_t i = 0; i < table.count; ++i) {
    const kvm_cpuid_entry2& entry = table.entries[i];
    if (entry.function == 0) {
      const uint32_t name[] = {entry.ebx, entry.edx, entry.ecx};
      memcpy(identity->vendor, name, sizeof(identity->vendor));
    }
    if (entry.function == 1) {
      // As the manuals of both makers have it.
      const uint32_t family = entry.eax >> 8 & 0xf;
      identity->family = family == 0xf ? family + (entry.eax >> 20 & 0xff) : family;
      identity->model = (entry.eax >> 4 & 0xf) | (family == 0xf || family == 6 ? entry.eax >> 12 & 0xf0 : 0);
      identity->stepping = entry.eax & 0xf;
    }
  }
  identity->features =
      crc32c({reinterpret_cast<const uint8_t*>(table.entries), table.count * sizeof(table.entries[0])});
  return Status::ok();
}

}  // namespace volley
