#pragma once

#include "devices/io_device.h"

namespace volley {

// Told once, when the guest says it has booted.
class BootListener {
 public:
  virtual void guest_booted() = 0;

 protected:
  ~BootListener() = default;
};

// The MMIO page into which a guest writes VOLLEY_BOOT_TIMER_VALUE when it has booted. Later writes change nothing.
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
