#include "boot/pvh.h"

#include <elf.h>
#include <linux/kvm.h>

#include <cstring>

#include "memory/layout.h"

namespace volley {
namespace {

constexpr char kNoteOwner[] = "Xen";
constexpr uint32_t kNotePhys32Entry = 18;

constexpr uint32_t kStartMagic = 0x336ec578;
constexpr uint32_t kStartVersion = 1;
constexpr uint32_t kMemoryRam = 1;
constexpr uint32_t kMemoryReserved = 2;

struct StartInfo {
  uint32_t magic;
  uint32_t version;
  uint32_t flags;
  uint32_t module_count;
  uint64_t modules;
  uint64_t cmdline;
  uint64_t rsdp;
  uint64_t memory_map;
  uint32_t memory_map_entries;
  uint32_t reserved;
};
static_assert(sizeof(StartInfo) == 56 && sizeof(StartInfo) <= kPvhModuleAddress - kPvhStartInfoAddress);

struct Module {
  uint64_t address;
  uint64_t size;
  uint64_t cmdline;
  uint64_t reserved;
};

struct MemoryRange {
  uint64_t address;
  uint64_t size;
  uint32_t type;
  uint32_t reserved;
};

struct MemoryMap {
  static constexpr size_t kCapacity = 4;
  MemoryRange ranges[kCapacity];
  uint32_t count = 0;

  void add(uint64_t start, uint64_t end, uint32_t type) { ranges[count++] = {start, end - start, type, 0}; }
};

MemoryMap describe(const GuestMemory& memory) {
  MemoryMap map{};
  map.add(0, kLowRamEnd, kMemoryRam);
  map.add(kRsdpAddress, kFirmwareEnd, kMemoryReserved);
  map.add(kFirmwareEnd, memory.regions()[0].size, kMemoryRam);
  for (const GuestRegion& region : memory.regions().subspan(1)) {
    map.add(region.guest_address, region.guest_address + region.size, kMemoryRam);
  }
  return map;
}

// Null, code (32-bit), data, and a TSS with base 0 and limit 0x67.
constexpr uint64_t kGdt[] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00008b0000000067};
constexpr uint16_t kCodeSelector = 0x08;
constexpr uint16_t kDataSelector = 0x10;
constexpr uint16_t kTssSelector = 0x18;
constexpr uint64_t kCr0ProtectedMode = 0x11;  // PE, and ET which is always set

kvm_segment flat_segment(uint16_t selector, uint8_t type) {
  kvm_segment result{};
  result.limit = 0xffffffff;
  result.selector = selector;
  result.type = type;
  result.present = 1;
  result.s = 1;
  result.g = 1;
  result.db = 1;
  return result;
}

}  // namespace

bool find_pvh_entry(std::span<const uint8_t> notes, uint64_t alignment, uint64_t* entry) {
  const uint64_t mask = (alignment == 8 ? 8 : 4) - 1;
  uint64_t at = 0;
  while (notes.size() - at >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr header;
    memcpy(&header, notes.data() + at, sizeof header);
    // Sums of 32-bit numbers: no overflow in 64 bits.
    const uint64_t name = at + sizeof header;
    const uint64_t content = (name + header.n_namesz + mask) & ~mask;
    const uint64_t end = content + header.n_descsz;
    if (end > notes.size()) return false;
    const bool owned =
        header.n_namesz == sizeof kNoteOwner && memcmp(notes.data() + name, kNoteOwner, sizeof kNoteOwner) == 0;
    if (owned && header.n_type == kNotePhys32Entry && (header.n_descsz == 4 || header.n_descsz == 8)) {
      *entry = 0;
      memcpy(entry, notes.data() + content, header.n_descsz);
      return true;
    }
    at = (end + mask) & ~mask;
    if (at > notes.size()) return false;
  }
  return false;
}

Status write_pvh_start_info(const BootSource& source, uint64_t initrd_address, uint64_t initrd_size,
                            const GuestMemory& memory) {
  const MemoryMap map = describe(memory);
  StartInfo start{};
  start.magic = kStartMagic;
  start.version = kStartVersion;
  start.cmdline = VOLLEY_CMDLINE_ADDRESS;
  start.rsdp = kRsdpAddress;
  start.memory_map = kPvhMemoryMapAddress;
  start.memory_map_entries = map.count;
  bool fits = true;
  if (initrd_size != 0) {
    start.module_count = 1;
    start.modules = kPvhModuleAddress;
    fits = memory.write_value(kPvhModuleAddress, Module{initrd_address, initrd_size, 0, 0});
  }
  fits = fits && memory.write_value(kPvhStartInfoAddress, start) &&
         memory.write_value(kPvhMemoryMapAddress, map.ranges) && memory.write_value(kGdtAddress, kGdt);
  if (source.cmdline_length >= VOLLEY_CMDLINE_MAX) {
    return Status::error("the command line has %u characters, at most %u fit", source.cmdline_length,
                         VOLLEY_CMDLINE_MAX - 1);
  }
  return fits ? Status::ok() : Status::error("the PVH start information does not fit into guest memory");
}

Status enter_pvh(const Vcpu& vcpu, uint64_t entry) {
  kvm_sregs special;
  if (Status status = vcpu.get_special_registers(&special); !status.is_ok()) return status;
  special.cs = flat_segment(kCodeSelector, 0xb);
  special.ds = special.es = special.fs = special.gs = special.ss = flat_segment(kDataSelector, 0x3);
  special.tr = {};
  special.tr.limit = 0x67;
  special.tr.selector = kTssSelector;
  special.tr.type = 0xb;
  special.tr.present = 1;
  special.gdt.base = kGdtAddress;
  special.gdt.limit = sizeof(kGdt) - 1;
  special.idt.base = 0;
  special.idt.limit = 0;
  special.cr0 = kCr0ProtectedMode;
  special.cr3 = 0;
  special.cr4 = 0;
  special.efer = 0;
  if (Status status = vcpu.set_special_registers(special); !status.is_ok()) return status;

  kvm_regs registers{};
  registers.rip = entry;
  registers.rbx = kPvhStartInfoAddress;
  registers.rflags = 2;
  return vcpu.set_registers(registers);
}

}  // namespace volley
