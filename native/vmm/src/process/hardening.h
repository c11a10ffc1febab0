#pragma once

#include "abi/volley_abi.h"

namespace volley {

// Closes every descriptor from `first` on: what leaked in.
void close_all_from(unsigned first);

// Names the process after its microVM: the thread's name, and in /proc/<pid>/cmdline the text that the agent left room
// for as arguments[1].
void name_process(const volley_config& config, char** arguments);

}  // namespace volley
