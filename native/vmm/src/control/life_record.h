#pragma once

#include "abi/volley_abi.h"
#include "birth/inherited_fds.h"
#include "control/agent_link.h"
#include "machine/end_record.h"
#include "stats/page_file.h"

namespace volley {

// Maps the page file that was passed, begins its statistics and takes the configuration out of it, by whose id the
// process is named from now on. A crash leaves its reason there.
Status begin_record(InheritedFds& fds, uint32_t barriers, uint64_t entered_ns, char** arguments, PageFile* pages,
                    volley_config* config);

// Completes the page file, then tells the agent. The process's exit code.
int finish_record(volley_stats& stats, AgentLink& link, const EndRecord& end);

}  // namespace volley
