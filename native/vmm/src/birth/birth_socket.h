#pragma once

#include <sys/types.h>

#include "abi/volley_abi.h"
#include "base/status.h"
#include "birth/inherited_fds.h"

namespace volley {

// Our end of the socket that a VMM is born with: orders with descriptors in, reports out.
class BirthSocket {
 public:
  enum class Received { kOrder, kAgentGone, kBroken };

  explicit BirthSocket(int fd) : fd_(fd) {}

  // False when the process was not started by an agent, but by hand.
  bool is_there() const;
  // Waits for the order, for ever if need be: a shell has nothing else to do. kBroken comes with a reason.
  Received receive(volley_jail_order* order, InheritedFds* fds, Status* why);
  // An order to launch or, if one may come, to prime: its magic number tells. Its descriptors join those in `fds`.
  enum class Expected { kLaunch, kLaunchOrPrime };
  Received receive(volley_launch_order* order, Expected expected, InheritedFds* fds, Status* why);
  void report(const volley_shell_report& report) const;
  // The agent's user as our user namespace has it; -1 when it cannot be known.
  uid_t agent_uid() const;
  void close();

 private:
  Received receive_packet(void* order, size_t size, uint16_t* roles, InheritedFds* fds, Status* why);

  int fd_;
};

}  // namespace volley
