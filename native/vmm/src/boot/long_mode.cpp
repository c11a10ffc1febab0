#include "boot/long_mode.h"

#include <linux/kvm.h>

#include "memory/layout.h"

namespace volley {
namespace {

constexpr uint64_t kPresentWritable = 0x03;
constexpr uint64_t kLargePage = 0x80;
constexpr uint64_t kLargePageSize = 2ull << 20;
constexpr uint64_t kUserAccessible = 0x04;
constexpr uint64_t kGib = 1ull << 30;
constexpr uint32_t kEntries = 512;

constexpr uint16_t kCodeSelector = 0x10;
constexpr uint16_t kDataSelector = 0x18;
constexpr uint16_t kTssSelector = 0x20;

// Null, unused, code (64-bit), data, and a 16-byte TSS descriptor with base 0 and limit 0x67.
constexpr uint64_t kGdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00008b0000000067, 0};

constexpr uint64_t kCr0 = 0x80050033;  // PG AM WP NE ET MP PE
constexpr uint64_t kCr4PhysicalAddressExtension = 0x20;
constexpr uint64_t kEferLongModeActive = 0x500;  // LME LMA

kvm_segment segment(uint16_t selector, uint8_t type, bool code) {
  kvm_segment result{};
  result.limit = 0xffffffff;
  result.selector = selector;
  result.type = type;
  result.present = 1;
  result.s = 1;
  result.g = 1;
  result.l = code ? 1 : 0;
  result.db = code ? 0 : 1;
  return result;
}

// Fills one page directory: a GiB of 2 MiB pages, one to one.
bool fill_directory(const GuestMemory& memory, uint64_t at, uint64_t first_mapped, uint64_t rights) {
  const std::span<uint8_t> directory = memory.range(at, kEntries * sizeof(uint64_t));
  if (directory.empty()) return false;
  auto* entries = reinterpret_cast<uint64_t*>(directory.data());
  for (uint64_t i = 0; i < kEntries; ++i) entries[i] = (first_mapped + i * kLargePageSize) | rights | kLargePage;
  return true;
}

}  // namespace

Status load_long_mode_tables(const GuestMemory& memory, BootMapping mapping) {
  const bool user = mapping == BootMapping::kUserWithDevices;
  const uint64_t rights = kPresentWritable | (user ? kUserAccessible : 0);
  bool fits = memory.write_value(kGdtAddress, kGdt) && memory.write_value(kPml4Address, kPdptAddress | rights) &&
              memory.write_value(kPdptAddress, kPageDirectoryAddress | rights) &&
              fill_directory(memory, kPageDirectoryAddress, 0, rights);
  if (user) {
    const uint64_t pdpt_entry = kPdptAddress + kMmioGapStart / kGib * sizeof(uint64_t);
    fits = fits && memory.write_value(pdpt_entry, kDevicePageDirectoryAddress | rights) &&
           fill_directory(memory, kDevicePageDirectoryAddress, kMmioGapStart, rights);
  }
  return fits ? Status::ok() : Status::error("the boot tables do not fit into guest memory");
}

Status enter_long_mode(const Vcpu& vcpu, const LongModeEntry& entry) {
  kvm_sregs special;
  if (Status status = vcpu.get_special_registers(&special); !status.is_ok()) return status;
  special.cs = segment(kCodeSelector, 0xb, true);
  special.ds = special.es = special.fs = special.gs = special.ss = segment(kDataSelector, 0x3, false);
  special.tr = {};
  special.tr.limit = 0x67;
  special.tr.selector = kTssSelector;
  special.tr.type = 0xb;
  special.tr.present = 1;
  special.gdt.base = kGdtAddress;
  special.gdt.limit = sizeof(kGdt) - 1;
  special.idt.base = 0;
  special.idt.limit = 0;
  special.cr3 = kPml4Address;
  special.cr4 |= kCr4PhysicalAddressExtension;
  special.cr0 = kCr0;
  special.efer |= kEferLongModeActive;
  if (Status status = vcpu.set_special_registers(special); !status.is_ok()) return status;

  kvm_regs registers{};
  registers.rip = entry.instruction_pointer;
  registers.rsp = entry.stack_pointer;
  registers.rbp = entry.stack_pointer;
  registers.rsi = entry.boot_parameters;
  registers.rdi = entry.first_argument;
  registers.rdx = entry.third_argument;
  registers.rflags = 2;
  return vcpu.set_registers(registers);
}

}  // namespace volley
