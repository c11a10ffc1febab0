#pragma once

#include <string>
#include <vector>

#include "config.h"

namespace volley {

// Brings the loopback interface and the configured ones up, each found by its MAC; one that does not appear is said.
void set_up_network(const std::vector<InterfaceConfig>& interfaces);

// For a guest that went on from a snapshot: its network devices, in their order, take the MACs and addresses of the
// configured interfaces in place of what they had. One that has its MAC already keeps what it has. Returns 0 or an
// errno.
int change_network(const std::vector<InterfaceConfig>& interfaces, std::string& problem);

}  // namespace volley
