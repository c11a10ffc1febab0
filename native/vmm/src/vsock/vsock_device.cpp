#include "vsock/vsock_device.h"

#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/clock.h"
#include "stats/page_file.h"
#include "vsock/connect_line.h"

namespace volley {
namespace {

using State = VsockConnection::State;

constexpr uint16_t kQueueSizes[] = {256, 256, 256};
constexpr unsigned kPacketsPerTurn = 128;
constexpr unsigned kAcceptsPerTurn = 16;
constexpr uint32_t kMaxPacketBytes = 65536;
// The guest learns of room that came free in steps of this.
constexpr uint32_t kCreditStep = kVsockBufferBytes / 4;
// Host ports are ours to give, from the upper half of what a signed number holds.
constexpr uint32_t kFirstHostPort = 1u << 30;

constexpr uint64_t kNsPerMs = 1'000'000;
constexpr uint64_t kConnectNs = 2000 * kNsPerMs;  // for the first line, and the agent's answer
// For the guest's answer: one that is busy, on a host that is, takes its time. Whoever asked may leave sooner.
constexpr uint64_t kGuestNs = 10'000 * kNsPerMs;
constexpr uint64_t kShutdownNs = 2000 * kNsPerMs;  // for the guest's last word
constexpr uint64_t kLingerNs = 60'000 * kNsPerMs;  // without the host taking anything of what a gone guest left
constexpr uint64_t kListenerRestNs = 100 * kNsPerMs;
// An alarm that comes so late was held up by a pause, which is no fault of those it is about.
constexpr uint64_t kPausedNs = 500 * kNsPerMs;
// Questions cost the agent work that all microVMs share.
constexpr volley_bucket kQuestions{.size = 512, .burst = 0, .refill_ms = 1000};

// The one event there is (virtio 1.2, section 5.10.6.7).
constexpr uint32_t kTransportReset = 0;

constexpr uint32_t kSocketEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

// The questions of one connection after another in the same slot have different numbers.
uint32_t question_id(const VsockConnection& connection) { return connection.generation << 10 | connection.slot; }

msghdr message_of(iovec* pieces, size_t count) {
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(count);
  return message;
}

bool is_listening_stream(int fd) {
  int type = 0;
  int listening = 0;
  socklen_t size = sizeof(int);
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) return false;
  size = sizeof(int);
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening != 0;
}

}  // namespace

static_assert(VsockTable::kMaxConnections < 1 << 10);

Status VsockDevice::open(const DeviceContext& context) {
  listener_fd_ = context.fds.find(VOLLEY_ROLE_VSOCK);
  if (listener_fd_ < 0 || !is_listening_stream(listener_fd_)) {
    return Status::error("device %u is a vsock device, and the listening Unix stream socket for it was not passed",
                         context.index);
  }
  const int flags = fcntl(listener_fd_, F_GETFL);
  if (flags < 0 || fcntl(listener_fd_, F_SETFL, flags | O_NONBLOCK) < 0) {
    return Status::system_error(errno, "cannot make the vsock device's socket non-blocking");
  }
  if (context.config.guest_cid <= kVsockHostCid) {
    return Status::error("device %u has the guest CID %u, it must be 3 or more", context.index,
                         context.config.guest_cid);
  }
  loop_ = &context.loop;
  agent_ = &context.agent;
  stats_ = &context.device_stats();
  guest_cid_ = context.config.guest_cid;
  next_host_port_ = kFirstHostPort;
  questions_ = TokenBucket(kQuestions, monotonic_ns());
  if (Status status = table_.prepare(); !status.is_ok()) return status;
  return timer_.create(context.loop);
}

uint32_t VsockDevice::virtio_id() const { return VIRTIO_ID_VSOCK; }

std::span<const uint16_t> VsockDevice::queue_sizes() const { return kQueueSizes; }

void VsockDevice::read_config(uint64_t offset, std::span<uint8_t> data) {
  copy_config({reinterpret_cast<const uint8_t*>(&guest_cid_), sizeof(guest_cid_)}, offset, data);
}

