#include "devices/i8042.h"

#include <algorithm>
#include <cerrno>

namespace volley {
namespace {

// Status register.
constexpr uint8_t kOutputFull = 0x01;
constexpr uint8_t kSystemFlag = 0x04;
constexpr uint8_t kCommandWasLast = 0x08;
constexpr uint8_t kKeyboardUnlocked = 0x10;

// Command byte.
constexpr uint8_t kKeyboardInterrupt = 0x01;
constexpr uint8_t kKeyboardDisabled = 0x10;
constexpr uint8_t kMouseDisabled = 0x20;
constexpr uint8_t kTranslate = 0x40;

enum ControllerCommand : uint8_t {
  kReadCommandByte = 0x20,
  kWriteCommandByte = 0x60,
  kDisableMouse = 0xa7,
  kEnableMouse = 0xa8,
  kTestMousePort = 0xa9,
  kSelfTest = 0xaa,
  kTestKeyboardPort = 0xab,
  kDisableKeyboard = 0xad,
  kEnableKeyboard = 0xae,
  kReadOutputPort = 0xd0,
  kWriteOutputPort = 0xd1,
  kWriteKeyboardBuffer = 0xd2,
  kWriteMouseBuffer = 0xd3,
  kWriteMouse = 0xd4,
  kPulseReset = 0xfe,
};
constexpr uint8_t kSelfTestPassed = 0x55;
constexpr uint8_t kPortWorks = 0x00;
constexpr uint8_t kPortClockStuck = 0x01;
constexpr uint8_t kNoMouse = 0xff;
constexpr uint8_t kOutputPortNotReset = 0x01;

enum KeyboardCommand : uint8_t {
  kSetLeds = 0xed,
  kEcho = 0xee,
  kScanCodeSet = 0xf0,
  kIdentify = 0xf2,
  kTypematic = 0xf3,
  kEnableScanning = 0xf4,
  kDisableScanning = 0xf5,
  kSetDefaults = 0xf6,
  kResend = 0xfe,
  kResetKeyboard = 0xff,
};
constexpr uint8_t kAcknowledge = 0xfa;
constexpr uint8_t kKeyboardPassed = 0xaa;
constexpr uint8_t kIdentity[] = {0xab, 0x83};
constexpr uint8_t kOnlyScanCodeSet = 2;

// Ctrl, Alt, Del down, then up in the opposite order. A controller that translates shows set 1.
constexpr uint8_t kKeysSet2[] = {0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0, 0x71, 0xf0, 0x11, 0xf0, 0x14};
constexpr uint8_t kKeysSet1[] = {0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d};

// Registers are one byte wide; beside them is an empty bus.
void give(std::span<uint8_t> data, uint8_t value) {
  std::fill(data.begin(), data.end(), uint8_t{0xff});
  data[0] = value;
}

}  // namespace

void I8042::DataPort::read(uint64_t, std::span<uint8_t> data) { give(data, owner_.read_data()); }
void I8042::DataPort::write(uint64_t, std::span<const uint8_t> data) { owner_.write_data(data[0]); }
void I8042::CommandPort::read(uint64_t, std::span<uint8_t> data) {
  MutexLock lock(owner_.mutex_);
  give(data, owner_.read_status());
}
void I8042::CommandPort::write(uint64_t, std::span<const uint8_t> data) { owner_.write_command(data[0]); }

uint8_t I8042::read_status() const {
  return static_cast<uint8_t>(kKeyboardUnlocked | (command_byte_ & kSystemFlag) |
                              (output_count_ != 0 ? kOutputFull : 0) | (command_was_last_ ? kCommandWasLast : 0));
}

uint8_t I8042::read_data() {
  MutexLock lock(mutex_);
  if (output_count_ == 0) return last_read_;
  last_read_ = output_[0];
  std::copy(output_ + 1, output_ + output_count_, output_);
  --output_count_;
  // The line falls with each byte that is taken, so that the next one is an edge of its own.
  if (line_level_) {
    line_level_ = false;
    if (line_ != nullptr) line_->set(false);
  }
  update_line();
  return last_read_;
}

void I8042::write_command(uint8_t value) {
  if (value == kPulseReset) {
    sink_.guest_ended(VOLLEY_EXIT_REBOOT, "the guest asked the keyboard controller for a reset");
    return;
  }
  MutexLock lock(mutex_);
  command_was_last_ = true;
  awaited_by_controller_ = 0;
  switch (value) {
    case kReadCommandByte:
      answer(command_byte_);
      break;
    case kSelfTest:
      command_byte_ |= kSystemFlag;
      answer(kSelfTestPassed);
      break;
    case kTestKeyboardPort:
      answer(kPortWorks);
      break;
    case kTestMousePort:
      answer(kPortClockStuck);
      break;
    case kDisableKeyboard:
      command_byte_ |= kKeyboardDisabled;
      break;
    case kEnableKeyboard:
      command_byte_ &= static_cast<uint8_t>(~kKeyboardDisabled);
      break;
    case kDisableMouse:
      command_byte_ |= kMouseDisabled;
      break;
    case kReadOutputPort:
      answer(kOutputPortNotReset);
      break;
    case kWriteCommandByte:
    case kWriteOutputPort:
    case kWriteKeyboardBuffer:
    case kWriteMouseBuffer:
    case kWriteMouse:
      awaited_by_controller_ = value;
      break;
    default:
      // kEnableMouse among them: without a mouse port its clock stays off, as the command byte goes on saying.
      break;
  }
  update_line();
}

void I8042::write_data(uint8_t value) {
  MutexLock lock(mutex_);
  command_was_last_ = false;
  const uint8_t command = awaited_by_controller_;
  awaited_by_controller_ = 0;
  switch (command) {
    case 0:
      keyboard_command(value);
      break;
    case kWriteCommandByte:
      command_byte_ = value | kMouseDisabled;
      break;
    case kWriteOutputPort:
      if ((value & kOutputPortNotReset) == 0) {
        sink_.guest_ended(VOLLEY_EXIT_REBOOT, "the guest asked the keyboard controller for a reset");
      }
      break;
    case kWriteKeyboardBuffer:
      answer(value);
      break;
    case kWriteMouseBuffer:
      answer(kNoMouse);
      break;
    default:
      break;  // to a mouse that is not there
  }
  update_line();
}

void I8042::keyboard_command(uint8_t value) {
  // Whoever speaks to the keyboard has it switched on by that.
  command_byte_ &= static_cast<uint8_t>(~kKeyboardDisabled);
  if (awaited_by_keyboard_ != 0) {
    const bool wants_to_know = awaited_by_keyboard_ == kScanCodeSet && value == 0;
    awaited_by_keyboard_ = 0;
    answer(kAcknowledge);
    if (wants_to_know) answer(kOnlyScanCodeSet);
    return;
  }
  switch (value) {
    case kEcho:
      answer(kEcho);
      return;
    case kResend:
      answer(last_read_);
      return;
    case kSetLeds:
    case kScanCodeSet:
    case kTypematic:
      awaited_by_keyboard_ = value;
      break;
    case kEnableScanning:
      scanning_ = true;
      break;
    case kDisableScanning:
    case kSetDefaults:
    case kResetKeyboard:
      scanning_ = value != kDisableScanning;
      break;
    default:
      break;  // acknowledged all the same: a keyboard that refuses is asked again and again
  }
  answer(kAcknowledge);
  if (value == kResetKeyboard) answer(kKeyboardPassed);
  if (value == kIdentify) {
    for (const uint8_t byte : kIdentity) answer(byte);
  }
}

// What does not fit is lost, as it is on real controllers.
void I8042::answer(uint8_t value) {
  if (output_count_ < kOutputCapacity) output_[output_count_++] = value;
}

I8042::State I8042::save() {
  MutexLock lock(mutex_);
  State state{.output = {},
              .output_count = static_cast<uint8_t>(output_count_),
              .last_read = last_read_,
              .command_byte = command_byte_,
              .awaited_by_controller = awaited_by_controller_,
              .awaited_by_keyboard = awaited_by_keyboard_,
              .command_was_last = command_was_last_,
              .scanning = scanning_,
              .line_level = line_level_};
  std::copy_n(output_, output_count_, state.output);
  return state;
}

void I8042::restore(const State& state) {
  MutexLock lock(mutex_);
  output_count_ = std::min<size_t>(state.output_count, kOutputCapacity);
  std::copy_n(state.output, output_count_, output_);
  last_read_ = state.last_read;
  command_byte_ = state.command_byte;
  awaited_by_controller_ = state.awaited_by_controller;
  awaited_by_keyboard_ = state.awaited_by_keyboard;
  command_was_last_ = state.command_was_last != 0;
  scanning_ = state.scanning != 0;
  line_level_ = state.line_level != 0;
  update_line();
}

void I8042::update_line() {
  const bool level = output_count_ != 0 && (command_byte_ & kKeyboardInterrupt) != 0;
  if (level == line_level_) return;
  line_level_ = level;
  if (line_ != nullptr) line_->set(level);
}

int I8042::press_ctrl_alt_del() {
  MutexLock lock(mutex_);
  const bool heard = scanning_ && (command_byte_ & kKeyboardInterrupt) != 0 && (command_byte_ & kKeyboardDisabled) == 0;
  const std::span<const uint8_t> keys =
      (command_byte_ & kTranslate) != 0 ? std::span<const uint8_t>(kKeysSet1) : std::span<const uint8_t>(kKeysSet2);
  if (!heard || keys.size() > kOutputCapacity - output_count_) return EAGAIN;
  for (const uint8_t key : keys) answer(key);
  update_line();
  return 0;
}

}  // namespace volley
