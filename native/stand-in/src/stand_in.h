#pragma once

#include "abi/volley_abi.h"
#include "control/agent_link.h"
#include "machine/end_record.h"
#include "script.h"
#include "stats/page_file.h"

namespace volley {

// A microVM without a machine: obeys the agent, says that it has booted, and ends when it is told to or its script says
// so. What needs a guest or a device is refused with ENOTSUP.
class StandIn {
 public:
  StandIn(AgentLink& link, volley_stats& stats, EndRecord& end, const Script& script)
      : link_(link), stats_(stats), end_(end), script_(script) {}

  // "Boots", and returns when the microVM has ended.
  void run(bool paused);

 private:
  void serve_connection();
  void handle(const volley_message& command);
  // Until the script says something, for poll(): -1 while it says nothing.
  int wait_ms() const;
  // Does what a guest would do by now. One that stands still or hangs does nothing.
  void play();

  AgentLink& link_;
  volley_stats& stats_;
  EndRecord& end_;
  const Script& script_;
  bool paused_ = false;
  bool hung_ = false;
  bool button_pressed_ = false;
};

}  // namespace volley
