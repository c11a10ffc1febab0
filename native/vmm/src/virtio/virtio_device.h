#pragma once

#include <cstdint>
#include <span>

#include "abi/volley_abi.h"
#include "base/status.h"
#include "virtio/virtqueue.h"

namespace volley {

class DeviceLoop;

// What a device may ask of its transport. Every call may come from the device's loop thread.
class VirtioHost {
 public:
  virtual Virtqueue& queue(uint32_t index) = 0;
  // Publishes what was pushed to the queue and interrupts the guest if it wants that.
  virtual void publish(uint32_t queue) = 0;
  // Tells the driver that the configuration space changed.
  virtual void config_changed() = 0;
  // The driver broke the rules: nothing of the device works until the driver has reset it.
  virtual void needs_reset() = 0;

 protected:
  ~VirtioHost() = default;
};

// One virtio device behind the MMIO transport. All calls but read_config() come from the thread of the device's loop,
// one at a time, so a device needs no lock: the transport carries configuration writes, activation and reset over to
// it and waits. read_config() is called by vCPU threads and must be safe beside everything else.
class VirtioDevice {
 public:
  static constexpr uint32_t kMaxQueues = 8;

  virtual uint32_t virtio_id() const = 0;
  // Offered beyond VIRTIO_F_VERSION_1, VIRTIO_RING_F_EVENT_IDX and VIRTIO_RING_F_INDIRECT_DESC, which the transport
  // adds for every device.
  virtual uint64_t features() const = 0;
  // The largest size of each queue, a power of two of at most 1024.
  virtual std::span<const uint16_t> queue_sizes() const = 0;

  virtual void read_config(uint64_t offset, std::span<uint8_t> data) = 0;
  virtual void write_config(uint64_t, std::span<const uint8_t>) {}

  // The driver is ready: queues that it set up are ready in `host`, which stays valid for the device's life.
  virtual void activate(VirtioHost& host, uint64_t negotiated_features) = 0;
  // Stop using the queues; afterwards as before activate().
  virtual void reset() = 0;
  // The driver kicked this queue. May be called without need.
  virtual void kicked(uint32_t queue) = 0;

  // Changes limits[which] while running. False if it has no such limiter.
  virtual bool set_limit(uint32_t which, const volley_limiter& limiter) = 0;

 protected:
  ~VirtioDevice() = default;
};

}  // namespace volley
