#include "workload.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <time.h>

#include <vector>

#include "base/files.h"
#include "base/text.h"

namespace volley {
namespace {

constexpr char kGroup[] = "/sys/fs/cgroup/workload";
// For a process to leave the kernel, where it may have been waiting for a disk.
constexpr int kFreezeMs = 2'000;
constexpr int kLookMs = 5;

// All groups at the top: what is below them is stopped with them.
std::vector<std::string> groups() {
  std::vector<std::string> found;
  DIR* listing = opendir(kCgroups);
  if (listing == nullptr) return found;
  while (const dirent* one = readdir(listing)) {
    if (one->d_type == DT_DIR && one->d_name[0] != '.') found.push_back(std::string(kCgroups) + "/" + one->d_name);
  }
  closedir(listing);
  return found;
}

bool is_frozen(const std::string& group) {
  const auto events = read_file(group + "/cgroup.events", 4096);
  return !events || events->find("frozen 1") != std::string::npos;  // a group that is gone holds nothing
}

}  // namespace

void make_workload_group() {
  if (mkdir(kGroup, 0755) != 0 && errno != EEXIST) {
    say("%s", failed("programs cannot be held for a snapshot, without a cgroup", errno).c_str());
  }
}

void join_workload() { write_into(std::string(kGroup) + "/cgroup.procs", "0"); }

int freeze_workload(std::string& problem) {
  if (const int error = write_into(std::string(kGroup) + "/cgroup.freeze", "1"); error != 0) {
    problem = failed("the programs of this guest cannot be held", error);
    return error;
  }
  const std::vector<std::string> all = groups();
  for (const auto& group : all) write_into(group + "/cgroup.freeze", "1");
  int waited_ms = 0;
  for (const auto& group : all) {
    for (; !is_frozen(group); waited_ms += kLookMs) {
      if (waited_ms >= kFreezeMs) {
        problem = format("a program of this guest did not come to rest within %d ms", kFreezeMs);
        return EBUSY;
      }
      const timespec pause{0, kLookMs * 1'000'000};
      nanosleep(&pause, nullptr);
    }
  }
  return 0;
}

void thaw_workload() {
  for (const auto& group : groups()) write_into(group + "/cgroup.freeze", "0");
}

}  // namespace volley
