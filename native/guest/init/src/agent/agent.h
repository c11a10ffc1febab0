#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "config.h"

namespace volley {

// How a session asks its parent to end the guest: the signals by which busybox's poweroff and reboot ask PID 1.
inline constexpr int kPowerOffSignal = 12;  // SIGUSR2
inline constexpr int kRebootSignal = 15;    // SIGTERM

// Serves the host: one process for each connection, so that a session can wait for disks and be ended without touching
// others, and whatever breaks in one breaks there.
class Agent {
 public:
  enum class Machine { kGuest, kNone };

  // kNone: there is no machine around it, and clocks are left alone; for tests.
  Agent(const Config& config, Machine machine) : config_(config), machine_(machine) {}

  // Each returns 0 or an errno.
  int listen_on_vsock();
  int listen_on_unix(const std::string& path);

  int descriptor() const { return listener_.get(); }

  // The listener is readable: takes one connection.
  void accept_one();

  // A child ended; says whether it was one of ours.
  bool reaped(pid_t pid);

 private:
  [[noreturn]] void serve(UniqueFd connection);

  const Config& config_;
  Machine machine_;
  UniqueFd listener_;
  bool is_vsock_ = false;
  std::vector<pid_t> sessions_;
};

}  // namespace volley
