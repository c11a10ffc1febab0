#ifndef VOLLEY_BINDING_THREAD_SCHEDULE_H
#define VOLLEY_BINDING_THREAD_SCHEDULE_H

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "result.h"

namespace volley {

/// How the kernel's fair class treats one thread: whom it interrupts when it wakes up, and how long its turns are.
struct ThreadSchedule {
  bool batch = false;     // SCHED_BATCH: waits for the end of a turn. Else SCHED_OTHER.
  uint64_t slice_ns = 0;  // Length of its turns, 0.1 to 100 ms; 0 is the kernel's own. Linux 6.12 and newer.
};

/// Sets it; weight (nice) stays. ESRCH when the thread has ended, EPERM without CAP_SYS_NICE for a thread of another
/// user. An older kernel takes a length and forgets it: only `ReadThreadSchedule` tells. Returns 0 or an errno.
int SetThreadSchedule(pid_t tid, ThreadSchedule schedule);

/// What the kernel says of a thread. EINVAL when it is of another class than the fair one. 0 of a slice: the kernel
/// knows none.
Result<ThreadSchedule> ReadThreadSchedule(pid_t tid);

/// Lets a thread run on these CPUs alone. EINVAL when none of them is there for it. Returns 0 or an errno.
int SetThreadCpus(pid_t tid, const std::vector<uint32_t>& cpus);

}  // namespace volley

#endif
