#pragma once

#include <cstddef>
#include <cstdint>

namespace canary {

enum class StepKind : uint8_t {
  kDevices,
  kWrite,
  kVerify,
  kZeros,
  kDiscard,
  kZero,
  kFlush,
  kId,
  kReads,
  kWrites,
  kRng,
  kNet,
  kPing,
  kUdp,
  kBalloon,
  kFreePages,
  kListen,
  kConnect,
  kTell,
  kWait,
  kCost,
  kAttack,
};

enum class AttackKind : uint8_t {
  kDescriptors,
  kIndirect,
  kRings,
  kRandom,
  kRace,
  kKicks,
  kAcks,
  kResets,
  kConfig,
  kResetup,
  kMmio,
  kPorts,
  kSerial,
  kAll,
};

// One thing to do with a device.
struct Step {
  StepKind kind;
  uint64_t numbers[4];
  const char* text;
  size_t length;
};

// What the command line asks of the devices, in its order.
struct DeviceOrders {
  static constexpr size_t kMostSteps = 48;

  Step steps[kMostSteps];
  size_t count = 0;
  bool no_event_index = false;
  bool no_indirect = false;
};

// Understands one word. False if it is none of these.
bool parse_device_word(const char* text, size_t length, DeviceOrders* orders);

}  // namespace canary
