// Agents that come, go, misbehave and come again.
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "support/check.h"
#include "support/vmm_process.h"

namespace volley::test {
namespace {

TEST(commands_are_answered_with_their_ids) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  vmm.send(VOLLEY_CMD_PING, 1001);
  vmm.send(VOLLEY_CMD_PING, 1002);
  for (uint32_t id = 1001; id <= 1002; ++id) {
    const std::optional<volley_message> reply = vmm.await(VOLLEY_REPLY);
    REQUIRE(reply.has_value());
    CHECK_EQ(reply->request_id, id);
    CHECK_EQ(reply->argument, static_cast<uint32_t>(VOLLEY_CMD_PING));
    CHECK_EQ(reply->status, 0);
  }
}

TEST(unknown_and_malformed_commands_get_an_error_and_harm_nothing) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  CHECK_EQ(vmm.command(0), ENOSYS);
  CHECK_EQ(vmm.command(VOLLEY_NOTE_BOOTED), ENOSYS);
  CHECK_EQ(vmm.command(0xffffffff), ENOSYS);
  ::send(vmm.connection(), "short", 5, MSG_NOSIGNAL);
  const std::optional<volley_message> reply = vmm.await(VOLLEY_REPLY);
  REQUIRE(reply.has_value());
  CHECK_EQ(reply->status, EBADMSG);
  CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
}

TEST(the_microvm_outlives_its_agent) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  vmm.use(UniqueFd());  // the agent dies
  usleep(20'000);
  CHECK_EQ(vmm.state(), static_cast<uint32_t>(VOLLEY_VMM_RUNNING));
  vmm.use(vmm.connect());
  // A new agent learns at once that the guest has booted.
  const std::optional<volley_message> booted = vmm.await(VOLLEY_NOTE_BOOTED);
  REQUIRE(booted.has_value());
  CHECK_EQ(booted->time_ns, vmm.stats().booted_ns);
  CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
}

TEST(a_second_agent_takes_over) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  const UniqueFd first(dup(vmm.connection()));
  vmm.use(vmm.connect());
  CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
  char byte;
  CHECK_EQ(recv(first.get(), &byte, 1, 0), 0);
  CHECK_EQ(vmm.command(VOLLEY_CMD_STOP), 0);
  CHECK(vmm.await(VOLLEY_NOTE_EXITING).has_value());
}

TEST(an_agent_that_never_reads_is_dropped_and_the_next_one_served) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  const volley_message ping{
      .type = VOLLEY_CMD_PING, .request_id = 0, .status = 0, .argument = 0, .time_ns = 0, .payload = {}};
  while (::send(vmm.connection(), &ping, sizeof(ping), MSG_NOSIGNAL) > 0) {
  }
  CHECK(errno == EPIPE || errno == ECONNRESET);
  vmm.use(vmm.connect());
  CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
}

TEST(many_agents_in_a_row) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  for (int i = 0; i < 200; ++i) {
    vmm.use(vmm.connect());
    REQUIRE(vmm.command(VOLLEY_CMD_PING) == 0);
  }
}

TEST(without_any_agent_the_guest_boots_and_ends) {
  VmmProcess vmm({.cmdline = "exit=poweroff"});
  vmm.use(UniqueFd());
  const std::optional<ProcessEnd> end = vmm.await_end();
  REQUIRE(end.has_value());
  CHECK_EQ(end->code, 0);
  CHECK(vmm.stats().booted_ns != 0);
  CHECK_EQ(vmm.stats().exit_reason, static_cast<uint32_t>(VOLLEY_EXIT_POWER_OFF));
}

TEST(a_control_socket_that_is_shut_down_does_not_make_the_vmm_spin) {
  VmmProcess vmm({});
  REQUIRE(vmm.await_booted());
  REQUIRE(shutdown(vmm.listener(), SHUT_RDWR) == 0);
  CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
  const uint64_t before = vmm.control_cpu_ns();
  usleep(100'000);
  CHECK(vmm.control_cpu_ns() - before < 10'000'000);
  CHECK_EQ(vmm.command(VOLLEY_CMD_PING), 0);
}

}  // namespace
}  // namespace volley::test
