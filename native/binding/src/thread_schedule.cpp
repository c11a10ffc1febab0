#include "thread_schedule.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

namespace volley {
namespace {

// `struct sched_attr` of the kernel in its first form. C libraries do not have it, or not yet.
struct SchedAttr {
  uint32_t size = sizeof(SchedAttr);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0;  // Of SCHED_OTHER and SCHED_BATCH: the slice.
  uint64_t deadline = 0;
  uint64_t period = 0;
};
static_assert(sizeof(SchedAttr) == 48);

int Get(pid_t tid, SchedAttr* attr) { return syscall(SYS_sched_getattr, tid, attr, sizeof *attr, 0) < 0 ? errno : 0; }

}  // namespace

int SetThreadSchedule(pid_t tid, ThreadSchedule schedule) {
  SchedAttr attr;
  if (const int error = Get(tid, &attr); error != 0) return error;
  attr.size = sizeof attr;
  attr.policy = schedule.batch ? SCHED_BATCH : SCHED_OTHER;
  attr.flags = 0;
  attr.priority = 0;
  attr.runtime = schedule.slice_ns;
  attr.deadline = attr.period = 0;
  return syscall(SYS_sched_setattr, tid, &attr, 0) < 0 ? errno : 0;
}

Result<ThreadSchedule> ReadThreadSchedule(pid_t tid) {
  SchedAttr attr;
  if (const int error = Get(tid, &attr); error != 0) return FailedCall(error, "cannot ask how a thread is scheduled");
  if (attr.policy != SCHED_OTHER && attr.policy != SCHED_BATCH) {
    return Failure{EINVAL, "the thread is not of the fair scheduling class"};
  }
  return ThreadSchedule{attr.policy == SCHED_BATCH, attr.runtime};
}

int SetThreadCpus(pid_t tid, const std::vector<uint32_t>& cpus) {
  constexpr size_t kBits = sizeof(unsigned long) * CHAR_BIT;
  constexpr uint32_t kMostCpus = 8192;
  std::vector<unsigned long> mask;
  for (const uint32_t cpu : cpus) {
    if (cpu >= kMostCpus) return EINVAL;
    if (mask.size() <= cpu / kBits) mask.resize(cpu / kBits + 1);
    mask[cpu / kBits] |= 1ul << (cpu % kBits);
  }
  return syscall(SYS_sched_setaffinity, tid, mask.size() * sizeof(unsigned long), mask.data()) < 0 ? errno : 0;
}

}  // namespace volley
