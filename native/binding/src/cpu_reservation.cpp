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

int Set(pid_t tid, SchedAttr attr) { return syscall(SYS_sched_setattr, tid, &attr, 0) < 0 ? errno : 0; }

// A number out of /proc/<tid>/sched, which kernels with CONFIG_SCHED_DEBUG have: "name   :   123.456".
std::optional<double> Field(const std::string& sched, const std::string& name) {
  const size_t line = sched.find('\n' + name);
  const size_t colon = line == std::string::npos ? line : sched.find(':', line);
  if (colon == std::string::npos) return std::nullopt;
  return strtod(sched.c_str() + colon + 1, nullptr);
}

// Whether it has used up what it has in this period, or nearly so, and may stand still until the next one.
bool IsNearlyUsedUp(pid_t tid, CpuReservation reservation) {
  auto sched = ReadSmallFile("/proc/" + std::to_string(tid) + "/sched", 16'384);
  const auto left_ns = sched ? Field(*sched, "dl.runtime") : std::nullopt;
  const auto deadline_ns = sched ? Field(*sched, "dl.deadline") : std::nullopt;
  const auto ran_at_ms = sched ? Field(*sched, "se.exec_start") : std::nullopt;
  if (left_ns && deadline_ns && ran_at_ms) {
    // Where the period had ended before it ran last, what was left is of a reservation before this one.
    return *left_ns < static_cast<double>(reservation.runtime_ns) / 16 && *deadline_ns > *ran_at_ms * 1e6;
  }
  // Who stands still counts as runnable; most that sleep have not used up anything.
  auto stat = ReadProcessStat(tid);
  return !stat || stat->state == 'R';
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
  // A thread that sleeps for longer than its period and leaves the class then is counted for ever with what it had
  // (seen with Linux 6.1 and 6.18): what is left to count is to be next to nothing. But not for one that has used up
  // what it had. The kernel lets it run again once what it used too much would have been earned, also outside of the
  // class; at this rate that is in minutes, and whoever gets a reservation before that stands still for good (6.1).
  if (!IsNearlyUsedUp(tid, *before)) ReserveCpu(tid, kLeast);
  errno = 0;
  const int nice = getpriority(PRIO_PROCESS, static_cast<id_t>(tid));
  if (errno != 0) return errno;
  return Set(tid, {.nice = nice});
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
