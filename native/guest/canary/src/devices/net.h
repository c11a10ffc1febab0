#pragma once

#include "devices/device.h"

namespace canary {

// A network card with an address: answers ARP and ICMP echo, echoes UDP at port 7, and sends what a step asks for.
class Net {
 public:
  // Addresses are numbers: 10.0.0.1 is 0x0a000001. `gateway` 0 = none.
  bool start(const Bench& bench, Device* device, uint32_t number, uint32_t address, uint32_t prefix, uint32_t gateway);

  // Takes the device's MAC address for its own, and says so: at the start, and when it goes on from a snapshot.
  void read_address();
  // Answers what came in. Called on every wake.
  void poll();

  // Sends `count` echo requests, each after the answer to the last one.
  void ping(uint32_t to, uint64_t count);
  // Sends `count` UDP datagrams with `bytes` of data, as fast as the device takes them.
  void flood(uint32_t to, uint32_t port, uint64_t count, uint64_t bytes);

 private:
  static constexpr uint32_t kReceiveBytes = 512;  // less than a packet where the device merges buffers
  static constexpr uint32_t kPacketBytes = 2048;
  static constexpr uint32_t kSendSlots = 16;
  static constexpr uint64_t kAnswerMs = 5'000;

  void offer(uint32_t buffer);
  void received(uint32_t length);
  void arp(uint32_t length);
  void ipv4(uint32_t length);
  bool send(uint32_t slot, uint32_t bytes, bool checksum);
  // A free slot to build a packet in; waits for one. False if none becomes free.
  bool slot(uint32_t* free_slot);
  void take_sent();
  uint8_t* packet(uint32_t slot) { return send_ + slot * kPacketBytes; }
  bool resolve(uint32_t to);
  uint8_t* begin_ipv4(uint32_t slot, uint32_t to, uint8_t protocol, uint32_t payload);
  void print(const char* word, uint64_t count, uint64_t began_ns);

  const Bench* bench_ = nullptr;
  Device* device_ = nullptr;
  uint32_t number_ = 0;
  uint32_t address_ = 0;
  uint32_t mask_ = 0;
  uint32_t gateway_ = 0;
  uint8_t mac_[6] = {};
  uint8_t neighbour_mac_[6] = {};
  uint32_t neighbour_ = 0;  // whose address neighbour_mac_ is
  Queue receive_queue_;
  Queue send_queue_;
  uint32_t receive_bytes_ = kPacketBytes;
  uint32_t receive_count_ = 0;
  uint8_t* receive_ = nullptr;
  uint8_t* send_ = nullptr;
  uint8_t* whole_ = nullptr;  // a received packet put together
  uint32_t busy_ = 0;         // send slots in the device's hands, one bit each
  uint64_t echoes_ = 0;       // answers to our own echo requests
};

}  // namespace canary
