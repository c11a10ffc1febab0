#pragma once

#include <cstdint>
#include <string>

#include "base/unique_fd.h"

namespace volley::test {

// A guest's world for what init does to a whole guest: mounts, network and host name of this process's own, so that
// nothing of it reaches the machine. False, and a sentence on stderr, where namespaces cannot be made.
bool enter_sandbox();

// Puts an empty file system over a folder of the sandbox.
bool cover(const std::string& folder);

// A network interface of the sandbox, for as long as it lives, with the MAC 02:00:00:00:00:`last`.
class Tap {
 public:
  enum class Stands { kForADevice, kForNothing };

  // One that stands for a device has its `device` below /sys/class/net, as those of virtio have.
  Tap(const std::string& name, uint8_t last, Stands stands = Stands::kForADevice);

  const std::string& name() const { return name_; }

 private:
  std::string name_;
  UniqueFd fd_;
};

// The guest's physical memory as /dev/mem shows it: the page of the generation id and that of the boot timer.
class PhysicalMemory {
 public:
  PhysicalMemory();
  PhysicalMemory(const PhysicalMemory&) = delete;
  PhysicalMemory& operator=(const PhysicalMemory&) = delete;
  ~PhysicalMemory();

  void set_generation(uint8_t all_bytes) const;
  bool boot_timer_is_written() const;

 private:
  UniqueFd file_;
};

}  // namespace volley::test
