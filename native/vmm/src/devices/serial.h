#pragma once

#include <cstddef>
#include <cstdint>

#include "abi/volley_abi.h"
#include "base/mutex.h"
#include "devices/interrupt_line.h"
#include "devices/io_device.h"
#include "limits/rate_limiter.h"
#include "stats/serial_ring.h"

namespace volley {

// A 16550A, enough for the 8250 driver of a stock kernel, its probing and loop-back test included. Its transmitter is
// always ready: output goes to the shared ring, and what is beyond the limit is dropped and counted, so that a vCPU
// never waits for it. Its receiver holds what the agent typed until the guest reads it.
class Serial final : public IoDevice {
 public:
  static constexpr uint64_t kLength = 8;

  Serial(SerialRing ring, volley_stats& stats) : ring_(ring), stats_(stats) {}

  // Where interrupts go; before the first vCPU runs. Without it nothing is interrupted: the guest polls.
  void connect(InterruptLine& line) { line_ = &line; }

  void read(uint64_t offset, std::span<uint8_t> data) override;
  void write(uint64_t offset, std::span<const uint8_t> data) override;

  // From any thread. How many of the bytes, from the first on, fitted into the receive buffer.
  size_t type(std::span<const uint8_t> bytes);
  // From any thread. Limits output; both buckets start full, each byte is an operation. False if it makes no sense.
  [[nodiscard]] bool set_limit(const volley_limiter& limit);

  // What a snapshot keeps: the registers, and what was typed and not read yet.
  static constexpr size_t kReceiveCapacity = 64;
  struct State {
    uint8_t interrupt_enable, fifo_control, line_control, modem_control, scratch, divisor_low, divisor_high;
    uint8_t transmit_interrupt, line_level, last_received, received_count, reserved;
    uint8_t received[kReceiveCapacity];
  };
  State save();
  // Values that the guest could not have written are cut to those that it could. Before the first vCPU runs.
  void restore(const State& state);

 private:
  uint8_t read_register(uint64_t offset);
  void write_register(uint64_t offset, uint8_t value);
  void transmit(uint8_t value);
  bool receive(uint8_t value);
  uint8_t interrupt_identification();
  uint8_t modem_status() const;
  void update_line();
  bool divisor_selected() const;

  SerialRing ring_;
  volley_stats& stats_;
  InterruptLine* line_ = nullptr;
  Mutex mutex_;  // vCPUs and the control thread
  RateLimiter limiter_;
  uint8_t interrupt_enable_ = 0;
  uint8_t fifo_control_ = 0;
  uint8_t line_control_ = 0x03;
  uint8_t modem_control_ = 0x08;
  uint8_t scratch_ = 0;
  uint8_t divisor_low_ = 0x0c;  // 9600 baud, as firmware leaves it
  uint8_t divisor_high_ = 0;
  bool transmit_interrupt_ = false;
  bool line_level_ = false;
  uint8_t received_[kReceiveCapacity] = {};  // from received_first_ on, around the end
  size_t received_first_ = 0;
  size_t received_count_ = 0;
  uint8_t last_received_ = 0;
};

}  // namespace volley
