#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <string>

#include "base/unique_fd.h"
#include "support/check.h"

namespace volley::test {

// The host's side: a listening socket under a name that the kernel picks.
class HostSocket {
 public:
  HostSocket() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    CHECK_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address.sun_family)), 0);
    CHECK_EQ(listen(listener_.get(), 16), 0);
  }
  int listener() const { return listener_.get(); }

  // Connects to a port of the guest. Closed again if the guest does not take it.
  UniqueFd connect(const std::string& hello) const {
    sockaddr_un address{};
    socklen_t length = sizeof(address);
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    const timeval patience{10, 0};
    setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    CHECK_EQ(::send(socket.get(), hello.data(), hello.size(), MSG_NOSIGNAL), static_cast<ssize_t>(hello.size()));
    return socket;
  }

 private:
  UniqueFd listener_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
};

inline std::string read_line(int socket) {
  std::string line;
  char c;
  while (recv(socket, &c, 1, 0) == 1) {
    line += c;
    if (c == '\n') break;
  }
  return line;
}

inline std::string read_bytes(int socket, size_t bytes) {
  std::string data(bytes, '\0');
  size_t done = 0;
  while (done < bytes) {
    const ssize_t got = recv(socket, data.data() + done, bytes - done, 0);
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  data.resize(done);
  return data;
}

}  // namespace volley::test
