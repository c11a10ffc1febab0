#include "boot/acpi_tables.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "memory/layout.h"
#include "support/refused.h"

namespace volley {
namespace {

constexpr uint64_t kAddress = 0xe0000;

struct Tables {
  std::vector<uint8_t> bytes = std::vector<uint8_t>(8192);
  size_t used = 0;

  template <typename T>
  T at(uint64_t address) const {
    T value{};
    const bool inside = address >= kAddress && address + sizeof(T) <= kAddress + used;
    CHECK(inside);
    if (inside) memcpy(&value, bytes.data() + (address - kAddress), sizeof value);
    return value;
  }
  std::string_view text(uint64_t address, size_t length) const {
    const bool inside = address >= kAddress && address + length <= kAddress + used;
    CHECK(inside);
    if (!inside) return {};
    return {reinterpret_cast<const char*>(bytes.data()) + (address - kAddress), length};
  }
  bool adds_up(uint64_t address, size_t length) const {
    const std::string_view range = text(address, length);
    return (std::accumulate(range.begin(), range.end(), 0u) & 0xffu) == 0;
  }
  // Checks a table's frame and gives its length.
  uint32_t table(uint64_t address, std::string_view signature) const {
    CHECK(text(address, 4) == signature);
    const auto length = at<uint32_t>(address + 4);
    CHECK(adds_up(address, length));
    return length;
  }
};

constexpr uint8_t kGenerationId[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

AcpiMachine machine_of(uint32_t vcpus, uint32_t devices = 0) {
  return {.vcpus = vcpus, .devices = devices, .generation_id = kGenerationId};
}

Tables built(uint32_t vcpus, uint32_t devices = 0) {
  Tables tables;
  CHECK(build_acpi_tables(tables.bytes, kAddress, machine_of(vcpus, devices), &tables.used).is_ok());
  return tables;
}

// What the DSDT says of one device, as an operating system would read it.
struct AmlDevice {
  std::string name;
  std::map<std::string, std::string> texts;
  std::map<std::string, std::vector<uint64_t>> numbers;  // integers and packages of integers
  std::vector<std::pair<uint16_t, uint8_t>> ports;       // first and count
  std::vector<std::pair<uint32_t, uint32_t>> memory;     // base and length
  std::vector<uint32_t> interrupts;
  std::string method;  // its bytes, after the flags
};

// Reads the few constructs that our tables are made of, and reports everything else.
class AmlReader {
 public:
  AmlReader(std::string_view bytes, std::vector<AmlDevice>* devices) : bytes_(bytes), devices_(devices) {}

  void terms(size_t end, AmlDevice* device) {
    while (at_ < end) {
      switch (u8()) {
        case 0x10:  // Scope
          nested([&](size_t inner) {
            skip_root();
            CHECK_EQ(name(), "_SB_");
            terms(inner, nullptr);
          });
          break;
        case 0x5b:  // Device
          CHECK_EQ(u8(), 0x82);
          nested([&](size_t inner) {
            AmlDevice found;
            found.name = name();
            terms(inner, &found);
            devices_->push_back(found);
          });
          break;
        case 0x14:  // Method
          nested([&](size_t inner) {
            CHECK_EQ(name(), "_EVT");
            CHECK_EQ(u8() & 7, 1);
            if (device != nullptr) device->method = bytes_.substr(at_, inner - at_);
            at_ = inner;
          });
          break;
        case 0x08: {  // Name
          const std::string what = name();
          AmlDevice nobody;
          value(what, device != nullptr ? device : &nobody);
          break;
        }
        default:
          check::report(__FILE__, __LINE__, "unknown AML at " + std::to_string(at_ - 1));
          at_ = end;
          return;
      }
    }
    CHECK_EQ(at_, end);
  }

 private:
  uint8_t u8() {
    if (at_ >= bytes_.size()) {
      check::report(__FILE__, __LINE__, "AML ends early");
      return 0;
    }
    return static_cast<uint8_t>(bytes_[at_++]);
  }
  uint64_t number(size_t width) {
    uint64_t result = 0;
    for (size_t i = 0; i < width; ++i) result |= uint64_t{u8()} << (8 * i);
    return result;
  }
  std::string name() {
    const std::string result(bytes_.substr(at_, 4));
    at_ += 4;
    return result;
  }
  void skip_root() { CHECK_EQ(u8(), '\\'); }

  // A package length counts itself.
  template <typename Body>
  void nested(Body body) {
    const size_t start = at_;
    const uint8_t lead = u8();
    size_t length = lead & 0x3f;
    if (const size_t more = lead >> 6; more != 0) {
      length = lead & 0x0f;
      for (size_t i = 0; i < more; ++i) length |= size_t{u8()} << (4 + 8 * i);
    }
    body(start + length);
    CHECK_EQ(at_, start + length);
    at_ = start + length;
  }

  uint64_t integer(uint8_t op) {
    if (op <= 1) return op;
    if (op == 0x0a) return number(1);
    if (op == 0x0c) return number(4);
    check::report(__FILE__, __LINE__, "not an integer");
    return 0;
  }

  void value(const std::string& what, AmlDevice* device) {
    const uint8_t op = u8();
    if (op == 0x0d) {
      std::string text;
      while (const uint8_t c = u8()) text += static_cast<char>(c);
      device->texts[what] = text;
    } else if (op == 0x12) {
      nested([&](size_t) {
        for (uint8_t left = u8(); left > 0; --left) device->numbers[what].push_back(integer(u8()));
      });
    } else if (op == 0x11) {
      nested([&](size_t inner) {
        CHECK_EQ(u8(), 0x0b);
        const uint64_t bytes = number(2);
        CHECK_EQ(bytes, inner - at_);
        resources(inner, device);
      });
    } else {
      device->numbers[what].push_back(integer(op));
    }
  }

  void resources(size_t end, AmlDevice* device) {
    while (at_ < end) {
      switch (u8()) {
        case 0x47: {
          u8();
          const auto first = static_cast<uint16_t>(number(2));
          CHECK_EQ(number(2), first);
          u8();
          device->ports.emplace_back(first, u8());
          break;
        }
        case 0x86: {
          CHECK_EQ(number(2), 9u);
          CHECK_EQ(u8(), 1);
          const auto base = static_cast<uint32_t>(number(4));
          device->memory.emplace_back(base, static_cast<uint32_t>(number(4)));
          break;
        }
        case 0x89:
          CHECK_EQ(number(2), 6u);
          CHECK_EQ(u8(), 3);  // consumer, edge, active high, exclusive
          CHECK_EQ(u8(), 1);
          device->interrupts.push_back(static_cast<uint32_t>(number(4)));
          break;
        case 0x79:
          u8();
          CHECK_EQ(at_, end);
          return;
        default:
          check::report(__FILE__, __LINE__, "unknown resource");
          at_ = end;
          return;
      }
    }
  }

  std::string_view bytes_;
  std::vector<AmlDevice>* devices_;
  size_t at_ = 0;
};

std::vector<AmlDevice> devices_of(const Tables& tables) {
  const auto fadt = tables.at<uint64_t>(tables.at<uint64_t>(kAddress + 24) + 36);
  const auto dsdt = tables.at<uint64_t>(fadt + 140);
  const std::string_view body = tables.text(dsdt + 36, tables.table(dsdt, "DSDT") - 36);
  std::vector<AmlDevice> devices;
  AmlReader(body, &devices).terms(body.size(), nullptr);
  return devices;
}

AmlDevice device_named(const Tables& tables, const std::string& name) {
  for (const AmlDevice& device : devices_of(tables)) {
    if (device.name == name) return device;
  }
  check::report(__FILE__, __LINE__, "no device " + name);
  return {};
}

TEST(links_every_table) {
  const Tables tables = built(2);
  CHECK(tables.text(kAddress, 8) == "RSD PTR ");
  CHECK(tables.adds_up(kAddress, 20) && tables.adds_up(kAddress, 36));
  const auto xsdt = tables.at<uint64_t>(kAddress + 24);
  CHECK(tables.table(xsdt, "XSDT") == 36 + 2 * 8);
  const auto fadt = tables.at<uint64_t>(xsdt + 36);
  const auto madt = tables.at<uint64_t>(xsdt + 44);
  CHECK(tables.table(fadt, "FACP") == 276);
  CHECK(tables.table(madt, "APIC") == 44 + 2 * 8 + 12 + 6);
  CHECK(tables.at<uint64_t>(fadt + 140) == tables.at<uint32_t>(fadt + 40));
  tables.table(tables.at<uint64_t>(fadt + 140), "DSDT");
}

TEST(says_how_to_power_off_and_reset) {
  const Tables tables = built(1);
  const auto fadt = tables.at<uint64_t>(tables.at<uint64_t>(kAddress + 24) + 36);
  const auto flags = tables.at<uint32_t>(fadt + 112);
  CHECK((flags & (1u << 20)) != 0);            // hardware-reduced
  CHECK((flags & (1u << 10)) != 0);            // the reset register counts
  CHECK(tables.at<uint8_t>(fadt + 116) == 1);  // a port
  CHECK(tables.at<uint64_t>(fadt + 120) == 0x64 && tables.at<uint8_t>(fadt + 128) == 0xfe);
  CHECK(tables.at<uint64_t>(fadt + 248) == VOLLEY_PORT_ACPI_SLEEP);
  CHECK(tables.at<uint64_t>(fadt + 260) == VOLLEY_PORT_ACPI_SLEEP + 1);
  CHECK(tables.at<uint32_t>(fadt + 36) == 0);  // no FACS, which such a machine does not need
}

TEST(lists_every_processor) {
  const Tables tables = built(VOLLEY_MAX_VCPUS);
  const auto madt = tables.at<uint64_t>(tables.at<uint64_t>(kAddress + 24) + 44);
  uint64_t entry = madt + 44;
  for (uint32_t index = 0; index < VOLLEY_MAX_VCPUS; ++index, entry += 8) {
    CHECK(tables.at<uint8_t>(entry) == 0 && tables.at<uint8_t>(entry + 3) == index);
    CHECK(tables.at<uint32_t>(entry + 4) == 1);
  }
  CHECK(tables.at<uint8_t>(entry) == 1 && tables.at<uint32_t>(entry + 4) == kIoApicAddress);
}

// EISA ids as integers.
constexpr uint64_t kPnp0501 = 0x0105d041;
constexpr uint64_t kPnp0303 = 0x0303d041;
constexpr uint64_t kPnp0c0c = 0x0c0cd041;
using Numbers = std::vector<uint64_t>;

TEST(describes_the_fixed_devices) {
  const Tables tables = built(1);
  const AmlDevice serial = device_named(tables, "COM1");
  CHECK(serial.numbers.at("_HID") == Numbers{kPnp0501});
  CHECK(serial.ports.size() == 1 && serial.ports[0].first == 0x3f8 && serial.ports[0].second == 8);
  CHECK(serial.interrupts == std::vector<uint32_t>{4});
  const AmlDevice keyboard = device_named(tables, "PS2K");
  CHECK(keyboard.numbers.at("_HID") == Numbers{kPnp0303});
  CHECK(keyboard.ports.size() == 2 && keyboard.ports[0].first == 0x60 && keyboard.ports[1].first == 0x64);
  CHECK(keyboard.interrupts == std::vector<uint32_t>{1});
  CHECK_EQ(device_named(tables, "PEVT").texts.at("_HID"), "QEMU0001");
  CHECK(device_named(tables, "PWRB").numbers.at("_HID") == Numbers{kPnp0c0c});
  CHECK_EQ(devices_of(tables).size(), 6u);
  const auto fadt = tables.at<uint64_t>(tables.at<uint64_t>(kAddress + 24) + 36);
  CHECK((tables.at<uint16_t>(fadt + 109) & 2) != 0);  // there is an i8042
}

TEST(describes_every_virtio_device) {
  for (const uint32_t count : {1u, 2u, VOLLEY_MAX_DEVICES}) {
    const Tables tables = built(1, count);
    uint32_t found = 0;
    for (const AmlDevice& device : devices_of(tables)) {
      if (device.texts.count("_HID") == 0 || device.texts.at("_HID") != "LNRO0005") continue;
      CHECK(device.numbers.at("_UID") == Numbers{found});
      CHECK(device.memory.size() == 1 && device.memory[0].first == 0xC0001000 + found * 0x1000);
      CHECK_EQ(device.memory[0].second, 0x1000u);
      CHECK(device.interrupts == std::vector<uint32_t>{device_gsi(found)});
      ++found;
    }
    CHECK_EQ(found, count);
  }
}

TEST(passes_events_on_to_their_devices) {
  const AmlDevice events = device_named(built(1), "GED_");
  CHECK_EQ(events.texts.at("_HID"), "ACPI0013");
  CHECK(events.interrupts == (std::vector<uint32_t>{9, 8}));
  // If (Arg0 == 9) { Notify(\_SB.PWRB, 0x80) } If (Arg0 == 8) { Notify(\_SB.VGEN, 0x80) }
  const auto branch = [](char gsi, const std::string& target) {
    return std::string("\xa0\x43\x01\x93\x68\x0a", 6) + gsi + "\x86\\\x2e_SB_" + target + "\x0a\x80";
  };
  CHECK_EQ(events.method, branch(9, "PWRB") + branch(8, "VGEN"));
}

TEST(has_a_generation_id_outside_of_usable_memory) {
  const AmlDevice generation = device_named(built(1), "VGEN");
  CHECK_EQ(generation.texts.at("_HID"), "VMGENCTR");
  CHECK_EQ(generation.texts.at("_CID"), "VM_Gen_Counter");
  CHECK_EQ(generation.texts.at("_DDN"), "VM_Gen_Counter");
  CHECK(generation.numbers.at("ADDR") == (Numbers{kGenerationIdAddress, 0}));
  GuestMemory memory;
  CHECK(memory.map(2 << 20, true).is_ok());
  CHECK(write_acpi_tables(memory, machine_of(1)).is_ok());
  CHECK(memcmp(memory.range(kGenerationIdAddress, 16).data(), kGenerationId, 16) == 0);
}

TEST(fits_or_says_so) {
  Tables tables;
  const std::span<uint8_t> all(tables.bytes);
  const AcpiMachine largest = machine_of(VOLLEY_MAX_VCPUS, VOLLEY_MAX_DEVICES);
  CHECK_REFUSED(build_acpi_tables(all.first(64), kAddress, largest, &tables.used), "do not fit");
  CHECK_REFUSED(build_acpi_tables(all.first(700), kAddress, largest, &tables.used), "do not fit");
  CHECK_REFUSED(build_acpi_tables(all.first(8), kAddress, largest, &tables.used), "do not fit");

  GuestMemory memory;
  CHECK(memory.map(2 << 20, true).is_ok());
  CHECK(write_acpi_tables(memory, largest).is_ok());
  CHECK(memcmp(memory.range(kRsdpAddress, 8).data(), "RSD PTR ", 8) == 0);
}

// The reference compiler's opinion, where it is installed.
TEST(disassembles_with_the_reference_compiler) {
  if (system("command -v iasl >/dev/null 2>&1") != 0) {
    fprintf(stderr, "SKIPPED disassembles_with_the_reference_compiler: iasl is not installed (acpica-tools)\n");
    return;
  }
  const Tables tables = built(4, VOLLEY_MAX_DEVICES);
  const auto fadt = tables.at<uint64_t>(tables.at<uint64_t>(kAddress + 24) + 36);
  const auto dsdt = tables.at<uint64_t>(fadt + 140);
  const std::string_view table = tables.text(dsdt, tables.table(dsdt, "DSDT"));
  char folder[] = "/tmp/volley-acpi-XXXXXX";
  REQUIRE(mkdtemp(folder) != nullptr);
  const std::string path = std::string(folder) + "/dsdt";
  FILE* file = fopen((path + ".aml").c_str(), "we");
  REQUIRE(file != nullptr);
  fwrite(table.data(), 1, table.size(), file);
  fclose(file);
  // Only taken apart: it would refuse to put VMGENCTR together again, the id under which kernels know that device.
  const std::string command =
      "cd " + std::string(folder) + " && iasl -d dsdt.aml >log 2>&1 && ! grep -iE 'error|warning' log dsdt.dsl >&2";
  CHECK_EQ(system(command.c_str()), 0);
  CHECK_EQ(system(("rm -r " + std::string(folder)).c_str()), 0);
}

}  // namespace
}  // namespace volley
