// The canary: boots, says so, does what its command line asks, and answers the power button. All of this runs in
// ring 3.
#include <cstdint>

#include "abi/volley_abi.h"
#include "cmdline.h"
#include "console.h"
#include "life.h"
#include "memory_work.h"
#include "supervisor.h"
#ifdef CANARY_DEVICES
#include "devices/devices.h"
#include "devices/waiting.h"
#endif

namespace canary {
namespace {

#ifdef CANARY_DEVICES
// Looks at the devices on every wake, whatever woke it.
using Serving = Devices;
#else
struct Serving {
  void poll() {}
};
#endif

constexpr uint64_t kMib = 1ull << 20;
constexpr uint64_t kPagesPerMib = 256;
constexpr uint8_t kSoftOff = (5u << 2) | 0x20u;  // SLP_TYP 5, SLP_EN
constexpr uint8_t kReset = 0xfe;
constexpr uint8_t kPanicked = 0x01;

[[noreturn]] void power_off() {
  out_byte(VOLLEY_PORT_ACPI_SLEEP, kSoftOff);
  hang();
}

[[noreturn]] void end_as(End end) {
  switch (end) {
    case End::kPowerOff:
      power_off();
    case End::kReboot:
      out_byte(VOLLEY_PORT_I8042_COMMAND, kReset);
      hang();
    case End::kTripleFault:
      triple_fault();
    case End::kHang:
      hang();
    default:
      panic();
  }
}

}  // namespace

void panic() {
  out_byte(VOLLEY_PORT_PVPANIC, kPanicked);
  hang();
}

namespace {

uint64_t generation_count = 0;
Stir stir;

// Ready first: to print takes longer than to know.
void answer_generation(const Orders& orders) {
  if (generation_changed == 0) return;
  generation_changed = 0;
  ++generation_count;
  uint8_t id[16];
  for (size_t i = 0; i < sizeof(id); ++i) {
    id[i] = reinterpret_cast<const volatile uint8_t*>(VOLLEY_GENERATION_ID_ADDRESS)[i];
  }
  report_booted();
  Line().text("generation ").hex(id, sizeof(id)).send();
  if (!orders.recheck) return;
  const bool whole =
      memory_is_intact(orders.touch_mib) && (orders.stir_mib == 0 || memory_is_of_one_instant(stir, orders.touch_mib));
  if (!whole) {
    Line().text("memory is not as it was").send();
    panic();
  }
  Line().number(orders.touch_mib).text(" MiB intact").send();
}

void answer_power_button(const Life& life) {
  if (power_button_pressed == 0) return;
  power_button_pressed = 0;
  if (life.orders.no_stop) {
    Line().text("power button ignored").send();
    return;
  }
  Line().text("power button, powering off").send();
  power_off();
}

}  // namespace

uint64_t generations() { return generation_count; }

void answer_host(const Life& life) {
  answer_generation(life.orders);
  answer_power_button(life);
}

void sleep_until(const Clock& clock, uint64_t deadline_ns) {
  const uint64_t now = clock.since_boot_ns();
  if (now >= deadline_ns) return;
  timer_fired = 0;
  arm_timer(deadline_ns - now);
  wait_for_interrupt();
}

namespace {

[[noreturn]] void live(const Life& life, Serving& serving) {
  const Orders& orders = life.orders;
  const Clock& clock = life.clock;
  const uint64_t end_at = orders.end == End::kNone ? ~0ull : orders.end_after_ms * kNsPerMs;
  const uint64_t period_ns = orders.period_ms * kNsPerMs;
  const uint64_t busy_ns = period_ns * orders.burn_percent / 100;
  const uint64_t grow_ns = orders.grow_every_ms * kNsPerMs;
  uint64_t grow_at = grow_ns == 0 ? ~0ull : grow_ns;
  // What is written in a millisecond; when it takes longer it is less than asked for.
  const uint64_t stir_pages = (orders.stir_mib * kPagesPerMib + 999) / 1000;
  uint64_t stir_at = stir_pages == 0 || orders.touch_mib == 0 ? ~0ull : 0;
  uint64_t touched_mib = orders.touch_mib;
  uint64_t period_start = 0;
  for (;;) {
    answer_host(life);
    serving.poll();
    if (orders.burn_percent == 0 && end_at == ~0ull && grow_at == ~0ull && stir_at == ~0ull) {
      timer_fired = 0;
      wait_for_interrupt();
      continue;
    }
    // Without a clock nothing is asked for but to end at once.
    const uint64_t now = clock.works() ? clock.since_boot_ns() : 0;
    if (now >= end_at) end_as(orders.end);
    // After a pause many periods may have passed: they are not made up for.
    if (now >= grow_at) grow_at = touch_memory(life.memory_bytes, touched_mib++, 1) ? now + grow_ns : ~0ull;
    if (now >= stir_at) {
      stir_memory(&stir, orders.touch_mib, stir_pages);
      stir_at = now + kNsPerMs;
    }
    if (now >= period_start + period_ns) period_start = now - now % period_ns;
    if (now < period_start + busy_ns) continue;
    uint64_t next = orders.burn_percent == 0 ? end_at : period_start + period_ns;
    if (next > grow_at) next = grow_at;
    if (next > stir_at) next = stir_at;
    sleep_until(clock, next < end_at ? next : end_at);
  }
}

bool needs_clock(const Orders& orders) {
#ifdef CANARY_DEVICES
  if (orders.devices.count != 0) return true;
#endif
  return orders.burn_percent != 0 || orders.end_after_ms != 0 || orders.grow_every_ms != 0 || orders.stir_mib != 0;
}

void print_banner(uint64_t memory_bytes, const char* cmdline) {
  Line().number(memory_bytes / kMib).text(" MiB, ").text(*cmdline == '\0' ? "idle" : cmdline).send();
}

void work(const Orders& orders, uint64_t memory_bytes) {
  if (orders.touch_mib != 0) {
    if (!touch_memory(memory_bytes, 0, orders.touch_mib)) {
      Line().text("touch=").number(orders.touch_mib).text(" does not fit").send();
      panic();
    }
    Line().text("touched ").number(orders.touch_mib).text(" MiB").send();
  }
  for (uint64_t i = 1; i <= orders.print_lines; ++i) {
    Line().text("line ").number(i).text(" of ").number(orders.print_lines).send();
  }
}

}  // namespace
}  // namespace canary

extern "C" [[noreturn]] void canary_main(uint64_t memory_bytes, const char* cmdline, uint64_t tsc_khz) {
  using namespace canary;
  const Clock clock(tsc_khz);
  Orders orders;
  const BadWord bad = parse_cmdline(cmdline, &orders);
  if (!orders.quiet || bad.length != 0) print_banner(memory_bytes, cmdline);
  if (bad.length != 0) {
    Line().text("unknown word '").text(bad.text, bad.length).text("'").send();
    panic();
  }
  if (needs_clock(orders) && !clock.works()) {
    Line().text("no clock: the VMM gave no TSC frequency").send();
    panic();
  }
  report_booted();
  work(orders, memory_bytes);
  const Life life{orders, clock, memory_bytes};
#ifdef CANARY_DEVICES
  Devices serving(life, orders.devices);
  serving.run();
#else
  Serving serving;
#endif
  live(life, serving);
}
