#include "process/hardening.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstring>

namespace volley {
namespace {

constexpr char kNamePrefix[] = "vmm:";
constexpr size_t kNameMax = 15;

}  // namespace

void harden_process(const volley_config& config) {
  // The end of an id differs between microVMs made in the same moment, its start does not.
  const size_t length = strnlen(config.id, sizeof(config.id));
  const size_t room = kNameMax - (sizeof(kNamePrefix) - 1);
  char name[kNameMax + 1];
  snprintf(name, sizeof(name), "%s%s", kNamePrefix, config.id + (length > room ? length - room : 0));
  prctl(PR_SET_NAME, name);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_DUMPABLE, 0);
  const unsigned first_unused = config.initrd_size == 0 ? VOLLEY_FD_INITRD : VOLLEY_FD_INITRD + 1;
  syscall(SYS_close_range, first_unused, UINT_MAX, 0);  // not every libc has a wrapper
}

}  // namespace volley
