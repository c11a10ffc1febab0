#include "vsock/vsock_table.h"

#include <sys/mman.h>

#include <new>

#include "base/asan.h"

namespace volley {

Status VsockTable::prepare() {
  return mapping_.map_anonymous(kBuffersOffset + size_t{kMaxConnections} * kVsockBufferBytes, "vsock connections");
}

VsockTable::~VsockTable() {
  for (uint32_t slot = 0; slot <= fresh_ && slot < kMaxConnections && mapping_.size() != 0; ++slot) {
    mark_taken(buffer_of(slot));
  }
}

VsockConnection* VsockTable::make(VsockConnectionOwner& owner) {
  if (is_full()) return nullptr;
  uint16_t number = fresh_;
  if (free_ != 0) {
    number = static_cast<uint16_t>(free_ - 1);
    free_ = memory().slots[number].next_free;
  } else {
    ++fresh_;
    if (fresh_ < kMaxConnections) mark_free(buffer_of(fresh_));
  }
  mark_taken(buffer_of(number));
  Slot& slot = memory().slots[number];
  slot.taken = true;
  ++count_;
  return new (slot.bytes) VsockConnection(owner, number, ++slot.life);
}

void VsockTable::release(VsockConnection& connection) {
  unindex(connection);
  if (connection.buffer_used) madvise(buffer(connection).data(), kVsockBufferBytes, MADV_DONTNEED);
  mark_free(buffer(connection));
  const uint16_t number = connection.slot;
  connection.~VsockConnection();
  Slot& slot = memory().slots[number];
  slot.taken = false;
  slot.next_free = free_;
  free_ = static_cast<uint16_t>(number + 1);
  --count_;
}

VsockConnection* VsockTable::at(uint32_t slot) const {
  if (slot >= fresh_ || !memory().slots[slot].taken) return nullptr;
  return taken(static_cast<uint16_t>(slot + 1));
}

VsockConnection* VsockTable::taken(uint16_t link) const {
  return std::launder(reinterpret_cast<VsockConnection*>(memory().slots[link - 1].bytes));
}

size_t VsockTable::bucket_of(VsockPorts ports) {
  const uint64_t mixed = (uint64_t{ports.host} << 32 | ports.guest) * 0x9e3779b97f4a7c15u;
  return mixed >> 54;
}
static_assert(sizeof(size_t) == 8);

void VsockTable::index(VsockConnection& connection) {
  uint16_t& bucket = memory().buckets[bucket_of(connection.ports)];
  connection.next_in_bucket = bucket;
  bucket = static_cast<uint16_t>(connection.slot + 1);
  connection.is_indexed = true;
}

void VsockTable::unindex(VsockConnection& connection) {
  if (!connection.is_indexed) return;
  uint16_t* link = &memory().buckets[bucket_of(connection.ports)];
  while (*link != connection.slot + 1) link = &taken(*link)->next_in_bucket;
  *link = connection.next_in_bucket;
  connection.is_indexed = false;
}

VsockConnection* VsockTable::find(VsockPorts ports) const {
  for (uint16_t link = memory().buckets[bucket_of(ports)]; link != 0;) {
    VsockConnection* connection = taken(link);
    if (connection->ports.host == ports.host && connection->ports.guest == ports.guest) return connection;
    link = connection->next_in_bucket;
  }
  return nullptr;
}

std::span<uint8_t> VsockTable::buffer_of(uint32_t slot) const {
  return {mapping_.data() + kBuffersOffset + size_t{slot} * kVsockBufferBytes, kVsockBufferBytes};
}

}  // namespace volley
