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
inline constexpr uint64_t kPageDirectoryAddress = 0xb000;        // 1 GiB of 2 MiB pages
inline constexpr uint64_t kDevicePageDirectoryAddress = 0xc000;  // flat guests: the GiB of the device windows
inline constexpr uint64_t kLowRamEnd = 0x9fc00;    // a PC's video memory and firmware follow, RAM again at 1 MiB
inline constexpr uint64_t kRsdpAddress = 0xe0000;  // ACPI tables lie in [kRsdpAddress, kAcpiEnd)
inline constexpr uint64_t kAcpiEnd = 0xff000;
inline constexpr uint64_t kResetVectorAddress = 0xffff0;  // where an x86 CPU looks for firmware
inline constexpr uint64_t kFirmwareEnd = 0x100000;

// RAM is [0, kMmioGapStart) and, for what does not fit there, [kMmioGapEnd, ...).
inline constexpr uint64_t kMmioGapStart = 0xC0000000;
inline constexpr uint64_t kMmioGapEnd = 0x100000000;
inline constexpr uint64_t kIoApicAddress = 0xfec00000;
inline constexpr uint64_t kLocalApicAddress = 0xfee00000;
inline constexpr uint64_t kIdentityMapAddress = 0xfffbc000;  // Intel's real-mode helper page, KVM_SET_IDENTITY_MAP_ADDR
inline constexpr uint64_t kTssAddress = 0xfffbd000;          // and its three-page TSS, KVM_SET_TSS_ADDR

// Interrupt lines of the full irqchip.
inline constexpr uint32_t kSerialGsi = 4;
inline constexpr uint32_t kPowerButtonGsi = 9;

}  // namespace volley
