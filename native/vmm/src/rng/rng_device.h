#pragma once

#include "limits/rate_limiter.h"
#include "virtio/loop_timer.h"
#include "virtio/virtio_device.h"

namespace volley {

// virtio entropy device: fills what the guest offers, at most kMaxRequest bytes at a time, from the host kernel's
// random number generator.
class RngDevice final : public VirtioDevice, private TimerHandler {
 public:
  static constexpr uint32_t kMaxRequest = 64 * 1024;
  static constexpr uint32_t kRequestsPerTurn = 16;

  RngDevice() : timer_(*this) {}

  Status open(const DeviceContext& context) override;
  uint32_t virtio_id() const override;
  uint64_t features() const override { return 0; }
  std::span<const uint16_t> queue_sizes() const override;
  void read_config(uint64_t offset, std::span<uint8_t> data) override { copy_config({}, offset, data); }
  void activate(VirtioHost& host, uint64_t) override { host_ = &host; }
  void reset() override;
  void kicked(uint32_t queue) override;
  bool set_limit(uint32_t which, const volley_limiter& limiter) override;

 private:
  void expired(uint64_t due_ns) override;
  bool serve_one(Virtqueue& queue);
  uint32_t fill();

  VirtioHost* host_ = nullptr;  // null: not active
  volley_device_stats* stats_ = nullptr;
  RateLimiter limiter_;
  LoopTimer timer_;
  Chain chain_;
};

}  // namespace volley
