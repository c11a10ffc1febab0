#include "support/virtio_bench.h"

#include <linux/virtio_ids.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "balloon/balloon_device.h"
#include "block/block_device.h"
#include "limits/rate_limiter.h"
#include "memory/layout.h"
#include "net/net_device.h"
#include "rng/rng_device.h"
#include "support/guarded_mappings.h"
#include "virtio/device_factory.h"
#include "vsock/vsock_device.h"

namespace volley::fuzz {
namespace {

constexpr uint64_t kHighBytes = 128 * 1024;
constexpr unsigned kStepsAtMost = 256;
// So much of what is left over is served at the end.
constexpr unsigned kLastTurns = 8;

constexpr uint16_t kNext = 1;
constexpr uint16_t kWrite = 2;
constexpr uint16_t kIndirect = 4;

constexpr uint64_t kFeatureVersion1 = 1ull << 32;

enum Register : uint64_t {
  kDeviceFeatures = 0x010,
  kDeviceFeaturesSelect = 0x014,
  kDriverFeatures = 0x020,
  kDriverFeaturesSelect = 0x024,
  kQueueSelect = 0x030,
  kQueueSizeMax = 0x034,
  kQueueSize = 0x038,
  kQueueReady = 0x044,
  kQueueNotify = 0x050,
  kInterruptStatus = 0x060,
  kInterruptAcknowledge = 0x064,
  kStatus = 0x070,
  kQueueDescriptorsLow = 0x080,
  kQueueDescriptorsHigh = 0x084,
  kQueueAvailableLow = 0x090,
  kQueueAvailableHigh = 0x094,
  kQueueUsedLow = 0x0a0,
  kQueueUsedHigh = 0x0a4,
  kConfigGeneration = 0x0fc,
  kConfig = 0x100,
};
constexpr uint64_t kRegisters[] = {kDeviceFeaturesSelect,
                                   kDriverFeatures,
                                   kDriverFeaturesSelect,
                                   kQueueSelect,
                                   kQueueSize,
                                   kQueueReady,
                                   kQueueNotify,
                                   kInterruptAcknowledge,
                                   kStatus,
                                   kQueueDescriptorsLow,
                                   kQueueDescriptorsHigh,
                                   kQueueAvailableLow,
                                   kQueueAvailableHigh,
                                   kQueueUsedLow,
                                   kQueueUsedHigh,
                                   kConfig,
                                   kConfig + 4};

uint64_t available_of(uint64_t base, uint16_t size) { return base + 16ull * size; }
uint64_t used_of(uint64_t base, uint16_t size) { return (available_of(base, size) + 6 + 2ull * size + 3) & ~3ull; }

template <typename T>
bool poke(const GuestMemory& memory, uint64_t address, T value) {
  return memory.write_value(address, value);
}

// Devices are never destroyed in the VMM, and their base has no public destructor.
void destroy(VirtioDevice* device, uint32_t type) {
  switch (type) {
    case VOLLEY_DEVICE_BLOCK:
      return static_cast<BlockDevice*>(device)->~BlockDevice();
    case VOLLEY_DEVICE_NET:
      return static_cast<NetDevice*>(device)->~NetDevice();
    case VOLLEY_DEVICE_VSOCK:
      return static_cast<VsockDevice*>(device)->~VsockDevice();
    case VOLLEY_DEVICE_BALLOON:
      return static_cast<BalloonDevice*>(device)->~BalloonDevice();
    case VOLLEY_DEVICE_RNG:
      return static_cast<RngDevice*>(device)->~RngDevice();
    default:
      abort();
  }
}

}  // namespace

const GuestMemory& fresh_guest_memory() {
  static GuestMemory& memory = *new GuestMemory;
  if (memory.size() == 0) {
    demand(memory.map(kMmioGapStart + kHighBytes, true).is_ok(), "no guest memory");
    keep_mappings();
  }
  madvise(memory.host_base(), memory.size(), MADV_DONTNEED);
  return memory;
}

VirtioBench::VirtioBench(uint32_t type, const volley_device& config, const InheritedFds& fds)
    : memory_(fresh_guest_memory()),
      stats_(std::make_unique<volley_stats>()),
      loop_(std::make_unique<DeviceLoop>()),
      type_(type),
      bus_(std::make_unique<IoBus>()) {
  forget_races();
  demand(loop_->create(DeviceLoop::Kind::kDevices, 0).is_ok(), "no loop");
  constexpr size_t kAlignment = 64;
  const size_t bytes = (device_bytes(type) + kAlignment - 1) / kAlignment * kAlignment;
  room_ = aligned_alloc(kAlignment, bytes);
  memset(room_, 0, bytes);
  device_ = construct_device(type, room_);
  const Status status = device_->open(
      {.index = 0, .config = config, .fds = fds, .memory = memory_, .loop = *loop_, .stats = *stats_, .agent = agent_});
  if (!status.is_ok()) return;
  transport_ = std::make_unique<MmioTransport>(*device_, memory_, *loop_, line_, stats_->devices[0]);
  demand(transport_->open().is_ok(), "no transport");
  demand(bus_->attach(device_window(0), MmioTransport::kLength, *transport_, "virtio").is_ok(), "no window");
  queue_count_ = transport_->queue_count();
}

VirtioBench::~VirtioBench() {
  // What is left is given up as at a reset; descriptors that are still open then were forgotten.
  if (transport_ != nullptr) write_register(kStatus, 0);
  transport_.reset();
  destroy(device_, type_);
  free(room_);
}

void VirtioBench::run(Script& script, DeviceScript& device_script) {
  for (unsigned steps = 0; !script.is_over() && steps < kStepsAtMost; ++steps) step(script, device_script);
  turn(kLastTurns);
  {
    const VmmAtWork at_work(memory_);
    device_->finish();
  }
  check();
}

void VirtioBench::step(Script& script, DeviceScript& device_script) {
  switch (static_cast<Step>(script.choice(static_cast<uint32_t>(Step::kStepCount)))) {
    case Step::kBringUp:
      return bring_up(script);
    case Step::kRequest: {
      const uint8_t how = script.byte();
      const uint32_t queue = how % std::max(queue_count_, 1u);
      return offer(queue, device_script.request(script, *this, queue), (how & 0x80) != 0);
    }
    case Step::kChain: {
      const uint8_t how = script.byte();
      const uint32_t pieces = 1 + script.choice(8);
      const uint8_t writable = script.byte();
      std::vector<Piece> chain;
      for (uint32_t i = 0; i < pieces; ++i) {
        const uint64_t at = address(script);
        chain.push_back({at, length(script), (writable >> i & 1) != 0});
      }
      return offer(how % std::max(queue_count_, 1u), chain, (how & 0x80) != 0);
    }
    case Step::kKick: {
      const uint8_t how = script.byte();
      kick(how % (kMaxQueues + 1), (how & 0x80) != 0);
      return turn(2);
    }
    case Step::kTurn:
      return turn(1 + script.choice(8));
    case Step::kWriteRegister: {
      const uint64_t offset = kRegisters[script.choice(std::size(kRegisters))];
      return write_register(offset, script.take<uint32_t>());
    }
    case Step::kAccess:
      return access(script);
    case Step::kWriteMemory: {
      const uint64_t at = address(script);
      [[maybe_unused]] const bool written = memory_.write(at, script.bytes(script.byte()));
      return;
    }
    case Step::kDescriptor: {
      const Ring& ring = rings_[script.choice(kMaxQueues)];
      const uint16_t index = script.byte();
      const uint64_t at = address(script);
      const uint32_t bytes = length(script);
      const uint16_t flags = script.byte() & 7;
      return put_descriptor(ring.base, index, {at, bytes, false}, flags, script.byte());
    }
    case Step::kRing: {
      Ring& ring = rings_[script.choice(kMaxQueues)];
      const uint32_t field = script.choice(5);
      const auto value = script.take<uint16_t>();
      const uint64_t available = available_of(ring.base, ring.size);
      if (field == 0) poke(memory_, available, value);
      if (field == 1) poke(memory_, available + 2, ring.next_available = value);
      if (field == 2) poke(memory_, available + 4 + 2ull * ring.size, value);
      if (field == 3) poke(memory_, used_of(ring.base, ring.size), value);
      if (field == 4) poke(memory_, available + 4 + 2ull * (value >> 8), static_cast<uint16_t>(value & 0xff));
      return;
    }
    case Step::kRace: {
      Race race{};
      race.loads = script.byte();
      const uint8_t how = script.byte();
      race.in_place = (how & 1) != 0;
      race.width = static_cast<uint8_t>(1u << (how >> 1 & 3));
      race.address = race.in_place ? script.byte() % 48u : address(script);
      race.value = race.width == 8 ? script.take<uint64_t>() : script.take<uint32_t>();
      return plan_race(race);
    }
    case Step::kTime:
      return advance_time(uint64_t{script.take<uint16_t>()} * 100'000);
    case Step::kHost:
      return device_script.host(script, *this);
    case Step::kReset:
      return write_register(kStatus, 0);
    case Step::kFlood: {
      const uint8_t how = script.byte();
      const uint32_t queue = how % std::max(queue_count_, 1u);
      uint8_t times = script.byte();
      const std::vector<Piece> pieces = device_script.request(script, *this, queue);
      while (times-- != 0) offer(queue, pieces, (how & 0x80) != 0);
      return kick(queue, false);
    }
    case Step::kStepCount:
      return;
  }
}

void VirtioBench::bring_up(Script& script) {
  const auto refused = script.take<uint64_t>();  // features that are not wanted
  const uint8_t how = script.byte();
  write_register(kStatus, 0);
  write_register(kStatus, 1);
  write_register(kStatus, 3);
  write_register(kDeviceFeaturesSelect, 0);
  uint64_t features = read_register(kDeviceFeatures);
  write_register(kDeviceFeaturesSelect, 1);
  features |= uint64_t{read_register(kDeviceFeatures)} << 32;
  features = (features & ~refused) | kFeatureVersion1;
  write_register(kDriverFeaturesSelect, 0);
  write_register(kDriverFeatures, static_cast<uint32_t>(features));
  write_register(kDriverFeaturesSelect, 1);
  write_register(kDriverFeatures, static_cast<uint32_t>(features >> 32));
  write_register(kStatus, 11);
  for (uint32_t i = 0; i < queue_count_; ++i) {
    Ring& ring = rings_[i];
    ring = {};
    ring.size = static_cast<uint16_t>(1u << (script.byte() % 11));
    // Mostly where rings are looked for, and sometimes where they should not be.
    ring.base = (how & 1) != 0 ? address(script) & ~15ull : kRingsAt + i * kRingStride;
    write_register(kQueueSelect, i);
    ring.size = static_cast<uint16_t>(std::min<uint32_t>(ring.size, read_register(kQueueSizeMax)));
    const uint64_t available = available_of(ring.base, ring.size);
    const uint64_t used = used_of(ring.base, ring.size);
    write_register(kQueueSize, ring.size);
    write_register(kQueueDescriptorsLow, static_cast<uint32_t>(ring.base));
    write_register(kQueueDescriptorsHigh, static_cast<uint32_t>(ring.base >> 32));
    write_register(kQueueAvailableLow, static_cast<uint32_t>(available));
    write_register(kQueueAvailableHigh, static_cast<uint32_t>(available >> 32));
    write_register(kQueueUsedLow, static_cast<uint32_t>(used));
    write_register(kQueueUsedHigh, static_cast<uint32_t>(used >> 32));
    // A driver starts with rings that are all zero.
    const std::span<uint8_t> all = memory_.range(ring.base, used + 6 + 8ull * ring.size - ring.base);
    std::fill(all.begin(), all.end(), uint8_t{0});
    if ((how >> 1 & 7) != i + 1) write_register(kQueueReady, 1);
  }
  write_register(kStatus, 15);
}

void VirtioBench::offer(uint32_t queue, const std::vector<Piece>& pieces, bool indirect) {
  Ring& ring = rings_[queue];
  if (ring.size == 0 || pieces.empty()) return;
  const uint16_t head = static_cast<uint16_t>(ring.next_descriptor % ring.size);
  uint64_t table = ring.base;
  uint32_t index = head;
  if (indirect) {
    table = kTablesAt + next_table_;
    next_table_ = (next_table_ + 0x400) % (kHeadersAt - kTablesAt);
    index = 0;
    put_descriptor(ring.base, head, {table, static_cast<uint32_t>(16 * pieces.size()), false}, kIndirect, 0);
    ++ring.next_descriptor;
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bool last = i + 1 == pieces.size();
    const uint32_t next = indirect ? index + 1 : (index + 1) % ring.size;
    const auto flags = static_cast<uint16_t>((pieces[i].writable ? kWrite : 0) | (last ? 0 : kNext));
    put_descriptor(table, index, pieces[i], flags, static_cast<uint16_t>(next));
    index = next;
    if (!indirect) ++ring.next_descriptor;
  }
  const uint64_t available = available_of(ring.base, ring.size);
  poke(memory_, available + 4 + 2ull * (ring.next_available % ring.size), head);
  poke(memory_, available + 2, ++ring.next_available);
}

void VirtioBench::put_descriptor(uint64_t table, uint32_t index, const Piece& piece, uint16_t flags, uint16_t next) {
  const struct {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
  } descriptor{piece.address, piece.length, flags, next};
  poke(memory_, table + 16ull * index, descriptor);
}

void VirtioBench::write_register(uint64_t offset, uint32_t value) {
  const VmmAtWork at_work(memory_);
  demand(bus_->write(device_window(0) + offset, {reinterpret_cast<const uint8_t*>(&value), sizeof(value)}),
         "the window is not there");
}

uint32_t VirtioBench::read_register(uint64_t offset) {
  const VmmAtWork at_work(memory_);
  uint32_t value = 0;
  demand(bus_->read(device_window(0) + offset, {reinterpret_cast<uint8_t*>(&value), sizeof(value)}),
         "the window is not there");
  return value;
}

void VirtioBench::access(Script& script) {
  const uint8_t how = script.byte();
  const uint64_t offset = script.take<uint16_t>() % (MmioTransport::kLength + 8);
  // As KVM hands it over: 1 to 8 bytes. On the heap, so that one byte too many is noticed.
  std::vector<uint8_t> bytes(1u + (how >> 1 & 7));
  const VmmAtWork at_work(memory_);
  if ((how & 1) != 0) {
    const auto taken = script.bytes(bytes.size());
    std::copy(taken.begin(), taken.end(), bytes.begin());
    [[maybe_unused]] const bool written = bus_->write(device_window(0) + offset, bytes);
  } else {
    [[maybe_unused]] const bool read = bus_->read(device_window(0) + offset, bytes);
  }
}

void VirtioBench::kick(uint32_t queue, bool by_descriptor) {
  if (!by_descriptor) return write_register(kQueueNotify, queue);
  // KVM signals it whatever the device's state is.
  if (queue < queue_count_) eventfd_write(transport_->kick_fd(queue), 1);
}

void VirtioBench::turn(unsigned times) {
  const VmmAtWork at_work(memory_);
  while (times-- != 0 && loop_->turn()) {
  }
}

uint64_t VirtioBench::put(const void* bytes, size_t count) {
  const uint64_t at = kHeadersAt + next_header_;
  next_header_ = (next_header_ + count + 15) / 16 * 16 % (kBuffersAt - kHeadersAt - 0x1000);
  demand(memory_.write(at, {static_cast<const uint8_t*>(bytes), count}), "a header does not fit");
  return at;
}

uint64_t VirtioBench::address(Script& script) {
  switch (static_cast<Place>(script.choice(static_cast<uint32_t>(Place::kPlaceCount)))) {
    case Place::kBuffers:
      return kBuffersAt + script.take<uint16_t>();
    case Place::kRings:
      return script.take<uint16_t>();
    case Place::kEndOfLow:
      return kMmioGapStart - script.take<uint16_t>();
    case Place::kHigh:
      return kMmioGapEnd + kHighBytes - 0x8000 + script.take<uint16_t>();
    default:
      return script.take<uint64_t>();
  }
}

uint32_t VirtioBench::length(Script& script) {
  switch (static_cast<Length>(script.choice(static_cast<uint32_t>(Length::kLengthCount)))) {
    case Length::kByte:
      return script.byte();
    case Length::kSectors:
      return script.byte() * 512u;
    case Length::kWord:
      return script.take<uint16_t>();
    default:
      return script.take<uint32_t>();
  }
}

void VirtioBench::set_limit(Script& script, uint32_t limiters) {
  volley_limiter limiter{};
  const uint32_t which = script.choice(4);
  limiter.bytes = {.size = script.take<uint16_t>(), .burst = script.byte(), .refill_ms = script.byte()};
  limiter.operations = {.size = script.byte(), .burst = script.byte(), .refill_ms = script.byte()};
  if (!is_valid(limiter)) return;  // DeviceSet lets no other pass
  const VmmAtWork at_work(memory_);
  demand(device_->set_limit(which, limiter) == (which < limiters), "a limiter too many, or too few");
}

int VirtioBench::command(const volley_message& message, UniqueFd& passed) {
  const VmmAtWork at_work(memory_);
  return device_->command(message, passed);
}

void VirtioBench::check() {
  for (uint32_t i = 1; i < VOLLEY_MAX_DEVICES; ++i) {
    const volley_device_stats none{};
    demand(memcmp(&stats_->devices[i], &none, sizeof(none)) == 0, "a device counts in another one's statistics");
  }
}

}  // namespace volley::fuzz
