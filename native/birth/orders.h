// The agent's side of a VMM's birth: the orders with their descriptors, and the report. Shared by the binding, the
// tests and volley-run.
#ifndef VOLLEY_BIRTH_ORDERS_H
#define VOLLEY_BIRTH_ORDERS_H

#include <cstdint>
#include <span>

#include "abi/volley_abi.h"

namespace volley {

// A descriptor lent for the call.
struct PassedFd {
  uint16_t role;
  int fd;
};

// 0 or an errno: EINVAL for more than VOLLEY_ROLES_MAX descriptors, EPIPE when the VMM is gone. Magic number, version
// and roles are filled in.
int send_jail_order(int socket, volley_jail_order order, std::span<const PassedFd> namespaces);
int send_launch_order(int socket, std::span<const PassedFd> fds);
// With the descriptors of a snapshot, to a shell that is not primed; it reports.
int send_prime_order(int socket, std::span<const PassedFd> fds);
// Waits for the report. 0, ETIMEDOUT, EPIPE when the VMM ended without one, EPROTO when it said something else.
int receive_shell_report(int socket, int deadline_ms, volley_shell_report* report);

}  // namespace volley

#endif
