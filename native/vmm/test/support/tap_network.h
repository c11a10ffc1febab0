#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/unique_fd.h"

namespace volley::test {

// A tap in a network namespace of this process's own, made the first time that it is asked for: what the tests do to
// the network reaches nobody else. The host's side has 10.77.0.1/24.
class TapNetwork {
 public:
  // Null, and a sentence on stderr, where making namespaces is not allowed.
  static std::unique_ptr<TapNetwork> make();
  ~TapNetwork();

  int tap() const { return tap_.get(); }

  // Sends an ICMP echo request with `bytes` of data to `address` and waits for the answer. False if none came in time,
  // or with other data.
  static bool ping(const std::string& address, size_t bytes);
  // A UDP socket at `port` of the host's side, with answers that take longer than `timeout_ms` given up.
  static UniqueFd udp(uint16_t port, int timeout_ms = 5'000);
  static bool send(int socket, const std::string& address, uint16_t port, const std::string& data);
  // The next datagram; empty if none came.
  static std::string receive(int socket);

 private:
  UniqueFd tap_;
};

}  // namespace volley::test
