#include "vsock/connect_line.h"

#include <algorithm>
#include <cstring>

namespace volley {
namespace {

constexpr char kVerb[] = {'C', 'O', 'N', 'N', 'E', 'C', 'T', ' '};
constexpr uint64_t kAnyPort = 0xffffffff;  // VMADDR_PORT_ANY: nobody listens there

}  // namespace

ConnectLine parse_connect_line(std::span<const char> received) {
  constexpr ConnectLine kWrong{ConnectLine::State::kWrong, 0, 0};
  constexpr ConnectLine kIncomplete{ConnectLine::State::kIncomplete, 0, 0};
  received = received.first(std::min(received.size(), kConnectLineMax));
  const size_t verb = std::min(received.size(), sizeof(kVerb));
  if (memcmp(received.data(), kVerb, verb) != 0) return kWrong;
  uint64_t port = 0;
  for (size_t i = sizeof(kVerb); i < received.size(); ++i) {
    const char c = received[i];
    if (c == '\n' && i > sizeof(kVerb)) return {ConnectLine::State::kComplete, i + 1, static_cast<uint32_t>(port)};
    if (c < '0' || c > '9') return kWrong;
    port = port * 10 + static_cast<uint64_t>(c - '0');
    if (port >= kAnyPort) return kWrong;
  }
  return received.size() == kConnectLineMax ? kWrong : kIncomplete;
}

}  // namespace volley
