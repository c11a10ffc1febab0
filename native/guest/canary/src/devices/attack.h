#pragma once

#include "devices/device.h"
#include "devices/orders.h"

namespace canary {

// Does to the devices what no driver would, and says when it is done. What it attacks is unusable until it is reset,
// which happens first and last. The VMM must survive.
void attack(const Bench& bench, Device* devices, uint32_t count, AttackKind kind, uint64_t seed);

}  // namespace canary