void VsockDevice::activate(VirtioHost& host, uint64_t) {
  host_ = &host;
  host.queue(kToGuest).disable_kicks();
  watch_listener();
}

void VsockDevice::reset() { stop(); }

void VsockDevice::restored() {
  reset_untold_ = true;
  tell_of_reset();
}

void VsockDevice::tell_of_reset() {
  Virtqueue& queue = host_->queue(kEvents);
  Virtqueue::Pop popped = queue.pop(&chain_);
  if (popped == Virtqueue::Pop::kEmpty && queue.enable_kicks()) popped = queue.pop(&chain_);
  if (popped == Virtqueue::Pop::kBroken) {
    break_down();
    return;
  }
  if (popped == Virtqueue::Pop::kEmpty) return;  // there will be a kick
  reset_untold_ = false;
  queue.push(chain_, static_cast<uint32_t>(chain_.copy_in(
                         0, {reinterpret_cast<const uint8_t*>(&kTransportReset), sizeof(kTransportReset)})));
  host_->publish(kEvents);
}

// Hosts that wait on the listener go on waiting for the next driver; all others see their connection end.
void VsockDevice::stop() {
  host_ = nullptr;
  for (uint32_t slot = 0; slot < table_.slots_used(); ++slot) {
    if (VsockConnection* connection = table_.at(slot); connection != nullptr) release(*connection);
  }
  if (listener_watched_) loop_->remove(listener_fd_, on_listener_);
  listener_watched_ = listener_rests_ = false;
  listener_again_ns_ = earliest_deadline_ns_ = 0;
  take_more_ = take_stalled_ = send_more_ = reset_untold_ = false;
  refusals_.clear();
  timer_.clear();
}

void VsockDevice::break_down() {
  VirtioHost* host = host_;
  count(stats_->errors);
  stop();
  host->needs_reset();
}

void VsockDevice::kicked(uint32_t queue) {
  if (host_ == nullptr) return;
  if (queue == kFromGuest && !take_stalled_) take_more_ = true;
  if (queue == kToGuest || queue == kFromGuest) work();
  if (queue == kEvents && reset_untold_) tell_of_reset();
}

// Everything that can be done now, for the length of one turn.
void VsockDevice::work() {
  if (host_ != nullptr && take_more_) take_packets();
  if (host_ != nullptr) send_packets();
  if (host_ != nullptr) schedule();
}

void VsockDevice::schedule() {
  uint64_t next = take_more_ || send_more_ ? 1 : UINT64_MAX;
  if (earliest_deadline_ns_ != 0) next = std::min(next, earliest_deadline_ns_);
  if (listener_again_ns_ != 0) next = std::min(next, listener_again_ns_);
  if (next == UINT64_MAX) {
    timer_.clear();
  } else {
    timer_.set(next);
  }
}

void VsockDevice::expired(uint64_t) {
  if (host_ == nullptr) return;
  const uint64_t now = monotonic_ns();
  if (earliest_deadline_ns_ != 0 && earliest_deadline_ns_ <= now) check_deadlines(now);
  if (listener_again_ns_ != 0 && listener_again_ns_ <= now) watch_listener();
  work();
}

// ---- Connections from the host.

void VsockDevice::watch_listener() {
  listener_again_ns_ = 0;
  if (listener_watched_ && !listener_rests_) return;
  const Status status = listener_watched_ ? loop_->change(listener_fd_, EPOLLIN, on_listener_)
                                          : loop_->add(listener_fd_, EPOLLIN, on_listener_);
  listener_watched_ = listener_watched_ || status.is_ok();
  listener_rests_ = !status.is_ok();
  if (!status.is_ok()) listener_again_ns_ = monotonic_ns() + kListenerRestNs;
}

// Who comes meanwhile waits in the socket's backlog.
void VsockDevice::rest_listener() { listener_rests_ = loop_->change(listener_fd_, 0, on_listener_).is_ok(); }

void VsockDevice::listener_ready(uint32_t events) {
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    loop_->remove(listener_fd_, on_listener_);  // the agent shut it down: nobody will come any more
    listener_watched_ = false;
  } else {
    for (unsigned i = 0; i < kAcceptsPerTurn && accept_one(); ++i) {
    }
  }
  work();
}

