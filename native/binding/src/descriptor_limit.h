#ifndef VOLLEY_BINDING_DESCRIPTOR_LIMIT_H
#define VOLLEY_BINDING_DESCRIPTOR_LIMIT_H

namespace volley {

/// Raises the soft limit of open files to the hard limit (an agent holds three descriptors per microVM), and makes the
/// kernel grow the descriptor table now: growing it later, in a process with several threads, waits for an RCU grace
/// period (tens of milliseconds) while launches wait. Best effort.
void RaiseDescriptorLimit();

}  // namespace volley

#endif
