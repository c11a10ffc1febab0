#include "boot/acpi_tables.h"

#include <initializer_list>
#include <numeric>
#include <string_view>

#include "abi/volley_abi.h"
#include "boot/aml.h"
#include "memory/layout.h"

namespace volley {
namespace {

constexpr std::string_view kOemId = "VOLLEY";
constexpr std::string_view kOemTableId = "VOLLEYVM";
constexpr uint32_t kOemRevision = 1;

constexpr size_t kTableAlignment = 16;
constexpr size_t kHeaderChecksumOffset = 9;
constexpr size_t kHeaderLengthOffset = 4;
constexpr size_t kRsdpFirstLength = 20;
constexpr size_t kRsdpLength = 36;

// Makes all bytes add up to 0 by setting one of them.
void set_checksum(std::span<uint8_t> bytes, size_t at) {
  bytes[at] = 0;
  bytes[at] = static_cast<uint8_t>(-std::accumulate(bytes.begin(), bytes.end(), 0u));
}

// Writes a table's common header, its body, its length and its checksum; gives where it starts.
template <typename Body>
size_t table(ByteWriter& out, std::string_view signature, uint8_t revision, Body body) {
  out.align(kTableAlignment);
  const size_t start = out.position();
  out.text(signature);
  out.u32(0);  // length
  out.u8(revision);
  out.u8(0);  // checksum
  out.text(kOemId);
  out.text(kOemTableId);
  out.u32(kOemRevision);
  out.text("VLLY");
  out.u32(1);
  body();
  if (out.fits()) {
    out.patch(start + kHeaderLengthOffset, static_cast<uint32_t>(out.position() - start));
    set_checksum(out.written_since(start), kHeaderChecksumOffset);
  }
  return start;
}

// ---- DSDT: the devices ----

void serial_port(AmlWriter& aml) {
  aml.device("COM1", [&] {
    aml.name_eisa_id("_HID", "PNP0501");
    aml.name_integer("_UID", 0);
    aml.resources([&] {
      aml.io_ports(VOLLEY_PORT_SERIAL, 8);
      aml.edge_interrupt(kSerialGsi);
    });
  });
}

// The identifier under which Linux's pvpanic driver looks for its port.
void panic_port(AmlWriter& aml) {
  aml.device("PEVT", [&] {
    aml.name_text("_HID", "QEMU0001");
    aml.resources([&] { aml.io_ports(VOLLEY_PORT_PVPANIC, 1); });
  });
}

void keyboard_controller(AmlWriter& aml) {
  aml.device("PS2K", [&] {
    aml.name_eisa_id("_HID", "PNP0303");
    aml.name_integer("_UID", 0);
    aml.resources([&] {
      aml.io_ports(VOLLEY_PORT_I8042_DATA, 1);
      aml.io_ports(VOLLEY_PORT_I8042_COMMAND, 1);
      aml.edge_interrupt(kKeyboardGsi);
    });
  });
}

void virtio_device(AmlWriter& aml, uint32_t index) {
  const char name[] = {'V', 'R', static_cast<char>('0' + index / 10), static_cast<char>('0' + index % 10)};
  aml.device({name, sizeof name}, [&] {
    aml.name_text("_HID", "LNRO0005");
    aml.name_integer("_UID", index);
    aml.name_integer("_CCA", 1);  // what the device writes is seen by the processors' caches
    aml.resources([&] {
      aml.memory(static_cast<uint32_t>(device_window(index)), static_cast<uint32_t>(VOLLEY_VIRTIO_STRIDE));
      aml.edge_interrupt(device_gsi(index));
    });
  });
}

// The generation id: a number that changes when this guest is one of several that went on from the same state.
void generation_id(AmlWriter& aml) {
  static_assert(kGenerationIdAddress % 8 == 0 && kGenerationIdAddress >= kAcpiEnd &&
                kGenerationIdAddress + 16 <= kResetVectorAddress && kResetVectorAddress < kFirmwareEnd);
  aml.device("VGEN", [&] {
    aml.name_text("_HID", "VMGENCTR");
    aml.name_text("_CID", "VM_Gen_Counter");
    aml.name_text("_DDN", "VM_Gen_Counter");
    constexpr uint32_t kAddress[] = {static_cast<uint32_t>(kGenerationIdAddress), kGenerationIdAddress >> 32};
    aml.name_package("ADDR", kAddress);
  });
}

// A hardware-reduced machine has neither a fixed power button nor general purpose events: a generic event device takes
// one interrupt for each event and passes it on.
void events(AmlWriter& aml) {
  constexpr uint8_t kHappened = 0x80;
  aml.device("PWRB", [&] { aml.name_eisa_id("_HID", "PNP0C0C"); });
  generation_id(aml);
  aml.device("GED_", [&] {
    aml.name_text("_HID", "ACPI0013");
    aml.resources([&] {
      aml.edge_interrupt(kPowerButtonGsi);
      aml.edge_interrupt(kGenerationGsi);
    });
    aml.method("_EVT", 1, [&] {
      aml.if_argument_is(kPowerButtonGsi, [&] { aml.notify("_SB_", "PWRB", kHappened); });
      aml.if_argument_is(kGenerationGsi, [&] { aml.notify("_SB_", "VGEN", kHappened); });
    });
  });
}

size_t write_dsdt(ByteWriter& out, uint32_t devices) {
  return table(out, "DSDT", 2, [&] {
    AmlWriter aml(out);
    aml.scope("_SB_", [&] {
      serial_port(aml);
      keyboard_controller(aml);
      panic_port(aml);
      for (uint32_t index = 0; index < devices; ++index) virtio_device(aml, index);
      events(aml);
    });
    constexpr uint32_t kSoftOff[] = {5, 5, 0, 0};  // the SLP_TYP that devices/acpi_sleep.cpp understands
    aml.name_package("_S5_", kSoftOff);
  });
}

// ---- FADT: fixed features ----

void port_register(ByteWriter& out, uint16_t port) {
  out.u8(1);  // system I/O space
  out.u8(8);  // bits wide
  out.u8(0);
  out.u8(1);  // byte access
  out.u64(port);
}

size_t write_fadt(ByteWriter& out, uint64_t dsdt) {
  constexpr uint8_t kRevision = 6;
  constexpr uint8_t kMinorRevision = 3;
  constexpr size_t kLength = 276;
  constexpr uint16_t kHas8042 = 1u << 1;
  constexpr uint16_t kNoVga = 1u << 2;
  constexpr uint16_t kNoAspm = 1u << 4;
  constexpr uint16_t kNoRtc = 1u << 5;
  constexpr uint32_t kWbinvd = 1u << 0;
  constexpr uint32_t kNoFixedPowerButton = 1u << 4;
  constexpr uint32_t kNoFixedSleepButton = 1u << 5;
  constexpr uint32_t kResetRegister = 1u << 10;
  constexpr uint32_t kHeadless = 1u << 12;
  constexpr uint32_t kHardwareReduced = 1u << 20;

  return table(out, "FACP", kRevision, [&] {
    const size_t start = out.position() - 36;
    const auto skip_to = [&](size_t offset) { out.zeros(offset - (out.position() - start)); };
    skip_to(40);
    out.u32(static_cast<uint32_t>(dsdt));
    skip_to(109);
    out.u16(kHas8042 | kNoVga | kNoAspm | kNoRtc);
    skip_to(112);
    out.u32(kWbinvd | kNoFixedPowerButton | kNoFixedSleepButton | kResetRegister | kHeadless | kHardwareReduced);
    port_register(out, VOLLEY_PORT_I8042_COMMAND);
    out.u8(0xFE);
    skip_to(131);
    out.u8(kMinorRevision);
    skip_to(140);
    out.u64(dsdt);
    skip_to(244);
    port_register(out, VOLLEY_PORT_ACPI_SLEEP);
    port_register(out, VOLLEY_PORT_ACPI_SLEEP + 1);
    out.text(kOemTableId);  // the hypervisor's name
    skip_to(kLength);
  });
}

// ---- MADT: processors and interrupt controllers ----

size_t write_madt(ByteWriter& out, uint32_t vcpus) {
  return table(out, "APIC", 5, [&] {
    out.u32(static_cast<uint32_t>(kLocalApicAddress));
    out.u32(0);  // no PIC beside the APICs
    for (uint32_t index = 0; index < vcpus; ++index) {
      out.u8(0);  // local APIC
      out.u8(8);
      out.u8(static_cast<uint8_t>(index));
      out.u8(static_cast<uint8_t>(index));
      out.u32(1);  // enabled
    }
    out.u8(1);  // IOAPIC
    out.u8(12);
    out.u8(static_cast<uint8_t>(vcpus));
    out.u8(0);
    out.u32(static_cast<uint32_t>(kIoApicAddress));
    out.u32(0);  // its first GSI
    out.u8(4);   // NMI on LINT1 of every processor
    out.u8(6);
    out.u8(0xff);
    out.u16(0);
    out.u8(1);
  });
}

size_t write_xsdt(ByteWriter& out, std::initializer_list<uint64_t> tables) {
  return table(out, "XSDT", 1, [&] {
    for (const uint64_t address : tables) out.u64(address);
  });
}

void write_rsdp(ByteWriter& out, uint64_t xsdt) {
  const size_t start = out.position();
  out.text("RSD PTR ");
  out.u8(0);  // checksum of the first 20 bytes
  out.text(kOemId);
  out.u8(2);
  out.u32(0);  // no RSDT
  out.u32(kRsdpLength);
  out.u64(xsdt);
  out.u8(0);  // checksum of it all
  out.zeros(3);
  if (!out.fits()) return;
  const std::span<uint8_t> rsdp = out.written_since(start);
  set_checksum(rsdp.first(kRsdpFirstLength), 8);
  set_checksum(rsdp, 32);
}

}  // namespace

Status build_acpi_tables(std::span<uint8_t> buffer, uint64_t address, const AcpiMachine& machine, size_t* used) {
  ByteWriter out(buffer);
  // The RSDP comes first, but points at what follows: written last.
  out.zeros(kRsdpLength);
  const uint64_t dsdt = address + write_dsdt(out, machine.devices);
  const uint64_t fadt = address + write_fadt(out, dsdt);
  const uint64_t madt = address + write_madt(out, machine.vcpus);
  const uint64_t xsdt = address + write_xsdt(out, {fadt, madt});
  if (!out.fits()) {
    return Status::error("the ACPI tables for %u vCPUs and %u devices do not fit into %zu bytes", machine.vcpus,
                         machine.devices, buffer.size());
  }
  ByteWriter rsdp(buffer.first(kRsdpLength));
  write_rsdp(rsdp, xsdt);
  *used = out.position();
  return Status::ok();
}

Status write_acpi_tables(const GuestMemory& memory, const AcpiMachine& machine) {
  const std::span<uint8_t> area = memory.range(kRsdpAddress, kAcpiEnd - kRsdpAddress);
  if (area.empty() || !memory.write(kGenerationIdAddress, {machine.generation_id, 16})) {
    return Status::error("guest memory is too small for the ACPI tables");
  }
  size_t used = 0;
  return build_acpi_tables(area, kRsdpAddress, machine, &used);
}

}  // namespace volley
