#pragma once

#include <cstdint>

#include "vsock/vsock_table.h"

namespace volley {

// The connections that have something for the guest, first come first served: each says one packet and queues again.
class VsockQueue {
 public:
  explicit VsockQueue(const VsockTable& table) : table_(table) {}

  bool is_empty() const { return first_ == 0; }
  VsockConnection& front() const { return *table_.at(first_ - 1u); }
  // Nothing happens if it is in the queue already.
  void append(VsockConnection& connection);
  void remove(VsockConnection& connection);

 private:
  const VsockTable& table_;
  uint16_t first_ = 0;  // slots + 1, 0 = none
  uint16_t last_ = 0;
};

// Refusals of packets that belong to no connection.
class VsockRefusals {
 public:
  bool is_empty() const { return count_ == 0; }
  bool is_full() const { return count_ == kCapacity; }
  void add(VsockPorts ports) {
    if (!is_full()) ports_[(first_ + count_++) % kCapacity] = ports;
  }
  VsockPorts take() {
    const VsockPorts ports = ports_[first_];
    first_ = (first_ + 1) % kCapacity;
    --count_;
    return ports;
  }
  void clear() { first_ = count_ = 0; }

 private:
  static constexpr uint32_t kCapacity = 64;
  uint32_t first_ = 0;
  uint32_t count_ = 0;
  VsockPorts ports_[kCapacity];
};

}  // namespace volley
