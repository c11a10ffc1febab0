#include "support/virtual_time.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <map>

#include "support/wrap.h"

namespace volley::fuzz {
namespace {

constexpr uint64_t kStartNs = 1'000'000'000'000;
constexpr uint64_t kLookNs = 200;

uint64_t now = kStartNs;

// When each timer is due, by descriptor; 0 = it is not set. A timer is an eventfd, which is readable just as one.
std::map<int, uint64_t>& timers() {
  static auto& all = *new std::map<int, uint64_t>;
  return all;
}

void fire_what_is_due() {
  for (auto& [fd, due] : timers()) {
    if (due == 0 || due > now) continue;
    due = 0;
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(fd, &one, sizeof(one));
  }
}

}  // namespace

void restart_time() {
  now = kStartNs;
  timers().clear();
}

uint64_t now_ns() { return now; }

void advance_time(uint64_t by_ns) {
  now += by_ns;
  fire_what_is_due();
}

VOLLEY_WRAP(int, clock_gettime, clockid_t clock, timespec* time) {
  if (clock != CLOCK_MONOTONIC) return __real_clock_gettime(clock, time);
  now += kLookNs;
  time->tv_sec = static_cast<time_t>(now / 1'000'000'000);
  time->tv_nsec = static_cast<long>(now % 1'000'000'000);
  return 0;
}

VOLLEY_WRAP(int, timerfd_create, int, int) {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd >= 0) timers()[fd] = 0;
  return fd;
}

VOLLEY_WRAP(int, timerfd_settime, int fd, int, const itimerspec* when, itimerspec*) {
  // Setting a timer takes back an alarm that nobody has heard of yet.
  uint64_t unheard = 0;
  [[maybe_unused]] const ssize_t got = read(fd, &unheard, sizeof(unheard));
  timers()[fd] =
      static_cast<uint64_t>(when->it_value.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(when->it_value.tv_nsec);
  fire_what_is_due();
  return 0;
}

}  // namespace volley::fuzz
