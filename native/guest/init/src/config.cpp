#include "config.h"

#include <arpa/inet.h>

#include <optional>

#include "base/text.h"

namespace volley {
namespace {

constexpr uint32_t kLongestGraceMs = 3'600'000;

std::optional<uint32_t> parse_ipv4(std::string_view text) {
  in_addr address{};
  if (inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

std::optional<std::array<uint8_t, 6>> parse_mac(std::string_view text) {
  const auto parts = split(text, ':');
  std::array<uint8_t, 6> mac{};
  if (parts.size() != mac.size()) return std::nullopt;
  for (size_t i = 0; i < mac.size(); ++i) {
    if (parts[i].size() != 2) return std::nullopt;
    for (const char digit : parts[i]) {
      int value = 0;
      if (digit >= '0' && digit <= '9') {
        value = digit - '0';
      } else if (digit >= 'a' && digit <= 'f') {
        value = digit - 'a' + 10;
      } else if (digit >= 'A' && digit <= 'F') {
        value = digit - 'A' + 10;
      } else {
        return std::nullopt;
      }
      mac[i] = static_cast<uint8_t>(mac[i] * 16 + value);
    }
  }
  return mac;
}

// MAC ADDRESS/PREFIX GATEWAY MTU
std::optional<InterfaceConfig> parse_interface(std::string_view text) {
  const auto parts = split(text, ' ');
  if (parts.size() != 4) return std::nullopt;
  const size_t slash = parts[1].find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto mac = parse_mac(parts[0]);
  const auto address = parse_ipv4(parts[1].substr(0, slash));
  const auto prefix = parse_number(parts[1].substr(slash + 1), 32);
  const auto gateway = parts[2] == "-" ? std::optional<uint32_t>(0) : parse_ipv4(parts[2]);
  const auto mtu = parse_number(parts[3], 65'535);
  if (!mac || !address || !prefix || !gateway || !mtu) return std::nullopt;
  return InterfaceConfig{*mac, *address, static_cast<uint8_t>(*prefix), *gateway, static_cast<uint32_t>(*mtu)};
}

// DEVICE:PATH:TYPE:ro|rw
std::optional<MountConfig> parse_mount(std::string_view text) {
  const auto parts = split(text, ':');
  if (parts.size() != 4 || parts[0].empty() || !parts[1].starts_with('/') || parts[2].empty()) return std::nullopt;
  if (parts[3] != "ro" && parts[3] != "rw") return std::nullopt;
  return MountConfig{std::string(parts[0]), std::string(parts[1]), std::string(parts[2]), parts[3] == "ro"};
}

class Reader {
 public:
  explicit Reader(std::vector<std::string>& problems) : problems_(problems) {}

  void take(std::string_view key, std::string_view value) {
    if (key == "root") config.root = value;
    if (key == "root.type") config.root_type = value;
    if (key == "overlay") config.overlay = value;
    if (key == "arg") config.args.emplace_back(value);
    if (key == "env") config.env.emplace_back(value);
    if (key == "user") config.user = value;
    if (key == "cwd") config.cwd = value;
    if (key == "hostname") config.hostname = value;
    if (key == "dns") config.dns.emplace_back(value);
    if (key == "module") config.modules.emplace_back(value);
    if (key == "mount") append(config.mounts, parse_mount(value), key, value);
    if (key == "net") append(config.interfaces, parse_interface(value), key, value);
    if (key == "on.exit") take_on_exit(value);
    if (key == "grace") take_number(value, kLongestGraceMs, key, [&](uint64_t ms) { config.grace_ms = uint32_t(ms); });
    if (key == "time") take_number(value, INT64_MAX, key, [&](uint64_t s) { config.time = static_cast<int64_t>(s); });
  }

  Config config;

 private:
  void complain(std::string_view key, std::string_view value) {
    problems_.push_back(format("the configuration's %.*s cannot be read: %.*s", static_cast<int>(key.size()),
                               key.data(), static_cast<int>(value.size()), value.data()));
  }

  template <typename T>
  void append(std::vector<T>& list, std::optional<T> item, std::string_view key, std::string_view value) {
    if (item) {
      list.push_back(std::move(*item));
    } else {
      complain(key, value);
    }
  }

  template <typename Set>
  void take_number(std::string_view value, uint64_t limit, std::string_view key, Set set) {
    if (const auto number = parse_number(value, limit)) {
      set(*number);
    } else {
      complain(key, value);
    }
  }

  void take_on_exit(std::string_view value) {
    if (value == "poweroff") {
      config.on_exit = OnExit::kPowerOff;
    } else if (value == "reboot") {
      config.on_exit = OnExit::kReboot;
    } else if (value == "stay") {
      config.on_exit = OnExit::kStay;
    } else {
      complain("on.exit", value);
    }
  }

  std::vector<std::string>& problems_;
};

}  // namespace

Config parse_config(std::string_view records, std::vector<std::string>& problems) {
  Reader reader(problems);
  while (!records.empty()) {
    const size_t key_end = records.find('\0');
    const size_t value_end = key_end == std::string_view::npos ? key_end : records.find('\0', key_end + 1);
    if (value_end == std::string_view::npos) {
      problems.emplace_back("the configuration ends within a record");
      break;
    }
    reader.take(records.substr(0, key_end), records.substr(key_end + 1, value_end - key_end - 1));
    records.remove_prefix(value_end + 1);
  }
  return std::move(reader.config);
}

}  // namespace volley
