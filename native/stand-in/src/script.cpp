#include "script.h"

#include "cmdline.h"

namespace volley {
namespace {

volley_exit_reason reason_of(canary::End end) {
  switch (end) {
    case canary::End::kPowerOff:
      return VOLLEY_EXIT_POWER_OFF;
    case canary::End::kReboot:
      return VOLLEY_EXIT_REBOOT;
    case canary::End::kPanic:
      return VOLLEY_EXIT_PANIC;
    case canary::End::kTripleFault:
      return VOLLEY_EXIT_TRIPLE_FAULT;
    case canary::End::kNone:
    case canary::End::kHang:
      return VOLLEY_EXIT_NONE;
  }
  return VOLLEY_EXIT_NONE;
}

}  // namespace

std::optional<Script> read_script(const char* cmdline, std::string_view* unknown) {
  canary::Orders orders;
  if (const canary::BadWord bad = canary::parse_cmdline(cmdline, &orders); bad.length != 0) {
    *unknown = {bad.text, bad.length};
    return std::nullopt;
  }
  Script script;
  script.end = reason_of(orders.end);
  script.end_after_ms = orders.end_after_ms;
  script.hangs = orders.end == canary::End::kHang;
  script.ignores_power_button = orders.no_stop;
  return script;
}

}  // namespace volley
