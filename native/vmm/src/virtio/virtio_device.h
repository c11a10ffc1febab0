#pragma once

#include <cerrno>
#include <cstdint>
#include <span>

#include "abi/volley_abi.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "virtio/device_context.h"
#include "virtio/virtqueue.h"

namespace volley {

// What a device may ask of its transport. Every call comes from the device's loop thread.
class VirtioHost {
 public:
  virtual Virtqueue& queue(uint32_t index) = 0;
  // Publishes what was pushed to the queue and interrupts the guest if it wants that.
  virtual void publish(uint32_t queue) = 0;
  // Tells the driver that the configuration space changed. Call it after the change.
  virtual void config_changed() = 0;
  // The driver broke the rules: every queue is broken and kicks are ignored until the driver has reset the device.
  virtual void needs_reset() = 0;

 protected:
  ~VirtioHost() = default;
};

// One virtio device behind the MMIO transport. All calls but open() and read_config() come from the thread of the
// device's loop, one at a time, so a device needs no lock: the transport carries configuration writes, activation and
// reset over to it and waits. Devices live in one piece of memory made at the start (see device_factory.h): they
// allocate nothing and are never destroyed before the process ends.
class VirtioDevice {
 public:
  static constexpr uint32_t kMaxQueues = 8;

  // First of all calls, once, while the machine is built: takes descriptors and configuration, makes every further
  // descriptor it will ever need (the jail is tighter later) and registers them with the loop. Its failure ends the
  // microVM.
  virtual Status open(const DeviceContext& context) = 0;

  virtual uint32_t virtio_id() const = 0;
  // Offered beyond VIRTIO_F_VERSION_1, VIRTIO_RING_F_EVENT_IDX and VIRTIO_RING_F_INDIRECT_DESC, which the transport
  // adds for every device.
  virtual uint64_t features() const = 0;
  // The largest size of each queue, a power of two of at most 1024. Does not change after open().
  virtual std::span<const uint16_t> queue_sizes() const = 0;

  // Called by vCPU threads, beside everything else. Bytes beyond the configuration space read as 0.
  virtual void read_config(uint64_t offset, std::span<uint8_t> data) = 0;
  virtual void write_config(uint64_t, std::span<const uint8_t>) {}

  // The driver is ready: the queues that it set up are ready in `host`, which stays valid for the device's life.
  // kicked() follows for each of them.
  virtual void activate(VirtioHost& host, uint64_t negotiated_features) = 0;
  // Stop using the queues; afterwards as before activate(). Also called for a device that is not active.
  virtual void reset() = 0;
  // The driver kicked this queue, which is ready. May be called without need; never between reset() and activate().
  // Works on a bounded number of requests and comes back by a LoopTimer for now: a driver that never stops asking must
  // not keep the loop from its other devices or from being paused.
  virtual void kicked(uint32_t queue) = 0;

  // Changes limits[which] while running or paused; what waits for it is looked at from a timer, not here. False if the
  // device has no such limiter. The limiter was found valid.
  virtual bool set_limit(uint32_t which, const volley_limiter& limiter) = 0;
  // Another command of the agent that is for this type of device (SET_BALLOON, VSOCK_ANSWER with its descriptor): 0 or
  // an errno.
  virtual int command(const volley_message&, UniqueFd&) { return ENOSYS; }

  // The machine stands still for a snapshot: gives back, unused, every request that it holds (undo_pop()), and has
  // disks write what is not in their files yet. 0 or an errno. Goes on as before when it is kicked.
  virtual int quiesce() { return 0; }
  // What a snapshot keeps of a quiet device beside its transport's state and what is in the configuration. Comes back
  // by restore(), before activate(); false if no guest could have brought it about.
  static constexpr size_t kStateBytes = 16;
  virtual void save(std::span<uint8_t, kStateBytes>) {}
  virtual bool restore(std::span<const uint8_t, kStateBytes>) { return true; }
  // After activate(), if the driver is one that has known another host: what was promised it is gone.
  virtual void restored() {}

  // The microVM has ended and no vCPU runs any more: last chance to write what must not be lost.
  virtual void finish() {}

 protected:
  ~VirtioDevice() = default;
};

// For read_config(): copies `data.size()` bytes at `offset` of the configuration space `from`, zeroes beyond its end.
inline void copy_config(std::span<const uint8_t> from, uint64_t offset, std::span<uint8_t> data) {
  for (size_t i = 0; i < data.size(); ++i) {
    const uint64_t at = offset + i;
    data[i] = at < from.size() ? from[at] : uint8_t{0};
  }
}

}  // namespace volley
