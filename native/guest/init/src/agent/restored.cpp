#include "agent/restored.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>

#include <cstring>
#include <string>
#include <vector>

#include "agent/frames.h"
#include "agent/unused_disks.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "base/wall_clock.h"
#include "boot/names.h"
#include "boot/network.h"
#include "config.h"
#include "machine_page.h"
#include "workload.h"

namespace volley {
namespace {

// Kernels with a driver for the generation id have done it by themselves, others have not noticed: their clones would
// all go on with the same random numbers.
int seed_random_numbers(const volley_restored& told) {
  const UniqueFd random(open("/dev/urandom", O_WRONLY | O_CLOEXEC));
  if (!random.is_open()) return errno;
  // struct rand_pool_info, which has an array without a length at its end.
  struct {
    int entropy_bits = 8 * VOLLEY_SEED_BYTES;
    int bytes = VOLLEY_SEED_BYTES;
    uint8_t seed[VOLLEY_SEED_BYTES];
  } seed;
  static_assert(sizeof(rand_pool_info) == sizeof(seed) - sizeof(seed.seed));
  memcpy(seed.seed, told.seed, sizeof(seed.seed));
  if (ioctl(random.get(), RNDADDENTROPY, &seed) != 0) return errno;
  return ioctl(random.get(), RNDRESEEDCRNG) == 0 ? 0 : errno;
}

int become(const volley_restored& told, std::string_view records, std::string& problem) {
  if (const int error = seed_random_numbers(told); error != 0) {
    problem = failed("the random numbers cannot be seeded anew", error);
    return error;
  }
  if (const int error = set_wall_clock(told.time_ns); error != 0) {
    problem = failed("the clock cannot be set", error);
    return error;
  }
  std::vector<std::string> complaints;
  const Config config = parse_config(records, complaints);
  if (!complaints.empty()) {
    problem = complaints[0];
    return EPROTO;
  }
  write_names(config);
  forget_unused_disks();
  if (const int error = change_network(config.interfaces, problem); error != 0) return error;
  MachinePage page;
  if (const int error = page.open(); error != 0) {
    problem = failed("the host cannot be told that the guest is ready, without /dev/mem", error);
    return error;
  }
  page.tell_booted();
  return 0;
}

}  // namespace

void run_restored(int connection, std::string_view body) {
  volley_restored told{};
  std::string problem = "a restored guest needs a time and a seed";
  int error = EPROTO;
  if (read_number(body, told)) error = become(told, body.substr(sizeof(told)), problem);
  if (error == 0) thaw_workload();
  send_frame(connection, VOLLEY_GUEST_RESULT, result_body(error, error == 0 ? "" : problem));
}

}  // namespace volley
