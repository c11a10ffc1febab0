#include "virtio/mmio_transport.h"

#include <algorithm>
#include <cstring>

#include "stats/page_file.h"

namespace volley {
namespace {

constexpr uint32_t kMagic = 0x74726976;  // "virt"
constexpr uint32_t kVersion = 2;
constexpr uint32_t kVendor = 0x594c4c56;  // "VLLY"

enum Register : uint64_t {
  kMagicValue = 0x000,
  kVersionNumber = 0x004,
  kDeviceId = 0x008,
  kVendorId = 0x00c,
  kDeviceFeatures = 0x010,
  kDeviceFeaturesSelect = 0x014,
  kDriverFeatures = 0x020,
  kDriverFeaturesSelect = 0x024,
  kQueueSelect = 0x030,
  kQueueSizeMax = 0x034,
  kQueueSize = 0x038,
  kQueueReady = 0x044,
  kInterruptStatus = 0x060,
  kInterruptAcknowledge = 0x064,
  kStatus = 0x070,
  kQueueDescriptorsLow = 0x080,
  kQueueDescriptorsHigh = 0x084,
  kQueueAvailableLow = 0x090,
  kQueueAvailableHigh = 0x094,
  kQueueUsedLow = 0x0a0,
  kQueueUsedHigh = 0x0a4,
  kSharedMemoryLengthLow = 0x0b0,
  kSharedMemoryBaseHigh = 0x0bc,
  kConfigGeneration = 0x0fc,
  kConfig = 0x100,
};

constexpr uint32_t kAcknowledge = 0x01;
constexpr uint32_t kDriver = 0x02;
constexpr uint32_t kDriverOk = 0x04;
constexpr uint32_t kFeaturesOk = 0x08;
constexpr uint32_t kNeedsReset = 0x40;
constexpr uint32_t kFailed = 0x80;

constexpr uint32_t kUsedBuffer = 0x01;
constexpr uint32_t kConfigChange = 0x02;

constexpr uint64_t kFeatureIndirect = 1ull << 28;
constexpr uint64_t kFeatureEventIndex = 1ull << 29;
constexpr uint64_t kFeatureVersion1 = 1ull << 32;

void set_low(uint64_t& address, uint32_t value) { address = (address & ~0xffffffffull) | value; }
void set_high(uint64_t& address, uint32_t value) { address = (address & 0xffffffffull) | uint64_t{value} << 32; }

}  // namespace

struct MmioTransport::Activate final : LoopTask {
  explicit Activate(MmioTransport& to) : transport(to) {}
  void run() override {
    transport.active_ = true;
    transport.device_.activate(transport, transport.driver_features_);
    // A driver may fill its queues before it says that it is ready.
    for (uint32_t i = 0; i < transport.queue_count_; ++i) transport.queues_[i].ready(EPOLLIN);
  }
  MmioTransport& transport;
};

struct MmioTransport::Reset final : LoopTask {
  explicit Reset(MmioTransport& to) : transport(to) {}
  void run() override {
    transport.active_ = false;
    transport.device_.reset();
  }
  MmioTransport& transport;
};

struct MmioTransport::WriteConfig final : LoopTask {
  WriteConfig(MmioTransport& to, uint64_t at, std::span<const uint8_t> bytes)
      : transport(to), offset(at), data(bytes) {}
  void run() override { transport.device_.write_config(offset, data); }
  MmioTransport& transport;
  uint64_t offset;
  std::span<const uint8_t> data;
};

struct MmioTransport::Quiesce final : LoopTask {
  explicit Quiesce(MmioTransport& to) : transport(to) {}
  void run() override { error = transport.device_.quiesce(); }
  MmioTransport& transport;
  int error = 0;
};

struct MmioTransport::Restored final : LoopTask {
  explicit Restored(MmioTransport& to) : transport(to) {}
  void run() override { transport.device_.restored(); }
  MmioTransport& transport;
};

struct MmioTransport::ConfigChange final : LoopTask {
  explicit ConfigChange(MmioTransport& to) : transport(to) {}
  void run() override { transport.config_changed(); }
  MmioTransport& transport;
};

MmioTransport::MmioTransport(VirtioDevice& device, const GuestMemory& memory, DeviceLoop& loop, InterruptLine& line,
                             volley_device_stats& stats)
    : device_(device),
      memory_(memory),
      loop_(loop),
      line_(line),
      stats_(stats),
      offered_(device.features() | kFeatureVersion1 | kFeatureEventIndex | kFeatureIndirect),
      queue_count_(static_cast<uint32_t>(std::min<size_t>(device.queue_sizes().size(), VirtioDevice::kMaxQueues))) {}

Status MmioTransport::open() {
  for (uint32_t i = 0; i < queue_count_; ++i) {
    Queue& queue = queues_[i];
    queue.transport = this;
    queue.index = i;
    if (Status status = queue.kick.create(); !status.is_ok()) return status;
    // Edge-triggered: each kick is heard of once and the counter never needs to be read.
    if (Status status = loop_.add(queue.kick.get(), EPOLLIN | EPOLLET, queue); !status.is_ok()) return status;
  }
  return Status::ok();
}

void MmioTransport::Queue::ready(uint32_t) {
  if (!transport->active_ || !ring.is_ready()) return;
  if (transport->needs_reset_.load(std::memory_order_relaxed)) return;
  transport->device_.kicked(index);
}

void MmioTransport::publish(uint32_t queue) {
  if (queues_[queue].ring.publish()) interrupt(kUsedBuffer);
}

void MmioTransport::config_changed() {
  config_generation_.fetch_add(1, std::memory_order_release);
  if (active_) interrupt(kConfigChange);
}

void MmioTransport::needs_reset() {
  if (needs_reset_.load(std::memory_order_relaxed)) return;
  mark_broken();
  if (active_) interrupt(kConfigChange);
}

void MmioTransport::mark_broken() {
  for (Queue& queue : queues_) queue.ring.mark_broken();
  count(stats_.errors);
  needs_reset_.store(true, std::memory_order_release);
}

void MmioTransport::interrupt(uint32_t reason) {
  interrupt_status_.fetch_or(reason, std::memory_order_release);
  count(stats_.interrupts);
  line_.pulse();
}

void MmioTransport::read(uint64_t offset, std::span<uint8_t> data) {
  if (offset >= kConfig) {
    device_.read_config(offset - kConfig, data);
    return;
  }
  // Registers are 32 bits wide and read as that.
  const uint32_t value = data.size() == 4 && offset % 4 == 0 ? read_register(offset) : 0;
  for (size_t i = 0; i < data.size(); ++i) data[i] = i < 4 ? static_cast<uint8_t>(value >> (8 * i)) : uint8_t{0};
}

void MmioTransport::write(uint64_t offset, std::span<const uint8_t> data) {
  if (offset >= kConfig) {
    if ((status_ & kDriver) == 0 || (status_ & kFailed) != 0) return;
    WriteConfig task(*this, offset - kConfig, data);
    loop_.run_and_wait(task);
    return;
  }
  if (data.size() != 4 || offset % 4 != 0) return;
  uint32_t value;
  memcpy(&value, data.data(), sizeof(value));
  write_register(offset, value);
}

uint32_t MmioTransport::read_register(uint64_t offset) {
  const Queue* queue = selected();
  switch (offset) {
    case kMagicValue:
      return kMagic;
    case kVersionNumber:
      return kVersion;
    case kDeviceId:
      return device_.virtio_id();
    case kVendorId:
      return kVendor;
    case kDeviceFeatures:
      if (device_features_selected_ > 1) return 0;
      return static_cast<uint32_t>(offered_ >> (32 * device_features_selected_));
    case kQueueSizeMax:
      return queue != nullptr ? device_.queue_sizes()[queue->index] : 0;
    case kQueueReady:
      return queue != nullptr && queue->set_up ? 1 : 0;
    case kInterruptStatus:
      return interrupt_status_.load(std::memory_order_acquire);
    case kStatus:
      return status_ | (needs_reset_.load(std::memory_order_acquire) ? kNeedsReset : 0);
    case kConfigGeneration:
      return config_generation_.load(std::memory_order_acquire);
    default:
      // There is no shared memory region: length and base are all ones.
      return offset >= kSharedMemoryLengthLow && offset <= kSharedMemoryBaseHigh ? ~0u : 0;
  }
}

void MmioTransport::write_register(uint64_t offset, uint32_t value) {
  switch (offset) {
    case kDeviceFeaturesSelect:
      device_features_selected_ = value;
      break;
    case kDriverFeaturesSelect:
      driver_features_selected_ = value;
      break;
    case kDriverFeatures:
      if ((status_ & (kDriver | kFeaturesOk | kFailed)) != kDriver) break;
      if (driver_features_selected_ == 0) set_low(driver_features_, value);
      if (driver_features_selected_ == 1) set_high(driver_features_, value);
      break;
    case kQueueSelect:
      queue_selected_ = value;
      break;
    case kQueueNotify:
      if ((status_ & kDriverOk) != 0 && value < queue_count_) queues_[value].kick.signal();
      break;
    case kInterruptAcknowledge:
      interrupt_status_.fetch_and(~value, std::memory_order_acq_rel);
      break;
    case kStatus:
      write_status(value);
      break;
    case kQueueReady:
      write_queue_ready(value);
      break;
    default:
      write_layout(offset, value);
      break;
  }
}

bool MmioTransport::is_configurable() const {
  return (status_ & (kFeaturesOk | kDriverOk | kFailed)) == kFeaturesOk &&
         !needs_reset_.load(std::memory_order_relaxed);
}

void MmioTransport::write_layout(uint64_t offset, uint32_t value) {
  Queue* queue = selected();
  if (queue == nullptr || queue->set_up || !is_configurable()) return;
  QueueLayout& layout = queue->layout;
  switch (offset) {
    case kQueueSize:
      layout.size = value <= UINT16_MAX ? static_cast<uint16_t>(value) : uint16_t{0};
      break;
    case kQueueDescriptorsLow:
      set_low(layout.descriptors, value);
      break;
    case kQueueDescriptorsHigh:
      set_high(layout.descriptors, value);
      break;
    case kQueueAvailableLow:
      set_low(layout.available, value);
      break;
    case kQueueAvailableHigh:
      set_high(layout.available, value);
      break;
    case kQueueUsedLow:
      set_low(layout.used, value);
      break;
    case kQueueUsedHigh:
      set_high(layout.used, value);
      break;
    default:
      break;
  }
}

void MmioTransport::write_queue_ready(uint32_t value) {
  Queue* queue = selected();
  if (queue == nullptr || !is_configurable()) return;
  if (value != 1) {
    queue->ring.tear_down();
    queue->set_up = false;
    return;
  }
  if (queue->set_up) return;
  const uint16_t max_size = device_.queue_sizes()[queue->index];
  queue->set_up = queue->ring.set_up(memory_, queue->layout, max_size, (driver_features_ & kFeatureEventIndex) != 0,
                                     (driver_features_ & kFeatureIndirect) != 0);
  // Drivers do not look whether it worked: the status says that it did not.
  if (!queue->set_up) mark_broken();
}

int MmioTransport::save(State* state) {
  Quiesce quiesce(*this);
  loop_.run_and_wait(quiesce);
  if (quiesce.error != 0) return quiesce.error;
  *state = {};
  state->offered = offered_;
  state->driver_features = driver_features_;
  state->status = status_;
  state->needs_reset = needs_reset_.load(std::memory_order_acquire) ? 1 : 0;
  state->interrupt_status = interrupt_status_.load(std::memory_order_acquire);
  state->config_generation = config_generation_.load(std::memory_order_acquire);
  state->device_features_selected = device_features_selected_;
  state->driver_features_selected = driver_features_selected_;
  state->queue_selected = queue_selected_;
  state->queue_count = queue_count_;
  for (uint32_t i = 0; i < queue_count_; ++i) {
    const Queue& queue = queues_[i];
    // One that is broken is not used before it was reset.
    if (queue.ring.in_flight() != 0 && !queue.ring.is_broken()) return EBUSY;
    state->queues[i] = {.descriptors = queue.layout.descriptors,
                        .available = queue.layout.available,
                        .used = queue.layout.used,
                        .size = queue.layout.size,
                        .position = queue.ring.position(),
                        .set_up = queue.set_up ? 1u : 0u};
    // What was pushed is published at the end of every turn; the kick that was not heard comes again by restore().
  }
  device_.save(state->device);
  return 0;
}

void MmioTransport::replay(const State& state) {
  write_register(kStatus, 0);
  for (const uint32_t bit : {kAcknowledge, kDriver}) {
    if ((state.status & bit) != 0) write_register(kStatus, status_ | bit);
  }
  for (const uint32_t half : {0u, 1u}) {
    write_register(kDriverFeaturesSelect, half);
    write_register(kDriverFeatures, static_cast<uint32_t>(state.driver_features >> (32 * half)));
  }
  if ((state.status & kFeaturesOk) != 0) write_register(kStatus, status_ | kFeaturesOk);
  for (uint32_t i = 0; i < queue_count_; ++i) {
    const State::Queue& queue = state.queues[i];
    write_register(kQueueSelect, i);
    write_register(kQueueSize, queue.size);
    const struct {
      uint64_t low, value;
    } addresses[] = {
        {kQueueDescriptorsLow, queue.descriptors}, {kQueueAvailableLow, queue.available}, {kQueueUsedLow, queue.used}};
    for (const auto& address : addresses) {
      write_register(address.low, static_cast<uint32_t>(address.value));
      write_register(address.low + 4, static_cast<uint32_t>(address.value >> 32));
    }
    if (queue.set_up != 0) write_register(kQueueReady, 1);
    queues_[i].ring.continue_at(queue.position);
  }
}

Status MmioTransport::restore(const State& state, uint32_t device) {
  if (state.offered != offered_ || state.queue_count != queue_count_) {
    return Status::error("device %u of the snapshot offers its guest other features than the one given for it", device);
  }
  if (!device_.restore(state.device)) return Status::error("the snapshot's state of device %u is corrupt", device);
  replay(state);
  const bool broken = state.needs_reset != 0;
  // One that needs a reset is not made active again: its queues stay as they are until the driver resets it.
  if (broken) {
    for (Queue& queue : queues_) queue.ring.mark_broken();
    status_ |= state.status & kDriverOk;
  } else if ((state.status & kDriverOk) != 0) {
    write_register(kStatus, status_ | kDriverOk);
  }
  if ((state.status & kFailed) != 0) write_register(kStatus, status_ | kFailed);
  for (uint32_t i = 0; i < queue_count_; ++i) {
    if (queues_[i].set_up == (state.queues[i].set_up != 0)) continue;
    return Status::error("queue %u of the snapshot's device %u is where no queue can be", i, device);
  }
  if (status_ != state.status) {
    return Status::error("the snapshot's device %u is in state %#x, which no driver can bring about", device,
                         state.status);
  }
  needs_reset_.store(broken || needs_reset_.load(std::memory_order_relaxed), std::memory_order_release);
  device_features_selected_ = state.device_features_selected;
  driver_features_selected_ = state.driver_features_selected;
  queue_selected_ = state.queue_selected;
  interrupt_status_.fetch_or(state.interrupt_status & (kUsedBuffer | kConfigChange), std::memory_order_release);
  // Whatever is another now (MAC address, CID) is read as one.
  config_generation_.store(state.config_generation + 1, std::memory_order_release);
  if (!active_) return Status::ok();
  Restored restored(*this);
  loop_.run_and_wait(restored);
  return Status::ok();
}

void MmioTransport::tell_config_changed() {
  ConfigChange task(*this);
  loop_.run_and_wait(task);
}

bool MmioTransport::features_acceptable() const {
  return (driver_features_ & ~offered_) == 0 && (driver_features_ & kFeatureVersion1) != 0;
}

void MmioTransport::write_status(uint32_t value) {
  if (value == 0) {
    reset();
    return;
  }
  // A driver sets bits, all that are set already and new ones; only a reset clears them.
  if ((status_ & kFailed) != 0 || (value & status_) != status_) return;
  const uint32_t added = value & ~status_;
  if ((added & kFailed) != 0) {
    status_ |= kFailed;
    return;
  }
  if ((added & kAcknowledge) != 0) status_ |= kAcknowledge;
  if ((added & kDriver) != 0 && (status_ & kAcknowledge) != 0) status_ |= kDriver;
  if ((added & kFeaturesOk) != 0 && (status_ & kDriver) != 0 && features_acceptable()) status_ |= kFeaturesOk;
  if ((added & kDriverOk) != 0 && is_configurable()) {
    status_ |= kDriverOk;
    Activate task(*this);
    loop_.run_and_wait(task);
  }
}

void MmioTransport::reset() {
  if ((status_ & kDriverOk) != 0) {
    Reset task(*this);
    loop_.run_and_wait(task);
  }
  for (Queue& queue : queues_) {
    queue.ring.tear_down();
    queue.layout = {};
    queue.set_up = false;
  }
  status_ = 0;
  device_features_selected_ = 0;
  driver_features_selected_ = 0;
  queue_selected_ = 0;
  driver_features_ = 0;
  interrupt_status_.store(0, std::memory_order_relaxed);
  needs_reset_.store(false, std::memory_order_relaxed);
}

}  // namespace volley
