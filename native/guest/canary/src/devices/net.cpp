#include "devices/net.h"

#include "devices/waiting.h"

namespace canary {
namespace {

constexpr uint32_t kChecksumFeature = 0;
constexpr uint32_t kMacFeature = 5;
constexpr uint32_t kMergeFeature = 15;
constexpr uint8_t kNeedsChecksum = 1;

// Before each packet, in both directions.
struct Header {
  uint8_t flags;
  uint8_t segmentation;
  uint16_t header_bytes;
  uint16_t segment_bytes;
  uint16_t checksum_start;
  uint16_t checksum_offset;
  uint16_t buffers;
};
static_assert(sizeof(Header) == 12);

constexpr uint32_t kEthernet = 14;
constexpr uint32_t kIp = 20;
constexpr uint32_t kUdp = 8;
constexpr uint16_t kTypeArp = 0x0806;
constexpr uint16_t kTypeIp = 0x0800;
constexpr uint8_t kIcmp = 1;
constexpr uint8_t kUdpProtocol = 17;
constexpr uint16_t kEchoPort = 7;
constexpr uint8_t kEchoRequest = 8;
constexpr uint8_t kEchoReply = 0;
constexpr uint32_t kMostData = 1400;

uint16_t get16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }
uint32_t get32(const uint8_t* at) { return static_cast<uint32_t>(get16(at)) << 16 | get16(at + 2); }
void put16(uint8_t* at, uint32_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}
void put32(uint8_t* at, uint32_t value) {
  put16(at, value >> 16);
  put16(at + 2, value & 0xffff);
}
void copy(uint8_t* to, const uint8_t* from, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; ++i) to[i] = from[i];
}

uint32_t sum(const uint8_t* data, uint32_t bytes, uint32_t start = 0) {
  uint32_t total = start;
  for (uint32_t i = 0; i + 1 < bytes; i += 2) total += get16(data + i);
  if (bytes % 2 != 0) total += static_cast<uint32_t>(data[bytes - 1]) << 8;
  while (total >> 16 != 0) total = (total & 0xffff) + (total >> 16);
  return total;
}

}  // namespace

bool Net::start(const Bench& bench, Device* device, uint32_t number, uint32_t address, uint32_t prefix,
                uint32_t gateway) {
  bench_ = &bench;
  device_ = device;
  number_ = number;
  address_ = address;
  mask_ = prefix == 0 ? 0 : ~0u << (32 - prefix);
  gateway_ = gateway;
  constexpr uint64_t kWanted = 1ull << kChecksumFeature | 1ull << kMacFeature | 1ull << kMergeFeature;
  if (!device->negotiate(bench, kWanted) || !device->set_up(bench, 0, &receive_queue_) ||
      !device->set_up(bench, 1, &send_queue_)) {
    Result("net", number, false).text("reason", "set-up").send();
    return false;
  }
  if (device->has(kMergeFeature)) receive_bytes_ = kReceiveBytes;
  receive_count_ = receive_queue_.size() < 32 ? receive_queue_.size() : 32;
  receive_ = static_cast<uint8_t*>(bench.arena.take(receive_count_ * receive_bytes_, 16));
  send_ = static_cast<uint8_t*>(bench.arena.take(kSendSlots * kPacketBytes, 16));
  whole_ = static_cast<uint8_t*>(bench.arena.take(kPacketBytes, 16));
  device->start();
  for (uint32_t i = 0; i < receive_count_; ++i) offer(i);
  receive_queue_.kick();
  read_address();
  return true;
}

void Net::read_address() {
  for (uint32_t i = 0; i < 6; ++i) {
    // Without an address of its own it gets a locally administered one.
    mac_[i] = device_->has(kMacFeature) ? device_->window().config8(i) : static_cast<uint8_t>(i == 0 ? 0x02 : number_);
  }
  neighbour_ = 0;  // who may be another one as well
  Line line;
  line.text("net ").number(number_).text(" ok mac=");
  for (uint32_t i = 0; i < 6; ++i) {
    constexpr char kDigits[] = "0123456789abcdef";
    const char pair[] = {kDigits[mac_[i] >> 4], kDigits[mac_[i] & 15]};
    line.text(i == 0 ? "" : ":").text(pair, 2);
  }
  line.send();
}

void Net::offer(uint32_t buffer) {
  const Piece piece{receive_ + buffer * receive_bytes_, receive_bytes_, true};
  receive_queue_.add(&piece, 1, buffer);
}

void Net::poll() {
  take_sent();
  uint64_t buffer = 0;
  uint32_t written = 0;
  bool any = false;
  while (receive_queue_.take(&buffer, &written)) {
    any = true;
    const uint8_t* data = receive_ + buffer * receive_bytes_;
    uint32_t buffers = reinterpret_cast<const Header*>(data)->buffers;
    uint32_t length = 0;
    for (bool first = true;; first = false) {
      const uint32_t skip = first ? sizeof(Header) : 0;
      const uint32_t bytes = written > skip ? written - skip : 0;
      if (length + bytes <= kPacketBytes) {
        copy(whole_ + length, data + skip, bytes);
        length += bytes;
      }
      offer(static_cast<uint32_t>(buffer));
      if (buffers <= 1 || receive_bytes_ == kPacketBytes) break;
      --buffers;
      // The device shows all buffers of a packet at once.
      if (!receive_queue_.take(&buffer, &written)) break;
      data = receive_ + buffer * receive_bytes_;
    }
    received(length);
  }
  if (!any) return;
  receive_queue_.kick();
  device_->acknowledge();
}

