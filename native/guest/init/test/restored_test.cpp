// Everything is the kernel's own but for its random numbers and its clock, which are not to be changed by a test: calls
// for these end here (see CMakeLists.txt).
#include "agent/restored.h"

#include <errno.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/random.h>
#include <net/if.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>

#include <cstring>
#include <vector>

#include "base/files.h"
#include "support/sandbox.h"
#include "support/told.h"
#include "vmm/test/support/check.h"
#include "workload.h"

namespace volley {
namespace {

struct Kernel {
  std::string seed;
  int entropy_bits = 0;
  std::vector<unsigned long> asked;
  timespec clock{};
  // What fails, and how.
  unsigned long failing_request = 0;
  int clock_error = 0;
};
Kernel kernel;

int take_random_numbers(unsigned long request, const void* argument) {
  kernel.asked.push_back(request);
  if (request == kernel.failing_request) {
    errno = EPERM;
    return -1;
  }
  if (request != RNDADDENTROPY) return 0;
  const auto* given = static_cast<const rand_pool_info*>(argument);
  kernel.entropy_bits = given->entropy_count;
  kernel.seed.assign(reinterpret_cast<const char*>(given->buf), static_cast<size_t>(given->buf_size));
  return 0;
}

}  // namespace
}  // namespace volley

extern "C" int __real_ioctl(int fd, unsigned long request, ...);
extern "C" int __wrap_ioctl(int fd, unsigned long request, ...);
extern "C" int __wrap_ioctl(int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  if (request == RNDADDENTROPY || request == RNDRESEEDCRNG) return volley::take_random_numbers(request, argument);
  // The disks here are those of whoever runs this.
  if (request == BLKFLSBUF || request == BLKRRPART) return 0;
  return __real_ioctl(fd, request, argument);
}

extern "C" int __wrap_clock_settime(clockid_t clock, const timespec* time);
extern "C" int __wrap_clock_settime(clockid_t clock, const timespec* time) {
  CHECK_EQ(clock, CLOCK_REALTIME);
  volley::kernel.clock = *time;
  errno = volley::kernel.clock_error;
  return volley::kernel.clock_error == 0 ? 0 : -1;
}

namespace volley {
namespace {

using test::PhysicalMemory;
using test::Tap;
using test::Told;

const std::string kFreezer = std::string(kCgroups) + "/workload/cgroup.freeze";

// A guest that went on from a snapshot, with its programs held.
class Guest {
 public:
  Guest() {
    kernel = {};
    REQUIRE(test::cover("/etc") && test::cover(kCgroups));
    replace_file("/dev/urandom", "", 0600);
    make_folders(std::string(kCgroups) + "/workload");
    replace_file(kFreezer, "1", 0600);
  }
  ~Guest() {
    umount("/etc");
    umount(kCgroups);
  }

