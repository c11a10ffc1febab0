#pragma once

#include <vector>

#include "config.h"

namespace volley {

// Brings the loopback interface and the configured ones up, each found by its MAC; one that does not appear is said.
void set_up_network(const std::vector<InterfaceConfig>& interfaces);

}  // namespace volley
