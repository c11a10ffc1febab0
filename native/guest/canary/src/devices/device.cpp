#include "devices/device.h"

namespace canary {
namespace {

constexpr uint32_t kAcknowledge = 1;
constexpr uint32_t kDriver = 2;
constexpr uint32_t kDriverOk = 4;
constexpr uint32_t kFeaturesOk = 8;
constexpr uint64_t kIndirectFeature = 1ull << 28;
constexpr uint64_t kEventIndexFeature = 1ull << 29;
constexpr uint64_t kVersion1 = 1ull << 32;

}  // namespace

void* Arena::take(size_t bytes, size_t alignment) {
  const uint64_t start = (next_ + alignment - 1) & ~static_cast<uint64_t>(alignment - 1);
  if (start > kScratch || bytes > kScratch - start) {
    Line().text("arena 0 error reason=too-many-devices").send();
    panic();
  }
  next_ = start + bytes;
  return reinterpret_cast<void*>(start);
}

void Arena::release(uint64_t mark) {
  // Fresh RAM is zero; what was used is made so.
  for (uint64_t at = mark; at < next_; ++at) *reinterpret_cast<volatile uint8_t*>(at) = 0;
  next_ = mark;
}

uint64_t Device::offered() const {
  window_.write(Window::kDeviceFeaturesSelect, 1);
  const uint64_t high = window_.read(Window::kDeviceFeatures);
  window_.write(Window::kDeviceFeaturesSelect, 0);
  return high << 32 | window_.read(Window::kDeviceFeatures);
}

bool Device::negotiate(const Bench& bench, uint64_t wanted) {
  window_.write(Window::kStatus, 0);
  window_.write(Window::kStatus, kAcknowledge);
  window_.write(Window::kStatus, kAcknowledge | kDriver);
  wanted |= kVersion1 | (bench.indirect ? kIndirectFeature : 0) | (bench.event_index ? kEventIndexFeature : 0);
  features_ = offered() & wanted;
  window_.write(Window::kDriverFeaturesSelect, 0);
  window_.write(Window::kDriverFeatures, static_cast<uint32_t>(features_));
  window_.write(Window::kDriverFeaturesSelect, 1);
  window_.write(Window::kDriverFeatures, static_cast<uint32_t>(features_ >> 32));
  window_.write(Window::kStatus, kAcknowledge | kDriver | kFeaturesOk);
  return (window_.read(Window::kStatus) & kFeaturesOk) != 0;
}

bool Device::set_up(const Bench& bench, uint32_t index, Queue* queue) const {
  return queue->set_up(bench.arena, window_, index, (features_ & kIndirectFeature) != 0,
                       (features_ & kEventIndexFeature) != 0);
}

void Device::start() {
  window_.write(Window::kStatus, kAcknowledge | kDriver | kFeaturesOk | kDriverOk);
  running_ = true;
}

void Device::reset() {
  window_.write(Window::kStatus, 0);
  running_ = false;
}

bool Device::acknowledge() const {
  const uint32_t status = window_.read(Window::kInterruptStatus);
  if (status != 0) window_.write(Window::kInterruptAcknowledge, status);
  return status != 0;
}

}  // namespace canary
