#pragma once

#include <string>

namespace volley {

// `init --agent-on SOCKET [--config FILE]`: the agent alone, behind a Unix socket, for tests on a machine that is no
// guest. Prints "ready" when it listens, and "power off" or "reboot" when it was told to. Returns the exit status.
int run_test_agent(const std::string& socket, const std::string& config);

}  // namespace volley
