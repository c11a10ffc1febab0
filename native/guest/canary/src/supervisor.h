#pragma once

#include <cstddef>
#include <cstdint>

#include "services.h"

namespace canary {

// Calls ring 0. The trap costs about 20 us on software KVM, next to nothing on hardware.
inline uint64_t service(uint32_t number, uint64_t first = 0, uint64_t second = 0) {
  uint64_t rax = number;
  asm volatile("ud2" : "+a"(rax), "+D"(first), "+S"(second) : : "rcx", "rdx", "cc", "memory");
  return rax;
}

inline void wait_for_interrupt() { service(SERVICE_WAIT); }
inline void print(const char* text, size_t length) { service(SERVICE_PRINT, reinterpret_cast<uint64_t>(text), length); }
inline void report_booted() { service(SERVICE_BOOTED); }
inline void out_byte(uint16_t port, uint8_t value) { service(SERVICE_OUT_BYTE, port, value); }

#ifdef CANARY_DEVICES
inline uint8_t in_byte(uint16_t port) { return static_cast<uint8_t>(service(SERVICE_IN_BYTE, port)); }
#endif

// Raises the timer interrupt in about `nanoseconds`, or earlier if that is more than a minute: look at the clock on
// waking.
inline void arm_timer(uint64_t nanoseconds) {
  const uint64_t ticks = nanoseconds / 16 + 1;
  service(SERVICE_ARM_TIMER, ticks > 0xffffffff ? 0xffffffff : ticks);
}

[[noreturn]] inline void triple_fault() {
  service(SERVICE_TRIPLE_FAULT);
  __builtin_unreachable();
}
[[noreturn]] inline void hang() {
  service(SERVICE_HANG);
  __builtin_unreachable();
}

extern "C" volatile uint8_t power_button_pressed;
extern "C" volatile uint8_t timer_fired;
extern "C" volatile uint8_t generation_changed;

}  // namespace canary
