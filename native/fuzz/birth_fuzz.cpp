// The orders of a birth, as the VMM receives them, and its report, as the agent does: each with any bytes, of any
// length, and any descriptors.
#include <fcntl.h>
#include <sys/socket.h>

#include <vector>

#include "base/unique_fd.h"
#include "birth/birth_socket.h"
#include "orders.h"
#include "support/demand.h"
#include "support/descriptors.h"
#include "support/script.h"
#include "support/send_packet.h"
#include "support/virtual_time.h"

namespace volley::fuzz {
namespace {

// The descriptor that is passed: any will do.
constexpr int kAny = 0;

template <typename T>
std::vector<uint8_t> changed(Script& script, const T& whole) {
  std::vector<uint8_t> bytes(sizeof(T));
  memcpy(bytes.data(), &whole, sizeof(T));
  for (uint8_t changes = script.byte() % 8; changes != 0; --changes) {
    const size_t at = script.take<uint16_t>() % bytes.size();
    bytes[at] = script.byte();
  }
  // Cut short, or with something behind it.
  if (script.byte() > 200) bytes.resize(script.take<uint16_t>() % (2 * sizeof(T)));
  return bytes;
}

BirthSocket::Received take(BirthSocket& birth, volley_jail_order* order, InheritedFds* fds, Status* why) {
  return birth.receive(order, fds, why);
}

BirthSocket::Received take(BirthSocket& birth, volley_launch_order* order, InheritedFds* fds, Status* why) {
  return birth.receive(order, BirthSocket::Expected::kLaunchOrPrime, fds, why);
}

template <typename Order>
void receive(Script& script, uint64_t magic) {
  Order order{};
  order.magic = magic;
  order.abi_version = VOLLEY_ABI_VERSION;
  const size_t descriptors = script.byte() % kDescriptorsAtMost;
  order.fd_count = static_cast<uint32_t>(descriptors);
  for (size_t i = 0; i < descriptors && i < VOLLEY_ROLES_MAX; ++i) order.roles[i] = static_cast<uint16_t>(i + 1);
  int pair[2];
  demand(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "no pair");
  const UniqueFd vmm(pair[0]);
  {
    const UniqueFd agent(pair[1]);
    send_packet(agent.get(), changed(script, order), descriptors, kAny);
  }
  BirthSocket birth(vmm.get());
  InheritedFds fds;
  Status why = Status::ok();
  Order received{};
  if (take(birth, &received, &fds, &why) == BirthSocket::Received::kOrder) {
    demand(received.fd_count == fds.count && fds.count <= VOLLEY_ROLES_MAX, "an order counts wrong");
    for (uint32_t i = 0; i < fds.count; ++i) demand(fds.find(received.roles[i]) >= 0, "a role without a descriptor");
  }
  fds.close_all();
}

void report(Script& script) {
  volley_shell_report order{};
  order.magic = VOLLEY_SHELL_MAGIC;
  order.abi_version = VOLLEY_ABI_VERSION;
  int pair[2];
  demand(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "no pair");
  const UniqueFd agent(pair[0]);
  const UniqueFd vmm(pair[1]);
  send_packet(vmm.get(), changed(script, order), script.byte() % 4, kAny);
  volley_shell_report received{};
  if (receive_shell_report(agent.get(), 0, &received) == 0) {
    demand(memchr(received.message, 0, sizeof(received.message)) != nullptr, "a report without an end");
  }
}

}  // namespace

void run(Script& script) {
  const DescriptorScope descriptors(true);
  switch (script.choice(4)) {
    case 0:
      return receive<volley_jail_order>(script, VOLLEY_JAIL_MAGIC);
    case 1:
      return receive<volley_launch_order>(script, VOLLEY_LAUNCH_MAGIC);
    case 2:
      return report(script);
    default:
      return receive<volley_launch_order>(script, VOLLEY_PRIME_MAGIC);
  }
}
}  // namespace volley::fuzz
