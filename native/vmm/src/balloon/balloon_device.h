#pragma once

#include <atomic>
#include <cstdint>

#include "balloon/page_runs.h"
#include "virtio/loop_timer.h"
#include "virtio/virtio_device.h"

namespace volley {

// virtio-balloon (docs/devices.md): takes guest pages out of the host's memory for as long as the guest leaves them
// alone. A page that the guest touches again is there again: of zeros, or as the snapshot had it from which it was
// restored.
class BalloonDevice final : public VirtioDevice, private TimerHandler {
 public:
  BalloonDevice() : timer_(*this) {}

  Status open(const DeviceContext& context) override;
  uint32_t virtio_id() const override;
  uint64_t features() const override;
  std::span<const uint16_t> queue_sizes() const override;
  void read_config(uint64_t offset, std::span<uint8_t> data) override;
  void write_config(uint64_t offset, std::span<const uint8_t> data) override;
  void activate(VirtioHost& host, uint64_t negotiated_features) override;
  void reset() override;
  void kicked(uint32_t queue) override;
  bool set_limit(uint32_t, const volley_limiter&) override { return false; }
  // VOLLEY_CMD_SET_BALLOON: EINVAL for more than guest memory.
  int command(const volley_message& message, UniqueFd& passed) override;
  int quiesce() override;
  // Target and size: the target of the configuration is for a guest that starts.
  void save(std::span<uint8_t, kStateBytes> state) override;
  bool restore(std::span<const uint8_t, kStateBytes> state) override;

 private:
  static constexpr uint32_t kInflate = 0;
  static constexpr uint32_t kDeflate = 1;
  static constexpr uint32_t kNoQueue = ~0u;
  static constexpr size_t kPagesAtOnce = 256;

  void expired(uint64_t due_ns) override;
  // Works on a queue until it is empty or the turn is over; `serve` says how many bytes it wrote.
  template <void (BalloonDevice::*kServe)()>
  void drain(uint32_t queue);
  void inflate();
  void deflate() {}
  void report();
  void take_statistics();
  void read_statistics();
  bool discard(uint8_t* start, uint64_t length);
  void break_down();
  void schedule();
  bool offers(uint32_t flag) const { return (flags_ & flag) != 0; }

  LoopTimer timer_;
  VirtioHost* host_ = nullptr;  // null: not active
  const GuestMemory* memory_ = nullptr;
  volley_device_stats* stats_ = nullptr;
  volley_balloon_stats* reported_ = nullptr;
  uint32_t flags_ = 0;
  uint64_t interval_ns_ = 0;

  // The configuration space, in pages: read by vCPU threads.
  std::atomic<uint32_t> target_{0};
  std::atomic<uint32_t> actual_{0};

  uint32_t statistics_queue_ = kNoQueue;
  uint32_t reporting_queue_ = kNoQueue;
  uint32_t more_ = 0;              // queues whose turn was over before they were empty, as bits
  bool holds_statistics_ = false;  // the guest's buffer, to be given back when it is to write again
  uint16_t statistics_head_ = 0;
  uint64_t ask_ns_ = 0;  // when the guest is asked next, 0 = not

  Chain chain_;
  uint32_t pages_[kPagesAtOnce];
};

}  // namespace volley