  Told hears(std::string_view body) const {
    int ends[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const UniqueFd host(ends[0]), guest(ends[1]);
    run_restored(guest.get(), body);
    return test::told_on(host.get());
  }

  bool programs_are_held() const { return read_file(kFreezer, 16) == "1"; }

  PhysicalMemory memory;
};

std::string body_of(const std::vector<std::string>& records = {}) {
  volley_restored told{};
  told.time_ns = 1'700'000'000'123'456'789u;
  memset(told.seed, 's', sizeof told.seed);
  std::string body(bytes_of(told));
  for (const auto& one : records) body += one + '\0';
  return body;
}

std::string host_name() {
  char name[HOST_NAME_MAX + 1] = "";
  CHECK_EQ(gethostname(name, sizeof name), 0);
  return name;
}

TEST(it_becomes_the_one_it_is_told_to_be_and_then_its_programs_go_on) {
  const Guest guest;
  const Tap tap("eth0", 1);
  const Told told = guest.hears(
      body_of({"hostname", "clone-7", "net", "02:00:00:00:00:17 10.0.0.7/24 10.0.0.1 0", "dns", "192.0.2.53"}));
  CHECK_EQ(told.error, 0);
  CHECK_EQ(told.sentence, "");
  CHECK_EQ(kernel.seed, std::string(VOLLEY_SEED_BYTES, 's'));
  CHECK_EQ(kernel.entropy_bits, 512);
  // Given to the pool first: what is drawn from it afterwards has the seed in it.
  CHECK((kernel.asked == std::vector<unsigned long>{RNDADDENTROPY, RNDRESEEDCRNG}));
  CHECK_EQ(kernel.clock.tv_sec, 1'700'000'000);
  CHECK_EQ(kernel.clock.tv_nsec, 123'456'789);
  CHECK_EQ(host_name(), "clone-7");
  CHECK_EQ(read_file("/etc/hostname", 100).value_or(""), "clone-7\n");
  CHECK_CONTAINS(read_file("/etc/hosts", 1000).value_or(""), "10.0.0.7\tclone-7\n");
  CHECK_CONTAINS(read_file("/etc/resolv.conf", 1000).value_or(""), "nameserver 192.0.2.53\n");
  ifreq request{};
  memcpy(request.ifr_name, "eth0", 5);
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  CHECK_EQ(ioctl(socket.get(), SIOCGIFHWADDR, &request), 0);
  CHECK_EQ(static_cast<int>(request.ifr_hwaddr.sa_data[5]), 0x17);
  CHECK(guest.memory.boot_timer_is_written());
  CHECK(!guest.programs_are_held());
}

TEST(told_again_it_answers_again) {
  const Guest guest;
  CHECK_EQ(guest.hears(body_of()).error, 0);
  CHECK_EQ(guest.hears(body_of()).error, 0);
}

void stays_as_it_is(const Guest& guest, std::string_view body, int error, const std::string& sentence) {
  const Told told = guest.hears(body);
  CHECK_EQ(told.error, error);
  CHECK_CONTAINS(told.sentence, sentence);
  CHECK(!guest.memory.boot_timer_is_written());
  CHECK(guest.programs_are_held());
}

TEST(without_new_random_numbers_nothing_runs) {
  for (const unsigned long failing :
       {static_cast<unsigned long>(RNDADDENTROPY), static_cast<unsigned long>(RNDRESEEDCRNG)}) {
    const Guest guest;
    kernel.failing_request = failing;
    stays_as_it_is(guest, body_of(), EPERM, "the random numbers cannot be seeded anew");
  }
  const Guest guest;
  remove("/dev/urandom");
  stays_as_it_is(guest, body_of(), ENOENT, "the random numbers cannot be seeded anew");
}

TEST(without_the_time_nothing_runs) {
  const Guest guest;
  kernel.clock_error = EINVAL;
  stays_as_it_is(guest, body_of(), EINVAL, "the clock cannot be set");
}

TEST(without_its_network_nothing_runs) {
  const Guest guest;
  stays_as_it_is(guest, body_of({"net", "02:00:00:00:00:17 10.0.0.7/24 - 0"}), ENODEV, "has 0 network devices, not 1");
}

TEST(what_cannot_be_read_is_not_acted_upon) {
  const Guest guest;
  stays_as_it_is(guest, body_of().substr(1), EPROTO, "needs a time and a seed");
  stays_as_it_is(guest, body_of({"hostname"}), EPROTO, "ends within a record");
  stays_as_it_is(guest, body_of({"net", "nonsense"}), EPROTO, "net cannot be read");
}

TEST(without_the_machines_page_the_host_is_told_that_it_waits_in_vain) {
  const Guest guest;
  remove("/dev/mem");
  const Told told = guest.hears(body_of());
  CHECK_EQ(told.error, ENOENT);
  CHECK_CONTAINS(told.sentence, "without /dev/mem");
  CHECK(guest.programs_are_held());
}

}  // namespace
}  // namespace volley
