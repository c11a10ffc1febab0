#include "support/descriptors.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/demand.h"

namespace volley::fuzz {

DescriptorScope::DescriptorScope(bool demand_none) : first_(lowest_free()), demand_none_(demand_none) {}

DescriptorScope::~DescriptorScope() {
  if (demand_none_) demand(lowest_free() == first_, "a descriptor was left open");
  syscall(SYS_close_range, static_cast<unsigned>(first_), ~0u, 0u);
}

int DescriptorScope::lowest_free() {
  const int fd = fcntl(0, F_DUPFD, 3);
  demand(fd >= 0, "no descriptor is free");
  close(fd);
  return fd;
}

}  // namespace volley::fuzz
