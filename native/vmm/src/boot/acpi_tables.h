#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "memory/guest_memory.h"

namespace volley {

// What the tables tell of, beyond what every machine has.
struct AcpiMachine {
  uint32_t vcpus;
  uint32_t devices;              // virtio devices, at device_window(i) with interrupt device_gsi(i)
  const uint8_t* generation_id;  // 16 bytes
};

// ACPI tables from which a stock kernel learns what this machine has: processors and the IOAPIC (MADT), serial port,
// keyboard controller, panic port, virtio devices, generation id and power button (DSDT), how to power off and reset
// (FADT).
//
// The machine is "hardware-reduced": no SCI, no PM1 or GPE blocks, no PIC, PIT or RTC behind the tables. A guest powers
// off by writing SLP_TYP 5 with SLP_EN to the sleep control register, resets by writing 0xFE to the i8042's command
// port, and hears the power button as interrupt kPowerButtonGsi, a new generation id as kGenerationGsi of a generic
// event device.

// Writes the tables to [kRsdpAddress, kAcpiEnd) of guest memory, the RSDP first, and the generation id to
// kGenerationIdAddress.
Status write_acpi_tables(const GuestMemory& memory, const AcpiMachine& machine);

// The tables into a buffer that the guest will see at `address`; `used` is how much of it was written.
Status build_acpi_tables(std::span<uint8_t> buffer, uint64_t address, const AcpiMachine& machine, size_t* used);

}  // namespace volley
