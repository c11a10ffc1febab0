#include "cpu_reservation.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string>

#include "proc.h"

namespace volley {
namespace {

// Of <linux/sched.h>, which does not go together with <sched.h>.
constexpr uint32_t kDeadline = 6;

// `struct sched_attr` of the kernel in its first form. C libraries do not have it, or not yet.
struct SchedAttr {
  uint32_t size = sizeof(SchedAttr);
  uint32_t policy = SCHED_OTHER;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0;
  uint64_t deadline = 0;
  uint64_t period = 0;
};
static_assert(sizeof(SchedAttr) == 48);

// The least that the kernel reserves: 1,024 ns in a second.
constexpr CpuReservation kLeast{1024, 1'000'000'000};

// A thread that wakes up in each of them lives with what the kernel makes of it.
constexpr int kTriesToRelease = 3;

int Set(pid_t tid, SchedAttr attr) { return syscall(SYS_sched_setattr, tid, &attr, 0) < 0 ? errno : 0; }

// A number out of /proc/<tid>/sched, which kernels with CONFIG_SCHED_DEBUG have: "name   :   123.456".
std::optional<double> Field(const std::string& sched, const std::string& name) {
  const size_t line = sched.find('\n' + name);
  const size_t colon = line == std::string::npos ? line : sched.find(':', line);
  if (colon == std::string::npos) return std::nullopt;
  return strtod(sched.c_str() + colon + 1, nullptr);
}

// How often and how long it has run. Changes with each turn.
std::string Turns(pid_t tid) {
  auto schedstat = ReadSmallFile("/proc/" + std::to_string(tid) + "/schedstat");
  return schedstat ? *schedstat : std::string();
}

// Whether a thread that sleeps has used up what it has in this period, or nearly so. Not known where the kernel does
// not tell.
bool IsNearlyUsedUp(pid_t tid, CpuReservation reservation) {
  auto sched = ReadSmallFile("/proc/" + std::to_string(tid) + "/sched", 16'384);
  if (!sched) return false;
  const auto left_ns = Field(*sched, "dl.runtime");
  const auto deadline_ns = Field(*sched, "dl.deadline");
  const auto ran_at_ms = Field(*sched, "se.exec_start");
  if (!left_ns || !deadline_ns || !ran_at_ms) return false;
  // Where the period had ended before it ran last, what was left is of a reservation before this one.
  return *left_ns < static_cast<double>(reservation.runtime_ns) / 16 && *deadline_ns > *ran_at_ms * 1e6;
}

// Whether the kernel's accounts are in order once it has left. They are where its timer is set: for who runs, waits or
// stands still, it is when they leave; for who sleeps, it was when they went to sleep, until what they had left in this
// period could have been used at the rate that is reserved.
bool LeavesInOrder(pid_t tid, CpuReservation reservation) {
  auto stat = ReadProcessStat(tid);
  return !stat || stat->state == 'R' || IsNearlyUsedUp(tid, reservation);
}

}  // namespace

int ReserveCpu(pid_t tid, CpuReservation reservation) {
  return Set(tid, {.policy = kDeadline,
                   .runtime = reservation.runtime_ns,
                   .deadline = reservation.period_ns,
                   .period = reservation.period_ns});
}

int ReleaseCpu(pid_t tid) {
  auto before = ReadCpuReservation(tid);
  if (!before) return before.failure().error;
  if (before->period_ns == 0) return 0;
  errno = 0;
  const int nice = getpriority(PRIO_PROCESS, static_cast<id_t>(tid));
  if (errno != 0) return errno;
  for (int tries = 0;; ++tries) {
    const std::string turns = Turns(tid);
    // A thread that leaves the class in its sleep is counted for ever with what it had (seen with Linux 6.1 and 6.18):
    // what is left to count is to be next to nothing. But not for one that has used up what it had. Linux 6.1 forgets
    // that it has to stand still only when what it used too much would have been earned, which at this rate takes an
    // hour, and whoever gets a reservation before that stands still for good.
    const bool in_order = LeavesInOrder(tid, *before);
    if (!in_order) ReserveCpu(tid, kLeast);
    const int error = Set(tid, {.nice = nice});
    if (error != 0 || in_order || tries == kTriesToRelease || Turns(tid) == turns) return error;
    // It woke up in between, and may have used up what it had: it is to leave once more, as one that runs.
    if (ReserveCpu(tid, *before) != 0) return 0;
  }
}

Result<CpuReservation> ReadCpuReservation(pid_t tid) {
  SchedAttr attr;
  if (syscall(SYS_sched_getattr, tid, &attr, sizeof attr, 0) < 0) {
    return FailedCall(errno, "cannot ask how a thread is scheduled");
  }
  if (attr.policy != kDeadline) return CpuReservation{};
  return CpuReservation{attr.runtime, attr.period};
}

}  // namespace volley