void Net::received(uint32_t length) {
  if (length < kEthernet) return;
  const uint16_t type = get16(whole_ + 12);
  if (type == kTypeArp) arp(length);
  if (type == kTypeIp) ipv4(length);
}

void Net::arp(uint32_t length) {
  constexpr uint32_t kArp = 28;
  constexpr uint16_t kRequest = 1;
  constexpr uint16_t kReply = 2;
  const uint8_t* body = whole_ + kEthernet;
  if (length < kEthernet + kArp || get16(body + 2) != kTypeIp || get32(body + 24) != address_) return;
  const uint16_t operation = get16(body + 6);
  if (operation == kReply) {
    copy(neighbour_mac_, body + 8, 6);
    neighbour_ = get32(body + 14);
    return;
  }
  uint32_t free_slot = 0;
  if (operation != kRequest || !slot(&free_slot)) return;
  uint8_t* out = packet(free_slot) + sizeof(Header);
  copy(out, whole_ + 6, 6);
  copy(out + 6, mac_, 6);
  put16(out + 12, kTypeArp);
  copy(out + kEthernet, body, 6);
  put16(out + kEthernet + 6, kReply);
  copy(out + kEthernet + 8, mac_, 6);
  put32(out + kEthernet + 14, address_);
  copy(out + kEthernet + 18, body + 8, 10);
  send(free_slot, kEthernet + kArp, false);
}

void Net::ipv4(uint32_t length) {
  const uint8_t* ip = whole_ + kEthernet;
  if (length < kEthernet + kIp + 8 || ip[0] != 0x45 || get32(ip + 16) != address_) return;
  const uint32_t total = get16(ip + 2);
  if (total < kIp + 8 || total > length - kEthernet) return;
  const uint8_t* body = ip + kIp;
  const bool echo = ip[9] == kIcmp && body[0] == kEchoRequest;
  const bool udp = ip[9] == kUdpProtocol && get16(body + 2) == kEchoPort;
  if (ip[9] == kIcmp && body[0] == kEchoReply) ++echoes_;
  uint32_t free_slot = 0;
  if ((!echo && !udp) || !slot(&free_slot)) return;
  // The answer is the packet with its ends exchanged: that changes no checksum but the one over the ICMP type.
  uint8_t* out = packet(free_slot) + sizeof(Header);
  copy(out, whole_, kEthernet + total);
  copy(out, whole_ + 6, 6);
  copy(out + 6, mac_, 6);
  put32(out + kEthernet + 12, address_);
  put32(out + kEthernet + 16, get32(ip + 12));
  uint8_t* answer = out + kEthernet + kIp;
  if (echo) {
    answer[0] = kEchoReply;
    uint32_t checksum = get16(body + 2) + (kEchoRequest << 8);
    checksum = (checksum & 0xffff) + (checksum >> 16);
    put16(answer + 2, checksum);
  } else {
    copy(answer, body + 2, 2);
    copy(answer + 2, body, 2);
  }
  send(free_slot, kEthernet + total, false);
}

void Net::take_sent() {
  uint64_t slot = 0;
  uint32_t written = 0;
  while (send_queue_.take(&slot, &written)) busy_ &= ~(1u << slot);
}

bool Net::slot(uint32_t* free_slot) {
  const auto find = [&] {
    take_sent();
    for (uint32_t i = 0; i < kSendSlots && i < send_queue_.size(); ++i) {
      if ((busy_ >> i & 1) != 0) continue;
      *free_slot = i;
      return true;
    }
    return false;
  };
  return wait_for(bench_->life, kAnswerMs, find);
}

bool Net::send(uint32_t slot, uint32_t bytes, bool checksum) {
  auto* header = reinterpret_cast<Header*>(packet(slot));
  *header = {};
  if (checksum) {
    header->flags = kNeedsChecksum;
    header->checksum_start = kEthernet + kIp;
    header->checksum_offset = 6;
  }
  const Piece pieces[] = {{header, sizeof(Header), false}, {header + 1, bytes, false}};
  if (!send_queue_.add(pieces, 2, slot)) return false;
  busy_ |= 1u << slot;
  send_queue_.kick();
  return true;
}

