#pragma once

#include <cstdint>
#include <span>

namespace volley {

// Writes the guest's serial output into the shared ring. Byte n of the output lies at n % VOLLEY_SERIAL_RING; the head
// is advanced after the bytes are in place, with release order. One writer at a time (the serial device's bus lock sees
// to it).
class SerialRing {
 public:
  SerialRing(uint8_t* ring, uint64_t& head) : ring_(ring), head_(head) {}

  void append(std::span<const uint8_t> bytes);

 private:
  uint8_t* ring_;
  uint64_t& head_;
};

}  // namespace volley
