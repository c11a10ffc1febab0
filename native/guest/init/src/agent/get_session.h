#pragma once

#include <string_view>

namespace volley {

// Sends a file or a folder to the host, up to END, or RESULT when that fails.
void run_get(int connection, std::string_view path);

}  // namespace volley
