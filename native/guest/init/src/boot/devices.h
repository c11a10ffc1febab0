#pragma once

#include <string>
#include <vector>

namespace volley {

// Waits until all of these files of /dev are there. Returns the first that is not there in time; empty: all are.
std::string wait_for_devices(const std::vector<std::string>& paths, int timeout_ms);

}  // namespace volley
