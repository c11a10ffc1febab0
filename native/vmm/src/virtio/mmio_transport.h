#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "abi/volley_abi.h"
#include "base/status.h"
#include "base/wake_fd.h"
#include "devices/interrupt_line.h"
#include "devices/io_device.h"
#include "memory/guest_memory.h"
#include "virtio/device_loop.h"
#include "virtio/virtio_device.h"
#include "virtio/virtqueue.h"

namespace volley {

// The register window of one virtio device (virtio 1.2, section 4.2: MMIO, version 2). vCPU threads read and write it,
// one at a time under their bus's lock; whatever changes the device itself is carried to the thread of its loop. A
// driver that does not keep to the order of section 3.1 is not obeyed: the write has no effect, which it can read back.
class MmioTransport final : public IoDevice, public VirtioHost {
 public:
  static constexpr uint64_t kLength = VOLLEY_VIRTIO_STRIDE;
  static constexpr uint64_t kQueueNotify = 0x50;

  // `device` is open already. All must outlive the transport.
  MmioTransport(VirtioDevice& device, const GuestMemory& memory, DeviceLoop& loop, InterruptLine& line,
                volley_device_stats& stats);

  // Makes a descriptor for the kicks of each queue and has the loop watch it.
  Status open();
  uint32_t queue_count() const { return queue_count_; }
  // An eventfd that stands for a write of `queue` to kQueueNotify.
  int kick_fd(uint32_t queue) const { return queues_[queue].kick.get(); }

  void read(uint64_t offset, std::span<uint8_t> data) override;
  void write(uint64_t offset, std::span<const uint8_t> data) override;

  // What a snapshot keeps of a device and its transport.
  struct State {
    struct Queue {
      uint64_t descriptors, available, used;
      uint16_t size, position;
      uint32_t set_up;
    };
    uint64_t offered, driver_features;
    uint32_t status, needs_reset, interrupt_status, config_generation;
    uint32_t device_features_selected, driver_features_selected, queue_selected, queue_count;
    Queue queues[VirtioDevice::kMaxQueues];
    uint8_t device[VirtioDevice::kStateBytes];
  };
  // While the vCPUs and the loop stand still. An errno if the device cannot be quiesced.
  int save(State* state);
  // Before the first vCPU runs: sets the device up by the very writes with which a driver would have, so that what no
  // driver could have done is refused.
  Status restore(const State& state, uint32_t device);
  uint64_t offered() const { return offered_; }
  // After restore(): has the driver, if there is one, read the configuration again.
  void tell_config_changed();

  Virtqueue& queue(uint32_t index) override { return queues_[index].ring; }
  void publish(uint32_t queue) override;
  void config_changed() override;
  void needs_reset() override;

 private:
  struct Queue final : EventHandler {
    void ready(uint32_t epoll_events) override;

    MmioTransport* transport = nullptr;
    uint32_t index = 0;
    QueueLayout layout;   // as the driver wrote it, vCPU side
    bool set_up = false;  // vCPU side
    Virtqueue ring;       // loop side while the device is active
    WakeFd kick;
  };
  struct Activate;
  struct Reset;
  struct WriteConfig;
  struct Quiesce;
  struct Restored;
  struct ConfigChange;

  uint32_t read_register(uint64_t offset);
  void write_register(uint64_t offset, uint32_t value);
  void write_status(uint32_t value);
  void replay(const State& state);
  void write_layout(uint64_t offset, uint32_t value);
  void write_queue_ready(uint32_t value);
  void reset();
  bool features_acceptable() const;
  bool is_configurable() const;  // queues may be set up now
  Queue* selected() { return queue_selected_ < queue_count_ ? &queues_[queue_selected_] : nullptr; }
  void interrupt(uint32_t reason);
  void mark_broken();

  VirtioDevice& device_;
  const GuestMemory& memory_;
  DeviceLoop& loop_;
  InterruptLine& line_;
  volley_device_stats& stats_;
  const uint64_t offered_;
  uint32_t queue_count_ = 0;
  Queue queues_[VirtioDevice::kMaxQueues];

  // vCPU side.
  uint32_t status_ = 0;
  uint32_t device_features_selected_ = 0;
  uint32_t driver_features_selected_ = 0;
  uint32_t queue_selected_ = 0;
  uint64_t driver_features_ = 0;

  // Loop side.
  bool active_ = false;

  // Both.
  std::atomic<bool> needs_reset_{false};
  std::atomic<uint32_t> interrupt_status_{0};
  std::atomic<uint32_t> config_generation_{0};
};

}  // namespace volley
