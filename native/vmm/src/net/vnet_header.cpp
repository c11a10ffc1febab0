#include "net/vnet_header.h"

#include <linux/if_tun.h>
#include <linux/virtio_net.h>

namespace volley {
namespace {

constexpr uint64_t bit(unsigned number) { return uint64_t{1} << number; }

bool is_offload_negotiated(uint8_t gso_type, uint64_t features) {
  if (gso_type == VIRTIO_NET_HDR_GSO_TCPV4) return (features & bit(VIRTIO_NET_F_HOST_TSO4)) != 0;
  if (gso_type == VIRTIO_NET_HDR_GSO_TCPV6) return (features & bit(VIRTIO_NET_F_HOST_TSO6)) != 0;
  return false;
}

}  // namespace

bool prepare_outgoing(VnetHeader& header, uint64_t frame_bytes, uint64_t features) {
  if (frame_bytes < kEthernetHeaderBytes || frame_bytes > kMaxOffloadFrame - kVnetHeaderBytes) return false;
  // Other flags are for the other direction; a device does not look at them.
  header.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
  header.buffers = 0;
  const bool needs_checksum = header.flags != 0;
  if (needs_checksum) {
    if ((features & bit(VIRTIO_NET_F_CSUM)) == 0) return false;
    if (header.checksum_start < kEthernetHeaderBytes) return false;
    if (uint64_t{header.checksum_start} + header.checksum_offset + sizeof(uint16_t) > frame_bytes) return false;
  } else {
    header.checksum_start = 0;
    header.checksum_offset = 0;
  }
  if (header.gso_type == VIRTIO_NET_HDR_GSO_NONE) {
    header.gso_size = 0;
    header.header_length = 0;
    return true;
  }
  return needs_checksum && is_offload_negotiated(header.gso_type, features) && header.gso_size != 0 &&
         header.header_length <= frame_bytes;
}

unsigned tap_offloads(uint64_t features) {
  if ((features & bit(VIRTIO_NET_F_GUEST_CSUM)) == 0) return 0;  // the others depend on it
  unsigned offloads = TUN_F_CSUM;
  if ((features & bit(VIRTIO_NET_F_GUEST_TSO4)) != 0) offloads |= TUN_F_TSO4;
  if ((features & bit(VIRTIO_NET_F_GUEST_TSO6)) != 0) offloads |= TUN_F_TSO6;
  return offloads;
}

}  // namespace volley
