#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "abi/volley_abi.h"

namespace volley {

// What a command line has a canary do, as far as it shows from outside of the guest.
struct Script {
  // How it ends by itself; VOLLEY_EXIT_NONE: it does not.
  volley_exit_reason end = VOLLEY_EXIT_NONE;
  // From its boot on.
  uint64_t end_after_ms = 0;
  // What it does instead of an end: it hears nothing any more.
  bool hangs = false;
  bool ignores_power_button = false;
};

// Understands what the canary with drivers understands. Nothing: some word is none of the canary's, which panics over
// it before it has booted; *unknown is that word then.
std::optional<Script> read_script(const char* cmdline, std::string_view* unknown);

}  // namespace volley
