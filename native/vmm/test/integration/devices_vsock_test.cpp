// The vsock device through a canary.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>

#include "support/check.h"
#include "support/device_microvm.h"
#include "support/host_socket.h"

namespace volley::test {
namespace {

TEST(the_host_connects_and_bytes_come_back) {
  const HostSocket host;
  DeviceMicrovm microvm;
  const uint32_t vsock = microvm.vsock(host.listener());
  microvm.start("listen=1024");
  CHECK_CONTAINS(microvm.result("vsock"), "ok cid=3");
  const UniqueFd socket = host.connect("CONNECT 1024\n");
  CHECK_CONTAINS(read_line(socket.get()), "OK ");
  CHECK_EQ(send(socket.get(), "hello", 5, MSG_NOSIGNAL), 5);
  CHECK_EQ(read_bytes(socket.get(), 5), "hello");
  CHECK_EQ(microvm.stats(vsock).flushes, 1u);  // connections made
  microvm.stop();
}

// Much more than either side's buffers, both ways at once.
TEST(a_megabyte_comes_back_whole) {
  const HostSocket host;
  DeviceMicrovm microvm;
  const uint32_t vsock = microvm.vsock(host.listener());
  microvm.start("listen=1024");
  CHECK_CONTAINS(microvm.result("vsock"), "ok");
  const UniqueFd socket = host.connect("CONNECT 1024\n");
  CHECK_CONTAINS(read_line(socket.get()), "OK ");
  std::string data(1 << 20, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(disk_pattern(1, i));
  std::string back;
  size_t sent = 0;
  const uint64_t deadline = VmmProcess::now_ns() + 60'000'000'000;
  while (back.size() < data.size() && VmmProcess::now_ns() < deadline) {
    pollfd ready{socket.get(), static_cast<short>(POLLIN | (sent < data.size() ? POLLOUT : 0)), 0};
    if (poll(&ready, 1, 10'000) <= 0) break;
    if ((ready.revents & POLLOUT) != 0) {
      const ssize_t count = send(socket.get(), data.data() + sent, data.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count > 0) sent += static_cast<size_t>(count);
    }
    if ((ready.revents & POLLIN) != 0) {
      char part[65536];
      const ssize_t count = recv(socket.get(), part, sizeof part, MSG_DONTWAIT);
      if (count <= 0) break;
      back.append(part, static_cast<size_t>(count));
    }
  }
  CHECK_EQ(back.size(), data.size());
  CHECK(back == data);
  CHECK(microvm.stats(vsock).read_bytes >= data.size() && microvm.stats(vsock).write_bytes >= data.size());
  // The end of one side is the end of the other, after everything was said.
  shutdown(socket.get(), SHUT_WR);
  char byte;
  CHECK_EQ(recv(socket.get(), &byte, 1, 0), 0);
  microvm.stop();
}

TEST(several_connections_at_once_do_not_mix) {
  const HostSocket host;
  DeviceMicrovm microvm;
  microvm.vsock(host.listener());
  microvm.start("listen=5");
  CHECK_CONTAINS(microvm.result("vsock"), "ok");
  std::vector<UniqueFd> sockets;
  for (int i = 0; i < 6; ++i) {
    sockets.push_back(host.connect("CONNECT 5\n"));
    CHECK_CONTAINS(read_line(sockets.back().get()), "OK ");
  }
  for (size_t i = 0; i < sockets.size(); ++i) {
    const std::string data = "stream " + std::to_string(i);
    send(sockets[i].get(), data.data(), data.size(), MSG_NOSIGNAL);
  }
  for (size_t i = 0; i < sockets.size(); ++i) CHECK_EQ(read_bytes(sockets[i].get(), 8), "stream " + std::to_string(i));
  // Each that goes makes room for another.
  for (int i = 0; i < 20; ++i) {
    sockets[0] = host.connect("CONNECT 5\n");
    CHECK_CONTAINS(read_line(sockets[0].get()), "OK ");
  }
  microvm.stop();
}

TEST(a_port_where_nobody_listens_closes_the_connection) {
  const HostSocket host;
  DeviceMicrovm microvm;
  microvm.vsock(host.listener());
  microvm.start("listen=5");
  CHECK_CONTAINS(microvm.result("vsock"), "ok");
  for (const char* hello : {"CONNECT 6\n", "CONNECT\n", "CONNECT 99999999999\n", "GET / HTTP/1.1\r\n\r\n", "\n"}) {
    const UniqueFd socket = host.connect(hello);
    CHECK_EQ(read_line(socket.get()).find("OK"), std::string::npos);
  }
  // Nonsense from the host's side harms nobody.
  const UniqueFd socket = host.connect("CONNECT 5\n");
  CHECK_CONTAINS(read_line(socket.get()), "OK ");
  microvm.stop();
}

TEST(the_guest_connects_to_a_port_that_the_agent_answers) {
  const HostSocket host;
  DeviceMicrovm microvm;
  microvm.vsock(host.listener());
  microvm.start("connect=80,ping-of-the-guest");
  const std::optional<volley_message> question = microvm.vmm().await(VOLLEY_ASK_VSOCK);
  REQUIRE(question.has_value());
  CHECK_EQ(question->argument, 80u);
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const UniqueFd ours(ends[0]);
  {
    const UniqueFd theirs(ends[1]);
    volley_message answer{};
    answer.type = VOLLEY_CMD_VSOCK_ANSWER;
    answer.request_id = question->request_id;
    microvm.vmm().send(answer, theirs.get());
  }
  const std::string words = read_bytes(ours.get(), 17);
  CHECK_EQ(words, "ping-of-the-guest");
  CHECK_EQ(send(ours.get(), "answer-of-a-host!", 17, MSG_NOSIGNAL), 17);
  CHECK_CONTAINS(microvm.result("connect", 80), "ok answer=answer-of-a-host!");
  char byte;
  CHECK_EQ(recv(ours.get(), &byte, 1, 0), 0);  // the guest closed
  microvm.stop();
}

TEST(the_guest_is_refused_when_the_agent_says_so_or_says_nothing) {
  const HostSocket host;
  DeviceMicrovm microvm;
  microvm.vsock(host.listener());
  microvm.start("connect=81,x connect=82,y");
  const std::optional<volley_message> question = microvm.vmm().await(VOLLEY_ASK_VSOCK);
  REQUIRE(question.has_value() && question->argument == 81);
  volley_message answer{};
  answer.type = VOLLEY_CMD_VSOCK_ANSWER;
  answer.request_id = question->request_id;
  answer.status = ECONNREFUSED;
  microvm.vmm().send(answer);
  CHECK_CONTAINS(microvm.result("connect", 81), "error reason=refused");
  CHECK_CONTAINS(microvm.result("connect", 82), "error reason=refused");  // after 2 s without an answer
  // An answer that comes too late is for nobody.
  microvm.vmm().send(answer);
  microvm.stop();
}

TEST(without_an_agent_the_guest_is_refused_at_once) {
  const HostSocket host;
  DeviceMicrovm microvm;
  microvm.vsock(host.listener());
  microvm.options().flags = VOLLEY_FLAG_START_PAUSED;
  microvm.start("connect=81,x");
  CHECK_EQ(microvm.vmm().command(VOLLEY_CMD_RESUME), 0);
  microvm.vmm().use(UniqueFd());
  CHECK_CONTAINS(microvm.result("connect", 81), "error reason=refused");
  microvm.vmm().use(microvm.vmm().connect());
  microvm.stop();
}

}  // namespace
}  // namespace volley::test
