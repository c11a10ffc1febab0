// What the host tells a guest that went on from a snapshot. Whatever it says, and whatever of it fails, the programs of
// the guest go on only when all of it was done, and the host is told exactly that. The parts that change the guest are
// stood in for here; a script says which of them fail.
#include <errno.h>
#include <linux/random.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "agent/frames.h"
#include "agent/restored.h"
#include "agent/unused_disks.h"
#include "base/unique_fd.h"
#include "base/wall_clock.h"
#include "boot/names.h"
#include "boot/network.h"
#include "machine_page.h"
#include "support/demand.h"
#include "support/script.h"
#include "workload.h"

namespace volley {
namespace {

enum Step : unsigned { kSeed = 1, kReseed = 2, kClock = 4, kNames = 8, kNetwork = 16, kBooted = 32, kThawed = 64 };

struct Guest {
  unsigned done = 0;
  unsigned failing = 0;
  std::string seed;
  uint64_t time_ns = 0;

  // Each comes once, and after those before it.
  int does(Step step) {
    fuzz::demand(done == step - 1, "something was done twice, or too early");
    if ((failing & step) != 0) return EPERM;
    done |= step;
    return 0;
  }
};
Guest guest;

}  // namespace

int set_wall_clock(uint64_t time_ns) {
  guest.time_ns = time_ns;
  return guest.does(kClock);
}

void write_names(const Config&) { guest.does(kNames); }

int change_network(const std::vector<InterfaceConfig>& interfaces, std::string& problem) {
  for (const auto& one : interfaces) fuzz::demand(one.prefix <= 32, "a prefix longer than an address");
  problem = "no network";
  return guest.does(kNetwork);
}

MachinePage::~MachinePage() = default;
int MachinePage::open() { return (guest.failing & kBooted) != 0 ? ENOENT : 0; }
void MachinePage::tell_booted() { guest.does(kBooted); }
void thaw_workload() { guest.does(kThawed); }
void forget_unused_disks() { fuzz::demand((guest.done & kThawed) == 0, "a program may have looked at a disk before"); }

}  // namespace volley

extern "C" int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int, unsigned long request, ...) {
  using namespace volley;
  va_list rest;
  va_start(rest, request);
  const auto* pool = va_arg(rest, const rand_pool_info*);
  va_end(rest);
  if (request == RNDADDENTROPY) {
    guest.seed.assign(reinterpret_cast<const char*>(pool->buf), static_cast<size_t>(pool->buf_size));
    errno = guest.does(kSeed);
  } else {
    fuzz::demand(request == RNDRESEEDCRNG, "another call for the kernel");
    errno = guest.does(kReseed);
  }
  return errno == 0 ? 0 : -1;
}

namespace volley::fuzz {

void run(Script& script) {
  guest = {};
  // Names cannot fail, and to go on does not.
  guest.failing = script.byte() & ~(kNames | kThawed);
  const auto bytes = script.rest();
  const std::string_view body(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  int ends[2];
  demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0, "no sockets");
  UniqueFd host(ends[0]), connection(ends[1]);
  run_restored(connection.get(), body);
  connection.reset();

  FrameReader reader;
  Frame frame;
  demand(reader.fill(host.get()) > 0 && reader.next(frame) && frame.type == VOLLEY_GUEST_RESULT, "no answer");
  int32_t error = -1;
  demand(read_number(frame.body, error), "an answer without a number");
  demand((frame.body.size() > sizeof(error)) == (error != 0), "a sentence where none belongs, or none where one does");
  demand(!reader.next(frame) && reader.fill(host.get()) == 0, "more than one answer");
  demand((error == 0) == (guest.done == 2 * kThawed - 1), "programs went on in a guest that is not done");
  demand(error == 0 || (guest.done & (kBooted | kThawed)) == 0, "a guest that failed says that it is ready");
  if (error != 0) return;
  volley_restored told{};
  demand(read_number(body, told), "told too little");
  demand(guest.seed == std::string_view(reinterpret_cast<const char*>(told.seed), sizeof(told.seed)), "another seed");
  demand(guest.time_ns == told.time_ns, "another time");
}

}  // namespace volley::fuzz
