#pragma once

#include <cstddef>
#include <cstdint>

#ifdef CANARY_DEVICES
#include "devices/orders.h"
#endif

namespace canary {

enum class End : uint8_t { kNone, kPowerOff, kReboot, kPanic, kTripleFault, kHang };

// What the command line asks for.
struct Orders {
  uint64_t touch_mib = 0;
  // One more MiB is touched each so many ms; 0: none.
  uint64_t grow_every_ms = 0;
  // So much of what was touched is written again each second; 0: nothing.
  uint64_t stir_mib = 0;
  uint32_t burn_percent = 0;
  // Length of the periods of which burn_percent are computed.
  uint64_t period_ms = 20;
  uint64_t print_lines = 0;
  End end = End::kNone;
  uint64_t end_after_ms = 0;
  bool no_stop = false;
  bool recheck = false;
  bool quiet = false;
#ifdef CANARY_DEVICES
  DeviceOrders devices;
#endif
};

// A word that was not understood; length 0 if all were.
struct BadWord {
  const char* text = nullptr;
  size_t length = 0;
};

// Reads words separated by blanks. The last of several equal words wins.
BadWord parse_cmdline(const char* cmdline, Orders* orders);

}  // namespace canary
