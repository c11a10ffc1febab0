#include "control/agent_link.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/clock.h"

namespace volley {
namespace {

// How many descriptors came with a packet. The first becomes `passed`, another one `second`, others are closed.
size_t take_descriptors(msghdr* header, UniqueFd* passed, UniqueFd* second) {
  const cmsghdr* part = CMSG_FIRSTHDR(header);
  if (part == nullptr || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) return 0;
  const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  for (size_t i = 0; i < count; ++i) {
    int fd;
    memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
    UniqueFd received(fd);
    if (i == 0) *passed = static_cast<UniqueFd&&>(received);
    if (i == 1 && second != nullptr) *second = static_cast<UniqueFd&&>(received);
  }
  return count;
}

}  // namespace

volley_message reply_to(uint32_t request_id, uint32_t command, int status) {
  return {.type = VOLLEY_REPLY,
          .request_id = request_id,
          .status = status,
          .argument = command,
          .time_ns = monotonic_ns(),
          .payload = {}};
}

bool AgentLink::may_command(int fd) const {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == 0 || peer.uid == agent_;
}

Status AgentLink::open() {
  int type = 0;
  socklen_t size = sizeof(type);
  if (getsockopt(socket_fd_, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
    return Status::system_error(errno, "descriptor %d is not a socket", socket_fd_);
  }
  int listening = 0;
  size = sizeof(listening);
  if (type != SOCK_SEQPACKET || getsockopt(socket_fd_, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 ||
      listening == 0) {
    return Status::error("descriptor %d is not a listening SOCK_SEQPACKET socket", socket_fd_);
  }
  const int flags = fcntl(socket_fd_, F_GETFL);
  if (flags < 0 || fcntl(socket_fd_, F_SETFL, flags | O_NONBLOCK) < 0) {
    return Status::system_error(errno, "cannot make the control socket non-blocking");
  }
  listening_fd_ = socket_fd_;
  return Status::ok();
}

bool AgentLink::accept_newest() {
  bool accepted = false;
  for (;;) {
    UniqueFd connection(accept4(listening_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!connection.is_open()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return accepted;
    }
    if (!may_command(connection.get())) continue;
    connection_ = static_cast<UniqueFd&&>(connection);
    accepted = true;
  }
}

AgentLink::Received AgentLink::receive(volley_message* message, UniqueFd* passed, UniqueFd* second) {
  passed->reset();
  if (second != nullptr) second->reset();
  const size_t wanted = second != nullptr ? 2 : 1;
  for (;;) {
    iovec part{message, sizeof(*message)};
    alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))];
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    const ssize_t got = recvmsg(connection_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return Received::kNothing;
    }
    if (got <= 0) {
      connection_.reset();
      return Received::kClosed;
    }
    const size_t descriptors = take_descriptors(&header, passed, second);
    // The kernel closes what is beyond two, and says so.
    if (descriptors > wanted || got != sizeof(*message) || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
      passed->reset();
      if (second != nullptr) second->reset();
      return Received::kMalformed;
    }
    return Received::kMessage;
  }
}

void AgentLink::close_incoming() {
  if (!connected()) return;
  shutdown(connection_.get(), SHUT_RD);
  volley_message ignored;
  while (recv(connection_.get(), &ignored, sizeof(ignored), MSG_DONTWAIT) > 0) {
  }
}

bool AgentLink::send(const volley_message& message) {
  if (!connected()) return false;
  for (;;) {
    if (::send(connection_.get(), &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return true;
    if (errno == EINTR) continue;
    connection_.reset();
    return false;
  }
}

void AgentLink::reply(const volley_message& command, int status, uint64_t count) {
  volley_message message = reply_to(command.request_id, command.type, status);
  message.payload.count = count;
  send(message);
}

void AgentLink::reply_why(uint32_t request_id, uint32_t command, const Status& why) {
  volley_message message = reply_to(request_id, command, why.detail() == 0 ? EIO : static_cast<int>(why.detail()));
  snprintf(message.payload.text, sizeof(message.payload.text), "%.*s",
           static_cast<int>(sizeof(message.payload.text) - 1), why.message());
  send(message);
}

void AgentLink::note_booted(uint64_t booted_ns) {
  volley_message message{};
  message.type = VOLLEY_NOTE_BOOTED;
  message.time_ns = booted_ns;
  send(message);
}

}  // namespace volley
