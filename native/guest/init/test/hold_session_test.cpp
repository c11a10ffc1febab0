#include "agent/hold_session.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "support/cgroups.h"
#include "support/sandbox.h"
#include "support/told.h"
#include "vmm/test/support/check.h"
#include "workload.h"

namespace volley {
namespace {

using test::Cgroups;
using test::CountingProgram;
using test::PhysicalMemory;

// A host that asks a guest to hold its programs.
class Hold {
 public:
  Hold() {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    host_.reset(ends[0]);
    UniqueFd guest(ends[1]);
    pid_ = fork();
    if (pid_ != 0) return;
    host_.reset();
    run_hold(guest.get());
    _exit(0);
  }
  ~Hold() { let_go(); }

  test::Told answer() const { return test::told_on(host_.get()); }

  // Closes the connection, and waits until the guest has taken note.
  void let_go() {
    host_.reset();
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  UniqueFd host_;
  pid_t pid_ = 0;
};

TEST(programs_are_held_for_as_long_as_the_connection_lives) {
  const Cgroups cgroups;
  if (!cgroups.is_there()) return;
  const PhysicalMemory memory;
  make_workload_group();
  const CountingProgram program("workload");
  CHECK(program.runs());
  Hold hold;
  CHECK_EQ(hold.answer().error, 0);
  CHECK(program.stands_still());
  hold.let_go();
  CHECK(program.runs());
}

TEST(in_a_clone_they_are_held_on) {
  const Cgroups cgroups;
  if (!cgroups.is_there()) return;
  const PhysicalMemory memory;
  make_workload_group();
  const CountingProgram program("workload");
  Hold hold;
  CHECK_EQ(hold.answer().error, 0);
  memory.set_generation(7);
  hold.let_go();
  CHECK(program.stands_still());
  thaw_workload();
  CHECK(program.runs());
}

TEST(a_guest_that_would_not_know_its_clones_is_refused) {
  const Cgroups cgroups;
  if (!cgroups.is_there()) return;
  make_workload_group();
  const CountingProgram program("workload");
  const Hold hold;
  const test::Told answer = hold.answer();
  CHECK_EQ(answer.error, ENXIO);
  CHECK_CONTAINS(answer.sentence, "cannot read its generation id");
  CHECK(program.runs());
}

TEST(without_a_group_the_host_is_told_why) {
  REQUIRE(test::cover(kCgroups));
  const PhysicalMemory memory;
  const Hold hold;
  const test::Told answer = hold.answer();
  CHECK_EQ(answer.error, ENOENT);
  CHECK_CONTAINS(answer.sentence, "cannot be held");
}

}  // namespace
}  // namespace volley
