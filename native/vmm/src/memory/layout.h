#pragma once

#include <cstdint>

#include "abi/volley_abi.h"

namespace volley {

// Guest physical layout, beyond what volley_abi.h already promises to guests.
inline constexpr uint64_t kGdtAddress = 0x500;
inline constexpr uint64_t kZeroPageAddress = 0x7000;
inline constexpr uint64_t kBootStackTop = 0x8ff0;
inline constexpr uint64_t kPml4Address = 0x9000;
inline constexpr uint64_t kPdptAddress = 0xa000;
inline constexpr uint64_t kPageDirectoryAddress = 0xb000;  // 1 GiB of 2 MiB pages
inline constexpr uint64_t kSystemDataStart = 0x9fc00;      // ACPI tables lie in [kSystemDataStart, kSystemDataEnd)
inline constexpr uint64_t kSystemDataEnd = 0xe0000;
inline constexpr uint64_t kRsdpAddress = 0xe0000;

// RAM is [0, kMmioGapStart) and, for what does not fit there, [kMmioGapEnd, ...).
inline constexpr uint64_t kMmioGapStart = 0xC0000000;
inline constexpr uint64_t kMmioGapEnd = 0x100000000;
inline constexpr uint64_t kIdentityMapAddress = 0xfffbc000;  // Intel's real-mode helper page, KVM_SET_IDENTITY_MAP_ADDR
inline constexpr uint64_t kTssAddress = 0xfffbd000;          // and its three-page TSS, KVM_SET_TSS_ADDR

// Interrupt lines of the full irqchip.
inline constexpr uint32_t kSerialGsi = 4;

}  // namespace volley
