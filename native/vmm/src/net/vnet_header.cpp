#include "net/vnet_header.h"

#include <linux/if_tun.h>

#include "net/net_features.h"

namespace volley {
namespace {

bool is_offload_negotiated(uint8_t gso_type, uint64_t features) {
  if (gso_type == kVnetTcp4) return (features & kNetHostTso4) != 0;
  if (gso_type == kVnetTcp6) return (features & kNetHostTso6) != 0;
  return false;
}

}  // namespace

bool prepare_outgoing(VnetHeader& header, uint64_t frame_bytes, uint64_t features) {
  if (frame_bytes < kEthernetHeaderBytes || frame_bytes > kMaxOffloadFrame - kVnetHeaderBytes) return false;
  // Other flags are for the other direction; a device does not look at them.
  header.flags &= kVnetNeedsChecksum;
  header.buffers = 0;
  const bool needs_checksum = header.flags != 0;
  if (needs_checksum) {
    if ((features & kNetChecksum) == 0) return false;
    if (header.checksum_start < kEthernetHeaderBytes) return false;
    if (uint64_t{header.checksum_start} + header.checksum_offset + sizeof(uint16_t) > frame_bytes) return false;
  } else {
    header.checksum_start = 0;
    header.checksum_offset = 0;
  }
  if (header.gso_type == kVnetNoOffload) {
    header.gso_size = 0;
    header.header_length = 0;
    return true;
  }
  return needs_checksum && is_offload_negotiated(header.gso_type, features) && header.gso_size != 0 &&
         header.header_length <= frame_bytes;
}

unsigned tap_offloads(uint64_t features) {
  if ((features & kNetGuestChecksum) == 0) return 0;  // the others depend on it
  unsigned offloads = TUN_F_CSUM;
  if ((features & kNetGuestTso4) != 0) offloads |= TUN_F_TSO4;
  if ((features & kNetGuestTso6) != 0) offloads |= TUN_F_TSO6;
  return offloads;
}

}  // namespace volley
