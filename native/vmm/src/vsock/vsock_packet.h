#pragma once

#include <cstddef>
#include <cstdint>

#include "virtio/virtqueue.h"

namespace volley {

inline constexpr uint64_t kVsockHostCid = 2;
inline constexpr uint16_t kVsockStream = 1;

enum class VsockOp : uint16_t {
  kRequest = 1,
  kResponse = 2,
  kReset = 3,
  kShutdown = 4,
  kData = 5,
  kCreditUpdate = 6,
  kCreditRequest = 7,
};

// Flags of kShutdown: what the sender will not do any more.
inline constexpr uint32_t kVsockNoReceive = 1;
inline constexpr uint32_t kVsockNoSend = 2;
inline constexpr uint32_t kVsockNothing = kVsockNoReceive | kVsockNoSend;

// struct virtio_vsock_hdr, in front of every packet.
struct [[gnu::packed]] VsockHeader {
  uint64_t source_cid;
  uint64_t destination_cid;
  uint32_t source_port;
  uint32_t destination_port;
  uint32_t length;
  uint16_t type;
  uint16_t op;
  uint32_t flags;
  uint32_t buffer_bytes;     // the sender's room for data towards it
  uint32_t forwarded_bytes;  // how many of those sent to it left that room again, modulo 2^32
};
inline constexpr size_t kVsockHeaderBytes = 44;
static_assert(sizeof(VsockHeader) == kVsockHeaderBytes);

// A connection, by its ports: the host's and the guest's.
struct VsockPorts {
  uint32_t host;
  uint32_t guest;
};

// Copies the header of a packet of the guest out. False if the request holds none.
[[nodiscard]] bool read_packet(const Chain& chain, VsockHeader* header);

}  // namespace volley
