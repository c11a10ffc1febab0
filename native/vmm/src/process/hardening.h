#pragma once

#include "abi/volley_abi.h"

namespace volley {

// Gives up what a VMM never needs: new privileges, core dumps, being traced by equals, descriptors that leaked in.
// Names the process after its microVM.
void harden_process(const volley_config& config);

}  // namespace volley
