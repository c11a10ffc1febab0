#pragma once

#include <string_view>

#include "agent/frames.h"

namespace volley {

// Takes files from the host, from its PUT request to our RESULT.
void run_put(int connection, FrameReader& reader, std::string_view path);

}  // namespace volley
