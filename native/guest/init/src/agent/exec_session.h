#pragma once

#include <string_view>

#include "agent/frames.h"
#include "config.h"

namespace volley {

// Runs one program for the host, from its EXEC request to EXITED. Returns when all is said, or when the connection
// broke and the program's process group is gone. The connection is left open.
void run_exec(int connection, FrameReader& reader, std::string_view request, const Config& config);

}  // namespace volley
