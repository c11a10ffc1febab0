#include "orders.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <ctime>

namespace volley {
namespace {

int send_order(int socket, void* order, size_t size, std::span<const PassedFd> fds) {
  alignas(cmsghdr) char control[CMSG_SPACE(VOLLEY_ROLES_MAX * sizeof(int))] = {};
  iovec part{order, size};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* message = CMSG_FIRSTHDR(&header);
    message->cmsg_level = SOL_SOCKET;
    message->cmsg_type = SCM_RIGHTS;
    message->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    for (size_t i = 0; i < fds.size(); ++i) {
      memcpy(CMSG_DATA(message) + i * sizeof(int), &fds[i].fd, sizeof(int));
    }
  }
  for (;;) {
    const ssize_t sent = sendmsg(socket, &header, MSG_NOSIGNAL);
    if (sent == static_cast<ssize_t>(size)) return 0;
    if (sent >= 0) return EMSGSIZE;
    if (errno != EINTR) return errno;
  }
}

template <typename Order>
int fill_and_send(int socket, Order& order, uint64_t magic, std::span<const PassedFd> fds) {
  if (fds.size() > VOLLEY_ROLES_MAX) return EINVAL;
  order.magic = magic;
  order.abi_version = VOLLEY_ABI_VERSION;
  order.fd_count = static_cast<uint32_t>(fds.size());
  memset(order.roles, 0, sizeof(order.roles));
  for (size_t i = 0; i < fds.size(); ++i) order.roles[i] = fds[i].role;
  return send_order(socket, &order, sizeof(order), fds);
}

int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

int send_jail_order(int socket, volley_jail_order order, std::span<const PassedFd> namespaces) {
  return fill_and_send(socket, order, VOLLEY_JAIL_MAGIC, namespaces);
}

int send_launch_order(int socket, std::span<const PassedFd> fds) {
  volley_launch_order order{};
  return fill_and_send(socket, order, VOLLEY_LAUNCH_MAGIC, fds);
}

int send_prime_order(int socket, std::span<const PassedFd> fds) {
  volley_launch_order order{};
  return fill_and_send(socket, order, VOLLEY_PRIME_MAGIC, fds);
}

int receive_shell_report(int socket, int deadline_ms, volley_shell_report* report) {
  const int64_t deadline = now_ms() + deadline_ms;
  for (;;) {
    pollfd ready{socket, POLLIN, 0};
    const int64_t left = deadline - now_ms();
    const int count = poll(&ready, 1, left > 0 ? static_cast<int>(left) : 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    if (count == 0) return ETIMEDOUT;
    const ssize_t got = recv(socket, report, sizeof(*report), MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got == 0 || (got < 0 && errno == ECONNRESET)) return EPIPE;
    if (got < 0) return errno;
    report->message[sizeof(report->message) - 1] = '\0';
    const bool sound = got == sizeof(*report) && report->magic == VOLLEY_SHELL_MAGIC;
    return sound && report->abi_version == VOLLEY_ABI_VERSION ? 0 : EPROTO;
  }
}

}  // namespace volley
