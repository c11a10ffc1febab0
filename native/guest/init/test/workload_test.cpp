#include "workload.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.h"
#include "support/cgroups.h"
#include "support/sandbox.h"
#include "vmm/test/support/check.h"

namespace volley {
namespace {

using test::Cgroups;
using test::CountingProgram;

std::string in_cgroups(const std::string& name) { return std::string(kCgroups) + "/" + name; }

TEST(all_programs_stop_and_go_on_together) {
  const Cgroups cgroups;
  if (!cgroups.is_there()) return;
  make_workload_group();
  mkdir(in_cgroups("made-by-a-program").c_str(), 0755);
  const CountingProgram ours("workload");
  const CountingProgram theirs("made-by-a-program");
  CHECK(ours.runs());
  CHECK(theirs.runs());
  std::string problem;
  CHECK_EQ(freeze_workload(problem), 0);
  CHECK_EQ(problem, "");
  CHECK(ours.stands_still());
  CHECK(theirs.stands_still());
  thaw_workload();
  CHECK(ours.runs());
  CHECK(theirs.runs());
}

TEST(a_program_that_joins_is_held_with_the_others) {
  const Cgroups cgroups;
  if (!cgroups.is_there()) return;
  make_workload_group();
  make_workload_group();  // again, as by an init that was started anew
  const pid_t program = fork();
  if (program == 0) {
    join_workload();
    const auto group = read_file("/proc/self/cgroup", 4096);
    _exit(group && group->find("/workload\n") != std::string::npos ? 0 : 1);
  }
  int status = -1;
  CHECK_EQ(waitpid(program, &status, 0), program);
  CHECK_EQ(status, 0);
}

// A hierarchy without a kernel behind it, whose groups never come to rest.
class PaperCgroups {
 public:
  explicit PaperCgroups(const std::vector<std::string>& groups) {
    REQUIRE(test::cover(kCgroups));
    for (const auto& group : groups) {
      make_folders(in_cgroups(group));
      replace_file(in_cgroups(group) + "/cgroup.freeze", "", 0644);
      replace_file(in_cgroups(group) + "/cgroup.events", "populated 1\nfrozen 0\n", 0644);
    }
  }
  ~PaperCgroups() { umount(kCgroups); }
};

TEST(a_program_that_does_not_come_to_rest_is_told) {
  const PaperCgroups cgroups({"workload"});
  std::string problem;
  CHECK_EQ(freeze_workload(problem), EBUSY);
  CHECK_EQ(problem, "a program of this guest did not come to rest within 2000 ms");
}

TEST(a_group_that_ends_meanwhile_holds_nobody) {
  const PaperCgroups cgroups({"workload", "gone"});
  for (const char* group : {"workload", "gone"}) remove(in_cgroups(group + std::string("/cgroup.events")).c_str());
  std::string problem;
  CHECK_EQ(freeze_workload(problem), 0);
}

TEST(without_a_group_nothing_can_be_held) {
  const PaperCgroups cgroups({});
  std::string problem;
  CHECK_EQ(freeze_workload(problem), ENOENT);
  CHECK_CONTAINS(problem, "the programs of this guest cannot be held");
}

}  // namespace
}  // namespace volley