bool VsockDevice::accept_one() {
  if (table_.is_full()) {
    rest_listener();  // until a slot is released
    return false;
  }
  UniqueFd socket(accept4(listener_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.is_open()) {
    if (errno == EINTR || errno == ECONNABORTED) return true;
    if (errno == EAGAIN) return false;
    rest_listener();  // no descriptors, no memory
    listener_again_ns_ = monotonic_ns() + kListenerRestNs;
    return false;
  }
  VsockConnection& connection = *table_.make(*this);
  connection.socket = static_cast<UniqueFd&&>(socket);
  connection.state = State::kHello;
  set_deadline(connection, kConnectNs);
  if (!watch_socket(connection)) release(connection);
  return true;
}

void VsockDevice::read_hello(VsockConnection& connection) {
  // Only the line is taken: what the host sends behind it is for the guest.
  char line[kConnectLineMax];
  const ssize_t got = recv(connection.socket.get(), line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    release(connection);
    return;
  }
  const ConnectLine parsed = parse_connect_line({line, static_cast<size_t>(got)});
  if (parsed.state == ConnectLine::State::kIncomplete) return;
  if (parsed.state == ConnectLine::State::kWrong ||
      recv(connection.socket.get(), line, parsed.bytes, MSG_DONTWAIT) != static_cast<ssize_t>(parsed.bytes)) {
    count(stats_->errors);
    release(connection);
    return;
  }
  request_guest(connection, parsed.port);
}

void VsockDevice::request_guest(VsockConnection& connection, uint32_t guest_port) {
  do {
    connection.ports = {next_host_port_, guest_port};
    next_host_port_ = next_host_port_ + 1 < 2 * kFirstHostPort ? next_host_port_ + 1 : kFirstHostPort;
  } while (table_.find(connection.ports) != nullptr);
  table_.index(connection);
  connection.state = State::kRequested;
  connection.owed = VsockConnection::kOweRequest;
  set_deadline(connection, kGuestNs);
  queue_if_needed(connection);
}

// ---- Packets of the guest.

void VsockDevice::take_packets() {
  take_more_ = false;
  Virtqueue& queue = host_->queue(kFromGuest);
  queue.disable_kicks();
  for (unsigned packets = 0;; ++packets) {
    if (refusals_.is_full()) {
      take_stalled_ = true;
      break;
    }
    if (packets == kPacketsPerTurn) {
      take_more_ = true;
      break;
    }
    const Virtqueue::Pop popped = queue.pop(&chain_);
    if (popped == Virtqueue::Pop::kBroken) {
      break_down();
      return;
    }
    if (popped == Virtqueue::Pop::kEmpty) {
      if (queue.enable_kicks()) continue;
      break;
    }
    take_packet();
    queue.push(chain_, 0);
  }
  host_->publish(kFromGuest);
}

void VsockDevice::take_packet() {
  VsockHeader header;
  // Only what is between this guest and the host exists here.
  if (!read_packet(chain_, &header) || header.source_cid != guest_cid_ || header.destination_cid != kVsockHostCid) {
    count(stats_->errors);
    return;
  }
  const VsockPorts ports{header.destination_port, header.source_port};
  VsockConnection* connection = table_.find(ports);
  const VsockOp op{header.op};
  if (header.type != kVsockStream || header.length > kMaxPacketBytes ||
      header.length > chain_.readable_bytes - kVsockHeaderBytes || (header.length != 0 && op != VsockOp::kData)) {
    refuse_packet(connection, ports);
    return;
  }
  if (connection == nullptr) {
    if (op == VsockOp::kRequest) {
      take_request(ports, header);
    } else if (op != VsockOp::kReset) {
      refusals_.add(ports);  // of an old connection, most likely
    }
    return;
  }
  connection->take_credit(header);
  if (op == VsockOp::kReset) {
    close_for_guest(*connection, false);
    return;
  }
  if (connection->state == State::kClosing) return;  // it will hear of that
  const bool open = connection->state == State::kOpen;
  if (op == VsockOp::kResponse && connection->state == State::kRequested) {
    take_response(*connection);
  } else if (op == VsockOp::kShutdown && open) {
    take_shutdown(*connection, header.flags);
  } else if (op == VsockOp::kData && open) {
    take_data(*connection, header.length);
  } else if (op == VsockOp::kCreditRequest && open) {
    connection->owed |= VsockConnection::kOweCreditUpdate;
    queue_if_needed(*connection);
  } else if (op == VsockOp::kCreditUpdate && open) {
    queue_if_needed(*connection);
  } else {
    refuse_packet(connection, ports);
  }
}

// The guest broke the rules.
void VsockDevice::refuse_packet(VsockConnection* connection, VsockPorts ports) {
  count(stats_->errors);
  if (connection != nullptr) {
    abort(*connection);
  } else {
    refusals_.add(ports);
  }
}

void VsockDevice::take_request(VsockPorts ports, const VsockHeader& header) {
  VsockConnection* connection = questions_.take(1, monotonic_ns()) ? table_.make(*this) : nullptr;
  if (connection == nullptr) {
    count(stats_->errors);
    refusals_.add(ports);
    return;
  }
  connection->ports = ports;
  connection->take_credit(header);
  connection->state = State::kAsked;
  table_.index(*connection);
  set_deadline(*connection, kConnectNs);
  volley_message question{};
  question.type = VOLLEY_ASK_VSOCK;
  question.request_id = question_id(*connection);
  question.argument = ports.host;
  question.time_ns = monotonic_ns();
  if (!agent_->ask(question)) abort(*connection);
}

int VsockDevice::command(const volley_message& message, UniqueFd& passed) {
  if (message.type != VOLLEY_CMD_VSOCK_ANSWER) return ENOSYS;
  VsockConnection* connection = table_.at(message.request_id & ((1u << 10) - 1));
  if (connection == nullptr || connection->state != State::kAsked || question_id(*connection) != message.request_id) {
    return ENOENT;
  }
  connection->socket = static_cast<UniqueFd&&>(passed);
  if (message.status != 0 || !connection->socket.is_open() || !watch_socket(*connection)) {
    abort(*connection);
  } else {
    connection->owed |= VsockConnection::kOweResponse;
    open_connection(*connection);
  }
  // The loop may be paused: the guest hears of it by the timer.
  send_more_ = true;
  schedule();
  return 0;
}

void VsockDevice::take_response(VsockConnection& connection) {
  char line[32];
  const int length = snprintf(line, sizeof(line), "OK %u\n", connection.ports.host);
  if (send(connection.socket.get(), line, static_cast<size_t>(length), MSG_NOSIGNAL | MSG_DONTWAIT) != length) {
    abort(connection);
    return;
  }
  open_connection(connection);
}

void VsockDevice::open_connection(VsockConnection& connection) {
  connection.state = State::kOpen;
  connection.deadline_ns = 0;
  count(stats_->flushes);
  queue_if_needed(connection);
}

void VsockDevice::take_shutdown(VsockConnection& connection, uint32_t flags) {
  const uint32_t before = connection.guest_flags;
  connection.guest_flags |= static_cast<uint8_t>(flags & kVsockNothing);
  if ((connection.guest_flags & ~before & kVsockNoReceive) != 0) shutdown(connection.socket.get(), SHUT_RD);
  if (connection.guest_flags == kVsockNothing) {
    close_for_guest(connection, true);
  } else {
    settle(connection);
  }
}

void VsockDevice::take_data(VsockConnection& connection, uint32_t length) {
  if (length > connection.room() || (connection.guest_flags & kVsockNoSend) != 0) {
    refuse_packet(&connection, connection.ports);
    return;
  }
  count(stats_->writes);
  count(stats_->write_bytes, length);
  connection.received += length;
  const uint32_t passed = pass_on(connection, length);
  if (connection.host_deaf) {
    connection.forwarded += length;
  } else {
    connection.forwarded += passed;
    // What the host does not take now waits here: no more than the guest was given credit for.
    iovec room[2];
    const size_t pieces = connection.buffered.room(table_.buffer(connection), length - passed, room);
    uint64_t offset = kVsockHeaderBytes + uint64_t{passed};
    for (size_t i = 0; i < pieces; ++i) {
      chain_.copy_out(offset, {static_cast<uint8_t*>(room[i].iov_base), room[i].iov_len});
      offset += room[i].iov_len;
    }
    connection.buffered.grow(length - passed);
    connection.buffer_used |= pieces != 0;
  }
  settle(connection);
}

// Sends data of the packet in chain_ straight from guest memory, if none waits before it. Returns how much.
uint32_t VsockDevice::pass_on(VsockConnection& connection, uint32_t length) {
  if (connection.host_deaf || connection.buffered.count() != 0 || !connection.writable || length == 0) return 0;
  const msghdr message = message_of(pieces_, slice(chain_.readable(), kVsockHeaderBytes, length, pieces_));
  const ssize_t sent = sendmsg(connection.socket.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent >= 0) return static_cast<uint32_t>(sent);
  if (errno == EAGAIN) {
    connection.writable = false;
  } else if (errno != EINTR) {
    host_deaf(connection);
  }
  return 0;
}

// ---- Packets to the guest.

void VsockDevice::send_packets() {
  send_more_ = false;
  Virtqueue& queue = host_->queue(kToGuest);
  for (unsigned packets = 0; !refusals_.is_empty() || !speakers_.is_empty(); ++packets) {
    if (packets == kPacketsPerTurn) {
      send_more_ = true;
      break;
    }
    const Virtqueue::Pop popped = queue.pop(&chain_);
    if (popped == Virtqueue::Pop::kBroken) {
      break_down();
      return;
    }
    if (popped == Virtqueue::Pop::kEmpty) {
      if (!queue.enable_kicks()) break;
      queue.disable_kicks();
      continue;
    }
    if (chain_.writable_bytes <= kVsockHeaderBytes) {
      count(stats_->errors);
      queue.push(chain_, 0);
    } else if (!send_packet()) {
      queue.undo_pop();
      break;
    }
  }
  host_->publish(kToGuest);
  if (take_stalled_ && !refusals_.is_full()) {
    take_stalled_ = false;
    take_more_ = true;
  }
}

// Fills the buffer in chain_. False if nobody had anything to say after all.
bool VsockDevice::send_packet() {
  Virtqueue& queue = host_->queue(kToGuest);
  if (!refusals_.is_empty()) {
    const VsockPorts ports = refusals_.take();
    const VsockHeader header{.source_cid = kVsockHostCid,
                             .destination_cid = guest_cid_,
                             .source_port = ports.host,
                             .destination_port = ports.guest,
                             .length = 0,
                             .type = kVsockStream,
                             .op = static_cast<uint16_t>(VsockOp::kReset),
                             .flags = 0,
                             .buffer_bytes = 0,
                             .forwarded_bytes = 0};
    chain_.copy_in(0, {reinterpret_cast<const uint8_t*>(&header), sizeof(header)});
    queue.push(chain_, kVsockHeaderBytes);
    return true;
  }
  while (!speakers_.is_empty()) {
    VsockConnection& connection = speakers_.front();
    speakers_.remove(connection);
    const uint32_t written = speak(connection);
    if (written == 0) continue;
    queue.push(chain_, written);
    return true;
  }
  return false;
}

uint32_t VsockDevice::speak(VsockConnection& connection) {
  uint32_t written = 0;
  if ((connection.owed & VsockConnection::kOweReset) != 0) {
    connection.owed = 0;
    written = write_packet(connection, VsockOp::kReset, 0, 0);
    table_.unindex(connection);
    settle(connection);  // and that may be its end
    return written;
  }
  if ((connection.owed & VsockConnection::kOweRequest) != 0) {
    connection.owed &= static_cast<uint8_t>(~VsockConnection::kOweRequest);
    written = write_packet(connection, VsockOp::kRequest, 0, 0);
  } else if ((connection.owed & VsockConnection::kOweResponse) != 0) {
    connection.owed &= static_cast<uint8_t>(~VsockConnection::kOweResponse);
    written = write_packet(connection, VsockOp::kResponse, 0, 0);
  } else if (connection.reads_host() && connection.credit() != 0) {
    written = speak_data(connection);  // tells of credit as well
  } else if (connection.reads_host() && !connection.credit_asked) {
    connection.credit_asked = true;
    written = write_packet(connection, VsockOp::kCreditRequest, 0, 0);
  }
  if (written == 0 && (connection.owed & VsockConnection::kOweCreditUpdate) != 0) {
    written = write_packet(connection, VsockOp::kCreditUpdate, 0, 0);
  }
  if (written == 0 && connection.state == State::kOpen && connection.host_flags() != connection.host_flags_told) {
    connection.host_flags_told = static_cast<uint8_t>(connection.host_flags());
    written = write_packet(connection, VsockOp::kShutdown, connection.host_flags_told, 0);
    if (connection.host_flags_told == kVsockNothing) set_deadline(connection, kShutdownNs);
  }
  if (written != 0) {
    connection.owed &= static_cast<uint8_t>(~VsockConnection::kOweCreditUpdate);
    connection.forwarded_told = connection.forwarded;
  }
  queue_if_needed(connection);
  return written;
}

// Reads from the socket straight into the guest's buffer.
uint32_t VsockDevice::speak_data(VsockConnection& connection) {
  const uint64_t most =
      std::min<uint64_t>({connection.credit(), kMaxPacketBytes, chain_.writable_bytes - kVsockHeaderBytes});
  msghdr message = message_of(pieces_, slice(chain_.writable(), kVsockHeaderBytes, most, pieces_));
  const ssize_t got = recvmsg(connection.socket.get(), &message, MSG_DONTWAIT);
  if (got > 0) {
    const uint32_t length = static_cast<uint32_t>(got);
    connection.sent += length;
    count(stats_->reads);
    count(stats_->read_bytes, length);
    return write_packet(connection, VsockOp::kData, 0, length);
  }
  if (got == 0) {
    host_end(connection);
  } else if (errno == EAGAIN) {
    connection.readable = false;
  } else if (errno != EINTR) {
    host_end(connection);
    host_deaf(connection);
  }
  return 0;
}

uint32_t VsockDevice::write_packet(const VsockConnection& connection, VsockOp op, uint32_t flags, uint32_t length) {
  const VsockHeader header{.source_cid = kVsockHostCid,
                           .destination_cid = guest_cid_,
                           .source_port = connection.ports.host,
                           .destination_port = connection.ports.guest,
                           .length = length,
                           .type = kVsockStream,
                           .op = static_cast<uint16_t>(op),
                           .flags = flags,
                           .buffer_bytes = kVsockBufferBytes,
                           .forwarded_bytes = connection.forwarded};
  chain_.copy_in(0, {reinterpret_cast<const uint8_t*>(&header), sizeof(header)});
  return static_cast<uint32_t>(kVsockHeaderBytes) + length;
}

void VsockDevice::queue_if_needed(VsockConnection& connection) {
  if (connection.wants_to_speak()) speakers_.append(connection);
}

// ---- Sockets.

bool VsockDevice::watch_socket(VsockConnection& connection) {
  return loop_->add(connection.socket.get(), kSocketEvents, connection).is_ok();
}

void VsockDevice::close_socket(VsockConnection& connection) {
  if (!connection.socket.is_open()) return;
  loop_->remove(connection.socket.get(), connection);
  connection.socket.reset();
}

void VsockDevice::connection_ready(VsockConnection& connection, uint32_t events) {
  connection.readable = true;
  if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) connection.writable = true;
  if (connection.state == State::kHello) {
    read_hello(connection);
  } else if (connection.state == State::kOpen || connection.state == State::kClosing) {
    // An end was seen before: half of it, or all?
    if (connection.host_ended && !connection.host_deaf) host_end(connection);
    flush(connection);
  }
  work();
}

