#include "config.h"

#include <random>

#include "vmm/test/support/check.h"

namespace volley {
namespace {

using namespace std::string_view_literals;

// Records, each word closed by NUL.
std::string records_of(std::initializer_list<const char*> words) {
  std::string records;
  for (const char* word : words) (records += word) += '\0';
  return records;
}

Config parsed(std::string_view records) {
  std::vector<std::string> problems;
  Config config = parse_config(records, problems);
  CHECK_EQ(problems.size(), 0u);
  return config;
}

std::string problem_of(std::string_view records) {
  std::vector<std::string> problems;
  parse_config(records, problems);
  CHECK_EQ(problems.size(), 1u);
  return problems.empty() ? "" : problems[0];
}

TEST(every_key_is_read) {
  const Config config = parsed(records_of({
      "root",      "/dev/vda",
      "root.type", "erofs",
      "overlay",   "/dev/vdb",
      "mount",     "/dev/vdc:/data:ext4:rw",
      "mount",     "/dev/vdd:/ref:erofs:ro",
      "arg",       "/bin/sh",
      "arg",       "",
      "env",       "A=1",
      "user",      "app",
      "cwd",       "/srv",
      "hostname",  "one",
      "net",       "02:00:00:00:AB:cd 10.1.2.3/31 10.1.2.2 1400",
      "dns",       "192.0.2.53",
      "module",    "/m.ko",
      "on.exit",   "stay",
      "grace",     "500",
      "time",      "1700000000",
  }));
  CHECK_EQ(config.root, "/dev/vda");
  CHECK_EQ(config.root_type, "erofs");
  CHECK_EQ(config.overlay, "/dev/vdb");
  REQUIRE(config.mounts.size() == 2);
  CHECK_EQ(config.mounts[0].path, "/data");
  CHECK(!config.mounts[0].read_only);
  CHECK_EQ(config.mounts[1].type, "erofs");
  CHECK(config.mounts[1].read_only);
  REQUIRE(config.args.size() == 2);
  CHECK_EQ(config.args[1], "");
  CHECK_EQ(config.env[0], "A=1");
  CHECK_EQ(config.user, "app");
  CHECK_EQ(config.cwd, "/srv");
  CHECK_EQ(config.hostname, "one");
  REQUIRE(config.interfaces.size() == 1);
  CHECK_EQ(config.interfaces[0].mac[4], 0xab);
  CHECK_EQ(config.interfaces[0].mac[5], 0xcd);
  CHECK_EQ(config.interfaces[0].address, 0x0a010203u);
  CHECK_EQ(config.interfaces[0].prefix, 31);
  CHECK_EQ(config.interfaces[0].gateway, 0x0a010202u);
  CHECK_EQ(config.interfaces[0].mtu, 1400u);
  CHECK_EQ(config.dns[0], "192.0.2.53");
  CHECK_EQ(config.modules[0], "/m.ko");
  CHECK(config.on_exit == OnExit::kStay);
  CHECK_EQ(config.grace_ms, 500u);
  CHECK_EQ(config.time, 1'700'000'000);
}

TEST(nothing_said_is_a_guest_that_serves) {
  const Config config = parsed(records_of({"unknown", "is skipped"}));
  CHECK(config.root.empty() && config.args.empty() && config.interfaces.empty());
  CHECK(config.on_exit == OnExit::kPowerOff);
  CHECK_EQ(config.grace_ms, 10'000u);
}

TEST(an_interface_without_gateway_and_mtu) {
  const Config config = parsed(records_of({"net", "02:00:00:00:00:01 10.0.0.1/32 - 0"}));
  REQUIRE(config.interfaces.size() == 1);
  CHECK_EQ(config.interfaces[0].gateway, 0u);
}

TEST(what_is_wrong_is_told) {
  CHECK_CONTAINS(problem_of(records_of({"net", "x"})), "net cannot be read: x");
  CHECK_CONTAINS(problem_of(records_of({"net", "02:00:00:00:00:01 10.0.0.1/33 - 0"})), "net cannot");
  CHECK_CONTAINS(problem_of(records_of({"mount", "/dev/vdc:data:ext4:rw"})), "mount cannot");
  CHECK_CONTAINS(problem_of(records_of({"on.exit", "explode"})), "explode");
  CHECK_CONTAINS(problem_of(records_of({"grace", "-1"})), "grace");
  CHECK_CONTAINS(problem_of(records_of({"time", "99999999999999999999"})), "time");
  CHECK_CONTAINS(problem_of("root\0/dev/vda"sv), "within a record");
}

TEST(any_bytes_are_survived) {
  std::mt19937 random(7);
  const std::string_view alphabet = "net\0mount\0grace\0a1:/. -\0\0"sv;
  for (int i = 0; i < 20'000; ++i) {
    std::string records;
    for (size_t left = random() % 60; left > 0; --left) records += alphabet[random() % alphabet.size()];
    std::vector<std::string> problems;
    parse_config(records, problems);
  }
}

}  // namespace
}  // namespace volley
