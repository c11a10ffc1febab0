// What the agent hears from a VMM that may be in the guest's hands: control messages of any kind and length, with
// descriptors, and questions for sockets of the host.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <thread>

#include "monitor.h"
#include "support/demand.h"
#include "support/script.h"
#include "support/send_packet.h"

namespace volley::fuzz {
namespace {

constexpr uint32_t kServicePort = 80;
constexpr size_t kAwaited = 4;
constexpr unsigned kMessagesAtMost = 300;

// The agent's one monitor with its thread, and a service of the host that never says anything.
struct Agent {
  Agent() {
    char name[] = "/tmp/volley-fuzz-XXXXXX";
    demand(mkdtemp(name) != nullptr, "no folder");
    folder = name;
    listener = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path = folder + "/service";
    memcpy(address.sun_path, path.c_str(), path.size() + 1);
    demand(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
               listen(listener.get(), 4) == 0,
           "no service");
    monitor = new Monitor(events, {{kServicePort, path}});
    demand(static_cast<bool>(monitor->Start()), "no monitor");
    atexit(remove_files);
  }
  static Agent& the() {
    static Agent& agent = *new Agent;
    return agent;
  }
  static void remove_files() {
    unlink(the().path.c_str());
    rmdir(the().folder.c_str());
  }

  EventQueue events{[] {}};
  std::string folder;
  std::string path;
  UniqueFd listener;
  Monitor* monitor = nullptr;
  uint32_t next_handle = 1;
};

void say(Script& script, int socket) {
  volley_message messages[2] = {};
  volley_message& message = messages[0];
  constexpr uint32_t kTypes[] = {VOLLEY_REPLY, VOLLEY_NOTE_BOOTED, VOLLEY_NOTE_EXITING, VOLLEY_ASK_VSOCK};
  const uint8_t how = script.byte();
  message.type = (how & 4) != 0 ? script.take<uint32_t>() : kTypes[how & 3];
  message.request_id = script.byte() % (2 * kAwaited);
  message.argument = (how & 8) != 0 ? script.take<uint32_t>() : kServicePort;
  message.status = (how & 16) != 0 ? script.take<int32_t>() : 0;
  message.time_ns = (how & 32) != 0 ? script.take<uint64_t>() : 1;
  const size_t bytes = (how & 64) != 0 ? script.byte() : sizeof(message);
  const auto* const sent = reinterpret_cast<const uint8_t*>(messages);
  send_packet(socket, {sent, std::min(bytes, sizeof(messages))}, (how & 128) != 0 ? 1 : 0, socket);
}

// Nobody was told more than once of what happens once, or of an answer that was not awaited.
void check(const std::vector<Event>& events, uint32_t handle, uint64_t until_ns) {
  unsigned booted = 0;
  std::map<uint32_t, unsigned> answered;
  for (const Event& event : events) {
    if (const auto* const replied = std::get_if<RepliedEvent>(&event)) {
      demand(replied->handle == handle && replied->request < kAwaited, "an answer that nobody waits for");
      demand(++answered[replied->request] == 1, "a second answer to one request");
    } else if (const auto* const note = std::get_if<BootedEvent>(&event)) {
      demand(++booted == 1 && note->at_ns != 0 && note->at_ns <= until_ns, "booted twice, or in the future");
    } else {
      demand(std::get_if<DisconnectedEvent>(&event) != nullptr, "a VMM that runs has ended");
    }
  }
}

uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

void run(Script& script) {
  Agent& agent = Agent::the();
  int pair[2];
  demand(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0, "no pair");
  const auto vmm = std::make_shared<Vmm>();
  vmm->handle = agent.next_handle++;
  vmm->id = "fuzz";
  vmm->directory = agent.folder;
  UniqueFd captured(pair[1]);
  {
    const std::lock_guard lock(vmm->mutex);
    vmm->control = UniqueFd(pair[0]);
    vmm->pidfd = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    for (uint32_t i = 0; i < kAwaited; ++i) vmm->awaited.push_back(i);
    demand(static_cast<bool>(agent.monitor->WatchLocked(vmm)), "a VMM cannot be watched");
  }
  for (unsigned count = 0; !script.is_over() && count < kMessagesAtMost; ++count) say(script, captured.get());
  // It hears all of it, and then the end of the connection.
  shutdown(captured.get(), SHUT_WR);
  for (;;) {
    const std::lock_guard lock(vmm->mutex);
    if (!vmm->control.is_open()) break;
    std::this_thread::yield();
  }
  agent.monitor->Release(vmm->handle);
  for (int fd = 0; (fd = accept(agent.listener.get(), nullptr, nullptr)) >= 0;) close(fd);
  check(agent.events.Take(), vmm->handle, now_ns());
}
}  // namespace volley::fuzz
