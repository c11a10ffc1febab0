#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace volley {

struct MountConfig {
  std::string device;
  std::string path;
  std::string type;
  bool read_only = false;
};

// IPv4, in host byte order.
struct InterfaceConfig {
  std::array<uint8_t, 6> mac{};
  uint32_t address = 0;
  uint8_t prefix = 0;
  uint32_t gateway = 0;  // 0 = none
  uint32_t mtu = 0;      // 0 = the device's
};

enum class OnExit { kPowerOff, kReboot, kStay };

// What init is told at boot; abi/volley_guest.h says what each field means.
struct Config {
  std::string root;
  std::string root_type;
  std::string overlay;
  std::vector<MountConfig> mounts;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string user;
  std::string cwd;
  std::string hostname;
  std::vector<InterfaceConfig> interfaces;
  std::vector<std::string> dns;
  std::vector<std::string> modules;
  OnExit on_exit = OnExit::kPowerOff;
  uint32_t grace_ms = 10'000;
  int64_t time = 0;  // 0 = not told
};

// Reads the records. What cannot be read is skipped and told in `problems`: a guest that comes up can be asked.
Config parse_config(std::string_view records, std::vector<std::string>& problems);

}  // namespace volley
