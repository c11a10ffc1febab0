#pragma once

#include <cstdint>

#include "limits/rate_limiter.h"
#include "virtio/loop_timer.h"
#include "virtio/virtio_device.h"
#include "vsock/vsock_packet.h"
#include "vsock/vsock_queue.h"
#include "vsock/vsock_table.h"

namespace volley {

// virtio-vsock: streams between the guest and sockets of the host (docs/devices.md). The host connects to the listening
// socket and names a port; for connections of the guest the agent is asked for a socket.
class VsockDevice final : public VirtioDevice, private TimerHandler, private VsockConnectionOwner {
 public:
  VsockDevice() : on_listener_(*this), timer_(*this), speakers_(table_) {}

  Status open(const DeviceContext& context) override;
  uint32_t virtio_id() const override;
  uint64_t features() const override { return 0; }  // streams
  std::span<const uint16_t> queue_sizes() const override;
  void read_config(uint64_t offset, std::span<uint8_t> data) override;
  void activate(VirtioHost& host, uint64_t negotiated_features) override;
  void reset() override;
  void kicked(uint32_t queue) override;
  bool set_limit(uint32_t, const volley_limiter&) override { return false; }
  // VOLLEY_CMD_VSOCK_ANSWER: ENOENT if that question is no longer open.
  int command(const volley_message& message, UniqueFd& passed) override;
  // Connections are no part of a snapshot. The driver is told that all of them are gone, and to look at its CID again.
  void restored() override;

 private:
  static constexpr uint32_t kToGuest = 0;
  static constexpr uint32_t kFromGuest = 1;
  static constexpr uint32_t kEvents = 2;

  void listener_ready(uint32_t events);
  void connection_ready(VsockConnection& connection, uint32_t events) override;
  void expired(uint64_t due_ns) override;

  // The listener.
  void watch_listener();
  void rest_listener();
  bool accept_one();
  void read_hello(VsockConnection& connection);
  void request_guest(VsockConnection& connection, uint32_t guest_port);

  // Packets of the guest.
  void take_packets();
  void take_packet();
  void take_request(VsockPorts ports, const VsockHeader& header);
  void take_response(VsockConnection& connection);
  void take_shutdown(VsockConnection& connection, uint32_t flags);
  void take_data(VsockConnection& connection, uint32_t length);
  uint32_t pass_on(VsockConnection& connection, uint32_t length);

  // Packets to the guest.
  void send_packets();
  bool send_packet();
  // Bytes written to chain_, 0 if it had nothing to say.
  uint32_t speak(VsockConnection& connection);
  uint32_t speak_data(VsockConnection& connection);
  uint32_t write_packet(const VsockConnection& connection, VsockOp op, uint32_t flags, uint32_t length);

  // The socket's side.
  void flush(VsockConnection& connection);
  void settle(VsockConnection& connection);
  void host_end(VsockConnection& connection);
  void host_deaf(VsockConnection& connection);
  void close_socket(VsockConnection& connection);
  bool watch_socket(VsockConnection& connection);

  void open_connection(VsockConnection& connection);
  void close_for_guest(VsockConnection& connection, bool reset_owed);
  void abort(VsockConnection& connection);
  void refuse_packet(VsockConnection* connection, VsockPorts ports);
  void release(VsockConnection& connection);
  void queue_if_needed(VsockConnection& connection);

  void set_deadline(VsockConnection& connection, uint64_t after_ns);
  void check_deadlines(uint64_t now_ns);
  void run_out(VsockConnection& connection);
  void schedule();
  void work();
  void tell_of_reset();
  void stop();
  void break_down();

  Handler<VsockDevice, &VsockDevice::listener_ready> on_listener_;
  LoopTimer timer_;
  DeviceLoop* loop_ = nullptr;
  AgentPort* agent_ = nullptr;
  volley_device_stats* stats_ = nullptr;
  VirtioHost* host_ = nullptr;  // null: not active
  int listener_fd_ = -1;
  uint64_t guest_cid_ = 0;

  bool listener_watched_ = false;
  bool listener_rests_ = false;  // registered, but nothing is wanted of it
  uint64_t listener_again_ns_ = 0;
  uint64_t earliest_deadline_ns_ = 0;  // 0 = none
  bool take_more_ = false;
  bool take_stalled_ = false;  // until the guest takes the refusals that wait
  bool send_more_ = false;
  bool reset_untold_ = false;  // of the driver's connections, for want of a buffer for events
  uint32_t next_host_port_ = 0;
  TokenBucket questions_;

  VsockTable table_;
  VsockQueue speakers_;
  VsockRefusals refusals_;
  Chain chain_;
  iovec pieces_[Chain::kMaxBuffers];
};

}  // namespace volley
