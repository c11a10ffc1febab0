#pragma once

#include <atomic>
#include <cstdint>

#include "limits/rate_limiter.h"
#include "net/receive_pool.h"
#include "net/tap.h"
#include "net/vnet_header.h"
#include "virtio/device_loop.h"
#include "virtio/loop_timer.h"
#include "virtio/virtio_device.h"

namespace volley {

// virtio-net over a tap, one pair of queues (docs/devices.md). Frames go between guest memory and tap in one call
// without a copy; each turn is bounded, so that a flood in one direction leaves the loop to the others.
class NetDevice final : public VirtioDevice, private TimerHandler {
 public:
  NetDevice() : on_tap_(*this), timer_(*this) {}

  Status open(const DeviceContext& context) override;
  uint32_t virtio_id() const override;
  uint64_t features() const override;
  std::span<const uint16_t> queue_sizes() const override;
  void read_config(uint64_t offset, std::span<uint8_t> data) override;
  void activate(VirtioHost& host, uint64_t negotiated_features) override;
  void reset() override;
  void kicked(uint32_t queue) override;
  // 0: towards the guest, 1: from the guest.
  bool set_limit(uint32_t which, const volley_limiter& limiter) override;
  // A frame that waits for buffers is no part of a snapshot: networks lose frames.
  int quiesce() override;

 private:
  static constexpr uint32_t kReceive = 0;
  static constexpr uint32_t kTransmit = 1;

  // One direction's limiter, and when it lets the next frame pass: 0 = nothing waits for it.
  struct Gate {
    RateLimiter limiter;
    uint64_t opens_ns = 0;
  };

  void tap_ready(uint32_t events);
  void expired(uint64_t due_ns) override;

  void receive();
  bool receive_one(Virtqueue& queue);
  bool read_frame(Virtqueue& queue);
  bool deliver_waiting(Virtqueue& queue);
  bool await_buffers(Virtqueue& queue);
  void count_received(size_t bytes);

  void transmit();
  bool transmit_one(Virtqueue& queue);
  Tap::Outcome send(size_t* bytes);

  bool may_pass(Gate& gate);
  void watch();
  void schedule();
  void stop();
  void break_down();
  void lose_tap();
  bool has(uint64_t feature) const { return (features_ & feature) != 0; }

  Handler<NetDevice, &NetDevice::tap_ready> on_tap_;
  LoopTimer timer_;
  DeviceLoop* loop_ = nullptr;
  volley_device_stats* stats_ = nullptr;
  VirtioHost* host_ = nullptr;  // null: not active
  Tap tap_;
  uint64_t features_ = 0;
  uint8_t mac_[kMacBytes] = {};
  uint16_t mtu_ = 0;
  std::atomic<bool> tap_gone_{false};  // vCPU threads read it as the link's state

  bool is_watched_ = false;
  uint32_t watched_events_ = 0;
  Gate towards_guest_;
  Gate from_guest_;

  size_t room_wanted_ = 0;     // for the largest frame there can be, header included
  size_t expected_bytes_ = 1;  // of the next frame, header included: the size of the last one
  size_t waiting_bytes_ = 0;   // of a frame in frame_ for which the guest gave too little room so far
  bool receive_starved_ = false;
  bool receive_more_ = false;
  bool transmit_blocked_ = false;
  bool transmit_more_ = false;

  Chain chain_;
  iovec outgoing_[Chain::kMaxBuffers + 1];
  ReceivePool pool_;
  uint8_t frame_[kMaxOffloadFrame];  // what does not go straight into the guest's buffers
};

}  // namespace volley
