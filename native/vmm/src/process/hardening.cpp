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

void close_all_from(unsigned first) {
  syscall(SYS_close_range, first, UINT_MAX, 0);  // not every libc has a wrapper
}

void name_process(const volley_config& config, char** arguments) {
  // The end of an id differs between microVMs made in the same moment, its start does not.
  const size_t length = strnlen(config.id, sizeof(config.id) - 1);
  const size_t room = kNameMax - (sizeof(kNamePrefix) - 1);
  char name[kNameMax + 1];
  snprintf(name, sizeof(name), "%s%.*s", kNamePrefix, static_cast<int>(room),
           config.id + (length > room ? length - room : 0));
  prctl(PR_SET_NAME, name);

  if (arguments[0] == nullptr || arguments[1] == nullptr) return;
  char* title = arguments[1];
  const size_t title_room = strlen(title);
  for (size_t i = 0; i < title_room; ++i) title[i] = i < length ? config.id[i] : '\0';
}

}  // namespace volley
