#pragma once

#include "devices/device.h"

namespace canary {

// Stream sockets to the host: an echo at one port, and connections that send a text and print what comes back.
class Vsock {
 public:
  bool start(const Bench& bench, Device* device);
  bool started() const { return device_ != nullptr; }
  void listen(uint32_t port) { listening_ = port; }
  // Connects to `port` of the host, sends the text, prints the answer once it has as many bytes, and closes.
  void connect(uint32_t port, const char* text, size_t length);
  void poll();

 private:
  static constexpr uint32_t kReceiveSlots = 16;
  static constexpr uint32_t kSendSlots = 16;
  static constexpr uint32_t kPacketBytes = 4096;
  static constexpr uint32_t kConnections = 8;
  static constexpr uint32_t kBufferBytes = 16384;  // what a peer may send before we have answered
  struct Header;
  struct Connection;

  void offer(uint32_t slot);
  void offer_event();
  void take_reset();
  void received(const Header& header, const uint8_t* data, uint32_t length);
  bool send(const Connection& connection, uint16_t operation, uint32_t flags, uint32_t bytes);
  bool slot(uint32_t* free_slot);
  void take_sent();
  void drain(Connection& connection);
  void refuse(const Header& header);
  Connection* find(uint32_t own_port, uint32_t peer_port);
  Connection* fresh(uint32_t own_port, uint32_t peer_port);

  const Bench* bench_ = nullptr;
  Device* device_ = nullptr;
  uint64_t cid_ = 0;
  uint32_t listening_ = 0;
  uint32_t next_port_ = 50'000;
  Queue receive_queue_;
  Queue send_queue_;
  Queue event_queue_;
  uint8_t* receive_ = nullptr;
  uint8_t* send_ = nullptr;
  uint8_t* events_ = nullptr;
  uint32_t busy_ = 0;
  Connection* connections_ = nullptr;
};

}  // namespace canary
