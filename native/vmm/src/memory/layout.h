#pragma once

#include <cstdint>

#include "abi/volley_abi.h"

namespace volley {

// Guest physical layout, beyond what volley_abi.h already promises to guests.
inline constexpr uint64_t kGdtAddress = 0x500;
inline constexpr uint64_t kPvhStartInfoAddress = 0x6000;  // PVH kernels get these three instead of a zero page
inline constexpr uint64_t kPvhModuleAddress = 0x6040;
inline constexpr uint64_t kPvhMemoryMapAddress = 0x7000;
inline constexpr uint64_t kZeroPageAddress = 0x7000;
inline constexpr uint64_t kBootStackTop = 0x8ff0;
inline constexpr uint64_t kPml4Address = 0x9000;
inline constexpr uint64_t kPdptAddress = 0xa000;
inline constexpr uint64_t kPageDirectoryAddress = 0xb000;        // 1 GiB of 2 MiB pages
inline constexpr uint64_t kDevicePageDirectoryAddress = 0xc000;  // flat guests: the GiB of the device windows
inline constexpr uint64_t kLowRamEnd = 0x9fc00;    // a PC's video memory and firmware follow, RAM again at 1 MiB
inline constexpr uint64_t kRsdpAddress = 0xe0000;  // ACPI tables lie in [kRsdpAddress, kAcpiEnd)
inline constexpr uint64_t kAcpiEnd = 0xff000;
inline constexpr uint64_t kGenerationIdAddress = VOLLEY_GENERATION_ID_ADDRESS;  // 16 bytes, VMGENID
inline constexpr uint64_t kResetVectorAddress = 0xffff0;                        // where an x86 CPU looks for firmware
inline constexpr uint64_t kFirmwareEnd = 0x100000;

// RAM is [0, kMmioGapStart) and, for what does not fit there, [kMmioGapEnd, ...).
inline constexpr uint64_t kMmioGapStart = 0xC0000000;
inline constexpr uint64_t kMmioGapEnd = 0x100000000;
inline constexpr uint64_t kIoApicAddress = 0xfec00000;
inline constexpr uint64_t kLocalApicAddress = 0xfee00000;
inline constexpr uint64_t kIdentityMapAddress = 0xfffbc000;  // Intel's real-mode helper page, KVM_SET_IDENTITY_MAP_ADDR
inline constexpr uint64_t kTssAddress = 0xfffbd000;          // and its three-page TSS, KVM_SET_TSS_ADDR

// Interrupt lines of the full irqchip. Lines 0 to 2 and 8 are a PC's timers and cascade; 1 is the keyboard's.
inline constexpr uint32_t kKeyboardGsi = 1;
inline constexpr uint32_t kSerialGsi = 4;
inline constexpr uint32_t kGenerationGsi = 8;  // VMGENID; there is no clock chip that would want the line
inline constexpr uint32_t kPowerButtonGsi = 9;

// The line of virtio device `index`, edge-triggered: 5, 6, 7, then 10 to 23, one for each of VOLLEY_MAX_DEVICES.
inline constexpr uint32_t device_gsi(uint32_t index) { return index < 3 ? 5 + index : 7 + index; }
static_assert(device_gsi(2) == 7 && device_gsi(3) == 10 && device_gsi(VOLLEY_MAX_DEVICES - 1) == 23);

// The register window of virtio device `index`.
inline constexpr uint64_t device_window(uint32_t index) { return VOLLEY_VIRTIO_FIRST + index * VOLLEY_VIRTIO_STRIDE; }

}  // namespace volley