bool Net::resolve(uint32_t to) {
  const uint32_t hop = (to & mask_) == (address_ & mask_) || gateway_ == 0 ? to : gateway_;
  if (neighbour_ == hop) return true;
  uint32_t free_slot = 0;
  if (!slot(&free_slot)) return false;
  uint8_t* out = packet(free_slot) + sizeof(Header);
  for (uint32_t i = 0; i < 6; ++i) out[i] = 0xff;
  copy(out + 6, mac_, 6);
  put16(out + 12, kTypeArp);
  uint8_t* body = out + kEthernet;
  put16(body, 1);
  put16(body + 2, kTypeIp);
  put16(body + 4, 0x0604);
  put16(body + 6, 1);
  copy(body + 8, mac_, 6);
  put32(body + 14, address_);
  for (uint32_t i = 18; i < 24; ++i) body[i] = 0;
  put32(body + 24, hop);
  send(free_slot, kEthernet + 28, false);
  return wait_for(bench_->life, kAnswerMs, [&] {
    poll();
    return neighbour_ == hop;
  });
}

// Ethernet and IP headers of a packet; gives where its content goes.
uint8_t* Net::begin_ipv4(uint32_t slot, uint32_t to, uint8_t protocol, uint32_t payload) {
  uint8_t* out = packet(slot) + sizeof(Header);
  copy(out, neighbour_mac_, 6);
  copy(out + 6, mac_, 6);
  put16(out + 12, kTypeIp);
  uint8_t* ip = out + kEthernet;
  put16(ip, 0x4500);
  put16(ip + 2, kIp + payload);
  put32(ip + 4, 0x00004000);  // not to be fragmented
  ip[8] = 64;
  ip[9] = protocol;
  put16(ip + 10, 0);
  put32(ip + 12, address_);
  put32(ip + 16, to);
  put16(ip + 10, ~sum(ip, kIp) & 0xffff);
  return ip + kIp;
}

void Net::print(const char* word, uint64_t count, uint64_t began_ns) {
  const uint64_t us = (bench_->life.clock.since_boot_ns() - began_ns) / 1000;
  Result(word, number_, true).value("count", count).value("us", us).send();
}

void Net::ping(uint32_t to, uint64_t count) {
  if (!resolve(to)) {
    Result("ping", number_, false).text("reason", "no-neighbour").send();
    return;
  }
  const uint64_t began = bench_->life.clock.since_boot_ns();
  for (uint64_t i = 0; i < count; ++i) {
    uint32_t free_slot = 0;
    if (!slot(&free_slot)) break;
    constexpr uint32_t kBytes = 64;
    uint8_t* echo = begin_ipv4(free_slot, to, kIcmp, kBytes);
    for (uint32_t at = 0; at < kBytes; ++at) echo[at] = static_cast<uint8_t>(at);
    put32(echo, kEchoRequest << 24);
    put16(echo + 6, static_cast<uint32_t>(i));
    put16(echo + 2, ~sum(echo, kBytes) & 0xffff);
    const uint64_t before = echoes_;
    send(free_slot, kEthernet + kIp + kBytes, false);
    const bool answered = wait_for(bench_->life, kAnswerMs, [&] {
      poll();
      return echoes_ != before;
    });
    if (!answered) {
      Result("ping", number_, false).text("reason", "timeout").value("count", i).send();
      return;
    }
  }
  print("ping", count, began);
}

void Net::flood(uint32_t to, uint32_t port, uint64_t count, uint64_t bytes) {
  if (bytes > kMostData || !resolve(to)) {
    Result("udp", number_, false).text("reason", bytes > kMostData ? "too-large" : "no-neighbour").send();
    return;
  }
  const bool offload = device_->has(kChecksumFeature);
  const auto length = static_cast<uint32_t>(kUdp + bytes);
  const uint64_t began = bench_->life.clock.since_boot_ns();
  for (uint64_t i = 0; i < count; ++i) {
    poll();
    uint32_t free_slot = 0;
    if (!slot(&free_slot)) {
      Result("udp", number_, false).text("reason", "timeout").value("count", i).send();
      return;
    }
    uint8_t* udp = begin_ipv4(free_slot, to, kUdpProtocol, length);
    put16(udp, kEchoPort + 1);
    put16(udp + 2, port);
    put16(udp + 4, length);
    put16(udp + 6, 0);
    if (bytes >= 8) {
      put32(udp + kUdp, 0);
      put32(udp + kUdp + 4, static_cast<uint32_t>(i));
    }
    // The checksum over the pseudo header is the driver's; the rest is the device's, where it offers that.
    uint32_t checksum = sum(udp - 8, 8, kUdpProtocol + length);
    if (!offload) checksum = ~sum(udp, length, checksum) & 0xffff;
    if (!offload && checksum == 0) checksum = 0xffff;
    put16(udp + 6, checksum);
    if (!send(free_slot, kEthernet + kIp + length, offload)) {
      Result("udp", number_, false).text("reason", "queue-full").value("count", i).send();
      return;
    }
  }
  // Sent is what the device gave back.
  const bool all = wait_for(bench_->life, 60'000, [&] {
    poll();
    return busy_ == 0;
  });
  if (!all) {
    Result("udp", number_, false).text("reason", "timeout").value("count", count).send();
    return;
  }
  print("udp", count, began);
}

}  // namespace canary
