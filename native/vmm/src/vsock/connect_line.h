#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace volley {

// The first line of a connection from the host: "CONNECT <port>\n", answered by "OK <host port>\n".
inline constexpr size_t kConnectLineMax = 32;

struct ConnectLine {
  enum class State { kIncomplete, kComplete, kWrong } state;
  size_t bytes;   // of the line with its end, if complete
  uint32_t port;  // in the guest, if complete
};

// Looks at what has come so far. The port is decimal, without sign, 0 to 2^32 - 2.
ConnectLine parse_connect_line(std::span<const char> received);

}  // namespace volley
