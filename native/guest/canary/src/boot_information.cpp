// The ELF canary: finds what the flat boot protocol gives in registers in what PVH or the Linux boot protocol leave in
// memory.
#include <cstdint>

extern "C" [[noreturn]] void canary_main(uint64_t memory_bytes, const char* cmdline, uint64_t tsc_khz);

namespace canary {
namespace {

constexpr uint64_t kMemoryEnd = 0xc0000000;  // devices follow
constexpr uint32_t kRam = 1;
constexpr uint64_t kUnknownFrequency = 0;

// The layouts are of Xen's hvm_start_info and of Linux' boot_params.
constexpr uint32_t kPvhMagic = 0x336ec578;
constexpr uint64_t kPvhCmdline = 24;
constexpr uint64_t kPvhMap = 40;
constexpr uint64_t kPvhMapEntries = 48;
constexpr uint64_t kPvhMapEntry = 24;
constexpr uint64_t kZeroPageMapEntries = 0x1e8;
constexpr uint64_t kZeroPageCmdline = 0x228;
constexpr uint64_t kZeroPageMap = 0x2d0;
constexpr uint64_t kZeroPageMapEntry = 20;

template <typename T>
T read(uint64_t address) {
  struct __attribute__((packed)) Unaligned {
    T value;
  };
  return reinterpret_cast<const Unaligned*>(address)->value;
}

// Both protocols list ranges of memory as address, size and type.
uint64_t end_of_memory(uint64_t map, uint64_t entries, uint64_t entry_bytes) {
  uint64_t end = 0;
  for (uint64_t at = map; at < map + entries * entry_bytes; at += entry_bytes) {
    const uint64_t range_end = read<uint64_t>(at) + read<uint64_t>(at + 8);
    if (read<uint32_t>(at + 16) == kRam && range_end > end && range_end <= kMemoryEnd) end = range_end;
  }
  return end;
}

}  // namespace
}  // namespace canary

extern "C" [[noreturn]] void canary_from_boot_information(uint64_t information) {
  using namespace canary;
  const bool pvh = read<uint32_t>(information) == kPvhMagic;
  const uint64_t memory_bytes =
      pvh ? end_of_memory(read<uint64_t>(information + kPvhMap), read<uint32_t>(information + kPvhMapEntries),
                          kPvhMapEntry)
          : end_of_memory(information + kZeroPageMap, read<uint8_t>(information + kZeroPageMapEntries),
                          kZeroPageMapEntry);
  const uint64_t cmdline =
      pvh ? read<uint64_t>(information + kPvhCmdline) : read<uint32_t>(information + kZeroPageCmdline);
  canary_main(memory_bytes, cmdline == 0 ? "" : reinterpret_cast<const char*>(cmdline), kUnknownFrequency);
}
