#pragma once

#include <poll.h>
#include <pthread.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mapping.h"
#include "base/wake_fd.h"
#include "birth/inherited_fds.h"
#include "memory/guest_memory.h"
#include "support/check.h"
#include "support/driver_queue.h"
#include "virtio/device_context.h"
#include "virtio/device_loop.h"
#include "virtio/virtio_device.h"

namespace volley::test {

// A transport without registers: queues, and interrupts that a test can wait for.
class BenchHost final : public VirtioHost {
 public:
  BenchHost() {
    if (!wake_.create().is_ok()) abort();
  }
  Virtqueue& queue(uint32_t index) override { return queues_[index]; }
  void publish(uint32_t queue) override {
    if (!queues_[queue].publish()) return;
    ++interrupts;
    wake_.signal();
  }
  void config_changed() override {
    ++config_changes;
    wake_.signal();
  }
  void needs_reset() override {
    for (Virtqueue& queue : queues_) queue.mark_broken();
    broken = true;
    wake_.signal();
  }
  // Looks at `condition` after every interrupt and every few milliseconds. False after 20 s.
  bool await(const std::function<bool()>& condition) const {
    const uint64_t end = monotonic_ns() + 20'000'000'000;
    while (!condition()) {
      if (monotonic_ns() > end) return false;
      pollfd watched{wake_.get(), POLLIN, 0};
      poll(&watched, 1, 2);
      wake_.drain();
    }
    return true;
  }

  std::atomic<uint32_t> interrupts{0};
  std::atomic<uint32_t> config_changes{0};
  std::atomic<bool> broken{false};

 private:
  WakeFd wake_;
  Virtqueue queues_[VirtioDevice::kMaxQueues];
};

// An agent that writes down what it is asked.
class BenchAgent final : public AgentPort {
 public:
  bool ask(const volley_message& question) override {
    const std::lock_guard lock(mutex_);
    questions_.push_back(question);
    return !deaf;
  }
  std::vector<volley_message> questions() {
    const std::lock_guard lock(mutex_);
    return questions_;
  }
  std::atomic<bool> deaf{false};

 private:
  std::mutex mutex_;
  std::vector<volley_message> questions_;
};

// One device on a real loop with real guest memory, driven by hand. Made by make(): a loop's thread never ends, so
// nothing here does.
template <typename Device>
class DeviceBench {
 public:
  static constexpr uint64_t kMemory = 16ull << 20;

  static DeviceBench& make() {
    static std::vector<DeviceBench*>& kept = *new std::vector<DeviceBench*>;
    return *kept.emplace_back(new DeviceBench);
  }

  Status open(const volley_device& config) {
    const Status status = device->open(
        {.index = 0, .config = config, .fds = fds, .memory = memory, .loop = loop, .stats = stats, .agent = agent});
    if (status.is_ok() && !loop.start().is_ok()) abort();
    return status;
  }

  // What a driver does from its reset on: lays out `count` queues of `size`, is activated, and kicks all of them.
  void activate(uint64_t features, uint32_t count, uint16_t size = 256) {
    queues.clear();
    for (uint32_t i = 0; i < count; ++i) {
      queues.push_back(std::make_unique<DriverQueue>(memory, allocate(16384, 4096), size));
    }
    run([&] {
      host.broken = false;
      for (uint32_t i = 0; i < count; ++i) {
        if (!host.queue(i).set_up(memory, queues[i]->ring.layout(), 1024, false, true)) abort();
      }
      device->activate(host, features);
      for (uint32_t i = 0; i < count; ++i) device->kicked(i);
    });
  }
  void reset() {
    run([&] {
      device->reset();
      for (uint32_t i = 0; i < VirtioDevice::kMaxQueues; ++i) host.queue(i).tear_down();
    });
  }
  void kick(uint32_t queue) {
    run([&] {
      if (!host.broken) device->kicked(queue);
    });
  }
  bool await(const std::function<bool()>& condition) { return host.await(condition); }
  // Lets the loop come round: whatever was ready before has been served afterwards.
  void settle() {
    for (int i = 0; i < 3; ++i) run([] {});
  }

  // Runs `work` on the loop's thread.
  void run(const std::function<void()>& work) {
    struct Task final : LoopTask {
      explicit Task(const std::function<void()>& its_body) : body(its_body) {}
      void run() override { body(); }
      const std::function<void()>& body;
    } task(work);
    loop.run_and_wait(task);
  }
  // CPU time that the loop's thread has used, in ns.
  uint64_t cpu_ns() {
    timespec used{};
    run([&] { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used); });
    return static_cast<uint64_t>(used.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(used.tv_nsec);
  }

  // Guest memory that nobody uses yet.
  uint64_t allocate(uint64_t bytes, uint64_t alignment = 16) {
    next_ = (next_ + alignment - 1) / alignment * alignment;
    const uint64_t at = next_;
    next_ += bytes;
    if (next_ > kMemory) abort();
    return at;
  }
  void free_all(uint64_t from = 4096) { next_ = from; }
  void write(uint64_t address, const void* data, size_t bytes) {
    if (!memory.write(address, {static_cast<const uint8_t*>(data), bytes})) abort();
  }
  std::string read(uint64_t address, size_t bytes) {
    const std::span<uint8_t> range = memory.range(address, bytes);
    return {reinterpret_cast<const char*>(range.data()), range.size()};
  }
  const volley_device_stats& counters() const { return stats.devices[0]; }

  GuestMemory memory;
  DeviceLoop loop;
  BenchHost host;
  BenchAgent agent;
  volley_stats stats{};
  InheritedFds fds;
  Device* device;
  std::vector<std::unique_ptr<DriverQueue>> queues;

 private:
  DeviceBench() {
    if (!memory.map(kMemory, true).is_ok() || !loop.create(DeviceLoop::Kind::kDevices, 0).is_ok()) abort();
    if (!room_.map_anonymous(sizeof(Device), "a device").is_ok()) abort();
    device = new (room_.data()) Device;
  }

  Mapping room_;
  uint64_t next_ = 4096;
};

}  // namespace volley::test
