#include "machine/device_set.h"

#include <cinttypes>
#include <new>

#include "limits/rate_limiter.h"
#include "memory/layout.h"
#include "snapshot/file_bytes.h"
#include "snapshot/state_reader.h"
#include "snapshot/state_writer.h"
#include "virtio/device_factory.h"
#include "virtio/device_line.h"
#include "virtio/device_loop.h"
#include "virtio/mmio_transport.h"

namespace volley {
namespace {

constexpr size_t kAlignment = 64;

constexpr size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

struct SetLimit final : LoopTask {
  SetLimit(VirtioDevice& to, uint32_t index, const volley_limiter& shape) : device(to), which(index), limiter(shape) {}
  void run() override { done = device.set_limit(which, limiter); }
  VirtioDevice& device;
  uint32_t which;
  const volley_limiter& limiter;
  bool done = false;
};

struct Command final : LoopTask {
  Command(VirtioDevice& to, const volley_message& what, UniqueFd& descriptor)
      : device(to), message(what), passed(descriptor) {}
  void run() override { answer = device.command(message, passed); }
  VirtioDevice& device;
  const volley_message& message;
  UniqueFd& passed;
  int answer = 0;
};

struct Finish final : LoopTask {
  explicit Finish(VirtioDevice& to) : device(to) {}
  void run() override { device.finish(); }
  VirtioDevice& device;
};

}  // namespace

struct DeviceSet::Slot {
  Slot(const Platform& platform, uint32_t index, const volley_device& config, VirtioDevice& its_device,
       DeviceLoop& its_loop)
      : type(config.type),
        flags(config.flags & ~(VOLLEY_BLOCK_OVERLAY | VOLLEY_BLOCK_REPLACED)),
        is_replaced(config.type == VOLLEY_DEVICE_BLOCK && (config.flags & VOLLEY_BLOCK_REPLACED) != 0),
        mtu(config.mtu),
        size(config.type == VOLLEY_DEVICE_BLOCK ? config.size : 0),
        device(its_device),
        loop(its_loop),
        line(platform.vm, index, platform.flat),
        transport(its_device, platform.memory, its_loop, line, platform.stats.devices[index]) {}

