#include "vsock/vsock_device.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <map>
#include <random>
#include <thread>

#include "support/device_bench.h"

namespace volley {
namespace {

using Bench = test::DeviceBench<VsockDevice>;

constexpr uint32_t kToGuest = 0;
constexpr uint32_t kFromGuest = 1;
constexpr uint64_t kCid = 42;
constexpr uint32_t kGuestBuffer = 32768;  // room that the test's guest announces
constexpr uint32_t kBufferBytes = 4096;

struct Packet {
  VsockHeader header{};
  std::string data;
  VsockOp op() const { return VsockOp{header.op}; }
  bool is(VsockOp what) const { return op() == what; }
};

volley_device vsock() {
  volley_device config{};
  config.type = VOLLEY_DEVICE_VSOCK;
  config.guest_cid = kCid;
  return config;
}

struct Listener {
  Listener() {
    address.sun_family = AF_UNIX;
    fd.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address.sun_family));  // a name that nobody chose
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
    if (listen(fd.get(), 2000) != 0) abort();
  }
  UniqueFd connect() const {
    UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) abort();
    return client;
  }
  UniqueFd fd;
  sockaddr_un address{};
  socklen_t length = sizeof(address);
};

// The host's side of one connection.
struct Host {
  explicit Host(UniqueFd socket) : fd(static_cast<UniqueFd&&>(socket)) {}
  void say(const std::string& text) {
    if (::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size())) {
      check::report(__FILE__, __LINE__, "the host could not send");
    }
  }
  // Up to `bytes`; less at the end of the stream or after a minute of silence.
  std::string hear(size_t bytes) {
    std::string all;
    while (all.size() < bytes) {
      pollfd watched{fd.get(), POLLIN, 0};
      if (poll(&watched, 1, 60'000) != 1) break;
      std::string part(bytes - all.size(), '\0');
      const ssize_t got = recv(fd.get(), part.data(), part.size(), 0);
      if (got <= 0) break;
      all += part.substr(0, static_cast<size_t>(got));
    }
    return all;
  }
  bool ended() {
    pollfd watched{fd.get(), POLLIN, 0};
    char byte;
    return poll(&watched, 1, 60'000) == 1 && recv(fd.get(), &byte, 1, 0) <= 0;
  }
  bool is_silent() {
    char byte;
    return recv(fd.get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }
  UniqueFd fd;
};

// The device with a guest that follows the rules as far as a test does.
struct Guest {
  Guest() : bench(Bench::make()) {
    if (!bench.fds.add(VOLLEY_ROLE_VSOCK, listener.fd.get())) abort();
    if (!bench.open(vsock()).is_ok()) abort();
  }
  ~Guest() { bench.reset(); }
  void activate(size_t buffers = 64) {
    bench.free_all();
    bench.activate(1ull << 32, 3);
    give(buffers);
  }
  void give(size_t count, uint32_t bytes = kBufferBytes) {
    for (size_t i = 0; i < count; ++i) {
      const uint64_t at = bench.allocate(bytes);
      buffers_[bench.queues[kToGuest]->add({{at, bytes, true}})] = {at, bytes};
    }
    bench.kick(kToGuest);
  }
  // The next packet, and its buffer is offered again. Nothing after 20 s.
  Packet take(bool again = true) {
    test::DriverQueue& queue = *bench.queues[kToGuest];
    Packet packet;
    if (!bench.await([&] { return queue.has_used(); })) {
      check::report(__FILE__, __LINE__, "no packet came");
      return packet;
    }
    const test::DriverQueue::Used used = *queue.reap();
    const auto [at, bytes] = buffers_[static_cast<uint16_t>(used.head)];
    const std::string content = bench.read(at, used.length);
    memcpy(&packet.header, content.data(), std::min(content.size(), sizeof(packet.header)));
    packet.data = content.size() > sizeof(packet.header) ? content.substr(sizeof(packet.header)) : "";
    if (packet.header.source_cid != 2 || packet.header.destination_cid != kCid ||
        packet.header.length != packet.data.size()) {
      check::report(__FILE__, __LINE__, "a packet with a wrong header");
    }
    if (again) {
      buffers_[queue.add({{at, bytes, true}})] = {at, bytes};
      bench.kick(kToGuest);
    }
    return packet;
  }
  bool is_silent() {
    bench.settle();
    return !bench.queues[kToGuest]->has_used();
  }
  VsockHeader header(VsockPorts ports, VsockOp op, uint32_t length = 0, uint32_t flags = 0) const {
    return {.source_cid = kCid,
            .destination_cid = 2,
            .source_port = ports.guest,
            .destination_port = ports.host,
            .length = length,
            .type = kVsockStream,
            .op = static_cast<uint16_t>(op),
            .flags = flags,
            .buffer_bytes = kGuestBuffer,
            .forwarded_bytes = forwarded};
  }
  void send(VsockPorts ports, VsockOp op, uint32_t flags = 0) { send(header(ports, op, 0, flags), ""); }
  void send_data(VsockPorts ports, const std::string& data) {
    send(header(ports, VsockOp::kData, static_cast<uint32_t>(data.size())), data);
  }
  void send(const VsockHeader& header, const std::string& data) {
    offer(header, data);
    bench.kick(kFromGuest);
    test::DriverQueue& queue = *bench.queues[kFromGuest];
    CHECK(bench.await([&] { return queue.has_used(); }));
    queue.reap();
  }
  void offer(const VsockHeader& header, const std::string& data) {
    if (outgoing_ == 0 || outgoing_used_ + sizeof(header) + data.size() > kOutgoing) {
      if (outgoing_ == 0) outgoing_ = bench.allocate(kOutgoing);
      outgoing_used_ = 0;
    }
    const uint64_t at = outgoing_ + outgoing_used_;
    outgoing_used_ += sizeof(header) + data.size();
    bench.write(at, &header, sizeof(header));
    bench.write(at + sizeof(header), data.data(), data.size());
    std::vector<GuestDriver::Piece> pieces{{at, sizeof(header), false}};
    if (!data.empty()) pieces.push_back({at + sizeof(header), static_cast<uint32_t>(data.size()), false});
    bench.queues[kFromGuest]->add(pieces);
  }
  // A connection that the host began, up to its OK.
  std::pair<Host, VsockPorts> connected(uint32_t port = 1024) {
    Host host(listener.connect());
    host.say("CONNECT " + std::to_string(port) + "\n");
    const Packet request = take();
    CHECK(request.is(VsockOp::kRequest));
    CHECK_EQ(request.header.destination_port, port);
    const VsockPorts ports{request.header.source_port, port};
    send(ports, VsockOp::kResponse);
    const std::string ok = "OK " + std::to_string(ports.host) + "\n";
    CHECK_EQ(host.hear(ok.size()), ok);
    return {static_cast<Host&&>(host), ports};
  }
  // The guest asks for a connection; the question that the agent got.
  volley_message asked(VsockPorts ports) {
    const size_t before = bench.agent.questions().size();
    send(ports, VsockOp::kRequest);
    CHECK(bench.await([&] { return bench.agent.questions().size() == before + 1; }));
    const volley_message question = bench.agent.questions().back();
    CHECK_EQ(question.type, uint32_t{VOLLEY_ASK_VSOCK});
    CHECK_EQ(question.argument, ports.host);
    return question;
  }
  int answer(const volley_message& question, int32_t status, UniqueFd socket) {
    volley_message message{};
    message.type = VOLLEY_CMD_VSOCK_ANSWER;
    message.request_id = question.request_id;
    message.status = status;
    int result = -1;
    bench.run([&] { result = bench.device->command(message, socket); });
    return result;
  }
  const volley_device_stats& counters() const { return bench.counters(); }

  Listener listener;
  Bench& bench;
  uint32_t forwarded = 0;

 private:
  static constexpr uint64_t kOutgoing = 1 << 20;
  std::map<uint16_t, std::pair<uint64_t, uint32_t>> buffers_;
  uint64_t outgoing_ = 0;
  uint64_t outgoing_used_ = 0;
};

std::pair<UniqueFd, Host> socket_pair() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) abort();
  return {UniqueFd(pair[0]), Host(UniqueFd(pair[1]))};
}

TEST(only_a_listening_stream_socket_and_a_guests_cid_will_do) {
  Bench& none = Bench::make();
  CHECK_CONTAINS(none.open(vsock()).message(), "was not passed");
  Bench& wrong = Bench::make();
  const UniqueFd idle(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(wrong.fds.add(VOLLEY_ROLE_VSOCK, idle.get()));
  CHECK_CONTAINS(wrong.open(vsock()).message(), "was not passed");
  Bench& host = Bench::make();
  Listener listener;
  CHECK(host.fds.add(VOLLEY_ROLE_VSOCK, listener.fd.get()));
  volley_device config = vsock();
  config.guest_cid = 2;
  CHECK_CONTAINS(host.open(config).message(), "3 or more");
  Guest guest;
  uint64_t cid = 0;
  guest.bench.device->read_config(0, {reinterpret_cast<uint8_t*>(&cid), sizeof(cid)});
  CHECK_EQ(cid, kCid);
}

TEST(the_host_connects_and_both_talk) {
  Guest guest;
  guest.activate();
  auto [host, ports] = guest.connected();
  host.say("hello guest");
  Packet packet = guest.take();
  CHECK(packet.is(VsockOp::kData));
  CHECK_EQ(packet.data, "hello guest");
  guest.send_data(ports, "hello host");
  CHECK_EQ(host.hear(10), "hello host");
  CHECK_EQ(guest.counters().flushes, 1u);
  CHECK_EQ(guest.counters().reads, 1u);
  CHECK_EQ(guest.counters().read_bytes, 11u);
  CHECK_EQ(guest.counters().writes, 1u);
  CHECK_EQ(guest.counters().write_bytes, 10u);
  CHECK_EQ(guest.counters().errors, 0u);
}

TEST(a_host_that_comes_before_the_driver_waits) {
  Guest guest;
  Host host(guest.listener.connect());
  host.say("CONNECT 1024\n");
  guest.bench.settle();
  guest.activate();
  CHECK(guest.take().is(VsockOp::kRequest));
}

TEST(what_follows_the_connect_line_is_for_the_guest) {
  Guest guest;
  guest.activate();
  Host host(guest.listener.connect());
  host.say("CONN");
  guest.bench.settle();
  host.say("ECT 7\nfirst words");
  const Packet request = guest.take();
  REQUIRE(request.is(VsockOp::kRequest));
  CHECK_EQ(request.header.destination_port, 7u);
  const VsockPorts ports{request.header.source_port, 7};
  CHECK(guest.is_silent());
  guest.send(ports, VsockOp::kResponse);
  CHECK_EQ(guest.take().data, "first words");
}

TEST(wrong_first_lines_and_refusals_end_the_connection) {
  Guest guest;
  guest.activate();
  Host rude(guest.listener.connect());
  rude.say("GET / HTTP/1.1\r\n");
  CHECK(rude.ended());
  CHECK_EQ(guest.counters().errors, 1u);
  Host refused(guest.listener.connect());
  refused.say("CONNECT 9\n");
  const Packet request = guest.take();
  guest.send({request.header.source_port, 9}, VsockOp::kReset);
  CHECK(refused.ended());
  { Host gone(guest.listener.connect()); }
  CHECK(guest.is_silent());
}

TEST(the_guest_connects_through_the_agent) {
  Guest guest;
  guest.activate();
  const VsockPorts ports{80, 5000};
  const volley_message question = guest.asked(ports);
  CHECK(guest.is_silent());
  auto [socket, host] = socket_pair();
  CHECK_EQ(guest.answer(question, 0, static_cast<UniqueFd&&>(socket)), 0);
  const Packet response = guest.take();
  CHECK(response.is(VsockOp::kResponse));
  CHECK_EQ(response.header.source_port, 80u);
  CHECK_EQ(response.header.destination_port, 5000u);
  CHECK_EQ(response.header.buffer_bytes, kVsockBufferBytes);
  guest.send_data(ports, "GET / HTTP/1.1\r\n\r\n");
  CHECK_EQ(host.hear(18), "GET / HTTP/1.1\r\n\r\n");
  host.say("HTTP/1.1 200 OK\r\n");
  CHECK_EQ(guest.take().data, "HTTP/1.1 200 OK\r\n");
  CHECK_EQ(guest.counters().flushes, 1u);
}

TEST(a_guest_that_may_not_connect_is_reset) {
  Guest guest;
  guest.activate();
  const VsockPorts ports{81, 5000};
  volley_message question = guest.asked(ports);
  CHECK_EQ(guest.answer(question, ECONNREFUSED, UniqueFd()), 0);
  Packet reset = guest.take();
  CHECK(reset.is(VsockOp::kReset));
  CHECK_EQ(reset.header.source_port, 81u);
  // An answer without a socket, one that comes twice, and one to nobody.
  question = guest.asked(ports);
  CHECK_EQ(guest.answer(question, 0, UniqueFd()), 0);
  CHECK(guest.take().is(VsockOp::kReset));
  auto [socket, host] = socket_pair();
  CHECK_EQ(guest.answer(question, 0, static_cast<UniqueFd&&>(socket)), ENOENT);
  question.request_id = ~0u;
  CHECK_EQ(guest.answer(question, 0, UniqueFd()), ENOENT);
  // Nobody to ask.
  guest.bench.agent.deaf = true;
  guest.send(ports, VsockOp::kRequest);
  CHECK(guest.take().is(VsockOp::kReset));
  // The guest gives up while it waits.
  guest.bench.agent.deaf = false;
  question = guest.asked(ports);
  guest.send(ports, VsockOp::kReset);
  auto [late, other] = socket_pair();
  CHECK_EQ(guest.answer(question, 0, static_cast<UniqueFd&&>(late)), ENOENT);
  CHECK(guest.is_silent());
}

// Three waits of 2 s at once, for the first line, for the agent and for the guest's last word; and one of 10 s for the
// guest.
TEST(who_does_not_answer_in_time_is_refused) {
  Guest guest;
  guest.activate();
  auto [open, open_ports] = guest.connected(1);
  const uint64_t begun = monotonic_ns();
  Host speechless(guest.listener.connect());
  speechless.say("CONNECT ");
  Host unheard(guest.listener.connect());
  unheard.say("CONNECT 3\n");
  CHECK(guest.take().is(VsockOp::kRequest));
  guest.asked({82, 5000});
  open.fd.reset();
  const Packet shutdown = guest.take();
  CHECK(shutdown.is(VsockOp::kShutdown));
  CHECK_EQ(shutdown.header.flags, kVsockNothing);
  CHECK(speechless.ended());
  std::map<uint32_t, int> resets;
  for (int i = 0; i < 2; ++i) {
    const Packet packet = guest.take();
    CHECK(packet.is(VsockOp::kReset));
    ++resets[packet.header.destination_port];
  }
  CHECK_EQ(resets[1] + resets[5000], 2);
  CHECK(monotonic_ns() - begun >= 1'900'000'000);
  CHECK(unheard.ended());
  CHECK(monotonic_ns() - begun >= 9'900'000'000);
  const Packet reset = guest.take();
  CHECK(reset.is(VsockOp::kReset));
  CHECK_EQ(reset.header.destination_port, 3u);
  CHECK(guest.is_silent());
}

TEST(time_does_not_run_while_paused) {
  Guest guest;
  guest.activate();
  const volley_message question = guest.asked({82, 5000});
  REQUIRE(guest.bench.loop.pause(monotonic_ns() + 10'000'000'000));
  usleep(3'000'000);
  const volley_device_stats before = guest.counters();
  auto [socket, host] = socket_pair();
  CHECK_EQ(guest.answer(question, 0, static_cast<UniqueFd&&>(socket)), 0);
  guest.bench.settle();
  CHECK(!guest.bench.queues[kToGuest]->has_used());  // the agent may answer, but nothing moves
  CHECK_EQ(before.reads, guest.counters().reads);
  guest.bench.loop.resume();
  CHECK(guest.take().is(VsockOp::kResponse));

  const VsockPorts other{83, 5001};
  const volley_message second = guest.asked(other);
  REQUIRE(guest.bench.loop.pause(monotonic_ns() + 10'000'000'000));
  usleep(3'000'000);
  guest.bench.loop.resume();
  CHECK(guest.is_silent());
  auto [again, host_again] = socket_pair();
  CHECK_EQ(guest.answer(second, 0, static_cast<UniqueFd&&>(again)), 0);
  CHECK(guest.take().is(VsockOp::kResponse));
}

TEST(halves_close_on_their_own) {
  Guest guest;
  guest.activate();
  auto [host, ports] = guest.connected();
  // The host has said all, and listens.
  host.say("question");
  shutdown(host.fd.get(), SHUT_WR);
  CHECK_EQ(guest.take().data, "question");
  const Packet half = guest.take();
  CHECK(half.is(VsockOp::kShutdown));
  CHECK_EQ(half.header.flags, kVsockNoSend);
  guest.send_data(ports, "answer");
  guest.send(ports, VsockOp::kShutdown, kVsockNoSend);
  CHECK_EQ(host.hear(100), "answer");  // up to the end of the stream
  host.fd.reset();
  const Packet whole = guest.take();
  CHECK(whole.is(VsockOp::kShutdown));
  CHECK_EQ(whole.header.flags, kVsockNothing);
  guest.send(ports, VsockOp::kReset);
  CHECK(guest.is_silent());
  CHECK_EQ(guest.counters().errors, 0u);
}

TEST(a_guest_that_says_all_can_still_listen) {
  Guest guest;
  guest.activate();
  auto [host, ports] = guest.connected();
  guest.send_data(ports, "last words");
  guest.send(ports, VsockOp::kShutdown, kVsockNoSend);
  CHECK_EQ(host.hear(100), "last words");
  host.say("reply");
  CHECK_EQ(guest.take().data, "reply");
  guest.send(ports, VsockOp::kShutdown, kVsockNoReceive);
  CHECK(guest.take().is(VsockOp::kReset));
  CHECK_EQ(guest.counters().errors, 0u);
}

TEST(a_guest_that_does_not_listen_is_not_talked_to) {
  Guest guest;
  guest.activate();
  auto [host, ports] = guest.connected();
  guest.send(ports, VsockOp::kShutdown, kVsockNoReceive);
  char byte = 'x';
  CHECK(::send(host.fd.get(), &byte, 1, MSG_NOSIGNAL) < 0);
  CHECK_EQ(errno, EPIPE);
  guest.send_data(ports, "still here");
  CHECK_EQ(host.hear(10), "still here");
}

TEST(the_host_gets_all_of_what_a_closed_guest_sent) {
  for (const bool reset : {false, true}) {
    Guest guest;
    guest.activate();
    auto [host, ports] = guest.connected();
    // The host reads nothing: its socket fills up, then our buffer, until there is no credit left.
    std::string sent;
    uint32_t told = 0;
    std::minstd_rand random(7);
    for (;;) {
      while (guest.bench.queues[kToGuest]->has_used()) told = guest.take().header.forwarded_bytes;
      const size_t room = kVsockBufferBytes - (sent.size() - told);
      if (room == 0) break;
      std::string part(std::min<size_t>(room, 4000), '\0');
      for (char& c : part) c = static_cast<char>(random());
      guest.send_data(ports, part);
      sent += part;
      guest.bench.settle();
    }
    CHECK(sent.size() > 2 * kVsockBufferBytes);
    if (reset) {
      guest.send(ports, VsockOp::kReset);
    } else {
      guest.send(ports, VsockOp::kShutdown, kVsockNothing);
      Packet packet = guest.take();
      while (packet.is(VsockOp::kCreditUpdate)) packet = guest.take();
      CHECK(packet.is(VsockOp::kReset));
    }
    CHECK(host.hear(sent.size()) == sent);
    CHECK(host.ended());
    CHECK_EQ(guest.counters().errors, 0u);
  }
}

TEST(the_guests_credit_is_kept) {
  Guest guest;
  guest.activate();
  auto [host, ports] = guest.connected();
  const std::string data(kGuestBuffer + 5000, 'd');
  std::thread writer([&host = host, &data] { host.say(data); });
  std::string got;
  while (got.size() < kGuestBuffer) got += guest.take().data;
  CHECK_EQ(got.size(), kGuestBuffer);
  CHECK(guest.take().is(VsockOp::kCreditRequest));
  CHECK(guest.is_silent());
  guest.send(ports, VsockOp::kCreditUpdate);  // still none
  CHECK(guest.is_silent());
  guest.forwarded = kGuestBuffer;
  guest.send(ports, VsockOp::kCreditUpdate);
  while (got.size() < data.size()) got += guest.take().data;
  CHECK(got == data);
  writer.join();
}

TEST(the_guest_learns_of_room_that_came_free) {
  Guest guest;
  guest.activate();
  auto [host, ports] = guest.connected();
  uint32_t told = 0;
  uint32_t sent = 0;
  std::string received;
  std::thread reader([&host = host, &received] { received = host.hear(1'000'000); });
  while (sent < 1'000'000) {
    while (sent - told + 10'000 > kVsockBufferBytes) {
      const Packet packet = guest.take();
      CHECK(packet.is(VsockOp::kCreditUpdate));
      told = packet.header.forwarded_bytes;
    }
    guest.send_data(ports, std::string(10'000, static_cast<char>('a' + sent / 10'000 % 26)));
    sent += 10'000;
  }
  reader.join();
  CHECK_EQ(received.size(), 1'000'000u);
  for (size_t i = 0; i < received.size(); i += 10'000) CHECK_EQ(received[i], static_cast<char>('a' + i / 10'000 % 26));
  while (guest.bench.queues[kToGuest]->has_used()) guest.take();
  guest.send(ports, VsockOp::kCreditRequest);
  CHECK_EQ(guest.take().header.forwarded_bytes, 1'000'000u);
}

TEST(data_beyond_the_credit_is_a_violation) {
  Guest guest;
  guest.activate();
  auto [host, ports] = guest.connected();
  // The host reads nothing: its socket and then our buffer fill up.
  uint32_t told = 0;
  uint32_t sent = 0;
  for (;;) {
    while (guest.bench.queues[kToGuest]->has_used()) told = guest.take().header.forwarded_bytes;
    if (sent - told == kVsockBufferBytes) break;
    const uint32_t part = std::min<uint32_t>(8192, kVsockBufferBytes - (sent - told));
    guest.send_data(ports, std::string(part, 'f'));
    sent += part;
    guest.bench.settle();
  }
  CHECK_EQ(guest.counters().errors, 0u);
  guest.send(ports, VsockOp::kCreditRequest);
  told = guest.take().header.forwarded_bytes;
  std::string rest(kVsockBufferBytes - (sent - told), 'f');
  guest.send_data(ports, rest);
  guest.send_data(ports, "!");
  CHECK(guest.take().is(VsockOp::kReset));
  CHECK_EQ(guest.counters().errors, 1u);
}

TEST(connections_are_served_in_turn) {
  constexpr int kBuffers = 4;
  Guest guest;
  guest.activate(kBuffers);
  auto [a, a_ports] = guest.connected(1);
  auto [b, b_ports] = guest.connected(2);
  auto [c, c_ports] = guest.connected(3);
  REQUIRE(guest.bench.loop.pause(monotonic_ns() + 10'000'000'000));
  for (Host* host : {&a, &b, &c}) host->say(std::string(48'000, 'x'));
  guest.bench.loop.resume();
  guest.bench.settle();
  // Who comes first finds the buffers free, and gets some more until the loop has heard of all; from then on they take
  // turns.
  for (int i = 0; i < 2 * kBuffers; ++i) guest.take();
  std::map<uint32_t, int> seen;
  for (int i = 0; i < 9; ++i) {
    ++seen[guest.take().header.destination_port];
    CHECK(std::abs(seen[1] - seen[2]) <= 1 && std::abs(seen[2] - seen[3]) <= 1);
  }
}

TEST(packets_against_the_rules_are_refused) {
  Guest guest;
  guest.activate();
  const VsockPorts nowhere{99, 98};
  const auto refused = [&](const VsockHeader& header, const std::string& data) {
    guest.send(header, data);
    const Packet packet = guest.take();
    CHECK(packet.is(VsockOp::kReset));
    CHECK_EQ(packet.header.source_port, 99u);
    CHECK_EQ(packet.header.destination_port, 98u);
  };
  refused(guest.header(nowhere, VsockOp::kData, 4), "data");
  refused(guest.header(nowhere, VsockOp::kResponse), "");
  refused(guest.header(nowhere, VsockOp::kShutdown, 0, 3), "");
  refused(guest.header(nowhere, VsockOp{77}), "");
  refused(guest.header(nowhere, VsockOp::kData, 5), "data");  // longer than it is
  refused(guest.header(nowhere, VsockOp::kData, 0xffffffff), "data");
  refused(guest.header(nowhere, VsockOp::kRequest, 4), "data");
  VsockHeader header = guest.header(nowhere, VsockOp::kRequest);
  header.type = 2;
  refused(header, "");
  // Resets are not answered, nor is what is between others.
  const uint64_t errors = guest.counters().errors;
  guest.send(nowhere, VsockOp::kReset);
  header = guest.header(nowhere, VsockOp::kRequest);
  header.destination_cid = 3;
  guest.send(header, "");
  header = guest.header(nowhere, VsockOp::kRequest);
  header.source_cid = kCid + 1;
  guest.send(header, "");
  const uint64_t at = guest.bench.allocate(64);
  guest.bench.queues[kFromGuest]->add({{at, 43, false}});
  guest.bench.queues[kFromGuest]->add({{at, 64, true}});
  guest.bench.kick(kFromGuest);
  CHECK(guest.is_silent());
  CHECK_EQ(guest.counters().errors, errors + 4);
  CHECK(guest.bench.agent.questions().empty());
}

TEST(a_violation_ends_its_connection_only) {
  Guest guest;
  guest.activate();
  auto [good, good_ports] = guest.connected(1);
  for (const VsockOp op : {VsockOp::kRequest, VsockOp::kResponse, VsockOp{0}, VsockOp{9}}) {
    auto [bad, bad_ports] = guest.connected(2);
    guest.send(bad_ports, op);
    const Packet packet = guest.take();
    CHECK(packet.is(VsockOp::kReset));
    CHECK_EQ(packet.header.destination_port, 2u);
    CHECK(bad.ended());
  }
  auto [late, late_ports] = guest.connected(3);
  guest.send(late_ports, VsockOp::kShutdown, kVsockNoSend);
  guest.send_data(late_ports, "more");
  CHECK(guest.take().is(VsockOp::kReset));
  CHECK_EQ(guest.counters().errors, 5u);
  good.say("unharmed");
  CHECK_EQ(guest.take().data, "unharmed");
}

TEST(a_guest_without_buffers_is_not_drowned_in_refusals) {
  Guest guest;
  guest.activate(0);
  for (uint32_t i = 0; i < 256; ++i) guest.offer(guest.header({1, i}, VsockOp::kResponse), "");
  guest.bench.kick(kFromGuest);
  guest.bench.settle();
  const uint16_t taken = guest.bench.queues[kFromGuest]->waiting();
  CHECK(taken > 0 && taken < 128);
  guest.give(128);
  for (uint32_t i = 0; i < 256; ++i) {
    const Packet packet = guest.take();
    CHECK(packet.is(VsockOp::kReset));
    CHECK_EQ(packet.header.destination_port, i);
  }
  CHECK(guest.bench.await([&] { return guest.bench.queues[kFromGuest]->waiting() == 256; }));
}

TEST(buffers_too_small_for_a_packet_are_given_back) {
  Guest guest;
  guest.activate(0);
  guest.give(3, 44);
  guest.give(1, 8);
  guest.give(1);
  guest.send({1, 2}, VsockOp::kResponse);
  test::DriverQueue& queue = *guest.bench.queues[kToGuest];
  CHECK(guest.bench.await([&] { return queue.waiting() == 5; }));
  for (int i = 0; i < 4; ++i) CHECK_EQ(queue.reap()->length, 0u);
  CHECK_EQ(queue.reap()->length, 44u);
}

TEST(there_are_1023_connections_and_the_next_host_waits) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  if (files.rlim_max < 4096 || setrlimit(RLIMIT_NOFILE, &files) != 0) {
    fprintf(stderr, "SKIPPED there_are_1023_connections_and_the_next_host_waits: needs 4096 descriptors\n");
    return;
  }
  Guest guest;
  guest.activate();
  std::vector<Host> hosts;
  std::vector<VsockPorts> ports;
  for (uint32_t i = 0; i < VsockTable::kMaxConnections; ++i) {
    auto [host, its_ports] = guest.connected(i);
    hosts.push_back(static_cast<Host&&>(host));
    ports.push_back(its_ports);
  }
  Host waiting(guest.listener.connect());
  waiting.say("CONNECT 7777\n");
  CHECK(guest.is_silent());
  guest.send({1, 1}, VsockOp::kRequest);  // nor for the guest
  CHECK(guest.take().is(VsockOp::kReset));
  const uint64_t cpu = guest.bench.cpu_ns();
  usleep(50'000);
  CHECK(guest.bench.cpu_ns() - cpu < 5'000'000);  // it does not spin
  guest.send(ports[500], VsockOp::kShutdown, kVsockNothing);
  CHECK(guest.take().is(VsockOp::kReset));
  CHECK(hosts[500].ended());
  const Packet request = guest.take();
  CHECK(request.is(VsockOp::kRequest));
  CHECK_EQ(request.header.destination_port, 7777u);
  for (const size_t i : {0u, 1022u}) {
    hosts[i].say("x");
    CHECK_EQ(guest.take().header.destination_port, static_cast<uint32_t>(i));
  }
}

TEST(questions_are_limited) {
  Guest guest;
  guest.activate(128);
  uint32_t resets = 0;
  for (uint32_t i = 0; i < 700; ++i) {
    guest.send({80, i}, VsockOp::kRequest);
    while (guest.bench.queues[kToGuest]->has_used()) resets += guest.take().is(VsockOp::kReset) ? 1 : 0;
  }
  guest.bench.settle();
  while (guest.bench.queues[kToGuest]->has_used()) resets += guest.take().is(VsockOp::kReset) ? 1 : 0;
  CHECK(guest.bench.agent.questions().size() >= 512 && guest.bench.agent.questions().size() <= 700);
  CHECK_EQ(guest.bench.agent.questions().size() + resets, 700u);
}

TEST(a_reset_ends_all_connections) {
  Guest guest;
  for (int round = 0; round < 3; ++round) {
    guest.activate();
    auto [host, ports] = guest.connected();
    guest.asked({80, 9});
    Host hello(guest.listener.connect());
    hello.say("CONN");
    host.say(std::string(100'000, 'r'));
    guest.take();
    // What the device has not taken yet waits for the guest that comes next.
    guest.bench.settle();
    guest.bench.reset();
    CHECK(host.ended());
    CHECK(hello.ended());
    const uint32_t interrupts = guest.bench.host.interrupts;
    guest.bench.settle();
    CHECK_EQ(guest.bench.host.interrupts.load(), interrupts);
  }
}

TEST(a_broken_ring_asks_for_a_reset_and_a_reset_mends_it) {
  Guest guest;
  for (const uint32_t queue : {kToGuest, kFromGuest}) {
    guest.activate(0);
    Host host(guest.listener.connect());
    host.say("CONNECT 5\n");
    guest.bench.settle();
    guest.bench.queues[queue]->ring.put_chain(0, {{Bench::kMemory, 64, queue == kToGuest}});
    guest.bench.queues[queue]->ring.offer(0);
    guest.bench.kick(queue);
    CHECK(guest.bench.await([&] { return guest.bench.host.broken.load(); }));
    CHECK(host.ended());
    guest.bench.reset();
  }
  guest.activate();
  guest.connected();
}

// A guest that sends back whatever it gets, and a host that sends megabytes.
TEST(streams_arrive_whole_in_both_directions) {
  Guest guest;
  guest.activate(128);
  constexpr size_t kBytes = 8'000'000;
  constexpr size_t kStreams = 3;
  std::vector<Host> hosts;
  std::map<uint32_t, VsockPorts> ports;
  std::map<uint32_t, uint32_t> forwarded;
  std::map<uint32_t, uint32_t> sent;
  std::map<uint32_t, uint32_t> credit;
  std::map<uint32_t, std::string> pending;
  for (uint32_t i = 0; i < kStreams; ++i) {
    auto [host, its_ports] = guest.connected(i);
    hosts.push_back(static_cast<Host&&>(host));
    ports[i] = its_ports;
    credit[i] = kVsockBufferBytes;
  }
  std::vector<std::string> data(kStreams);
  std::vector<std::string> echoed(kStreams);
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kStreams; ++i) {
    std::minstd_rand random(i + 1);
    data[i].resize(kBytes);
    for (char& c : data[i]) c = static_cast<char>(random());
    threads.emplace_back([&, i] { hosts[i].say(data[i]); });
    threads.emplace_back([&, i] { echoed[i] = hosts[i].hear(kBytes); });
  }
  uint64_t total = 0;
  const auto flush = [&](uint32_t port) {
    std::string& waiting = pending[port];
    while (!waiting.empty() && credit[port] != 0) {
      const std::string part = waiting.substr(0, std::min<size_t>(credit[port], 20'000));
      waiting.erase(0, part.size());
      sent[port] += static_cast<uint32_t>(part.size());
      credit[port] -= static_cast<uint32_t>(part.size());
      forwarded[port] += static_cast<uint32_t>(part.size());
      total += part.size();
      guest.forwarded = forwarded[port];
      guest.send_data(ports[port], part);
    }
  };
  const int failures = check::failures();
  while (total < kStreams * kBytes && check::failures() == failures) {
    const Packet packet = guest.take();
    const uint32_t port = packet.header.destination_port;
    credit[port] = packet.header.buffer_bytes - (sent[port] - packet.header.forwarded_bytes);
    pending[port] += packet.data;
    CHECK(pending[port].size() <= kGuestBuffer);
    if (packet.is(VsockOp::kCreditRequest)) {
      guest.forwarded = forwarded[port];
      guest.send(ports[port], VsockOp::kCreditUpdate);
    }
    flush(port);
  }
  if (check::failures() != failures) guest.bench.reset();  // else the threads would wait for ever
  for (std::thread& thread : threads) thread.join();
  for (uint32_t i = 0; i < kStreams; ++i) CHECK(echoed[i] == data[i]);
  CHECK_EQ(guest.counters().errors, 0u);
}

}  // namespace
}  // namespace volley
