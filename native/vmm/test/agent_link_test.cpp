#include "control/agent_link.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "support/check.h"

namespace volley {
namespace {

constexpr uid_t kNobody = 65534;

struct Listener {
  UniqueFd fd{socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  socklen_t length = sizeof(address);

  Listener() {
    address.sun_family = AF_UNIX;
    bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address.sun_family));
    listen(fd.get(), 8);
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
  }
  UniqueFd connect() const {
    UniqueFd client(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    ::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), length);
    return client;
  }
};

volley_message ping(uint32_t id) {
  volley_message message{};
  message.type = VOLLEY_CMD_PING;
  message.request_id = id;
  return message;
}

TEST(only_listening_seqpacket_sockets_will_do) {
  Listener listener;
  CHECK(AgentLink(listener.fd.get(), geteuid()).open().is_ok());
  const UniqueFd idle(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  CHECK_CONTAINS(AgentLink(idle.get(), geteuid()).open().message(), "not a listening");
  const UniqueFd stream(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK_CONTAINS(AgentLink(stream.get(), geteuid()).open().message(), "not a listening");
  const UniqueFd file(open("/dev/null", O_RDWR | O_CLOEXEC));
  CHECK_CONTAINS(AgentLink(file.get(), geteuid()).open().message(), "is not a socket");
}

TEST(messages_come_whole_and_malformed_ones_are_told_apart) {
  Listener listener;
  AgentLink link(listener.fd.get(), geteuid());
  REQUIRE(link.open().is_ok());
  CHECK(!link.accept_newest());
  const UniqueFd client = listener.connect();
  REQUIRE(link.accept_newest());
  volley_message message{};
  UniqueFd passed;
  CHECK(link.receive(&message, &passed) == AgentLink::Received::kNothing);
  const volley_message sent = ping(42);
  send(client.get(), &sent, sizeof(sent), 0);
  CHECK(link.receive(&message, &passed) == AgentLink::Received::kMessage);
  CHECK_EQ(message.request_id, 42u);
  send(client.get(), &sent, sizeof(sent) - 1, 0);
  CHECK(link.receive(&message, &passed) == AgentLink::Received::kMalformed);
  const uint8_t long_packet[sizeof(volley_message) + 1] = {};
  send(client.get(), long_packet, sizeof(long_packet), 0);
  CHECK(link.receive(&message, &passed) == AgentLink::Received::kMalformed);
  CHECK(link.receive(&message, &passed) == AgentLink::Received::kNothing);
}

// Sends `message` with the same descriptor `count` times.
void send_with(int socket, const volley_message& message, int fd, size_t count) {
  volley_message copy = message;
  iovec part{&copy, sizeof(copy)};
  alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = CMSG_SPACE(count * sizeof(int));
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(count * sizeof(int));
  const int fds[4] = {fd, fd, fd, fd};
  memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
  CHECK_EQ(sendmsg(socket, &header, 0), static_cast<ssize_t>(sizeof(copy)));
}

// The write end of a pipe is gone once nobody holds it any more.
bool is_held(int read_end) {
  pollfd state{read_end, POLLIN, 0};
  poll(&state, 1, 0);
  return (state.revents & POLLHUP) == 0;
}

TEST(one_descriptor_may_come_with_a_message_and_none_is_lost) {
  Listener listener;
  AgentLink link(listener.fd.get(), geteuid());
  REQUIRE(link.open().is_ok());
  const UniqueFd client = listener.connect();
  REQUIRE(link.accept_newest());
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  send_with(client.get(), ping(1), write_end.get(), 1);
  send_with(client.get(), ping(2), write_end.get(), 3);
  write_end.reset();

  volley_message message{};
  UniqueFd passed;
  CHECK(link.receive(&message, &passed) == AgentLink::Received::kMessage);
  CHECK(passed.is_open());
  CHECK_EQ(fcntl(passed.get(), F_GETFD), FD_CLOEXEC);
  CHECK(link.receive(&message, &passed) == AgentLink::Received::kMalformed);
  CHECK(!passed.is_open());
  CHECK(!is_held(read_end.get()));
}

TEST(the_newest_connection_wins) {
  Listener listener;
  AgentLink link(listener.fd.get(), geteuid());
  REQUIRE(link.open().is_ok());
  const UniqueFd first = listener.connect();
  REQUIRE(link.accept_newest());
  const UniqueFd second = listener.connect();
  const UniqueFd third = listener.connect();
  REQUIRE(link.accept_newest());
  char byte;
  CHECK_EQ(recv(first.get(), &byte, 1, 0), 0);
  CHECK_EQ(recv(second.get(), &byte, 1, 0), 0);
  link.send(ping(7));
  volley_message message{};
  CHECK_EQ(recv(third.get(), &message, sizeof(message), 0), static_cast<ssize_t>(sizeof(message)));
  CHECK_EQ(message.request_id, 7u);
}

TEST(a_closed_connection_is_forgotten) {
  Listener listener;
  AgentLink link(listener.fd.get(), geteuid());
  REQUIRE(link.open().is_ok());
  {
    const UniqueFd client = listener.connect();
    REQUIRE(link.accept_newest());
  }
  volley_message message{};
  UniqueFd passed;
  CHECK(link.receive(&message, &passed) == AgentLink::Received::kClosed);
  CHECK(!link.connected());
  link.send(ping(1));  // to nobody
}

TEST(an_agent_that_does_not_read_is_dropped) {
  Listener listener;
  AgentLink link(listener.fd.get(), geteuid());
  REQUIRE(link.open().is_ok());
  const UniqueFd client = listener.connect();
  REQUIRE(link.accept_newest());
  for (uint32_t i = 0; i < 100'000 && link.connected(); ++i) link.send(ping(i));
  CHECK(!link.connected());
}

TEST(other_users_are_turned_away) {
  if (geteuid() != 0) {
    fprintf(stderr, "SKIPPED other_users_are_turned_away: needs root to become another user\n");
    return;
  }
  Listener listener;
  AgentLink link(listener.fd.get(), geteuid());
  REQUIRE(link.open().is_ok());
  const UniqueFd own = listener.connect();
  REQUIRE(link.accept_newest());
  const pid_t child = fork();
  if (child == 0) {
    if (setuid(kNobody) != 0) _exit(2);
    const UniqueFd foreign = listener.connect();
    pollfd closed{foreign.get(), POLLIN, 0};
    char byte;
    _exit(poll(&closed, 1, 5'000) == 1 && recv(foreign.get(), &byte, 1, 0) <= 0 ? 0 : 1);
  }
  pollfd waiting{listener.fd.get(), POLLIN, 0};
  REQUIRE(poll(&waiting, 1, 5'000) == 1);
  CHECK(!link.accept_newest());
  CHECK(link.connected());
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 0);
}

TEST(last_words_arrive_though_commands_were_not_read) {
  Listener listener;
  const UniqueFd client = listener.connect();
  {
    AgentLink link(listener.fd.get(), geteuid());
    REQUIRE(link.open().is_ok());
    REQUIRE(link.accept_newest());
    const volley_message command = ping(1);
    for (int i = 0; i < 3; ++i) send(client.get(), &command, sizeof(command), 0);
    link.close_incoming();
    CHECK(send(client.get(), &command, sizeof(command), MSG_NOSIGNAL) < 0);
    link.send(ping(99));
  }
  volley_message message{};
  CHECK_EQ(recv(client.get(), &message, sizeof(message), 0), static_cast<ssize_t>(sizeof(message)));
  CHECK_EQ(message.request_id, 99u);
}

TEST(before_open_and_after_stop_nobody_is_accepted) {
  Listener listener;
  AgentLink link(listener.fd.get(), geteuid());
  const UniqueFd client = listener.connect();
  CHECK(!link.accept_newest());  // and does not block
  REQUIRE(link.open().is_ok());
  link.stop_listening();
  CHECK(!link.accept_newest());
  CHECK(!link.connected());
}

}  // namespace
}  // namespace volley
