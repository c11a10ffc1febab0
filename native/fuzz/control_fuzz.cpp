// The agent's messages to a machine with one of each device: any bytes, of any length, with any descriptors, from one
// agent after the other, while the guest and the devices do their part.
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>
#include <vector>

#include "control/agent_link.h"
#include "control/control_loop.h"
#include "support/descriptors.h"
#include "support/guarded_mappings.h"
#include "support/sample_config.h"
#include "support/sample_machine.h"
#include "support/script.h"
#include "support/send_packet.h"
#include "support/virtual_time.h"
#include "support/wrap.h"

namespace volley::fuzz {
namespace {

constexpr unsigned kStepsAtMost = 128;

class Agent {
 public:
  Agent(Script& script, SampleMachine& sample, const sockaddr_un& name, socklen_t name_bytes)
      : script_(script), sample_(sample), name_(name), name_bytes_(name_bytes) {}

  // The VMM has nothing to do: what happens next.
  void next() {
    drain();
    if (script_.is_over() || ++steps_ > kStepsAtMost) {
      return sample_.machine->end().end(VOLLEY_EXIT_REQUESTED, 0, "the script is over");
    }
    switch (script_.choice(8)) {
      case 0:
        connection_.reset(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        connect(connection_.get(), reinterpret_cast<const sockaddr*>(&name_), name_bytes_);
        return;
      case 1:
        connection_.reset();
        return;
      case 2: {
        volley_message question{};
        question.type = VOLLEY_ASK_VSOCK;
        question.request_id = script_.take<uint32_t>();
        [[maybe_unused]] const bool asked = sample_.machine->questions().ask(question);
        return;
      }
      case 3:
        return advance_time(script_.take<uint16_t>() * uint64_t{1'000'000});
      default:
        return send();
    }
  }

 private:
  void send() {
    volley_message message{};
    const uint8_t how = script_.byte();
    message.type = (how & 128) != 0 ? script_.take<uint32_t>() : how % 12;
    message.request_id = script_.take<uint16_t>();
    message.argument = script_.byte();
    message.status = (how & 64) != 0 ? ECONNREFUSED : 0;
    if (message.type == VOLLEY_CMD_SET_LIMIT) {
      message.payload.limit.device = script_.byte() > 250 ? VOLLEY_LIMIT_SERIAL : script_.choice(8);
      message.payload.limit.which = script_.choice(3);
      message.payload.limit.limiter = script_.take<volley_limiter>();
    } else if (message.type == VOLLEY_CMD_SET_BALLOON) {
      message.payload.bytes = script_.flag() ? script_.take<uint64_t>() : script_.take<uint32_t>();
    } else {
      message.argument = (how & 32) != 0 ? script_.take<uint32_t>() : message.argument;
      const auto bytes = script_.bytes(script_.byte() % (sizeof(message.payload.bytes_in) + 1));
      std::copy(bytes.begin(), bytes.end(), message.payload.bytes_in);
    }
    std::vector<uint8_t> packet(sizeof(message));
    memcpy(packet.data(), &message, sizeof(message));
    const uint8_t wrong = script_.byte();
    if (wrong > 240) packet.resize(script_.byte());
    send_packet(connection_.get(), packet, wrong > 220 ? wrong % 4u : wrong & 1u, sample_.listener);
  }

  // What the VMM says is always a message, and one that it may send.
  void drain() {
    uint8_t bytes[2 * sizeof(volley_message)];
    for (;;) {
      const ssize_t got = recv(connection_.get(), bytes, sizeof(bytes), MSG_DONTWAIT);
      if (got <= 0) return;
      volley_message message;
      demand(got == sizeof(message), "a packet that is no message");
      memcpy(&message, bytes, sizeof(message));
      demand(message.type == VOLLEY_REPLY || message.type == VOLLEY_NOTE_BOOTED || message.type == VOLLEY_ASK_VSOCK,
             "a message that a VMM does not send");
    }
  }

  Script& script_;
  SampleMachine& sample_;
  const sockaddr_un& name_;
  socklen_t name_bytes_;
  UniqueFd connection_;
  unsigned steps_ = 0;
};

Agent* the_agent = nullptr;

}  // namespace

void run(Script& script) {
  {
    const DescriptorScope descriptors(false);
    restart_time();
    volley_config config = sample_config();
    const uint8_t kernel[kSampleKernelBytes] = {};
    const auto sample = std::make_unique<SampleMachine>(kSampleDisk, kernel, sizeof(kernel));
    demand(sample->build(config).is_ok(), "a machine that is as it should be cannot be built");
    sockaddr_un name{};
    socklen_t name_bytes = 0;
    AgentLink link(listening_socket(SOCK_SEQPACKET, &name, &name_bytes), getuid());
    demand(link.open().is_ok(), "no control socket");
    Agent agent(script, *sample, name, name_bytes);
    the_agent = &agent;
    ControlLoop(link, *sample->machine, sample->wake).run();
    the_agent = nullptr;
    demand(sample->machine->end().reason() == VOLLEY_EXIT_REQUESTED, "an agent's message was the end of the VMM");
  }
  unmap_all();
}

VOLLEY_WRAP(int, poll, pollfd* watched, nfds_t count, int timeout) {
  if (the_agent == nullptr || timeout != -1) return __real_poll(watched, count, timeout);
  int ready = __real_poll(watched, count, 0);
  while (ready == 0) {
    the_agent->next();
    ready = __real_poll(watched, count, 0);
  }
  return ready;
}

}  // namespace volley::fuzz

// The vCPUs have no threads here, so there is nobody to stop.
extern "C" bool __wrap__ZN6volley8VcpuGate16wait_all_stoppedEm(void*, uint64_t);
bool __wrap__ZN6volley8VcpuGate16wait_all_stoppedEm(void*, uint64_t) { return true; }
extern "C" int __wrap_pthread_kill(pthread_t, int);
int __wrap_pthread_kill(pthread_t, int) { return 0; }
