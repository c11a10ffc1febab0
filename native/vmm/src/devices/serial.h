#pragma once

#include <cstdint>

#include "devices/interrupt_line.h"
#include "devices/io_device.h"
#include "stats/serial_ring.h"

namespace volley {

// A 16550A whose transmitter is always ready and whose receiver never gets a byte: enough for the 8250 driver of a
// stock kernel, its probing and loop-back test included. Output goes to the shared ring.
class Serial final : public IoDevice {
 public:
  static constexpr uint64_t kLength = 8;

  Serial(SerialRing ring, InterruptLine& line) : ring_(ring), line_(line) {}

  void read(uint64_t offset, std::span<uint8_t> data) override;
  void write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  uint8_t read_register(uint64_t offset);
  void write_register(uint64_t offset, uint8_t value);
  uint8_t interrupt_identification();
  uint8_t modem_status() const;
  void update_line();
  bool divisor_selected() const;

  SerialRing ring_;
  InterruptLine& line_;
  uint8_t interrupt_enable_ = 0;
  uint8_t fifo_control_ = 0;
  uint8_t line_control_ = 0x03;
  uint8_t modem_control_ = 0x08;
  uint8_t scratch_ = 0;
  uint8_t divisor_low_ = 0x0c;  // 9600 baud, as firmware leaves it
  uint8_t divisor_high_ = 0;
  bool transmit_interrupt_ = false;
  bool line_level_ = false;
  bool loopback_full_ = false;
  uint8_t loopback_byte_ = 0;
};

}  // namespace volley
