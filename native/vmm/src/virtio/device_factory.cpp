#include "virtio/device_factory.h"

#include <new>

#include "abi/volley_abi.h"
#include "balloon/balloon_device.h"
#include "block/block_device.h"
#include "net/net_device.h"
#include "rng/rng_device.h"
#include "vsock/vsock_device.h"

namespace volley {
namespace {

struct Maker {
  uint32_t type;
  size_t bytes;
  bool waits;
  VirtioDevice* (*construct)(void* room);
};

template <typename Device>
constexpr Maker maker(uint32_t type, bool waits) {
  return {type, sizeof(Device), waits, [](void* room) -> VirtioDevice* { return new (room) Device; }};
}

constexpr Maker kMakers[] = {
    maker<BlockDevice>(VOLLEY_DEVICE_BLOCK, true),  maker<NetDevice>(VOLLEY_DEVICE_NET, false),
    maker<VsockDevice>(VOLLEY_DEVICE_VSOCK, false), maker<BalloonDevice>(VOLLEY_DEVICE_BALLOON, false),
    maker<RngDevice>(VOLLEY_DEVICE_RNG, false),
};

const Maker* find(uint32_t type) {
  for (const Maker& each : kMakers) {
    if (each.type == type) return &each;
  }
  return nullptr;
}

}  // namespace

size_t device_bytes(uint32_t type) {
  const Maker* found = find(type);
  return found != nullptr ? found->bytes : 0;
}

VirtioDevice* construct_device(uint32_t type, void* room) { return find(type)->construct(room); }

bool device_waits(uint32_t type) {
  const Maker* found = find(type);
  return found != nullptr && found->waits;
}

}  // namespace volley
