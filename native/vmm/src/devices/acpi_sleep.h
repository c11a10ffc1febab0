#pragma once

#include "devices/guest_end_sink.h"
#include "devices/io_device.h"

namespace volley {

// The sleep control and sleep status registers of hardware-reduced ACPI, one byte each.
class AcpiSleep final : public IoDevice {
 public:
  static constexpr uint64_t kLength = 2;

  explicit AcpiSleep(GuestEndSink& sink) : sink_(sink) {}
  void read(uint64_t offset, std::span<uint8_t> data) override;
  void write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  GuestEndSink& sink_;
};

}  // namespace volley
