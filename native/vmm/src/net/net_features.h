#pragma once

#include <cstdint>

namespace volley {

// Feature bits of virtio-net (virtio 1.2, section 5.1.3). The kernel's header of them is not C++.
enum NetFeature : uint64_t {
  kNetChecksum = 1ull << 0,       // the device completes checksums of what the guest sends
  kNetGuestChecksum = 1ull << 1,  // the guest takes frames without complete checksum
  kNetMtu = 1ull << 3,
  kNetMac = 1ull << 5,
  kNetGuestTso4 = 1ull << 7,
  kNetGuestTso6 = 1ull << 8,
  kNetHostTso4 = 1ull << 11,
  kNetHostTso6 = 1ull << 12,
  kNetMergeableBuffers = 1ull << 15,
  kNetStatus = 1ull << 16,
};

struct [[gnu::packed]] NetConfig {
  uint8_t mac[6];
  uint16_t status;
  uint16_t max_queue_pairs;
  uint16_t mtu;
};
inline constexpr uint16_t kNetLinkUp = 1;

// Fields of VnetHeader.
inline constexpr uint8_t kVnetNeedsChecksum = 1;
inline constexpr uint8_t kVnetNoOffload = 0;
inline constexpr uint8_t kVnetTcp4 = 1;
inline constexpr uint8_t kVnetTcp6 = 4;

}  // namespace volley
