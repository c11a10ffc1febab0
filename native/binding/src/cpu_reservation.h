#ifndef VOLLEY_BINDING_CPU_RESERVATION_H
#define VOLLEY_BINDING_CPU_RESERVATION_H

#include <sys/types.h>

#include <cstdint>

#include "result.h"

namespace volley {

/// CPU time that the kernel keeps for one thread (SCHED_DEADLINE, sched(7)): so much of each period, before all threads
/// without one. Zero: it has none.
struct CpuReservation {
  uint64_t runtime_ns = 0;
  uint64_t period_ns = 0;  // 0.1 ms to 4 s.
};

/// Reserves it, or changes what is reserved. A thread that has used it up stands still until the next period. Returns 0
/// or an errno: EBUSY when the kernel has given away what it gives; EPERM without CAP_SYS_NICE, or where the thread may
/// not run on all CPUs; EINVAL for numbers that the kernel does not take; ESRCH when the thread has ended.
int ReserveCpu(pid_t tid, CpuReservation reservation);

/// From now on the thread is one among the others again, with the weight (nice) that it had. Returns 0 or an errno:
/// EAGAIN when it sleeps and has used up what it has; until its next period the kernel cannot let it go without harm.
/// With `at_once` that is put up with: where it leaves in that state, its next reservation may come to nothing
/// (Linux 6.1).
int ReleaseCpu(pid_t tid, bool at_once = false);

/// What is reserved for a thread.
Result<CpuReservation> ReadCpuReservation(pid_t tid);

}  // namespace volley

#endif
