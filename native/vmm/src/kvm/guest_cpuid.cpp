#include "kvm/guest_cpuid.h"

#include <algorithm>
#include <bit>

namespace volley {
namespace {

constexpr uint32_t kThreadLevel = 1;
constexpr uint32_t kCoreLevel = 2;

// APIC id bits that number the cores.
uint32_t core_bits(const GuestCpu& cpu) { return static_cast<uint32_t>(std::bit_width(cpu.count - 1)); }

void set_bit(uint32_t* value, uint32_t bit, bool on) {
  if (on) {
    *value |= 1u << bit;
  } else {
    *value &= ~(1u << bit);
  }
}

void set_field(uint32_t* value, uint32_t low, uint32_t width, uint32_t content) {
  const uint32_t mask = ((1u << width) - 1) << low;
  *value = (*value & ~mask) | ((content << low) & mask);
}

void features(kvm_cpuid_entry2* entry, const GuestCpu& cpu) {
  constexpr uint32_t kClflushSize = 8;  // in units of 8 bytes
  set_field(&entry->ebx, 8, 8, kClflushSize);
  set_field(&entry->ebx, 16, 8, cpu.count);
  set_field(&entry->ebx, 24, 8, cpu.index);
  set_bit(&entry->ecx, 15, false);  // PDCM: no performance counters
  set_bit(&entry->ecx, 24, cpu.tsc_deadline);
  set_bit(&entry->ecx, 31, true);  // under a hypervisor
  set_bit(&entry->edx, 28, cpu.count > 1);
}

// Leaf 4 of Intel and 0x8000001d of AMD share this layout: the last level is shared by all cores, the others by none.
void cache(kvm_cpuid_entry2* entry, const GuestCpu& cpu, bool tells_cores) {
  const uint32_t type = entry->eax & 0x1f;
  if (type == 0) return;
  const uint32_t level = (entry->eax >> 5) & 0x7;
  set_field(&entry->eax, 14, 12, level >= 3 ? cpu.count - 1 : 0);
  if (tells_cores) set_field(&entry->eax, 26, 6, cpu.count - 1);
}

void power_management(kvm_cpuid_entry2* entry) {
  set_bit(&entry->eax, 1, false);  // turbo
  set_bit(&entry->ecx, 3, false);  // energy performance bias
}

void performance_counters(kvm_cpuid_entry2* entry) { entry->eax = entry->ebx = entry->ecx = entry->edx = 0; }

void amd_sizes(kvm_cpuid_entry2* entry, const GuestCpu& cpu) {
  set_field(&entry->ecx, 0, 8, cpu.count - 1);
  set_field(&entry->ecx, 12, 4, core_bits(cpu));
}

void amd_topology(kvm_cpuid_entry2* entry, const GuestCpu& cpu) {
  entry->eax = cpu.index;
  entry->ebx = cpu.index & 0xff;  // core id; one thread per core
  entry->ecx = 0;                 // one node
}

bool is_amd(const CpuidTable& table) {
  constexpr uint32_t kAuthenticAmd = 0x68747541;  // "Auth", the start of the vendor's name
  constexpr uint32_t kHygon = 0x6f677948;
  for (uint32_t i = 0; i < table.count; ++i) {
    const kvm_cpuid_entry2& entry = table.entries[i];
    if (entry.function == 0) return entry.ebx == kAuthenticAmd || entry.ebx == kHygon;
  }
  return false;
}

bool is_topology(const kvm_cpuid_entry2& entry) { return entry.function == 0xb || entry.function == 0x1f; }

// The extended topology leaves are written anew, because KVM leaves their levels out.
void replace_topology(CpuidTable* table, const GuestCpu& cpu) {
  kvm_cpuid_entry2* const end = table->entries + table->count;
  const bool had_b = std::any_of(table->entries, end, [](const auto& entry) { return entry.function == 0xb; });
  kvm_cpuid_entry2* const kept = std::remove_if(table->entries, end, is_topology);
  table->count = static_cast<uint32_t>(kept - table->entries);
  constexpr uint32_t kLevels = 3;
  if (!had_b || table->count + kLevels > CpuidTable::kCapacity) return;
  for (uint32_t level = 0; level < kLevels; ++level) {
    kvm_cpuid_entry2 entry{};
    entry.function = 0xb;
    entry.index = level;
    entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    entry.ecx = level;
    entry.edx = cpu.index;
    if (level == 0) {
      entry.ebx = 1;
      entry.ecx |= kThreadLevel << 8;
    } else if (level == 1) {
      entry.eax = core_bits(cpu);
      entry.ebx = cpu.count;
      entry.ecx |= kCoreLevel << 8;
    }
    table->entries[table->count++] = entry;
  }
}

}  // namespace

void adapt_cpuid(CpuidTable* table, const GuestCpu& cpu) {
  const bool amd = is_amd(*table);
  for (uint32_t i = 0; i < table->count; ++i) {
    kvm_cpuid_entry2* entry = &table->entries[i];
    switch (entry->function) {
      case 0x1:
        features(entry, cpu);
        break;
      case 0x4:
        cache(entry, cpu, true);
        break;
      case 0x6:
        power_management(entry);
        break;
      case 0x7:
        if (entry->index != 0) break;
        set_bit(&entry->ecx, 5, false);            // WAITPKG
        if (amd) set_bit(&entry->edx, 29, false);  // ARCH_CAPABILITIES, an Intel register that KVM emulates
        break;
      case 0xa:
        performance_counters(entry);
        break;
      case 0x80000008:
        if (amd) amd_sizes(entry, cpu);
        break;
      case 0x8000001d:
        cache(entry, cpu, false);
        break;
      case 0x8000001e:
        amd_topology(entry, cpu);
        break;
      default:
        break;
    }
  }
  replace_topology(table, cpu);
}

}  // namespace volley
