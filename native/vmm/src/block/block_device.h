#pragma once

#include "block/disk_image.h"
#include "block/overlay_disk.h"
#include "block/raw_disk.h"
#include "limits/rate_limiter.h"
#include "virtio/loop_timer.h"
#include "virtio/virtio_device.h"

namespace volley {

// virtio-blk (docs/devices.md) with one queue. It waits for the host's disk inside its handlers, so it has a loop of
// its own.
class BlockDevice final : public VirtioDevice, private TimerHandler {
 public:
  BlockDevice() : timer_(*this) {}

  Status open(const DeviceContext& context) override;
  uint32_t virtio_id() const override;
  uint64_t features() const override;
  std::span<const uint16_t> queue_sizes() const override;
  void read_config(uint64_t offset, std::span<uint8_t> data) override;
  void activate(VirtioHost& host, uint64_t negotiated_features) override;
  void reset() override;
  void kicked(uint32_t queue) override;
  bool set_limit(uint32_t which, const volley_limiter& limiter) override;
  int quiesce() override { return image_->flush(); }
  void finish() override;

 private:
  // What the driver asks for, copied out of its memory.
  struct Request {
    uint32_t type;
    uint64_t sector;
    uint64_t data_bytes;  // of the part that this type uses, without header and status
  };

  void expired(uint64_t due_ns) override;
  bool serve_one(Virtqueue& queue);
  bool parse(Request* request) const;
  bool may_pass(Virtqueue& queue, const Request& request);
  uint8_t perform(const Request& request);
  uint8_t read(const Request& request);
  uint8_t write(const Request& request);
  uint8_t flush();
  uint8_t identify(const Request& request);
  uint8_t clear(const Request& request);
  uint8_t write_through(int error);
  uint8_t outcome(int error) const;
  bool is_inside(uint64_t sector, uint64_t bytes) const;

  VirtioHost* host_ = nullptr;  // null: not active
  volley_device_stats* stats_ = nullptr;
  uint64_t features_ = 0;
  RateLimiter limiter_;
  LoopTimer timer_;
  uint64_t published_ns_ = 0;

  uint64_t sectors_ = 0;
  bool read_only_ = false;
  char serial_[20] = {};
  RawDisk raw_;
  OverlayDisk overlay_;
  DiskImage* image_ = nullptr;
  Chain chain_;
};

}  // namespace volley
