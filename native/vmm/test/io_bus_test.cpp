#include "devices/io_bus.h"

#include "devices/acpi_sleep.h"
#include "devices/boot_timer.h"
#include "devices/pvpanic.h"
#include "support/check.h"

namespace volley {
namespace {

class RecordingDevice final : public IoDevice {
 public:
  void read(uint64_t offset, std::span<uint8_t> data) override {
    last_offset = offset;
    for (uint8_t& byte : data) byte = 0x11;
  }
  void write(uint64_t offset, std::span<const uint8_t> data) override {
    last_offset = offset;
    last_size = data.size();
  }
  uint64_t last_offset = ~0ull;
  size_t last_size = 0;
};

class RecordingSink final : public GuestEndSink {
 public:
  void guest_ended(volley_exit_reason new_reason, const char*) override { reason = new_reason; }
  volley_exit_reason reason = VOLLEY_EXIT_NONE;
};

class RecordingListener final : public BootListener {
 public:
  void guest_booted() override { ++times; }
  void guest_reported(uint32_t new_report) override { report = new_report; }
  int times = 0;
  uint32_t report = 0;
};

TEST(access_reaches_its_device_with_the_offset) {
  IoBus bus;
  RecordingDevice first;
  RecordingDevice second;
  CHECK(bus.attach(0x100, 8, first, "first").is_ok());
  CHECK(bus.attach(0x108, 8, second, "second").is_ok());
  uint8_t data[4] = {0};
  CHECK(bus.write(0x10c, data));
  CHECK_EQ(second.last_offset, 4u);
  CHECK_EQ(second.last_size, 4u);
  CHECK_EQ(first.last_offset, ~0ull);
  CHECK(bus.read(0x100, {data, 2}));
  CHECK_EQ(data[1], 0x11);
  CHECK_EQ(data[2], 0x00);
}

TEST(nobody_there_reads_all_ones) {
  IoBus bus;
  uint8_t data[4] = {0};
  CHECK(!bus.read(0x70, data));
  for (const uint8_t byte : data) CHECK_EQ(byte, 0xff);
  CHECK(!bus.write(0x70, data));
}

TEST(access_that_crosses_the_end_of_a_device_reaches_nobody) {
  IoBus bus;
  RecordingDevice device;
  CHECK(bus.attach(0x100, 8, device, "device").is_ok());
  uint8_t data[4] = {0};
  CHECK(!bus.read(0x106, data));
  CHECK(!bus.read(0xff, {data, 2}));
  CHECK(!bus.read(~0ull, {data, 1}));
  CHECK_EQ(device.last_offset, ~0ull);
}

TEST(overlaps_and_impossible_ranges_are_refused) {
  IoBus bus;
  RecordingDevice device;
  CHECK(bus.attach(0x100, 8, device, "device").is_ok());
  CHECK_CONTAINS(bus.attach(0x107, 1, device, "other").message(), "overlaps device device");
  CHECK(!bus.attach(0xf9, 8, device, "other").is_ok());
  CHECK(!bus.attach(0x200, 0, device, "empty").is_ok());
  CHECK(!bus.attach(~0ull - 3, 8, device, "wrapping").is_ok());
  CHECK(bus.attach(0xf8, 8, device, "touching").is_ok());
}

TEST(a_full_bus_says_so) {
  IoBus bus;
  RecordingDevice device;
  for (size_t i = 0; i < IoBus::kCapacity; ++i) CHECK(bus.attach(i * 16, 16, device, "device").is_ok());
  CHECK_CONTAINS(bus.attach(0x10000, 16, device, "one too many").message(), "one too many");
}

TEST(pvpanic_knows_bit_0) {
  RecordingSink sink;
  Pvpanic device(sink);
  uint8_t value = 0;
  device.read(0, {&value, 1});
  CHECK_EQ(value, 1);
  value = 2;
  device.write(0, {&value, 1});
  CHECK_EQ(sink.reason, VOLLEY_EXIT_NONE);
  value = 1;
  device.write(0, {&value, 1});
  CHECK_EQ(sink.reason, VOLLEY_EXIT_PANIC);
}

TEST(acpi_sleep_needs_type_5_and_enable) {
  for (unsigned value = 0; value < 256; ++value) {
    RecordingSink sink;
    AcpiSleep device(sink);
    const auto byte = static_cast<uint8_t>(value);
    device.write(0, {&byte, 1});
    const bool off = (value & 0x20) != 0 && ((value >> 2) & 7) == 5;
    CHECK_EQ(sink.reason, off ? VOLLEY_EXIT_POWER_OFF : VOLLEY_EXIT_NONE);
    device.write(1, {&byte, 1});
  }
}

TEST(boot_timer_fires_once_and_only_for_its_value) {
  RecordingListener listener;
  BootTimer timer(listener);
  uint8_t value = 1;
  timer.write(0, {&value, 1});
  value = VOLLEY_BOOT_TIMER_VALUE;
  timer.write(8, {&value, 1});
  CHECK_EQ(listener.times, 0);
  timer.write(0, {&value, 1});
  timer.write(0, {&value, 1});
  CHECK_EQ(listener.times, 1);
}

TEST(guest_report_is_one_four_byte_write) {
  RecordingListener listener;
  BootTimer timer(listener);
  const uint32_t report = VOLLEY_REPORT_EXITED | 7;
  uint8_t bytes[8] = {};
  memcpy(bytes, &report, sizeof report);
  timer.write(8, {bytes, 8});
  timer.write(8, {bytes, 2});
  timer.write(4, {bytes, 4});
  CHECK_EQ(listener.report, 0u);
  timer.write(8, {bytes, 4});
  CHECK_EQ(listener.report, report);
  CHECK_EQ(listener.times, 0);
}

}  // namespace
}  // namespace volley
