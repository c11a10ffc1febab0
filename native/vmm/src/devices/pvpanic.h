#pragma once

#include "devices/guest_end_sink.h"
#include "devices/io_device.h"

namespace volley {

// The port through which a panicking guest says so.
class Pvpanic final : public IoDevice {
 public:
  static constexpr uint64_t kLength = 1;

  explicit Pvpanic(GuestEndSink& sink) : sink_(sink) {}
  void read(uint64_t offset, std::span<uint8_t> data) override;
  void write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  GuestEndSink& sink_;
};

}  // namespace volley
