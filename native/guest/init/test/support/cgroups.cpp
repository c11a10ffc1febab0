#include "support/cgroups.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.h"
#include "base/text.h"
#include "vmm/test/support/check.h"
#include "workload.h"

namespace volley::test {
namespace {

constexpr char kWhole[] = "/dev/cgroup";

void pause_ms(long ms) {
  const timespec time{ms / 1000, ms % 1000 * 1'000'000};
  nanosleep(&time, nullptr);
}

}  // namespace

Cgroups::Cgroups() : branch_(format("%s/volley-init-test-%d", kWhole, getpid())) {
  mkdir(kWhole, 0755);
  is_there_ = mount("cgroup2", kWhole, "cgroup2", 0, nullptr) == 0 && mkdir(branch_.c_str(), 0755) == 0 &&
              access((branch_ + "/cgroup.freeze").c_str(), W_OK) == 0 &&
              mount(branch_.c_str(), kCgroups, nullptr, MS_BIND, nullptr) == 0;
  if (!is_there_) fprintf(stderr, "SKIPPED: no unified hierarchy of cgroups (%s)\n", strerror(errno));
}

Cgroups::~Cgroups() {
  if (is_there_) {
    for (const char* group : {"/workload", "/made-by-a-program"}) rmdir((kCgroups + std::string(group)).c_str());
    umount(kCgroups);
  }
  rmdir(branch_.c_str());
  CHECK(access(branch_.c_str(), F_OK) != 0);
  umount(kWhole);
}

CountingProgram::CountingProgram(const std::string& group)
    : count_(static_cast<std::atomic<unsigned>*>(
          mmap(nullptr, sizeof(*count_), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))),
      pid_(fork()) {
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (write_into(std::string(kCgroups) + "/" + group + "/cgroup.procs", "0") != 0) _exit(1);
  for (;; pause_ms(1)) ++*count_;
}

CountingProgram::~CountingProgram() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  munmap(count_, sizeof(*count_));
}

bool CountingProgram::runs() const {
  const unsigned before = *count_;
  for (int ms = 0; ms < 5'000; ++ms, pause_ms(1)) {
    if (*count_ != before) return true;
  }
  return false;
}

bool CountingProgram::stands_still() const {
  const unsigned before = *count_;
  pause_ms(50);
  return *count_ == before;
}

}  // namespace volley::test
