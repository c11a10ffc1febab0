#pragma once

#include <cstdint>

#include "abi/volley_abi.h"

namespace canary {

// The register window of a virtio-mmio device, reached from ring 3: one instruction, one exit.
class Window {
 public:
  enum Register : uint32_t {
    kMagic = 0x000,
    kVersion = 0x004,
    kDeviceId = 0x008,
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
    kQueueDescriptors = 0x080,
    kQueueAvailable = 0x090,
    kQueueUsed = 0x0a0,
    kConfig = 0x100,
  };

  Window() = default;
  explicit Window(uint32_t index) : base_(VOLLEY_VIRTIO_FIRST + index * VOLLEY_VIRTIO_STRIDE) {}

  uint32_t read(uint32_t reg) const { return *reinterpret_cast<volatile uint32_t*>(base_ + reg); }
  void write(uint32_t reg, uint32_t value) const { *reinterpret_cast<volatile uint32_t*>(base_ + reg) = value; }
  void write_address(uint32_t reg, uint64_t value) const {
    write(reg, static_cast<uint32_t>(value));
    write(reg + 4, static_cast<uint32_t>(value >> 32));
  }

  uint8_t config8(uint32_t offset) const { return *reinterpret_cast<volatile uint8_t*>(base_ + kConfig + offset); }
  uint32_t config32(uint32_t offset) const { return read(kConfig + offset); }
  uint64_t config64(uint32_t offset) const {
    return config32(offset) | static_cast<uint64_t>(config32(offset + 4)) << 32;
  }

  uint64_t base() const { return base_; }

 private:
  uint64_t base_ = 0;
};

inline constexpr uint32_t kVirtMagic = 0x74726976;

}  // namespace canary
