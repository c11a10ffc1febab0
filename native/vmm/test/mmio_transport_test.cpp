#include "virtio/mmio_transport.h"

#include <semaphore>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "support/check.h"
#include "support/guest_driver.h"

namespace volley {
namespace {

constexpr uint64_t kVersion1 = 1ull << 32;
constexpr uint64_t kEventIndex = 1ull << 29;
constexpr uint64_t kIndirect = 1ull << 28;
constexpr uint64_t kOwnFeature = 1ull << 5;
constexpr uint64_t kRing = 0x10000;
constexpr uint64_t kBuffers = 0x40000;

// A thread may still look at these when the test is over: they live as long as the process.
template <typename T, typename... Arguments>
T& keep(Arguments&&... arguments) {
  static std::vector<T*>& kept = *new std::vector<T*>;
  return *kept.emplace_back(new T(std::forward<Arguments>(arguments)...));
}

// Gives every request back, with its first readable byte counted, and tells what happened to it.
struct EchoDevice final : VirtioDevice {
  Status open(const DeviceContext&) override { return Status::ok(); }
  uint32_t virtio_id() const override { return 42; }
  uint64_t features() const override { return kOwnFeature; }
  std::span<const uint16_t> queue_sizes() const override {
    static const uint16_t sizes[] = {16, 8};
    return sizes;
  }
  void read_config(uint64_t offset, std::span<uint8_t> data) override { copy_config(config, offset, data); }
  void write_config(uint64_t offset, std::span<const uint8_t> data) override {
    on_loop &= std::this_thread::get_id() != main_thread;
    for (size_t i = 0; i < data.size() && offset + i < sizeof(config); ++i) config[offset + i] = data[i];
  }
  void activate(VirtioHost& to, uint64_t negotiated) override {
    on_loop &= std::this_thread::get_id() != main_thread;
    host = &to;
    features_seen = negotiated;
    ++activations;
  }
  void reset() override {
    on_loop &= std::this_thread::get_id() != main_thread;
    host = nullptr;
    ++resets;
  }
  void kicked(uint32_t queue) override {
    ++kicks[queue];
    Virtqueue& ring = host->queue(queue);
    while (true) {
      const Virtqueue::Pop result = ring.pop(&chain);
      if (result == Virtqueue::Pop::kBroken) host->needs_reset();
      if (result != Virtqueue::Pop::kChain) break;
      ring.push(chain, 1);
      ++requests;
    }
    host->publish(queue);
    kicked_once.release();
  }
  bool set_limit(uint32_t, const volley_limiter&) override { return false; }

