#include "devices/serial.h"

#include <algorithm>

#include "base/clock.h"
#include "stats/page_file.h"

namespace volley {
namespace {

enum Register : uint64_t {
  kData,
  kInterruptEnable,
  kInterruptId,
  kLineControl,
  kModemControl,
  kLineStatus,
  kModemStatus,
  kScratch
};

constexpr uint8_t kEnableReceive = 0x01;
constexpr uint8_t kEnableTransmit = 0x02;
constexpr uint8_t kEnableMask = 0x0f;
constexpr uint8_t kNoInterrupt = 0x01;
constexpr uint8_t kTransmitPending = 0x02;
constexpr uint8_t kReceivePending = 0x04;
constexpr uint8_t kFifosOn = 0xc0;
constexpr uint8_t kFifoEnable = 0x01;
constexpr uint8_t kFifoClearReceive = 0x02;
constexpr uint8_t kDivisorLatch = 0x80;
constexpr uint8_t kOut2 = 0x08;
constexpr uint8_t kLoopback = 0x10;
constexpr uint8_t kModemControlMask = 0x1f;
constexpr uint8_t kDataReady = 0x01;
constexpr uint8_t kTransmitterEmpty = 0x60;
constexpr uint8_t kClearToSend = 0x10;
constexpr uint8_t kDataSetReady = 0x20;
constexpr uint8_t kRing = 0x40;
constexpr uint8_t kCarrier = 0x80;

}  // namespace

void Serial::read(uint64_t offset, std::span<uint8_t> data) {
  // Registers are one byte wide; a wider access sees the register and an empty bus beside it.
  std::fill(data.begin(), data.end(), uint8_t{0xff});
  MutexLock lock(mutex_);
  data[0] = read_register(offset);
}

void Serial::write(uint64_t offset, std::span<const uint8_t> data) {
  MutexLock lock(mutex_);
  write_register(offset, data[0]);
}

size_t Serial::type(std::span<const uint8_t> bytes) {
  MutexLock lock(mutex_);
  size_t fitted = 0;
  while (fitted < bytes.size() && receive(bytes[fitted])) ++fitted;
  update_line();
  return fitted;
}

bool Serial::set_limit(const volley_limiter& limit) {
  if (!is_valid(limit)) return false;
  MutexLock lock(mutex_);
  limiter_ = RateLimiter(limit, monotonic_ns());
  return true;
}

Serial::State Serial::save() {
  MutexLock lock(mutex_);
  State state{.interrupt_enable = interrupt_enable_,
              .fifo_control = fifo_control_,
              .line_control = line_control_,
              .modem_control = modem_control_,
              .scratch = scratch_,
              .divisor_low = divisor_low_,
              .divisor_high = divisor_high_,
              .transmit_interrupt = transmit_interrupt_,
              .line_level = line_level_,
              .last_received = last_received_,
              .received_count = static_cast<uint8_t>(received_count_),
              .reserved = 0,
              .received = {}};
  for (size_t i = 0; i < received_count_; ++i) {
    state.received[i] = received_[(received_first_ + i) % kReceiveCapacity];
  }
  return state;
}

void Serial::restore(const State& state) {
  MutexLock lock(mutex_);
  interrupt_enable_ = state.interrupt_enable & kEnableMask;
  fifo_control_ = state.fifo_control;
  line_control_ = state.line_control;
  modem_control_ = state.modem_control & kModemControlMask;
  scratch_ = state.scratch;
  divisor_low_ = state.divisor_low;
  divisor_high_ = state.divisor_high;
  transmit_interrupt_ = state.transmit_interrupt != 0;
  // As the interrupt controller's state has it; if that is not so, the line is set right.
  line_level_ = state.line_level != 0;
  last_received_ = state.last_received;
  received_first_ = 0;
  received_count_ = std::min<size_t>(state.received_count, kReceiveCapacity);
  std::copy_n(state.received, received_count_, received_);
  update_line();
}

void Serial::transmit(uint8_t value) {
  if (!limiter_.is_unlimited() && !limiter_.take(1, 1, monotonic_ns())) {
    count(stats_.serial_dropped);
    return;
  }
  ring_.append({&value, 1});
}

bool Serial::receive(uint8_t value) {
  if (received_count_ == kReceiveCapacity) return false;
  received_[(received_first_ + received_count_++) % kReceiveCapacity] = value;
  return true;
}

bool Serial::divisor_selected() const { return (line_control_ & kDivisorLatch) != 0; }

uint8_t Serial::read_register(uint64_t offset) {
  switch (offset) {
    case kData:
      if (divisor_selected()) return divisor_low_;
      if (received_count_ != 0) {
        last_received_ = received_[received_first_];
        received_first_ = (received_first_ + 1) % kReceiveCapacity;
        --received_count_;
        update_line();
      }
      return last_received_;
    case kInterruptEnable:
      return divisor_selected() ? divisor_high_ : interrupt_enable_;
    case kInterruptId:
      return interrupt_identification();
    case kLineControl:
      return line_control_;
    case kModemControl:
      return modem_control_;
    case kLineStatus:
      return static_cast<uint8_t>(kTransmitterEmpty | (received_count_ != 0 ? kDataReady : 0));
    case kModemStatus:
      return modem_status();
    default:
      return scratch_;
  }
}

void Serial::write_register(uint64_t offset, uint8_t value) {
  switch (offset) {
    case kData:
      if (divisor_selected()) {
        divisor_low_ = value;
        return;
      }
      if ((modem_control_ & kLoopback) != 0) {
        receive(value);
      } else {
        transmit(value);
      }
      transmit_interrupt_ = true;  // sent at once: the transmitter is empty again
      update_line();
      return;
    case kInterruptEnable:
      if (divisor_selected()) {
        divisor_high_ = value;
        return;
      }
      // Enabling the transmit interrupt while the transmitter is empty raises it: drivers start sending this way.
      if ((value & kEnableTransmit) != 0 && (interrupt_enable_ & kEnableTransmit) == 0) transmit_interrupt_ = true;
      interrupt_enable_ = value & kEnableMask;
      update_line();
      return;
    case kInterruptId:
      fifo_control_ = value;
      if ((value & kFifoClearReceive) != 0) received_count_ = 0;
      update_line();
      return;
    case kLineControl:
      line_control_ = value;
      return;
    case kModemControl:
      modem_control_ = value & kModemControlMask;
      update_line();
      return;
    case kScratch:
      scratch_ = value;
      return;
    default:
      return;  // the status registers cannot be written
  }
}

uint8_t Serial::interrupt_identification() {
  const uint8_t fifos = (fifo_control_ & kFifoEnable) != 0 ? kFifosOn : uint8_t{0};
  if ((interrupt_enable_ & kEnableReceive) != 0 && received_count_ != 0) return fifos | kReceivePending;
  if ((interrupt_enable_ & kEnableTransmit) != 0 && transmit_interrupt_) {
    // Reading the identification of a transmit interrupt acknowledges it.
    transmit_interrupt_ = false;
    update_line();
    return fifos | kTransmitPending;
  }
  return fifos | kNoInterrupt;
}

uint8_t Serial::modem_status() const {
  if ((modem_control_ & kLoopback) == 0) return kClearToSend | kDataSetReady | kCarrier;
  // In loop-back the four modem outputs come back as the four inputs.
  uint8_t status = 0;
  if ((modem_control_ & 0x01) != 0) status |= kDataSetReady;
  if ((modem_control_ & 0x02) != 0) status |= kClearToSend;
  if ((modem_control_ & 0x04) != 0) status |= kRing;
  if ((modem_control_ & 0x08) != 0) status |= kCarrier;
  return status;
}

void Serial::update_line() {
  const bool pending = ((interrupt_enable_ & kEnableTransmit) != 0 && transmit_interrupt_) ||
                       ((interrupt_enable_ & kEnableReceive) != 0 && received_count_ != 0);
  // OUT2 gates the interrupt on a PC.
  const bool level = pending && (modem_control_ & kOut2) != 0 && (modem_control_ & kLoopback) == 0;
  if (level == line_level_) return;
  line_level_ = level;
  if (line_ != nullptr) line_->set(level);
}

}  // namespace volley
