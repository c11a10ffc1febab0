#pragma once

#include <cstdint>
#include <span>

namespace volley {

// Something that answers port or MMIO accesses. The bus calls it with the offset from the start of its range and with
// 1, 2, 4 or 8 bytes that lie wholly inside the range, and never from two vCPUs at once: a device needs no lock of its
// own.
class IoDevice {
 public:
  virtual void read(uint64_t offset, std::span<uint8_t> data) = 0;
  virtual void write(uint64_t offset, std::span<const uint8_t> data) = 0;

 protected:
  ~IoDevice() = default;
};

}  // namespace volley
