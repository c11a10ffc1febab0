#pragma once

#include <cstddef>
#include <cstdint>

#include "base/mutex.h"
#include "devices/guest_end_sink.h"
#include "devices/interrupt_line.h"
#include "devices/io_device.h"

namespace volley {

// A keyboard controller with a keyboard that has three keys: Ctrl, Alt and Del. It answers what a stock kernel asks
// before it binds its drivers (self-test, port test, command byte, the keyboard's identity) and it resets the machine.
// There is no mouse port, and it says so at once instead of letting the driver wait.
class I8042 {
 public:
  explicit I8042(GuestEndSink& sink) : sink_(sink), data_port_(*this), command_port_(*this) {}
  I8042(const I8042&) = delete;
  I8042& operator=(const I8042&) = delete;

  // Where interrupts go; before the first vCPU runs. Without it nothing is interrupted.
  void connect(InterruptLine& line) { line_ = &line; }

  // One port each.
  static constexpr uint64_t kLength = 1;
  IoDevice& data_port() { return data_port_; }
  IoDevice& command_port() { return command_port_; }

  // Presses and releases the three keys, from any thread. 0, or EAGAIN if no driver of the guest listens to the
  // keyboard (yet), or has not read what was typed before.
  int press_ctrl_alt_del();

  // What a snapshot keeps.
  static constexpr size_t kOutputCapacity = 16;
  struct State {
    uint8_t output[kOutputCapacity];
    uint8_t output_count, last_read, command_byte, awaited_by_controller;
    uint8_t awaited_by_keyboard, command_was_last, scanning, line_level;
  };
  State save();
  // Before the first vCPU runs.
  void restore(const State& state);

 private:
  class DataPort final : public IoDevice {
   public:
    explicit DataPort(I8042& owner) : owner_(owner) {}
    void read(uint64_t offset, std::span<uint8_t> data) override;
    void write(uint64_t offset, std::span<const uint8_t> data) override;

   private:
    I8042& owner_;
  };
  class CommandPort final : public IoDevice {
   public:
    explicit CommandPort(I8042& owner) : owner_(owner) {}
    void read(uint64_t offset, std::span<uint8_t> data) override;
    void write(uint64_t offset, std::span<const uint8_t> data) override;

   private:
    I8042& owner_;
  };

  uint8_t read_data();
  uint8_t read_status() const;
  void write_data(uint8_t value);
  void write_command(uint8_t value);
  void keyboard_command(uint8_t value);
  void answer(uint8_t value);
  void update_line();

  GuestEndSink& sink_;
  DataPort data_port_;
  CommandPort command_port_;
  InterruptLine* line_ = nullptr;
  Mutex mutex_;  // vCPUs and the control thread
  uint8_t output_[kOutputCapacity] = {};
  size_t output_count_ = 0;
  uint8_t last_read_ = 0;
  // As firmware leaves it: self-test passed, keyboard on, no mouse, interrupts off, no translation.
  uint8_t command_byte_ = 0x24;
  uint8_t awaited_by_controller_ = 0;  // the command whose parameter is the next byte to the data port, 0 = none
  uint8_t awaited_by_keyboard_ = 0;
  bool command_was_last_ = false;
  bool scanning_ = true;  // the keyboard reports keys
  bool line_level_ = false;
};

}  // namespace volley
