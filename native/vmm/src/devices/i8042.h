#pragma once

#include "devices/guest_end_sink.h"
#include "devices/io_device.h"

namespace volley {

// The command and status port of a keyboard controller that has no keyboard: it only knows the reset pulse.
class I8042 final : public IoDevice {
 public:
  static constexpr uint64_t kLength = 1;

  explicit I8042(GuestEndSink& sink) : sink_(sink) {}
  void read(uint64_t offset, std::span<uint8_t> data) override;
  void write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  GuestEndSink& sink_;
};

}  // namespace volley
