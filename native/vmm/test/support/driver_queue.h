#pragma once

#include <poll.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/wake_fd.h"
#include "memory/guest_memory.h"
#include "virtio/device_loop.h"
#include "virtio/virtio_device.h"
#include "virtio/virtqueue.h"

// The driver's side of a split virtqueue in test memory, and a transport that is nothing but queues.
namespace volley::test {

struct Piece {
  uint64_t address;
  uint32_t length;
  bool writable = false;
};

struct Used {
  uint32_t id;
  uint32_t length;
};

class DriverQueue {
 public:
  static constexpr uint16_t kNext = 1;
  static constexpr uint16_t kWrite = 2;
  static constexpr uint16_t kIndirect = 4;

  // Rings from `base` (4 KiB aligned) on; they take bytes() of memory.
  DriverQueue(const GuestMemory& memory, uint64_t base, uint16_t size) : memory_(memory), base_(base), size_(size) {
    for (uint16_t i = 0; i < size; ++i) free_.push_back(static_cast<uint16_t>(size - 1 - i));
    taken_.resize(size);
  }

  uint64_t bytes() const { return 16384; }
  uint16_t size() const { return size_; }
  QueueLayout layout() const { return {size_, descriptors(), available(), used()}; }
  uint64_t descriptors() const { return base_; }
  uint64_t available() const { return base_ + 8192; }
  uint64_t used() const { return base_ + 12288; }

  // Offers one request and returns its head. The pieces are chained in the order given.
  uint16_t add(const std::vector<Piece>& pieces) {
    std::vector<uint16_t> slots;
    for (size_t i = 0; i < pieces.size(); ++i) slots.push_back(take());
    for (size_t i = 0; i < pieces.size(); ++i) {
      const bool last = i + 1 == pieces.size();
      set_descriptor(slots[i], pieces[i].address, pieces[i].length,
                     static_cast<uint16_t>((pieces[i].writable ? kWrite : 0) | (last ? 0 : kNext)),
                     last ? uint16_t{0} : slots[i + 1]);
    }
    taken_[slots[0]] = slots;
    offer(slots[0]);
    return slots[0];
  }
  // The same through a table at `table`.
  uint16_t add_indirect(uint64_t table, const std::vector<Piece>& pieces) {
    for (size_t i = 0; i < pieces.size(); ++i) {
      const bool last = i + 1 == pieces.size();
      write_descriptor(table + 16 * i, pieces[i].address, pieces[i].length,
                       static_cast<uint16_t>((pieces[i].writable ? kWrite : 0) | (last ? 0 : kNext)),
                       static_cast<uint16_t>(last ? 0 : i + 1));
    }
    const uint16_t slot = take();
    set_descriptor(slot, table, static_cast<uint32_t>(16 * pieces.size()), kIndirect, 0);
    taken_[slot] = {slot};
    offer(slot);
    return slot;
  }
  // For broken rings: writes a descriptor, and puts any head into the available ring.
  void set_descriptor(uint16_t index, uint64_t address, uint32_t length, uint16_t flags, uint16_t next) {
    write_descriptor(descriptors() + 16u * index, address, length, flags, next);
  }
  void offer(uint16_t head) {
    put(available() + 4 + 2u * (available_index_ % size_), head);
    set_available_index(static_cast<uint16_t>(available_index_ + 1));
  }
  void set_available_index(uint16_t index) {
    available_index_ = index;
    std::atomic_ref<uint16_t>(*at<uint16_t>(available() + 2)).store(index, std::memory_order_release);
  }

  // Takes the next request that the device gave back.
  std::optional<Used> reap() {
    if (!has_used()) return std::nullopt;
    Used element{};
    memcpy(&element, at<uint8_t>(used() + 4 + 8u * (used_index_ % size_)), sizeof(element));
    ++used_index_;
    if (element.id < size_) {
      for (const uint16_t slot : taken_[element.id]) free_.push_back(slot);
      taken_[element.id].clear();
    }
    return element;
  }
  bool has_used() const {
    return std::atomic_ref<uint16_t>(*at<uint16_t>(used() + 2)).load(std::memory_order_acquire) != used_index_;
  }
  size_t free_descriptors() const { return free_.size(); }
  // VRING_USED_F_NO_NOTIFY: the device wants no kicks.
  bool kicks_wanted() const { return (*at<uint16_t>(used()) & 1) == 0; }

 private:
  template <typename T>
  T* at(uint64_t address) const {
    return reinterpret_cast<T*>(memory_.range(address, sizeof(T)).data());
  }
  template <typename T>
  void put(uint64_t address, T value) {
    (void)memory_.write_value(address, value);
  }
  void write_descriptor(uint64_t where, uint64_t address, uint32_t length, uint16_t flags, uint16_t next) {
    put(where, address);
    put(where + 8, length);
    put(where + 12, flags);
    put(where + 14, next);
  }
  uint16_t take() {
    const uint16_t slot = free_.back();
    free_.pop_back();
    return slot;
  }

  const GuestMemory& memory_;
  uint64_t base_;
  uint16_t size_;
  uint16_t available_index_ = 0;
  uint16_t used_index_ = 0;
  std::vector<uint16_t> free_;
  std::vector<std::vector<uint16_t>> taken_;
};

// A transport without registers: hands out queues, counts interrupts, and lets a test wait for them.
class TestHost final : public VirtioHost {
 public:
  TestHost() { (void)wake_.create(); }

  bool set_up(uint32_t index, const GuestMemory& memory, const DriverQueue& driver, bool event_index = false) {
    return queues_[index].set_up(memory, driver.layout(), 1024, event_index, true);
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
    broken = true;
    wake_.signal();
  }
  // False if `condition` does not hold within 10 s; looks again after every interrupt.
  bool await(const std::function<bool()>& condition) const {
    for (int tries = 0; tries < 2000; ++tries) {
      if (condition()) return true;
      pollfd watched{wake_.get(), POLLIN, 0};
      poll(&watched, 1, 5);
      wake_.drain();
    }
    return condition();
  }

  std::atomic<uint32_t> interrupts{0};
  std::atomic<uint32_t> config_changes{0};
  std::atomic<bool> broken{false};

 private:
  WakeFd wake_;
  Virtqueue queues_[VirtioDevice::kMaxQueues];
};

// Runs `work` on the loop's thread and waits for it.
template <typename Work>
void on_loop(DeviceLoop& loop, Work&& work) {
  struct Task final : LoopTask {
    explicit Task(Work& body) : work(body) {}
    void run() override { work(); }
    Work& work;
  } task(work);
  loop.run_and_wait(task);
}

}  // namespace volley::test