  uint32_t type;
  uint32_t flags;
  bool is_replaced;
  uint32_t mtu;
  uint64_t size;
  VirtioDevice& device;
  DeviceLoop& loop;
  DeviceLine line;
  MmioTransport transport;
};

void* DeviceSet::take(size_t bytes) {
  void* at = room_.data() + taken_;
  taken_ += aligned(bytes);
  return at;
}

Status DeviceSet::build(const volley_config& config, const InheritedFds& fds, const Platform& platform) {
  if (config.device_count == 0) return Status::ok();
  size_t bytes = aligned(sizeof(DeviceLoop));
  for (uint32_t i = 0; i < config.device_count; ++i) {
    const uint32_t type = config.devices[i].type;
    if (device_bytes(type) == 0) return Status::error("config.devices[%u].type %u is not in this VMM", i, type);
    bytes += aligned(device_bytes(type)) + aligned(sizeof(Slot));
    if (device_waits(type)) bytes += aligned(sizeof(DeviceLoop));
  }
  if (Status status = room_.map_anonymous(bytes, "devices"); !status.is_ok()) return status;
  for (uint32_t i = 0; i < config.device_count; ++i) {
    if (Status status = make_device(i, config, fds, platform); !status.is_ok()) return status;
  }
  return Status::ok();
}

Status DeviceSet::make_loop(uint32_t index, uint32_t type, DeviceLoop** loop) {
  const bool own = device_waits(type);
  if (!own && shared_loop_ != nullptr) {
    *loop = shared_loop_;
    return Status::ok();
  }
  *loop = new (take(sizeof(DeviceLoop))) DeviceLoop;
  if (!own) shared_loop_ = *loop;
  loops_[loop_count_++] = *loop;
  return own ? (*loop)->create(DeviceLoop::Kind::kDisk, index)
             : (*loop)->create(DeviceLoop::Kind::kDevices, VOLLEY_MAX_DEVICES);
}

Status DeviceSet::make_device(uint32_t index, const volley_config& config, const InheritedFds& fds,
                              const Platform& platform) {
  const uint32_t type = config.devices[index].type;
  DeviceLoop* loop = nullptr;
  if (Status status = make_loop(index, type, &loop); !status.is_ok()) return status;
  VirtioDevice* device = construct_device(type, take(device_bytes(type)));
  const DeviceContext context = {.index = index,
                                 .config = config.devices[index],
                                 .fds = fds,
                                 .memory = platform.memory,
                                 .loop = *loop,
                                 .stats = platform.stats,
                                 .agent = platform.agent};
  if (Status status = device->open(context); !status.is_ok()) return status;
  slots_[count_] = new (take(sizeof(Slot))) Slot(platform, index, config.devices[index], *device, *loop);
  Slot& slot = *slots_[count_++];
  if (Status status = slot.transport.open(); !status.is_ok()) return status;
  return platform.mmio.attach(device_window(index), MmioTransport::kLength, slot.transport, "virtio");
}

void DeviceSet::connect_kicks(const Vm& vm) {
  for (uint32_t i = 0; i < count_; ++i) {
    const MmioTransport& transport = slots_[i]->transport;
    for (uint32_t queue = 0; queue < transport.queue_count(); ++queue) {
      // Without it the write comes back here and does the same.
      if (!vm.signal_on_write(device_window(i) + MmioTransport::kQueueNotify, queue, transport.kick_fd(queue))) return;
    }
  }
}

Status DeviceSet::start() {
  for (uint32_t i = 0; i < loop_count_; ++i) {
    if (Status status = loops_[i]->start(); !status.is_ok()) return status;
  }
  return Status::ok();
}

bool DeviceSet::pause(uint64_t deadline_ns) {
  for (uint32_t i = 0; i < loop_count_; ++i) {
    if (loops_[i]->pause(deadline_ns)) continue;
    resume();
    return false;
  }
  return true;
}

void DeviceSet::resume() {
  for (uint32_t i = 0; i < loop_count_; ++i) loops_[i]->resume();
}

volley_snapshot_device DeviceSet::describe(const Slot& slot) const {
  return {.type = slot.type,
          .flags = slot.flags,
          .size = slot.size,
          .features = slot.transport.offered(),
          .queues = slot.transport.queue_count(),
          .mtu = slot.mtu};
}

Status DeviceSet::save(StateWriter& to) {
  to.header().device_count = count_;
  for (uint32_t i = 0; i < count_; ++i) {
    MmioTransport::State state;
    if (const int error = slots_[i]->transport.save(&state); error != 0) {
      return Status::system_error(error, "device %u cannot be brought to rest", i);
    }
    to.header().devices[i] = describe(*slots_[i]);
    if (Status status = to.add(VOLLEY_SECTION_DEVICE, i, bytes_of(state)); !status.is_ok()) return status;
  }
  return Status::ok();
}

Status DeviceSet::restore(const StateReader& from) {
  const volley_snapshot_header& header = from.header();
  if (header.device_count != count_) {
    return Status::error("the snapshot has %u devices, %u are given for it", header.device_count, count_);
  }
  for (uint32_t i = 0; i < count_; ++i) {
    const volley_snapshot_device& was = header.devices[i];
    const volley_snapshot_device is = describe(*slots_[i]);
    if (was.type != is.type) {
      return Status::error("device %u of the snapshot is of type %u, the one given for it of type %u", i, was.type,
                           is.type);
    }
    if (was.size != is.size && !slots_[i]->is_replaced) {
      return Status::error("device %u of the snapshot is a disk of %" PRIu64
                           " bytes, the one given for it has %" PRIu64,
                           i, was.size, is.size);
    }
    if (was.flags != is.flags || was.mtu != is.mtu) {
      return Status::error("device %u of the snapshot has flags %#x and MTU %u, the one given for it %#x and %u", i,
                           was.flags, was.mtu, is.flags, is.mtu);
    }
    MmioTransport::State state;
    if (Status status = from.read(VOLLEY_SECTION_DEVICE, i, bytes_of(state)); !status.is_ok()) return status;
    if (Status status = slots_[i]->transport.restore(state, i); !status.is_ok()) return status;
    if (slots_[i]->is_replaced) slots_[i]->transport.tell_config_changed();
  }
  return Status::ok();
}

void DeviceSet::finish(uint64_t deadline_ns) {
  for (uint32_t i = 0; i < count_; ++i) {
    if (!slots_[i]->loop.pause(deadline_ns)) continue;
    Finish task(slots_[i]->device);
    slots_[i]->loop.run_and_wait(task);
  }
}

int DeviceSet::set_limit(uint32_t device, uint32_t which, const volley_limiter& limiter) {
  if (device >= count_) return ENODEV;
  if (!is_valid(limiter)) return EINVAL;
  SetLimit task(slots_[device]->device, which, limiter);
  slots_[device]->loop.run_and_wait(task);
  return task.done ? 0 : EINVAL;
}

int DeviceSet::command(uint32_t type, const volley_message& message, UniqueFd& passed) {
  for (uint32_t i = 0; i < count_; ++i) {
    if (slots_[i]->type != type) continue;
    Command task(slots_[i]->device, message, passed);
    slots_[i]->loop.run_and_wait(task);
    return task.answer;
  }
  return ENODEV;
}

}  // namespace volley
