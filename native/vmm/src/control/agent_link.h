#pragma once

#include "abi/volley_abi.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace volley {

// The control socket and the one agent connection on it. The newest accepted connection replaces the older: an agent
// that was restarted takes over by connecting.
class AgentLink {
 public:
  enum class Received { kMessage, kMalformed, kNothing, kClosed };

  explicit AgentLink(int listening_fd) : listening_fd_(listening_fd) {}

  // Checks that the descriptor is a listening SOCK_SEQPACKET socket and makes it non-blocking.
  Status check() const;
  int listening_fd() const { return listening_fd_; }
  // -1 while no agent is connected.
  int connection_fd() const { return connection_.get(); }
  bool connected() const { return connection_.is_open(); }

  // Accepts all waiting connections and keeps the newest from our own user or root. True if there is a new one.
  bool accept_newest();
  // Takes one packet. A closed connection is forgotten; the microVM runs on.
  Received receive(volley_message* message);
  // Sends one packet, or drops the connection if the agent does not read: it can come again and read the page file.
  void send(const volley_message& message);

 private:
  int listening_fd_;
  UniqueFd connection_;
};

}  // namespace volley
