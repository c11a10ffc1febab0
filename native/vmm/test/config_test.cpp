#include "config/config.h"

#include <cstring>
#include <functional>

#include "support/check.h"

namespace volley {
namespace {

volley_config good_config() {
  volley_config config{};
  config.magic = VOLLEY_CONFIG_MAGIC;
  config.abi_version = VOLLEY_ABI_VERSION;
  config.boot_protocol = VOLLEY_BOOT_FLAT;
  config.irqchip = VOLLEY_IRQCHIP_SPLIT;
  config.vcpus = 1;
  config.memory_bytes = 16ull << 20;
  config.kernel_size = 4096;
  strcpy(config.id, "01JABCDEF");
  strcpy(config.cmdline, "idle");
  config.cmdline_length = 4;
  return config;
}

TEST(a_good_configuration_is_taken) {
  CHECK(validate_config(good_config()).is_ok());
  volley_config linux_config = good_config();
  linux_config.boot_protocol = VOLLEY_BOOT_LINUX;
  linux_config.irqchip = VOLLEY_IRQCHIP_FULL;
  linux_config.initrd_size = 1 << 20;
  linux_config.vcpus = VOLLEY_MAX_VCPUS;
  linux_config.flags = VOLLEY_FLAG_START_PAUSED;
  CHECK(validate_config(linux_config).is_ok());
}

TEST(limits_are_inclusive) {
  volley_config config = good_config();
  config.memory_bytes = kMinGuestMemory;
  config.kernel_size = kMinGuestMemory - VOLLEY_KERNEL_BASE;
  CHECK(validate_config(config).is_ok());
  config.memory_bytes = kMaxGuestMemory;
  CHECK(validate_config(config).is_ok());
  memset(config.cmdline, 'x', VOLLEY_CMDLINE_MAX - 1);
  config.cmdline_length = VOLLEY_CMDLINE_MAX - 1;
  CHECK(validate_config(config).is_ok());
}

volley_device disk() {
  volley_device device{};
  device.type = VOLLEY_DEVICE_BLOCK;
  device.size = 1 << 20;
  memcpy(device.serial, "volley-0123456789abc", sizeof(device.serial));
  device.limits[0] = {{1 << 20, 1 << 20, 100}, {100, 0, 100}};
  return device;
}

volley_config with_devices() {
  volley_config config = good_config();
  config.device_count = 5;
  config.devices[0] = disk();
  config.devices[1].type = VOLLEY_DEVICE_NET;
  memcpy(config.devices[1].mac, "\x02\0\0\0\0\x01", 6);
  config.devices[1].mtu = 1500;
  config.devices[1].limits[1] = {{1 << 20, 0, 100}, {}};
  config.devices[2].type = VOLLEY_DEVICE_VSOCK;
  config.devices[2].guest_cid = 3;
  config.devices[3].type = VOLLEY_DEVICE_BALLOON;
  config.devices[3].flags = VOLLEY_BALLOON_STATISTICS | VOLLEY_BALLOON_REPORTING | VOLLEY_BALLOON_DEFLATE_ON_OOM;
  config.devices[3].stats_interval_ms = 1000;
  config.devices[3].size = 4096;
  config.devices[4].type = VOLLEY_DEVICE_RNG;
  return config;
}

TEST(good_devices_are_taken) {
  CHECK_EQ(std::string(validate_config(with_devices()).message()), "");
  volley_config many = good_config();
  many.device_count = VOLLEY_MAX_DEVICES;
  for (volley_device& device : many.devices) device = disk();
  CHECK(validate_config(many).is_ok());
}

TEST(each_bad_device_field_is_named) {
  const struct {
    const char* words;
    std::function<void(volley_config&)> spoil;
  } kCases[] = {
      {"config.device_count is 18", [](auto& c) { c.device_count = VOLLEY_MAX_DEVICES + 1; }},
      {"config.device_count", [](auto& c) { c.device_count = ~0u; }},
      {"devices[0].type 0", [](auto& c) { c.devices[0].type = 0; }},
      {"devices[4].type 6", [](auto& c) { c.devices[4].type = 6; }},
      {"devices[0].flags 0x8", [](auto& c) { c.devices[0].flags = 8; }},
      {"devices[1].flags", [](auto& c) { c.devices[1].flags = 1; }},
      {"read-only disk with an overlay", [](auto& c) { c.devices[0].flags = 3; }},
      {"devices[0].size 0", [](auto& c) { c.devices[0].size = 0; }},
      {"devices[0].size 513", [](auto& c) { c.devices[0].size = 513; }},
      {"devices[0].size", [](auto& c) { c.devices[0].size = ~0ull << 9; }},
      {"devices[0].serial has byte 0x7f", [](auto& c) { c.devices[0].serial[3] = 0x7f; }},
      {"devices[0].serial has byte 0x2d", [](auto& c) { c.devices[0].serial[5] = '\0'; }},
      {"devices[0].mtu is set", [](auto& c) { c.devices[0].mtu = 1500; }},
      {"devices[1].size is set", [](auto& c) { c.devices[1].size = 512; }},
      {"devices[1].serial is set", [](auto& c) { c.devices[1].serial[0] = 'x'; }},
      {"devices[2].mac is set", [](auto& c) { c.devices[2].mac[5] = 1; }},
      {"devices[3].guest_cid is set", [](auto& c) { c.devices[3].guest_cid = 3; }},
      {"devices[4].stats_interval_ms is set", [](auto& c) { c.devices[4].stats_interval_ms = 1; }},
      {"devices[4].reserved is set", [](auto& c) { c.devices[4].reserved = 1; }},
      {"devices[1].mac", [](auto& c) { c.devices[1].mac[0] = 1; }},
      {"devices[1].mac", [](auto& c) { memset(c.devices[1].mac, 0, 6); }},
      {"devices[1].mtu is 67", [](auto& c) { c.devices[1].mtu = 67; }},
      {"devices[2].guest_cid is 2", [](auto& c) { c.devices[2].guest_cid = 2; }},
      {"devices[2].guest_cid", [](auto& c) { c.devices[2].guest_cid = ~0u; }},
      {"devices[3].size", [](auto& c) { c.devices[3].size = c.memory_bytes + 4096; }},
      {"devices[3].size 1", [](auto& c) { c.devices[3].size = 1; }},
      {"devices[3].stats_interval_ms", [](auto& c) { c.devices[3].flags = 0; }},
      {"devices[0].limits[1] is set",
       [](auto& c) {
         c.devices[0].limits[1].bytes = {1, 0, 1};
       }},
      {"devices[2].limits[0] is set",
       [](auto& c) {
         c.devices[2].limits[0].operations = {1, 0, 1};
       }},
      {"devices[1].limits[0] makes no sense",
       [](auto& c) {
         c.devices[1].limits[0].bytes = {1, 0, 0};
       }},
      {"devices[1].limits[1] makes no sense",
       [](auto& c) {
         c.devices[1].limits[1].operations = {0, 1, 0};
       }},
      {"devices[2] is a second device of type 5", [](auto& c) { c.devices[2] = c.devices[1] = c.devices[4]; }},
      {"devices[4] is a second device of type 3", [](auto& c) { c.devices[4] = c.devices[2]; }},
      {"config.serial_limit", [](auto& c) { c.serial_limit.bytes.size = 1; }},
  };
  for (const auto& bad : kCases) {
    volley_config config = with_devices();
    bad.spoil(config);
    const Status status = validate_config(config);
    CHECK(!status.is_ok());
    CHECK_CONTAINS(status.message(), bad.words);
  }
}

// Every field that can be wrong, with the words its message must have.
TEST(each_bad_field_is_named) {
  const struct {
    const char* words;
    std::function<void(volley_config&)> spoil;
  } kCases[] = {
      {"config.magic", [](auto& c) { c.magic = 0; }},
      {"config.abi_version", [](auto& c) { c.abi_version = VOLLEY_ABI_VERSION + 1; }},
      {"config.boot_protocol", [](auto& c) { c.boot_protocol = 0; }},
      {"config.boot_protocol", [](auto& c) { c.boot_protocol = 3; }},
      {"config.irqchip", [](auto& c) { c.irqchip = 9; }},
      {"config.irqchip must be 2", [](auto& c) { c.boot_protocol = VOLLEY_BOOT_LINUX; }},
      {"config.vcpus is 0", [](auto& c) { c.vcpus = 0; }},
      {"config.vcpus is 33", [](auto& c) { c.vcpus = 33; }},
      {"not a multiple of 4096", [](auto& c) { c.memory_bytes += 1; }},
      {"config.memory_bytes", [](auto& c) { c.memory_bytes = 1 << 20; }},
      {"config.memory_bytes 0", [](auto& c) { c.memory_bytes = 0; }},
      {"config.memory_bytes", [](auto& c) { c.memory_bytes = 1ull << 50; }},
      {"config.memory_bytes", [](auto& c) { c.memory_bytes = ~0ull << 12; }},
      {"config.kernel_size is 0", [](auto& c) { c.kernel_size = 0; }},
      {"config.kernel_size", [](auto& c) { c.kernel_size = c.memory_bytes; }},
      {"config.kernel_size", [](auto& c) { c.kernel_size = ~0ull; }},
      {"config.initrd_size", [](auto& c) { c.initrd_size = 1; }},
      {"does not fit",
       [](auto& c) {
         c.boot_protocol = VOLLEY_BOOT_LINUX;
         c.irqchip = VOLLEY_IRQCHIP_FULL;
         c.initrd_size = ~0ull;
       }},
      {"config.flags", [](auto& c) { c.flags = 0x80; }},
      {"config.id is empty", [](auto& c) { c.id[0] = '\0'; }},
      {"config.id is not NUL terminated", [](auto& c) { memset(c.id, 'a', sizeof(c.id)); }},
      {"config.id has byte 0x2f", [](auto& c) { strcpy(c.id, "../x"); }},
      {"config.id has byte 0xa", [](auto& c) { strcpy(c.id, "a\nb"); }},
      {"config.cmdline_length is 2048", [](auto& c) { c.cmdline_length = VOLLEY_CMDLINE_MAX; }},
      {"config.cmdline_length is 3", [](auto& c) { c.cmdline_length = 3; }},
      {"config.cmdline_length", [](auto& c) { c.cmdline_length = 5; }},
      {"config.cmdline_length", [](auto& c) { memset(c.cmdline, 'x', sizeof(c.cmdline)); }},
  };
  for (const auto& bad : kCases) {
    volley_config config = good_config();
    bad.spoil(config);
    const Status status = validate_config(config);
    CHECK(!status.is_ok());
    CHECK_CONTAINS(status.message(), bad.words);
  }
}

}  // namespace
}  // namespace volley
