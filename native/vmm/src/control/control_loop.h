#pragma once

#include "abi/volley_abi.h"
#include "base/wake_fd.h"
#include "control/agent_link.h"
#include "machine/machine.h"

namespace volley {

// The main thread's work once the machine runs: wait for the agent and for the machine, answer the one, report the
// other.
class ControlLoop {
 public:
  ControlLoop(AgentLink& link, Machine& machine, const WakeFd& wake) : link_(link), machine_(machine), wake_(wake) {}

  // Returns when the microVM has ended, with the vCPUs stopped.
  void run();

 private:
  void handle(const volley_message& command, UniqueFd passed, UniqueFd second);
  void begin_snapshot(const volley_message& command, UniqueFd state, UniqueFd memory);
  void go_on_with_snapshot();
  void type(const volley_message& command);
  void serve_connection();
  void report_boot(bool new_connection);
  void pass_on_questions();

  AgentLink& link_;
  Machine& machine_;
  const WakeFd& wake_;
  bool boot_reported_ = false;
  uint32_t snapshot_request_ = 0;
};

}  // namespace volley
