#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/mutex.h"
#include "base/status.h"
#include "devices/io_device.h"

namespace volley {

// The port bus or the MMIO bus of one machine. Devices are attached before the first vCPU runs; after that the table
// does not change and look-up takes no lock.
class IoBus {
 public:
  static constexpr size_t kCapacity = 32;

  // Fails if the range is empty, wraps or overlaps another device. The device must outlive the bus.
  Status attach(uint64_t base, uint64_t length, IoDevice& device, const char* name);

  // False if no device covers the whole access; the data of such a read is all ones, as on an empty bus.
  [[nodiscard]] bool read(uint64_t address, std::span<uint8_t> data);
  [[nodiscard]] bool write(uint64_t address, std::span<const uint8_t> data);

 private:
  struct Entry {
    uint64_t base = 0;
    uint64_t length = 0;
    IoDevice* device = nullptr;
    const char* name = nullptr;
    Mutex mutex;
  };

  Entry* find(uint64_t address, uint64_t length);

  Entry entries_[kCapacity];
  size_t count_ = 0;
};

}  // namespace volley
