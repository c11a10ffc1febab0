#pragma once

#include <cstdint>

#include "base/status.h"

namespace volley {

// Which system calls a thread may make from now on; the lists are in process/seccomp_rules.h. Filters add up: a thread
// inherits those of the thread that made it, so kShell holds all that the others hold.
enum class ThreadKind : uint8_t {
  kShell,    // the main thread until the microVM runs: waits for the launch order, builds the machine, starts threads
  kControl,  // the main thread from then on
  kVcpu,
  kDeviceLoop,  // net, vsock, balloon, rng: never waits for a disk
  kDiskLoop,
};

// Puts the calling thread behind the filter of its kind, for good. Does nothing where the jail has no seccomp barrier
// (not ordered, or a build with sanitizers, which make calls of their own).
Status enter_seccomp(ThreadKind kind);

}  // namespace volley
