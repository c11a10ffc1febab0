#pragma once

#include "devices/io_device.h"

namespace volley {

// Told what the guest says of itself.
class BootListener {
 public:
  // Once, when it has booted.
  virtual void guest_booted() = 0;
  // How its workload ended, VOLLEY_REPORT_*. The last report counts.
  virtual void guest_reported(uint32_t report) = 0;

 protected:
  ~BootListener() = default;
};

// The MMIO page into which a guest writes VOLLEY_BOOT_TIMER_VALUE when it has booted (later writes change nothing), and
// at VOLLEY_GUEST_REPORT_ADDRESS how its workload ended.
class BootTimer final : public IoDevice {
 public:
  static constexpr uint64_t kLength = 4096;

  explicit BootTimer(BootListener& listener) : listener_(listener) {}
  void read(uint64_t offset, std::span<uint8_t> data) override;
  void write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  BootListener& listener_;
  bool booted_ = false;
};

}  // namespace volley
