#include "boot/acpi_tables.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string_view>
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

Tables built(uint32_t vcpus) {
  Tables tables;
  CHECK(build_acpi_tables(tables.bytes, kAddress, vcpus, &tables.used).is_ok());
  return tables;
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

TEST(describes_devices) {
  const Tables tables = built(1);
  const std::string_view all = tables.text(kAddress, tables.used);
  for (const char* name : {"COM1", "QEMU0001", "PWRB", "ACPI0013", "_EVT", "_S5_"}) {
    CHECK(all.find(name) != std::string_view::npos);
  }
  constexpr uint8_t kSerialPort[] = {0x0c, 0x41, 0xd0, 0x05, 0x01};  // EISAID("PNP0501")
  CHECK(std::search(all.begin(), all.end(), std::begin(kSerialPort), std::end(kSerialPort),
                    [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; }) != all.end());
}

TEST(fits_or_says_so) {
  Tables tables;
  const std::span<uint8_t> all(tables.bytes);
  CHECK_REFUSED(build_acpi_tables(all.first(64), kAddress, 1, &tables.used), "do not fit");
  CHECK_REFUSED(build_acpi_tables(all.first(700), kAddress, VOLLEY_MAX_VCPUS, &tables.used), "do not fit");
  CHECK_REFUSED(build_acpi_tables(all.first(8), kAddress, 1, &tables.used), "do not fit");

  GuestMemory memory;
  CHECK(memory.map(2 << 20, true).is_ok());
  CHECK(write_acpi_tables(memory, VOLLEY_MAX_VCPUS).is_ok());
  CHECK(memcmp(memory.range(kRsdpAddress, 8).data(), "RSD PTR ", 8) == 0);
}

}  // namespace
}  // namespace volley
