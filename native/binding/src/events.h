// What the engine tells JavaScript: facts in the order in which they happened, taken in batches.
#ifndef VOLLEY_BINDING_EVENTS_H
#define VOLLEY_BINDING_EVENTS_H

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "result.h"
#include "volley_abi.h"

namespace volley {

/// Everything known about the end of a VMM; the conclusion is drawn in JavaScript, where it is easy to test.
struct ExitEvidence {
  /// From the page file; NONE when the VMM wrote no reason or the page is unreadable.
  uint32_t page_reason = VOLLEY_EXIT_NONE;
  uint64_t page_detail = 0;
  std::string page_message;
  /// siginfo si_code (CLD_EXITED, CLD_KILLED, ...) and si_status; absent for processes that are not our children.
  std::optional<int> status_code;
  int status = 0;
  /// This agent sent SIGKILL.
  bool kill_requested = false;
  /// The kernel's log names this process as a victim of the OOM killer.
  bool oom_killed = false;
  /// OOM kills on this host during the VMM's life that the kernel log does not attribute (to it or at all).
  bool oom_suspected = false;
  uint64_t at_ns = 0;
};

/// Answer to a launch or an adoption.
struct LaunchedEvent {
  uint32_t request;
  uint32_t handle;
  pid_t pid;
  std::string start_ticks;
  uint64_t booted_ns;  // not 0 when the guest had booted before the adoption
  std::string directory;
};
struct RefusedEvent {
  uint32_t request;
  Failure failure;
};
struct GoneEvent {
  uint32_t request;
  ExitEvidence evidence;
};
struct FoundEvent {
  uint32_t request;
  pid_t pid;  // 0 = none
  std::string start_ticks;
};
/// Answer to a preparation: a shell waits.
struct ShellEvent {
  uint32_t request;
  uint32_t handle;
  pid_t pid;
  uint32_t barriers;
};
/// A shell is for a clone of the snapshot that was named.
struct PrimedEvent {
  uint32_t request;
};
/// A shell ended without having been used.
struct ShellEndedEvent {
  uint32_t handle;
};
struct BootedEvent {
  uint32_t handle;
  uint64_t at_ns;
};
struct RepliedEvent {
  uint32_t handle;
  uint32_t request;
  int32_t status;
  uint64_t count;  // what the reply's payload says, as a number
  std::array<uint8_t, 96> payload;
};
/// The control connection is gone while answers were due; the process may still run.
struct DisconnectedEvent {
  uint32_t handle;
  std::string message;
};
struct ExitedEvent {
  uint32_t handle;
  ExitEvidence evidence;
};

using Event = std::variant<LaunchedEvent, ShellEvent, PrimedEvent, ShellEndedEvent, RefusedEvent, GoneEvent, FoundEvent,
                           BootedEvent, RepliedEvent, DisconnectedEvent, ExitedEvent>;

}  // namespace volley

#endif