  uint8_t config[6] = {1, 2, 3, 4, 5, 6};
  std::thread::id main_thread = std::this_thread::get_id();
  bool on_loop = true;
  VirtioHost* host = nullptr;
  uint64_t features_seen = 0;
  int activations = 0;
  int resets = 0;
  int requests = 0;
  int kicks[2] = {};
  Chain chain;
  std::counting_semaphore<> kicked_once{0};
};

struct CountingLine final : InterruptLine {
  void set(bool level) override { edges += level ? 1 : 0; }
  std::atomic<int> edges{0};
};

struct Bench {
  Bench() {
    if (!memory.map(1 << 20, true).is_ok() || !loop.create(DeviceLoop::Kind::kDevices, 0).is_ok() ||
        !transport.open().is_ok() || !loop.start().is_ok()) {
      abort();
    }
  }
  ~Bench() {
    if (!loop.pause(monotonic_ns() + 10'000'000'000)) abort();
  }

  uint32_t get(uint64_t offset) {
    uint32_t value = 0;
    transport.read(offset, {reinterpret_cast<uint8_t*>(&value), 4});
    return value;
  }
  void set(uint64_t offset, uint32_t value) { transport.write(offset, {reinterpret_cast<const uint8_t*>(&value), 4}); }
  void set_features(uint64_t features) {
    set(0x24, 0);
    set(0x20, static_cast<uint32_t>(features));
    set(0x24, 1);
    set(0x20, static_cast<uint32_t>(features >> 32));
  }
  void set_queue(uint32_t index, const QueueLayout& layout) {
    set(0x30, index);
    set(0x38, layout.size);
    set(0x80, static_cast<uint32_t>(layout.descriptors));
    set(0x84, static_cast<uint32_t>(layout.descriptors >> 32));
    set(0x90, static_cast<uint32_t>(layout.available));
    set(0x94, static_cast<uint32_t>(layout.available >> 32));
    set(0xa0, static_cast<uint32_t>(layout.used));
    set(0xa4, static_cast<uint32_t>(layout.used >> 32));
    set(0x44, 1);
  }
  // As a driver does it, up to the status that was asked for.
  void bring_up(const GuestDriver& driver, uint64_t features = kVersion1) {
    set(0x70, 0);
    set(0x70, 1);
    set(0x70, 3);
    set_features(features);
    set(0x70, 11);
    set_queue(0, driver.layout());
    set(0x70, 15);
  }
  // Until the loop has come to rest.
  void settle() {
    struct Nothing final : LoopTask {
      void run() override {}
    } nothing;
    loop.run_and_wait(nothing);
  }

  GuestMemory memory;
  EchoDevice& device = keep<EchoDevice>();
  CountingLine line;
  volley_device_stats stats{};
  DeviceLoop& loop = keep<DeviceLoop>();
  MmioTransport& transport = keep<MmioTransport>(device, memory, loop, line, stats);
};

TEST(identity_and_features) {
  Bench bench;
  CHECK_EQ(bench.get(0x00), 0x74726976u);
  CHECK_EQ(bench.get(0x04), 2u);
  CHECK_EQ(bench.get(0x08), 42u);
  CHECK_EQ(bench.get(0x0c), 0x594c4c56u);
  CHECK_EQ(bench.get(0x10), static_cast<uint32_t>(kIndirect | kEventIndex | kOwnFeature));
  bench.set(0x14, 1);
  CHECK_EQ(bench.get(0x10), 1u);
  bench.set(0x14, 2);
  CHECK_EQ(bench.get(0x10), 0u);
  CHECK_EQ(bench.get(0x34), 16u);
  bench.set(0x30, 1);
  CHECK_EQ(bench.get(0x34), 8u);
  bench.set(0x30, 2);
  CHECK_EQ(bench.get(0x34), 0u);
  bench.set(0x30, ~0u);
  CHECK_EQ(bench.get(0x34), 0u);
  CHECK_EQ(bench.get(0x44), 0u);
  CHECK_EQ(bench.get(0xb0), ~0u);
  CHECK_EQ(bench.get(0xbc), ~0u);
  CHECK_EQ(bench.get(0xfc), 0u);
  CHECK_EQ(bench.get(0x20), 0u);  // write only
}

TEST(a_driver_that_keeps_the_rules_is_served) {
  Bench bench;
  GuestDriver driver(bench.memory, kRing, 16);
  bench.bring_up(driver, kVersion1 | kEventIndex | kOwnFeature);
  CHECK_EQ(bench.get(0x70), 15u);
  CHECK_EQ(bench.get(0x44), 1u);
  CHECK_EQ(bench.device.activations, 1);
  CHECK_EQ(bench.device.features_seen, kVersion1 | kEventIndex | kOwnFeature);
  CHECK_EQ(bench.device.kicks[0], 1);  // what was queued before the driver was ready
  bench.device.kicked_once.acquire();
  for (int i = 0; i < 100; ++i) {
    driver.put_chain(0, {{kBuffers, 8, true}});
    driver.set_used_event(static_cast<uint16_t>(i));
    driver.offer(0);
    bench.set(0x50, 0);
    bench.device.kicked_once.acquire();
    bench.settle();
    CHECK_EQ(driver.used_index(), i + 1);
    CHECK_EQ(bench.get(0x60), 1u);
    bench.set(0x64, 1);
    CHECK_EQ(bench.get(0x60), 0u);
    CHECK_EQ(bench.line.edges.load(), i + 1);
  }
  CHECK_EQ(bench.stats.interrupts, 100u);
  CHECK(bench.device.on_loop);
}

TEST(the_kick_descriptor_stands_for_the_register) {
  Bench bench;
  GuestDriver driver(bench.memory, kRing, 16);
  bench.bring_up(driver);
  bench.device.kicked_once.acquire();
  const uint64_t one = 1;
  REQUIRE(write(bench.transport.kick_fd(0), &one, sizeof one) == sizeof one);
  bench.device.kicked_once.acquire();
  bench.set(0x50, 1);  // that queue was not set up
  bench.set(0x50, 2);
  bench.set(0x50, ~0u);
  bench.settle();
  CHECK_EQ(bench.device.kicks[1], 0);
}

TEST(states_cannot_be_skipped) {
  Bench bench;
  GuestDriver driver(bench.memory, kRing, 16);
  bench.set(0x70, 2);  // driver before acknowledge
  CHECK_EQ(bench.get(0x70), 0u);
  bench.set(0x70, 4);
  CHECK_EQ(bench.get(0x70), 0u);
  bench.set(0x70, 1);
  bench.set_features(kVersion1);  // too early: not taken
  bench.set(0x70, 3);
  bench.set(0x70, 11);
  CHECK_EQ(bench.get(0x70), 3u);
  bench.set_queue(0, driver.layout());  // too early
  CHECK_EQ(bench.get(0x44), 0u);
  bench.set(0x70, 7);  // ready without features
  CHECK_EQ(bench.get(0x70), 3u);
  bench.set_features(kVersion1);
  bench.set(0x70, 11);
  CHECK_EQ(bench.get(0x70), 11u);
  bench.set_features(kVersion1 | kOwnFeature);  // too late
  bench.set(0x70, 3);                           // a bit less: not taken
  CHECK_EQ(bench.get(0x70), 11u);
  bench.set_queue(0, driver.layout());
  CHECK_EQ(bench.get(0x44), 1u);
  bench.set(0x70, 15);
  CHECK_EQ(bench.device.features_seen, kVersion1);
  bench.set(0x70, 15);  // once more changes nothing
  CHECK_EQ(bench.device.activations, 1);
  bench.set(0x30, 1);
  bench.set_queue(1, driver.layout());  // too late
  CHECK_EQ(bench.get(0x44), 0u);
  bench.set(0x30, 0);
  bench.set(0x44, 0);  // the device uses it
  CHECK_EQ(bench.get(0x44), 1u);
}

TEST(features_that_were_not_offered_are_refused) {
  for (const uint64_t bad : std::vector<uint64_t>{kVersion1 | 1, kOwnFeature, kVersion1 | 1ull << 34, ~0ull, 0}) {
    Bench bench;
    bench.set(0x70, 1);
    bench.set(0x70, 3);
    bench.set_features(bad);
    bench.set(0x70, 11);
    CHECK_EQ(bench.get(0x70), 3u);
  }
}

TEST(a_failed_driver_can_only_reset) {
  Bench bench;
  GuestDriver driver(bench.memory, kRing, 16);
  bench.set(0x70, 1);
  bench.set(0x70, 0x81);
  CHECK_EQ(bench.get(0x70), 0x81u);
  bench.set(0x70, 0x83);
  CHECK_EQ(bench.get(0x70), 0x81u);
  bench.bring_up(driver);
  CHECK_EQ(bench.get(0x70), 15u);
}

TEST(a_reset_while_running_makes_everything_new) {
  Bench bench;
  for (int round = 0; round < 50; ++round) {
    GuestDriver driver(bench.memory, kRing, 16);
    bench.bring_up(driver);
    for (int i = 0; i < 5; ++i) {
      driver.put_chain(0, {{kBuffers, 8, true}});
      driver.offer(0);
      bench.set(0x50, 0);
    }
    bench.set(0x70, 0);
    CHECK_EQ(bench.get(0x70), 0u);
    CHECK_EQ(bench.get(0x60), 0u);
    CHECK_EQ(bench.get(0x44), 0u);
    CHECK_EQ(bench.device.resets, round + 1);
    CHECK(bench.device.host == nullptr);
    // Nothing of the old life is touched any more.
    const uint16_t used = driver.used_index();
    driver.offer(0);
    bench.set(0x50, 0);
    bench.settle();
    CHECK_EQ(driver.used_index(), used);
  }
  CHECK(bench.device.on_loop);
}

TEST(a_broken_queue_asks_for_a_reset) {
  Bench bench;
  GuestDriver driver(bench.memory, kRing, 16);
  bench.bring_up(driver);
  bench.device.kicked_once.acquire();
  driver.put_descriptor(0, ~0ull, 8, 0, 0);
  driver.offer(0);
  bench.set(0x50, 0);
  bench.device.kicked_once.acquire();
  bench.settle();
  CHECK_EQ(bench.get(0x70), 0x4fu);
  CHECK_EQ(bench.get(0x60), 2u);
  CHECK_EQ(bench.line.edges.load(), 1);
  CHECK_EQ(bench.stats.errors, 1u);
  // Kicks are not even looked at.
  const int kicks = bench.device.kicks[0];
  bench.set(0x50, 0);
  bench.settle();
  bench.settle();
  CHECK_EQ(bench.device.kicks[0], kicks);
  // A status write with the bit as it was read is no offence.
  bench.set(0x70, 0x4f);
  CHECK_EQ(bench.get(0x70), 0x4fu);

  GuestDriver fresh(bench.memory, kRing, 16);
  bench.bring_up(fresh);
  CHECK_EQ(bench.get(0x70), 15u);
  fresh.put_chain(0, {{kBuffers, 8, true}});
  fresh.offer(0);
  bench.set(0x50, 0);
  bench.device.kicked_once.acquire();
  bench.device.kicked_once.acquire();
  bench.settle();
  CHECK_EQ(fresh.used_index(), 1);
}

TEST(a_queue_outside_of_memory_is_a_broken_device) {
  Bench bench;
  bench.set(0x70, 1);
  bench.set(0x70, 3);
  bench.set_features(kVersion1);
  bench.set(0x70, 11);
  bench.set_queue(0, {.size = 16, .descriptors = ~0ull << 12, .available = 0, .used = 0});
  CHECK_EQ(bench.get(0x44), 0u);
  CHECK_EQ(bench.get(0x70), 0x4bu);
  bench.set(0x70, 15);
  CHECK_EQ(bench.get(0x70), 0x4bu);
  CHECK_EQ(bench.device.activations, 0);
}

TEST(configuration_space) {
  Bench bench;
  uint8_t bytes[8] = {};
  bench.transport.read(0x102, {bytes, 2});
  CHECK_EQ(bytes[0], 3);
  CHECK_EQ(bytes[1], 4);
  bench.transport.read(0x104, bytes);
  CHECK_EQ(bytes[1], 6);
  CHECK_EQ(bytes[2], 0);
  bench.transport.read(0xfff, {bytes, 1});
  CHECK_EQ(bytes[0], 0);
  const uint8_t value[] = {9};
  bench.transport.write(0x101, value);  // nobody drives it yet
  CHECK_EQ(bench.device.config[1], 2);
  bench.set(0x70, 1);
  bench.set(0x70, 3);
  bench.transport.write(0x101, value);
  CHECK_EQ(bench.device.config[1], 9);
  bench.transport.write(0xfff, value);
  CHECK(bench.device.on_loop);

  GuestDriver driver(bench.memory, kRing, 16);
  bench.bring_up(driver);
  struct Change final : LoopTask {
    explicit Change(MmioTransport& to) : transport(to) {}
    void run() override { transport.config_changed(); }
    MmioTransport& transport;
  } change(bench.transport);
  bench.loop.run_and_wait(change);
  CHECK_EQ(bench.get(0xfc), 1u);
  CHECK_EQ(bench.get(0x60), 2u);
  CHECK_EQ(bench.line.edges.load(), 1);
}

TEST(odd_accesses_do_nothing) {
  Bench bench;
  uint8_t bytes[8];
  memset(bytes, 0xaa, sizeof(bytes));
  bench.transport.read(0x00, {bytes, 1});
  CHECK_EQ(bytes[0], 0);
  bench.transport.read(0x00, {bytes, 8});
  CHECK_EQ(bytes[0] | bytes[7], 0);
  bench.transport.read(0xfe, {bytes, 4});
  CHECK_EQ(bytes[0], 0);
  const uint8_t one[] = {1, 0, 0, 0, 0, 0, 0, 0};
  bench.transport.write(0x70, {one, 1});
  bench.transport.write(0x70, {one, 8});
  bench.transport.write(0x6e, {one, 4});
  CHECK_EQ(bench.get(0x70), 0u);
  bench.set(0xf0, 1);
  CHECK_EQ(bench.get(0xf0), 0u);
}

}  // namespace
}  // namespace volley
