#pragma once

#include <cstddef>
#include <cstdint>

#include "virtio/virtio_device.h"

namespace volley {

// The one place that knows every type of device. `type` is an enum volley_device_type that validate_config() let pass.

// Bytes that a device of this type takes, or 0 if this VMM has no such device.
size_t device_bytes(uint32_t type);
// Constructs one in `room`, zeroed memory of that size, aligned to 64 bytes. It is opened next.
VirtioDevice* construct_device(uint32_t type, void* room);
// Whether the device waits inside its handlers and so gets a loop of its own.
bool device_waits(uint32_t type);

}  // namespace volley
