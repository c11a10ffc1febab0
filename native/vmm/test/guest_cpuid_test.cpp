#include "kvm/guest_cpuid.h"

#include <cstring>
#include <initializer_list>
#include <memory>

#include "support/check.h"

namespace volley {
namespace {

constexpr uint32_t kAll = 0xffffffff;

using Table = std::unique_ptr<CpuidTable>;

kvm_cpuid_entry2 entry(uint32_t function, uint32_t index, uint32_t registers) {
  kvm_cpuid_entry2 result{};
  result.function = function;
  result.index = index;
  result.eax = result.ebx = result.ecx = result.edx = registers;
  return result;
}

Table table_of(const char* vendor_start, std::initializer_list<kvm_cpuid_entry2> entries) {
  Table table = std::make_unique<CpuidTable>();
  kvm_cpuid_entry2 vendor = entry(0, 0, 0x10);
  memcpy(&vendor.ebx, vendor_start, sizeof vendor.ebx);
  table->entries[table->count++] = vendor;
  for (const kvm_cpuid_entry2& each : entries) table->entries[table->count++] = each;
  return table;
}

const kvm_cpuid_entry2& find(const Table& table, uint32_t function, uint32_t index = 0) {
  for (uint32_t i = 0; i < table->count; ++i) {
    if (table->entries[i].function == function && table->entries[i].index == index) return table->entries[i];
  }
  CHECK(!"no such entry");
  return table->entries[0];
}

bool has(const Table& table, uint32_t function) {
  for (uint32_t i = 0; i < table->count; ++i) {
    if (table->entries[i].function == function) return true;
  }
  return false;
}

bool bit(uint32_t value, uint32_t number) { return ((value >> number) & 1u) != 0; }

TEST(names_the_processor) {
  Table table = table_of("Genu", {entry(1, 0, 0)});
  adapt_cpuid(table.get(), {5, 8, true});
  const kvm_cpuid_entry2& features = find(table, 1);
  CHECK(features.ebx >> 24 == 5 && ((features.ebx >> 16) & 0xff) == 8 && ((features.ebx >> 8) & 0xff) == 8);
  CHECK(bit(features.ecx, 31) && bit(features.ecx, 24) && bit(features.edx, 28));

  table = table_of("Genu", {entry(1, 0, kAll)});
  adapt_cpuid(table.get(), {0, 1, false});
  CHECK(!bit(find(table, 1).ecx, 24) && !bit(find(table, 1).ecx, 15) && !bit(find(table, 1).edx, 28));
}

TEST(tells_one_package_of_cores) {
  Table table = table_of("Genu", {entry(0xb, 0, 0), entry(0xb, 1, 0), entry(0x1f, 0, kAll)});
  adapt_cpuid(table.get(), {3, 6, true});
  CHECK(!has(table, 0x1f));
  CHECK(find(table, 0xb, 0).eax == 0 && find(table, 0xb, 0).ebx == 1 && find(table, 0xb, 0).ecx == 0x100);
  CHECK(find(table, 0xb, 1).eax == 3 && find(table, 0xb, 1).ebx == 6 && find(table, 0xb, 1).ecx == 0x201);
  CHECK(find(table, 0xb, 2).ecx == 2 && find(table, 0xb, 2).edx == 3);

  table = table_of("Genu", {entry(0xb, 0, 0)});
  adapt_cpuid(table.get(), {0, 1, true});
  CHECK(find(table, 0xb, 1).eax == 0 && find(table, 0xb, 1).ebx == 1);
}

TEST(does_not_invent_leaves) {
  Table table = table_of("Auth", {entry(1, 0, 0)});
  adapt_cpuid(table.get(), {0, 2, true});
  CHECK(table->count == 2);
  // A full table stays a table.
  table = table_of("Genu", {entry(0xb, 0, 0)});
  while (table->count < CpuidTable::kCapacity) table->entries[table->count++] = entry(0x40000010, 0, 1);
  adapt_cpuid(table.get(), {0, 2, true});
  CHECK(table->count <= CpuidTable::kCapacity);
}

TEST(shares_only_the_last_cache) {
  kvm_cpuid_entry2 first = entry(4, 0, 0);
  first.eax = kAll & ~0xffu;
  first.eax |= 0x21;  // data, level 1
  kvm_cpuid_entry2 last = first;
  last.index = 3;
  last.eax = (last.eax & ~0xffu) | 0x63;  // unified, level 3
  Table table = table_of("Genu", {first, last, entry(4, 4, 0)});
  adapt_cpuid(table.get(), {0, 4, true});
  CHECK(((find(table, 4, 0).eax >> 14) & 0xfff) == 0 && find(table, 4, 0).eax >> 26 == 3);
  CHECK(((find(table, 4, 3).eax >> 14) & 0xfff) == 3);
  CHECK(find(table, 4, 4).eax == 0);
}

TEST(tells_amd_topology_on_amd_only) {
  const auto entries = {entry(0x80000008, 0, 0x7000), entry(0x8000001e, 0, kAll), entry(7, 0, kAll)};
  Table amd = table_of("Auth", entries);
  adapt_cpuid(amd.get(), {2, 4, true});
  CHECK((find(amd, 0x80000008).ecx & 0xff) == 3 && ((find(amd, 0x80000008).ecx >> 12) & 0xf) == 2);
  CHECK(find(amd, 0x8000001e).eax == 2 && find(amd, 0x8000001e).ebx == 2 && find(amd, 0x8000001e).ecx == 0);
  CHECK(!bit(find(amd, 7).edx, 29) && !bit(find(amd, 7).ecx, 5));

  Table intel = table_of("Genu", entries);
  adapt_cpuid(intel.get(), {2, 4, true});
  CHECK(find(intel, 0x80000008).ecx == 0x7000 && bit(find(intel, 7).edx, 29));
}

TEST(hides_what_we_do_not_offer) {
  Table table = table_of("Genu", {entry(6, 0, kAll), entry(0xa, 0, kAll)});
  adapt_cpuid(table.get(), {0, 1, true});
  CHECK(!bit(find(table, 6).eax, 1) && bit(find(table, 6).eax, 2) && !bit(find(table, 6).ecx, 3));
  CHECK(find(table, 0xa).eax == 0 && find(table, 0xa).edx == 0);
}

}  // namespace
}  // namespace volley
