#pragma once

#include <string>
#include <vector>

namespace volley {

// Loads kernel modules in this order. One that is not there, or is in the kernel already, is fine; anything else is
// said, and the boot goes on: what is missed will be missed by name.
void load_modules(const std::vector<std::string>& paths);

}  // namespace volley
