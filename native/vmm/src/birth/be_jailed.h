#pragma once

#include <optional>

#include "abi/volley_abi.h"
#include "birth/birth_socket.h"

namespace volley {

// Leads a process that an agent has just started from its first instruction into its jail, as the agent orders, and
// reports on it. Nothing when it is to end instead, with *exit_code. Only single threaded.
std::optional<volley_shell_report> be_jailed(BirthSocket& birth, int* exit_code);

}  // namespace volley
