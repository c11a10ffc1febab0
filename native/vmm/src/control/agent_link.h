#pragma once

#include <sys/types.h>

#include "abi/volley_abi.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace volley {

// An answer without content.
volley_message reply_to(uint32_t request_id, uint32_t command, int status);

// The control socket and the one agent connection on it. The newest accepted connection replaces the older: an agent
// that was restarted takes over by connecting.
class AgentLink {
 public:
  enum class Received { kMessage, kMalformed, kNothing, kClosed };

  // `agent` is the agent's user, as SO_PEERCRED shows it here. In an unmapped user namespace all users look alike; the
  // mode of the socket's file then decides alone who may connect.
  AgentLink(int socket_fd, uid_t agent) : socket_fd_(socket_fd), agent_(agent) {}

  // Checks that the descriptor is a listening SOCK_SEQPACKET socket and makes it non-blocking. Until this has succeeded
  // no connection is accepted.
  Status open();
  // Nobody can come any more: for a socket that its owner has shut down and that would be readable for ever.
  void stop_listening() { listening_fd_ = -1; }
  // -1 while nobody can come.
  int listening_fd() const { return listening_fd_; }
  // -1 while no agent is connected.
  int connection_fd() const { return connection_.get(); }
  bool connected() const { return connection_.is_open(); }

  // Accepts all waiting connections and keeps the newest from the agent's user or root. True if there is a new one.
  bool accept_newest();
  // Takes one packet and the descriptor that came with it, if any. A closed connection is forgotten; the microVM runs
  // on. A packet with more than one descriptor, or of another size, is malformed, and what came with it is closed.
  Received receive(volley_message* message, UniqueFd* passed, UniqueFd* second = nullptr);
  // Takes no more packets and throws away those that wait. A socket that is closed with unread packets shows its peer
  // an error before the last words it was sent.
  void close_incoming();
  // Sends one packet, or drops the connection if the agent does not read: it can come again and read the page file.
  // False if nobody got it.
  bool send(const volley_message& message);
  // Answers a command.
  void reply(const volley_message& command, int status, uint64_t count = 0);
  // The same for one that failed, with the sentence, as far as it fits.
  void reply_why(uint32_t request_id, uint32_t command, const Status& why);
  void note_booted(uint64_t booted_ns);

 private:
  bool may_command(int fd) const;

  int socket_fd_;
  uid_t agent_;
  int listening_fd_ = -1;
  UniqueFd connection_;
};

}  // namespace volley
