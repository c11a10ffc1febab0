#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/mapping.h"
#include "base/status.h"
#include "vsock/vsock_connection.h"

namespace volley {

// All connections of a device, found by slot and by ports, with their buffers. One unreserved mapping, of which a
// connection touches its own part only, and the buffer only when the host is slow.
class VsockTable {
 public:
  static constexpr uint16_t kMaxConnections = 1023;

  VsockTable() = default;
  VsockTable(const VsockTable&) = delete;
  VsockTable& operator=(const VsockTable&) = delete;
  ~VsockTable();

  // Maps the memory, which costs nothing until there are connections.
  Status prepare();

  // Null when all slots are taken.
  VsockConnection* make(VsockConnectionOwner& owner);
  void release(VsockConnection& connection);
  bool is_full() const { return count_ == kMaxConnections; }
  uint16_t count() const { return count_; }

  // The connection in a slot, or null.
  VsockConnection* at(uint32_t slot) const;
  // One beyond the highest slot that was ever taken.
  uint16_t slots_used() const { return fresh_; }

  void index(VsockConnection& connection);
  void unindex(VsockConnection& connection);
  VsockConnection* find(VsockPorts ports) const;

  std::span<uint8_t> buffer(const VsockConnection& connection) const { return buffer_of(connection.slot); }

 private:
  static constexpr size_t kBuckets = 1024;
  struct Slot {
    uint32_t life;       // how many connections it has had
    uint16_t next_free;  // slot + 1, 0 = none
    bool taken;
    alignas(VsockConnection) uint8_t bytes[sizeof(VsockConnection)];
  };
  struct Memory {
    uint16_t buckets[kBuckets];
    Slot slots[kMaxConnections];
  };
  static constexpr size_t kBuffersOffset = (sizeof(Memory) + 4095) / 4096 * 4096;

  static size_t bucket_of(VsockPorts ports);
  Memory& memory() const { return *reinterpret_cast<Memory*>(mapping_.data()); }
  VsockConnection* taken(uint16_t link) const;
  std::span<uint8_t> buffer_of(uint32_t slot) const;

  Mapping mapping_;
  uint16_t count_ = 0;
  uint16_t fresh_ = 0;  // slots from here on were never taken
  uint16_t free_ = 0;
};

}  // namespace volley
