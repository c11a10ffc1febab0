#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace volley {

inline constexpr size_t kMacBytes = 6;
inline constexpr size_t kEthernetHeaderBytes = 14;
inline constexpr size_t kVnetHeaderBytes = 12;
// The largest frame that segmentation offload makes, with the header that goes in front of it.
inline constexpr size_t kMaxOffloadFrame = kVnetHeaderBytes + kEthernetHeaderBytes + 65536;

// struct virtio_net_hdr_v1, in front of every frame in both directions, on the queues and on the tap.
struct VnetHeader {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t header_length;
  uint16_t gso_size;
  uint16_t checksum_start;
  uint16_t checksum_offset;
  uint16_t buffers;
};
static_assert(sizeof(VnetHeader) == kVnetHeaderBytes);

// What the device looks at before it lets a frame of the guest out. Read from the guest once and sent to the tap from
// here: the guest cannot change what was checked.
struct [[gnu::packed]] FrameStart {
  VnetHeader header;
  uint8_t destination[kMacBytes];
  uint8_t source[kMacBytes];
  uint16_t type;
};
static_assert(sizeof(FrameStart) == kVnetHeaderBytes + kEthernetHeaderBytes);

// Whether a frame of `frame_bytes` (without the header) may leave the guest that negotiated `features`; its header is
// brought into the form that the tap expects. False: malformed, to be dropped.
[[nodiscard]] bool prepare_outgoing(VnetHeader& header, uint64_t frame_bytes, uint64_t features);

// The offloads towards the guest that these features allow, as TUNSETOFFLOAD wants them.
unsigned tap_offloads(uint64_t features);

}  // namespace volley
