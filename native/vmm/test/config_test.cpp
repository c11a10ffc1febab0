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
