#include "birth/birth_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstddef>
#include <cstring>

namespace volley {
namespace {

template <typename Order>
Status check_header(const Order& order, uint64_t magic, const char* what) {
  if (order.magic != magic) return Status::error("the %s order has the magic number %#" PRIx64, what, order.magic);
  if (order.abi_version != VOLLEY_ABI_VERSION) {
    return Status::error("the %s order is of ABI version %u, this VMM speaks %u: start it with the agent it came with",
                         what, order.abi_version, VOLLEY_ABI_VERSION);
  }
  return Status::ok();
}

}  // namespace

bool BirthSocket::is_there() const {
  int type = 0;
  socklen_t size = sizeof(type);
  return getsockopt(fd_, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

BirthSocket::Received BirthSocket::receive(volley_jail_order* order, InheritedFds* fds, Status* why) {
  order->roles[0] = 0;
  const Received received = receive_packet(order, sizeof(*order), order->roles, fds, why);
  if (received != Received::kOrder) return received;
  *why = check_header(*order, VOLLEY_JAIL_MAGIC, "jail");
  if (why->is_ok() && order->fd_count != fds->count) {
    *why = Status::error("the jail order names %u descriptors, %u came", order->fd_count, fds->count);
  }
  return why->is_ok() ? Received::kOrder : Received::kBroken;
}

BirthSocket::Received BirthSocket::receive(volley_launch_order* order, Expected expected, InheritedFds* fds,
                                           Status* why) {
  const uint32_t before = fds->count;
  const Received received = receive_packet(order, sizeof(*order), order->roles, fds, why);
  if (received != Received::kOrder) return received;
  const bool primes = expected == Expected::kLaunchOrPrime && order->magic == VOLLEY_PRIME_MAGIC;
  *why = check_header(*order, primes ? VOLLEY_PRIME_MAGIC : VOLLEY_LAUNCH_MAGIC, primes ? "prime" : "launch");
  if (why->is_ok() && order->fd_count != fds->count - before) {
    *why = Status::error("the order names %u descriptors, %u came", order->fd_count, fds->count - before);
  }
  return why->is_ok() ? Received::kOrder : Received::kBroken;
}

BirthSocket::Received BirthSocket::receive_packet(void* order, size_t size, uint16_t* roles, InheritedFds* fds,
                                                  Status* why) {
  alignas(cmsghdr) uint8_t control[CMSG_SPACE(VOLLEY_ROLES_MAX * sizeof(int))];
  iovec part{order, size};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t got;
  do {
    got = recvmsg(fd_, &header, MSG_CMSG_CLOEXEC);
    // An agent that closed its end with our report unread shows as one reset, ahead of orders that it sent before.
  } while (got < 0 && (errno == EINTR || errno == ECONNRESET));
  if (got == 0) return Received::kAgentGone;
  if (got < 0) {
    *why = Status::system_error(errno, "cannot receive an order on descriptor %d", fd_);
    return Received::kBroken;
  }

  bool complete = got == static_cast<ssize_t>(size) && (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
  uint32_t index = 0;
  for (cmsghdr* message = CMSG_FIRSTHDR(&header); message != nullptr; message = CMSG_NXTHDR(&header, message)) {
    if (message->cmsg_level != SOL_SOCKET || message->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (message->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i, ++index) {
      int number;
      memcpy(&number, CMSG_DATA(message) + i * sizeof(int), sizeof(number));
      if (index < VOLLEY_ROLES_MAX && fds->add(roles[index], number)) continue;
      ::close(number);
      complete = false;
    }
  }
  if (complete) return Received::kOrder;
  *why = Status::error("an order of %zd bytes with %u descriptors is not whole, or names a role twice", got, index);
  return Received::kBroken;
}

void BirthSocket::report(const volley_shell_report& report) const {
  // The agent learns of a report that does not fit or does not arrive by our end.
  [[maybe_unused]] const ssize_t sent = send(fd_, &report, sizeof(report), MSG_NOSIGNAL | MSG_DONTWAIT);
}

uid_t BirthSocket::agent_uid() const {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return getsockopt(fd_, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.uid : static_cast<uid_t>(-1);
}

void BirthSocket::close() {
  ::close(fd_);
  fd_ = -1;
}

}  // namespace volley
