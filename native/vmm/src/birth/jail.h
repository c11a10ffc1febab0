#pragma once

#include "abi/volley_abi.h"
#include "base/status.h"
#include "birth/inherited_fds.h"

namespace volley {

// Puts up the barriers that the order asks for, in the order in which each still has the rights it needs. Stops at the
// first that fails and names it in the report. Only single threaded.
volley_shell_report enter_jail(const volley_jail_order& order, const InheritedFds& namespaces);

// A report that nothing was put up, and why.
volley_shell_report refused(const Status& why);

}  // namespace volley
