#include "devices/vsock.h"

#include "devices/waiting.h"

namespace canary {
namespace {

constexpr uint64_t kHost = 2;
constexpr uint16_t kStream = 1;
enum Operation : uint16_t {
  kRequest = 1,
  kResponse = 2,
  kReset = 3,
  kShutdown = 4,
  kData = 5,
  kCreditUpdate = 6,
  kCreditRequest = 7
};
constexpr uint32_t kNoMoreAtAll = 3;
constexpr uint64_t kTimeoutMs = 10'000;

}  // namespace

struct [[gnu::packed]] Vsock::Header {
  uint64_t from_cid;
  uint64_t to_cid;
  uint32_t from_port;
  uint32_t to_port;
  uint32_t bytes;
  uint16_t type;
  uint16_t operation;
  uint32_t flags;
  uint32_t buffer;
  uint32_t forwarded;
};

struct Vsock::Connection {
  enum State : uint32_t { kFree, kConnecting, kOpen, kGone };

  State state;
  bool echo;
  bool peer_done;  // it sends no more
  uint32_t own_port;
  uint32_t peer_port;
  uint32_t peer_buffer;
  uint32_t peer_forwarded;
  uint32_t sent;  // bytes, modulo 2^32, as everywhere in this protocol
  uint32_t received;
  uint32_t forwarded;  // of what was received, what has left the ring
  uint8_t* ring;       // kBufferBytes
};

bool Vsock::start(const Bench& bench, Device* device) {
  bench_ = &bench;
  if (!device->negotiate(bench, 0) || !device->set_up(bench, 0, &receive_queue_) ||
      !device->set_up(bench, 1, &send_queue_) || !device->set_up(bench, 2, &event_queue_)) {
    Result("vsock", 0, false).text("reason", "set-up").send();
    return false;
  }
  cid_ = device->window().config64(0);
  receive_ = static_cast<uint8_t*>(bench.arena.take(kReceiveSlots * kPacketBytes, 16));
  send_ = static_cast<uint8_t*>(bench.arena.take(kSendSlots * kPacketBytes, 16));
  events_ = static_cast<uint8_t*>(bench.arena.take(64, 16));
  connections_ = bench.arena.take<Connection>(kConnections);
  device->start();
  device_ = device;
  for (uint32_t i = 0; i < kReceiveSlots; ++i) offer(i);
  receive_queue_.kick();
  offer_event();
  Result("vsock", 0, true).value("cid", cid_).send();
  return true;
}

void Vsock::offer(uint32_t slot) {
  uint8_t* at = receive_ + slot * kPacketBytes;
  const Piece pieces[] = {{at, sizeof(Header), true},
                          {at + sizeof(Header), static_cast<uint32_t>(kPacketBytes - sizeof(Header)), true}};
  receive_queue_.add(pieces, 2, slot);
}

void Vsock::take_sent() {
  uint64_t slot = 0;
  uint32_t written = 0;
  while (send_queue_.take(&slot, &written)) busy_ &= ~(1u << slot);
}

bool Vsock::slot(uint32_t* free_slot) {
  return wait_for(bench_->life, kTimeoutMs, [&] {
    take_sent();
    for (uint32_t i = 0; i < kSendSlots && i < send_queue_.size() / 2; ++i) {
      if ((busy_ >> i & 1) != 0) continue;
      *free_slot = i;
      return true;
    }
    return false;
  });
}

Vsock::Connection* Vsock::find(uint32_t own_port, uint32_t peer_port) {
  for (uint32_t i = 0; i < kConnections; ++i) {
    Connection& connection = connections_[i];
    if (connection.state != Connection::kFree && connection.own_port == own_port && connection.peer_port == peer_port) {
      return &connection;
    }
  }
  return nullptr;
}

Vsock::Connection* Vsock::fresh(uint32_t own_port, uint32_t peer_port) {
  for (uint32_t i = 0; i < kConnections; ++i) {
    Connection& connection = connections_[i];
    if (connection.state != Connection::kFree) continue;
    if (connection.ring == nullptr) connection.ring = static_cast<uint8_t*>(bench_->arena.take(kBufferBytes, 16));
    connection.own_port = own_port;
    connection.peer_port = peer_port;
    connection.echo = false;
    connection.peer_done = false;
    connection.peer_buffer = connection.peer_forwarded = 0;
    connection.sent = connection.received = connection.forwarded = 0;
    return &connection;
  }
  return nullptr;
}

// Sends a packet; its data, if any, is the next in the ring.
bool Vsock::send(const Connection& connection, uint16_t operation, uint32_t flags, uint32_t bytes) {
  uint32_t free_slot = 0;
  if (!slot(&free_slot)) return false;
  uint8_t* at = send_ + free_slot * kPacketBytes;
  auto* header = reinterpret_cast<Header*>(at);
  *header = {.from_cid = cid_,
             .to_cid = kHost,
             .from_port = connection.own_port,
             .to_port = connection.peer_port,
             .bytes = bytes,
             .type = kStream,
             .operation = operation,
             .flags = flags,
             .buffer = kBufferBytes,
             .forwarded = connection.forwarded + (connection.echo ? bytes : 0)};
  for (uint32_t i = 0; i < bytes; ++i) {
    at[sizeof(Header) + i] = connection.ring[(connection.forwarded + i) % kBufferBytes];
  }
  const Piece pieces[] = {{header, sizeof(Header), false}, {at + sizeof(Header), bytes, false}};
  if (!send_queue_.add(pieces, bytes == 0 ? 1 : 2, free_slot)) return false;
  busy_ |= 1u << free_slot;
  send_queue_.kick();
  return true;
}

void Vsock::refuse(const Header& header) {
  Connection nobody{};
  nobody.own_port = header.to_port;
  nobody.peer_port = header.from_port;
  send(nobody, kReset, 0, 0);
}

// Sends back as much as the peer has room for.
void Vsock::drain(Connection& connection) {
  if (!connection.echo) return;
  while (connection.forwarded != connection.received) {
    const uint32_t room = connection.peer_buffer - (connection.sent - connection.peer_forwarded);
    uint32_t bytes = connection.received - connection.forwarded;
    if (bytes > room) bytes = room;
    if (bytes > kPacketBytes - sizeof(Header)) bytes = kPacketBytes - sizeof(Header);
    if (bytes == 0 || !send(connection, kData, 0, bytes)) return;
    connection.sent += bytes;
    connection.forwarded += bytes;
  }
  if (!connection.peer_done) return;
  send(connection, kReset, 0, 0);
  connection.state = Connection::kFree;
}

void Vsock::received(const Header& header, const uint8_t* data, uint32_t length) {
  Connection* connection = find(header.to_port, header.from_port);
  if (header.operation == kRequest && connection == nullptr && header.to_port == listening_ && listening_ != 0) {
    connection = fresh(header.to_port, header.from_port);
    if (connection != nullptr) {
      connection->state = Connection::kOpen;
      connection->echo = true;
      connection->peer_buffer = header.buffer;
      connection->peer_forwarded = header.forwarded;
      send(*connection, kResponse, 0, 0);
      return;
    }
  }
  if (connection == nullptr) {
    if (header.operation != kReset) refuse(header);
    return;
  }
  connection->peer_buffer = header.buffer;
  connection->peer_forwarded = header.forwarded;
  switch (header.operation) {
    case kResponse:
      connection->state = Connection::kOpen;
      break;
    case kReset:
      connection->state = connection->echo ? Connection::kFree : Connection::kGone;
      return;
    case kShutdown:
      connection->peer_done = connection->peer_done || (header.flags & 2) != 0;
      break;
    case kCreditRequest:
      send(*connection, kCreditUpdate, 0, 0);
      break;
    case kData:
      if (length < header.bytes || header.bytes > kBufferBytes - (connection->received - connection->forwarded)) {
        Result("vsock", 0, false).text("reason", "too-much").value("bytes", header.bytes).send();
        break;
      }
      for (uint32_t i = 0; i < header.bytes; ++i) {
        connection->ring[(connection->received + i) % kBufferBytes] = data[i];
      }
      connection->received += header.bytes;
      break;
    default:
      break;
  }
  drain(*connection);
}

void Vsock::offer_event() {
  const Piece event{events_, 4, true};
  event_queue_.add(&event, 1, 0);
  event_queue_.kick();
}

// The host is another one, or does not remember: there are no connections, and the CID may be a new one.
void Vsock::take_reset() {
  cid_ = device_->window().config64(0);
  uint32_t lost = 0;
  for (uint32_t i = 0; i < kConnections; ++i) {
    Connection& connection = connections_[i];
    if (connection.state == Connection::kFree) continue;
    connection.state = connection.echo ? Connection::kFree : Connection::kGone;
    ++lost;
  }
  device_->acknowledge();
  offer_event();
  Result("vsock", 0, true).value("reset", lost).value("cid", cid_).send();
}

void Vsock::poll() {
  if (device_ == nullptr) return;
  take_sent();
  uint64_t slot = 0;
  uint32_t written = 0;
  if (event_queue_.take(&slot, &written)) take_reset();
  bool any = false;
  while (receive_queue_.take(&slot, &written)) {
    any = true;
    const uint8_t* at = receive_ + slot * kPacketBytes;
    if (written >= sizeof(Header)) {
      received(*reinterpret_cast<const Header*>(at), at + sizeof(Header),
               static_cast<uint32_t>(written - sizeof(Header)));
    }
    offer(static_cast<uint32_t>(slot));
    receive_queue_.kick();
  }
  if (any) device_->acknowledge();
}

void Vsock::connect(uint32_t port, const char* text, size_t length) {
  Connection* connection = fresh(next_port_++, port);
  if (connection == nullptr) return;
  const auto bytes = static_cast<uint32_t>(length);
  connection->state = Connection::kConnecting;
  send(*connection, kRequest, 0, 0);
  bool open = wait_for(bench_->life, kTimeoutMs, [&] {
    poll();
    return connection->state != Connection::kConnecting;
  });
  open = open && connection->state == Connection::kOpen;
  if (open) {
    // The text goes out through the ring, and its answer comes in there.
    for (uint32_t i = 0; i < bytes; ++i) connection->ring[i] = static_cast<uint8_t>(text[i]);
    send(*connection, kData, 0, bytes);
    connection->sent += bytes;
    wait_for(bench_->life, kTimeoutMs, [&] {
      poll();
      return connection->received >= bytes || connection->state != Connection::kOpen;
    });
  }
  Result result("connect", port, open);
  if (!open) result.text("reason", "refused");
  if (open) result.text("answer", reinterpret_cast<const char*>(connection->ring), connection->received);
  result.send();
  if (connection->state == Connection::kOpen) {
    connection->forwarded = connection->received;
    send(*connection, kShutdown, kNoMoreAtAll, 0);
    wait_for(bench_->life, kTimeoutMs, [&] {
      poll();
      return connection->state == Connection::kGone;
    });
  }
  connection->state = Connection::kFree;
}

}  // namespace canary
