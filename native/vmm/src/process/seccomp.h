#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <span>

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

// False in builds with sanitizers, which make calls of their own: such a VMM reports that it has no such barrier.
bool seccomp_is_possible();

// Puts the whole process behind kShell, without new privileges from now on. Only single threaded.
Status begin_seccomp();

// Puts the calling thread behind the filter of its kind, for good. Does nothing unless begin_seccomp() was called.
Status enter_seccomp(ThreadKind kind);

// The filter of a kind, for those who want to look at it.
std::span<const sock_filter> seccomp_program(ThreadKind kind);

}  // namespace volley
