#pragma once

#include <cstdint>

#include "abi/volley_abi.h"

namespace volley {

// SIGSYS, SIGBUS, SIGSEGV, SIGILL, SIGFPE and SIGABRT leave a reason in the statistics page before the process ends
// with code 1, or end it with code 128 + signal while there is no page yet. What cannot even do that (a page file that
// went away) is concluded by the agent from the process's end.
void install_crash_handlers();
void report_crashes_to(volley_stats& stats);
// A peer that went away, a file that may not grow, a terminal that hung up: the call's errno says enough.
void ignore_harmless_signals();
// Gives the calling thread an own stack for those handlers, so that a stack overflow is reported too. 0 is the control
// thread, n + 1 vCPU n, kDeviceCrashStacks + n device loop n.
inline constexpr uint32_t kDeviceCrashStacks = VOLLEY_MAX_VCPUS + 1;
inline constexpr uint32_t kCrashStacks = kDeviceCrashStacks + VOLLEY_MAX_DEVICES + 1;
void use_crash_stack(uint32_t thread);

}  // namespace volley
