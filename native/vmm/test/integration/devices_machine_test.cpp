// What all devices have in common: how many there can be, pausing, the small ones.
#include <sys/socket.h>
#include <sys/un.h>

#include "support/check.h"
#include "support/device_microvm.h"

namespace volley::test {
namespace {

TEST(random_numbers_are_read) {
  DeviceMicrovm microvm;
  const uint32_t rng = microvm.rng();
  microvm.start("devices rng=16 rng=65536");
  CHECK_CONTAINS(microvm.result("device", 0), "ok id=4");
  CHECK_CONTAINS(microvm.await_line("rng 0 ok bytes=16"), "first=");
  const std::string line = microvm.await_line("rng 0 ok bytes=65536");
  CHECK_EQ(number_in(line, "values").value_or(0), 256u);
  CHECK_EQ(microvm.stats(rng).read_bytes, 65552u);
  microvm.stop();
}

TEST(two_microvms_read_different_numbers) {
  std::string first[2];
  for (std::string& line : first) {
    DeviceMicrovm microvm;
    microvm.rng();
    microvm.start("rng=16");
    line = microvm.result("rng");
    CHECK(line.find("first=") != std::string::npos);
    line = line.substr(0, line.find(" us="));
    microvm.stop();
  }
  CHECK(first[0] != first[1]);
}

TEST(random_numbers_keep_to_their_limit) {
  DeviceMicrovm microvm;
  const uint32_t rng = microvm.rng(bytes_limit(8192, 100));
  microvm.start("rng=81920");
  const std::string line = microvm.result("rng");
  // A full bucket, and then 9 more of 100 ms each. Never faster; how much slower is the host's affair.
  CHECK(number_in(line, "us").value_or(0) >= 850'000);
  CHECK(microvm.stats(rng).throttled > 0);
  microvm.stop();
}

// A11: as many devices as there can be.
TEST(seventeen_devices_work) {
  DeviceMicrovm microvm;
  std::vector<TemporaryFile> files;
  files.reserve(VOLLEY_MAX_DEVICES);
  std::string words = "devices rng=16";
  for (uint32_t i = 0; i + 1 < VOLLEY_MAX_DEVICES; ++i) {
    files.emplace_back(64 * 1024);
    microvm.disk(files.back());
    const std::string number = std::to_string(i);
    words += " write=" + number + ",0,4," + number + " verify=" + number + ",0,4," + number;
  }
  microvm.rng();
  microvm.start(words);
  CHECK_CONTAINS(microvm.await_line("devices 17"), "ok");
  CHECK_CONTAINS(microvm.result("rng"), "ok");
  for (uint32_t i = 0; i + 1 < VOLLEY_MAX_DEVICES; ++i) CHECK_CONTAINS(microvm.result("verify", i), "ok kib=4");
  for (uint32_t i = 0; i + 1 < VOLLEY_MAX_DEVICES; ++i) {
    uint64_t word = 0;
    const std::vector<uint8_t> bytes = files[i].read(0, 8);
    if (bytes.size() == 8) memcpy(&word, bytes.data(), 8);
    CHECK_EQ(word, disk_pattern(i, 0));
  }
  microvm.stop();
}

TEST(one_more_device_is_a_clean_error) {
  DeviceMicrovm microvm;
  microvm.options().mutate = [](volley_config& config) { config.device_count = VOLLEY_MAX_DEVICES + 1; };
  microvm.start("devices");
  const std::optional<ProcessEnd> end = microvm.vmm().await_end();
  REQUIRE(end.has_value());
  CHECK(end->exited && end->code == 1);
  CHECK_CONTAINS(std::string(microvm.vmm().stats().exit_message), "device_count");
}

// A14: nothing of a paused microVM moves, and pausing twice is pausing once.
TEST(devices_stand_still_while_paused) {
  TemporaryFile file(1 << 20);
  DeviceMicrovm microvm;
  const uint32_t disk = microvm.disk(file, 0, operations_limit(100, 100));
  microvm.start("reads=0,1000,512,4");
  REQUIRE(microvm.vmm().await_page([&](const volley_stats& stats) { return stats.devices[disk].reads > 10; }));
  CHECK_EQ(microvm.vmm().command(VOLLEY_CMD_PAUSE), 0);
  CHECK_EQ(microvm.vmm().command(VOLLEY_CMD_PAUSE), 0);
  const volley_device_stats before = microvm.stats(disk);
  const uint64_t exits = microvm.vmm().stats().exits_total;
  usleep(300'000);  // three refills of its limiter
  CHECK_EQ(microvm.stats(disk).reads, before.reads);
  CHECK_EQ(microvm.stats(disk).interrupts, before.interrupts);
  CHECK_EQ(microvm.vmm().stats().exits_total, exits);
  CHECK_EQ(microvm.vmm().command(VOLLEY_CMD_RESUME), 0);
  CHECK_EQ(microvm.vmm().command(VOLLEY_CMD_RESUME), 0);
  CHECK_CONTAINS(microvm.result("reads"), "ok count=1000");
  microvm.stop();
}

TEST(limits_of_absent_devices_are_refused) {
  DeviceMicrovm microvm;
  microvm.rng();
  microvm.start("rng=16");
  CHECK_CONTAINS(microvm.result("rng"), "ok");
  volley_message message{};
  message.type = VOLLEY_CMD_SET_LIMIT;
  message.payload.limit.limiter = bytes_limit(1 << 20, 100);
  const auto status = [&](uint32_t device, uint32_t which) {
    message.payload.limit.device = device;
    message.payload.limit.which = which;
    const std::optional<volley_message> reply = microvm.vmm().request(message);
    return reply ? reply->status : -1;
  };
  CHECK_EQ(status(0, 0), 0);
  CHECK_EQ(status(0, 1), EINVAL);
  CHECK_EQ(status(1, 0), ENODEV);
  CHECK_EQ(status(12345678, 0), ENODEV);
  CHECK_EQ(status(VOLLEY_LIMIT_SERIAL, 0), 0);
  CHECK_EQ(status(VOLLEY_LIMIT_SERIAL, 1), EINVAL);
  message.payload.limit.limiter.bytes.refill_ms = 0;
  CHECK_EQ(status(0, 0), EINVAL);
  message = {};
  message.type = VOLLEY_CMD_SET_BALLOON;
  CHECK_EQ(microvm.vmm().request(message)->status, ENODEV);
  microvm.stop();
}

TEST(the_guest_reports_how_its_workload_ended) {
  DeviceMicrovm microvm;
  microvm.start("tell=16777223");
  REQUIRE(microvm.vmm().await_page([](const volley_stats& stats) { return stats.guest_report != 0; }));
  CHECK_EQ(microvm.vmm().stats().guest_report, (1ull << 63) | VOLLEY_REPORT_EXITED | 7);
  microvm.stop();
}

volley_message typed(const std::string& text) {
  volley_message message{};
  message.type = VOLLEY_CMD_SERIAL_INPUT;
  message.argument = static_cast<uint32_t>(text.size());
  memcpy(message.payload.bytes_in, text.data(), text.size());
  return message;
}

// A8: whatever is typed and nobody reads takes no memory, and the guest goes on.
TEST(serial_input_is_bounded) {
  DeviceMicrovm microvm;
  microvm.start("nostop");
  REQUIRE(microvm.vmm().await_booted());
  const std::optional<volley_message> first = microvm.vmm().request(typed(std::string(96, 'x')));
  REQUIRE(first.has_value());
  CHECK_EQ(first->status, 0);
  CHECK_EQ(first->payload.count, 64u);
  const std::optional<volley_message> full = microvm.vmm().request(typed("y"));
  CHECK(full.has_value() && full->payload.count == 0);
  volley_message nonsense = typed("z");
  nonsense.argument = 97;
  CHECK_EQ(microvm.vmm().request(nonsense)->status, EINVAL);
}

// A8: a console that prints for ever stops nobody; what is beyond the limit is counted.
TEST(serial_output_beyond_its_limit_is_dropped) {
  DeviceMicrovm microvm;
  microvm.options().mutate = [](volley_config& config) { config.serial_limit = bytes_limit(1000, 60'000); };
  microvm.start("print=3000");
  REQUIRE(microvm.vmm().await_page([](const volley_stats& stats) { return stats.serial_dropped > 20'000; }));
  CHECK(microvm.vmm().stats().serial_bytes >= 1000 && microvm.vmm().stats().serial_bytes < 1100);
  CHECK_EQ(microvm.vmm().command(VOLLEY_CMD_PING), 0);
  // A new limit starts full.
  volley_message message{};
  message.type = VOLLEY_CMD_SET_LIMIT;
  message.payload.limit.device = VOLLEY_LIMIT_SERIAL;
  CHECK_EQ(microvm.vmm().request(message)->status, 0);
  microvm.stop();
  CHECK_CONTAINS(microvm.vmm().serial(), "power button, powering off");
}

TEST(ctrl_alt_del_needs_a_guest_that_listens) {
  DeviceMicrovm microvm;
  microvm.start("");
  REQUIRE(microvm.vmm().await_booted());
  CHECK_EQ(microvm.vmm().command(VOLLEY_CMD_CTRL_ALT_DEL), EAGAIN);
  microvm.stop();
}

}  // namespace
}  // namespace volley::test
