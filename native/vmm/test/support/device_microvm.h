#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "abi/volley_abi.h"
#include "base/unique_fd.h"
#include "support/vmm_process.h"

namespace volley::test {

class SnapshotFiles;

// A real file that disappears with its owner.
class TemporaryFile {
 public:
  explicit TemporaryFile(uint64_t bytes);

  int fd() const { return fd_.get(); }
  uint64_t size() const { return size_; }
  std::vector<uint8_t> read(uint64_t offset, size_t bytes) const;
  // What the file really takes on its disk.
  uint64_t allocated() const;

 private:
  UniqueFd fd_;
  uint64_t size_;
};

// What `canary-devices` writes at byte `at` of a disk for `seed`, eight bytes at a time.
uint64_t disk_pattern(uint64_t seed, uint64_t at);

inline volley_limiter no_limit() { return {}; }
// `count` operations or bytes in each `milliseconds`.
volley_limiter operations_limit(uint64_t count, uint64_t milliseconds);
volley_limiter bytes_limit(uint64_t count, uint64_t milliseconds);

// A microVM of the canary that has drivers, with the devices that a test gives it: first these, then start().
class DeviceMicrovm {
 public:
  // Each gives the index of the device. Descriptors are lent until start() returns.
  uint32_t disk(const TemporaryFile& file, uint32_t flags = 0, const volley_limiter& limit = {});
  uint32_t overlay_disk(const TemporaryFile& base, const TemporaryFile& overlay);
  uint32_t net(int tap, const volley_limiter& to_guest = {}, const volley_limiter& from_guest = {});
  uint32_t vsock(int listener);
  uint32_t balloon(uint32_t flags, uint64_t bytes = 0, uint32_t interval_ms = 0);
  uint32_t rng(const volley_limiter& limit = {});
  volley_device& device(uint32_t index) { return devices_[index]; }
  // Beyond the devices.
  LaunchOptions& options() { return options_; }

  void start(const std::string& cmdline);
  // Goes on from a snapshot instead.
  void restore(const SnapshotFiles& files);
  VmmProcess& vmm() { return *vmm_; }
  const volley_device_stats& stats(uint32_t index) const { return vmm_->stats().devices[index]; }

  // Waits for a line of the console that begins with "canary: " and this. Empty if none came within the time, or the
  // microVM has ended without it.
  std::string await_line(const std::string& start, uint64_t timeout_ms = 60'000);
  // Waits for the result of a word for a device: the line, whether ok or not.
  std::string result(const std::string& word, uint64_t number = 0, uint64_t timeout_ms = 60'000);
  // Asks the guest to stop, and checks that it ends in good order.
  void stop();

 private:
  uint32_t add(uint32_t type);
  void launch();

  LaunchOptions options_;
  std::vector<volley_device> devices_;
  std::vector<PassedFd> descriptors_;
  std::unique_ptr<VmmProcess> vmm_;
};

// The number behind " KEY=" in a result line; nothing if there is none.
std::optional<uint64_t> number_in(const std::string& line, const std::string& key);

}  // namespace volley::test
