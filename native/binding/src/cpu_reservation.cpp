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

// The least that the kernel reserves, of a period so long that it counts as nothing: 2^-20 CPUs is what it counts in.
constexpr CpuReservation kLeast{1024, 2'000'000'000};

// A thread that wakes up in each of them lives with what the kernel makes of it.
constexpr int kTriesToRelease = 3;

// Who runs and has so little left is not sure to have any of it when it leaves.
constexpr double kSoonNs = 100'000;

// A line "name   :   123.456" of /proc/<tid>/sched.
std::optional<double> Field(const std::string& sched, const std::string& name) {
  const size_t line = sched.find('\n' + name);
  const size_t colon = line == std::string::npos ? line : sched.find(':', line);
  if (colon == std::string::npos) return std::nullopt;
  return strtod(sched.c_str() + colon + 1, nullptr);
}

int Set(pid_t tid, SchedAttr attr) { return syscall(SYS_sched_setattr, tid, &attr, 0) < 0 ? errno : 0; }

bool Sleeps(pid_t tid) {
  auto stat = ReadProcessStat(tid);
  return stat && stat->state != 'R';
}

// What the kernel tells of a thread in /proc/<tid>/sched: with CONFIG_SCHED_DEBUG, and always since Linux 6.15.
struct Look {
  bool sleeps = false;
  // Of its reservation, ns; negative: it has used more, and stands still. Of one that runs, as of a moment ago.
  std::optional<double> left_ns;
  // How often it has ceased to run.
  std::optional<double> switches;

  // Whether it stands still, or runs and soon will. False where the kernel does not tell. Who has slept ever since it
  // got its reservation has 0.
  bool IsUsedUp() const { return left_ns && *left_ns < (sleeps ? 0 : kSoonNs); }
};

Look LookAt(pid_t tid) {
  Look look{.sleeps = Sleeps(tid), .left_ns = {}, .switches = {}};
  auto sched = ReadSmallFile("/proc/" + std::to_string(tid) + "/sched", 16'384);
  if (!sched) return look;
  look.left_ns = Field(*sched, "dl.runtime");
  look.switches = Field(*sched, "nr_switches");
  return look;
}

}  // namespace

int ReserveCpu(pid_t tid, CpuReservation reservation) {
  return Set(tid, {.policy = kDeadline,
                   .runtime = reservation.runtime_ns,
                   .deadline = reservation.period_ns,
                   .period = reservation.period_ns});
}

// A thread that leaves the class while it sleeps goes on being counted with what it had, for ever (seen with Linux 6.1
// and 6.18), unless the kernel's timer for it is set. It is when it went to sleep with nothing left, until what it has
// is changed; otherwise that cannot be told. So it is to count for nothing when it leaves, and so is any other that may
// be asleep in that moment, whatever it did before. But not one that stands still for what it has used: Linux 6.1
// forgets that it has to only when what it used too much would have been earned, which takes hours at that rate, and
// whoever gets a reservation before that stands still for good. Awake it may leave as it is; asleep it is to wait.
int ReleaseCpu(pid_t tid, bool at_once) {
  auto before = ReadCpuReservation(tid);
  if (!before) return before.failure().error;
  if (before->period_ns == 0) return 0;
  errno = 0;
  const int nice = getpriority(PRIO_PROCESS, static_cast<id_t>(tid));
  if (errno != 0) return errno;
  const auto leave = [&] { return Set(tid, {.nice = nice}); };
  for (int tries = 0;; ++tries) {
    Look look = LookAt(tid);
    if (look.IsUsedUp() && !look.sleeps) return leave();
    if (look.IsUsedUp() && !at_once && tries == 0) return EAGAIN;
    ReserveCpu(tid, kLeast);
    // The kernel has looked just now at what a running thread uses.
    look = LookAt(tid);
    if (look.IsUsedUp() && !look.sleeps && tries < kTriesToRelease) {
      ReserveCpu(tid, *before);
      if (!Sleeps(tid)) return leave();
      continue;
    }
    const int error = leave();
    if (error != 0 || tries == kTriesToRelease) return error;
    const Look after = LookAt(tid);
    if (after.sleeps || (!look.sleeps && after.switches == look.switches)) return 0;
    // It woke up in between, and may have used up what was nothing: awake, it can leave as it is.
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
