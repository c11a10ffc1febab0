// Connects guests to the host: a VMM has no right to make a socket, so it asks the agent for one.
#ifndef VOLLEY_BINDING_VSOCK_BROKER_H
#define VOLLEY_BINDING_VSOCK_BROKER_H

#include <cstdint>
#include <map>
#include <string>

#include "base/unique_fd.h"
#include "volley_abi.h"

namespace volley {

class VsockBroker {
 public:
  explicit VsockBroker(std::map<uint32_t, std::string> services) : services_(std::move(services)) {}

  struct Connection {
    int error = 0;  // EAGAIN: whoever listens has no room now
    UniqueFd socket;
  };
  /// Never waits. `vsock.sock_<port>` in the VMM's directory comes first; then the service of this port, which is told
  /// who calls in one line, the microVM's id: the guest has no say in that.
  Connection Connect(const std::string& directory, const std::string& id, uint32_t port) const;

 private:
  const std::map<uint32_t, std::string> services_;
};

/// Answers VOLLEY_ASK_VSOCK. Returns 0 or an errno.
int AnswerVsock(int control, uint32_t request, const VsockBroker::Connection& connection);

}  // namespace volley

#endif