// The host sends no more. If it does not listen either, a send of nothing says so.
void VsockDevice::host_end(VsockConnection& connection) {
  connection.host_ended = true;
  if (send(connection.socket.get(), nullptr, 0, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN) {
    host_deaf(connection);
  }
}

void VsockDevice::host_deaf(VsockConnection& connection) {
  connection.host_deaf = true;
  connection.forwarded += static_cast<uint32_t>(connection.buffered.count());
  connection.buffered.clear();
}

// Hands the host what waits for it.
void VsockDevice::flush(VsockConnection& connection) {
  const std::span<uint8_t> buffer = table_.buffer(connection);
  while (connection.buffered.count() != 0 && connection.writable) {
    iovec content[2];
    const size_t pieces = connection.buffered.content(buffer, content);
    const msghdr message = message_of(content, pieces);
    const ssize_t sent = sendmsg(connection.socket.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      connection.buffered.shrink(buffer, static_cast<size_t>(sent));
      connection.forwarded += static_cast<uint32_t>(sent);
      if (connection.state == State::kClosing) set_deadline(connection, kLingerNs);
    } else if (errno == EAGAIN) {
      connection.writable = false;
    } else if (errno != EINTR) {
      host_deaf(connection);
    }
  }
  settle(connection);
}

// Draws the conclusions of what has changed. May be the end of the connection.
void VsockDevice::settle(VsockConnection& connection) {
  const bool empty = connection.buffered.count() == 0;
  if (connection.state == State::kClosing) {
    if (empty) close_socket(connection);
    if (empty && connection.owed == 0) {
      release(connection);
      return;
    }
  } else if (connection.state == State::kOpen) {
    if (connection.untold() >= kCreditStep) connection.owed |= VsockConnection::kOweCreditUpdate;
    if (empty && (connection.guest_flags & kVsockNoSend) != 0 && !connection.write_shut) {
      connection.write_shut = true;
      shutdown(connection.socket.get(), SHUT_WR);
    }
  }
  queue_if_needed(connection);
}

// ---- Ends.

// The guest is done with it, or is told so by a reset. The host still gets what the guest sent before.
void VsockDevice::close_for_guest(VsockConnection& connection, bool reset_owed) {
  connection.state = State::kClosing;
  connection.owed = reset_owed ? VsockConnection::kOweReset : 0;
  connection.deadline_ns = 0;
  if (!reset_owed) table_.unindex(connection);
  if (connection.buffered.count() != 0) set_deadline(connection, kLingerNs);
  settle(connection);
}

void VsockDevice::abort(VsockConnection& connection) {
  connection.buffered.clear();
  close_for_guest(connection, true);
}

void VsockDevice::release(VsockConnection& connection) {
  speakers_.remove(connection);
  close_socket(connection);
  table_.release(connection);
  if (listener_rests_ && listener_again_ns_ == 0 && host_ != nullptr) watch_listener();
}

// ---- Time.

void VsockDevice::set_deadline(VsockConnection& connection, uint64_t after_ns) {
  connection.deadline_ns = monotonic_ns() + after_ns;
  if (earliest_deadline_ns_ == 0 || connection.deadline_ns < earliest_deadline_ns_) {
    earliest_deadline_ns_ = connection.deadline_ns;
  }
}

void VsockDevice::check_deadlines(uint64_t now_ns) {
  const uint64_t late = now_ns - earliest_deadline_ns_;
  const uint64_t respite = late >= kPausedNs ? late + kConnectNs : 0;
  earliest_deadline_ns_ = 0;
  for (uint32_t slot = 0; slot < table_.slots_used(); ++slot) {
    VsockConnection* connection = table_.at(slot);
    if (connection == nullptr || connection->deadline_ns == 0) continue;
    connection->deadline_ns += respite;
    if (connection->deadline_ns <= now_ns && respite == 0) {
      run_out(*connection);
    } else if (earliest_deadline_ns_ == 0 || connection->deadline_ns < earliest_deadline_ns_) {
      earliest_deadline_ns_ = connection->deadline_ns;
    }
  }
}

void VsockDevice::run_out(VsockConnection& connection) {
  connection.deadline_ns = 0;
  if (connection.state == State::kHello) {
    release(connection);
  } else if (connection.state == State::kClosing) {
    connection.buffered.clear();  // the host stopped reading
    settle(connection);
  } else {
    abort(connection);
  }
}

}  // namespace volley
