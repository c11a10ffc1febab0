#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>

#include "abi/volley_abi.h"
#include "agent/exec_session.h"
#include "agent/frames.h"
#include "agent/get_session.h"
#include "agent/hold_session.h"
#include "agent/put_session.h"
#include "agent/restored.h"
#include "base/files.h"
#include "base/text.h"
#include "base/wall_clock.h"

namespace volley {
namespace {

constexpr size_t kMostSessions = 256;
constexpr int kBacklog = 64;
constexpr time_t kRequestSeconds = 10;

void reply(int connection, int error, std::string_view sentence) {
  send_frame(connection, VOLLEY_GUEST_RESULT, result_body(error, sentence));
}

void set_clock(int connection, std::string_view body, Agent::Machine machine) {
  uint64_t time_ns = 0;
  if (!read_number(body, time_ns)) return reply(connection, EPROTO, "a clock needs a time");
  if (machine == Agent::Machine::kNone) return reply(connection, EPERM, "this is no guest: its clock is left alone");
  const int error = set_wall_clock(time_ns);
  reply(connection, error, error == 0 ? "" : failed("the clock cannot be set", error));
}

void shut_down(int connection, std::string_view body) {
  uint8_t how = 0;
  if (!read_number(body, how) || how > 1) return reply(connection, EPROTO, "a shutdown is 0 or 1");
  reply(connection, 0, "");
  kill(getppid(), how == 0 ? kPowerOffSignal : kRebootSignal);
}

// Waits for the request, but not for ever.
bool read_request(int connection, FrameReader& reader, Frame& request) {
  timeval limit{kRequestSeconds, 0};
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  while (!reader.next(request)) {
    if (reader.is_broken() || reader.fill(connection) <= 0) return false;
  }
  limit = timeval{};
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  return true;
}

}  // namespace

int Agent::listen_on_vsock() {
  listener_.reset(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_.is_open()) return errno;
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_ANY;
  address.svm_port = VOLLEY_VSOCK_PORT_AGENT;
  is_vsock_ = true;
  if (bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return errno;
  return listen(listener_.get(), kBacklog) == 0 ? 0 : errno;
}

int Agent::listen_on_unix(const std::string& path) {
  listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_.is_open()) return errno;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return ENAMETOOLONG;
  std::copy(path.begin(), path.end(), address.sun_path);
  if (bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return errno;
  return listen(listener_.get(), kBacklog) == 0 ? 0 : errno;
}

void Agent::accept_one() {
  sockaddr_vm peer{};
  socklen_t length = sizeof(peer);
  UniqueFd connection(accept4(listener_.get(), reinterpret_cast<sockaddr*>(&peer), &length, SOCK_CLOEXEC));
  if (!connection.is_open()) return;
  // A program in the guest that reached us through a loopback would be root at once.
  if (is_vsock_ && (peer.svm_family != AF_VSOCK || peer.svm_cid != VMADDR_CID_HOST)) return;
  if (sessions_.size() >= kMostSessions) {
    return reply(connection.get(), EAGAIN, "too many sessions are open in this guest; close some");
  }
  const pid_t pid = fork();
  if (pid < 0) return reply(connection.get(), errno, failed("the guest cannot start another process", errno));
  if (pid == 0) serve(std::move(connection));
  sessions_.push_back(pid);
}

bool Agent::reaped(pid_t pid) { return std::erase(sessions_, pid) > 0; }

void Agent::serve(UniqueFd accepted) {
  // Nothing of the parent's but the standard streams and the connection.
  if (accepted.get() != 3) {
    if (dup3(accepted.get(), 3, O_CLOEXEC) != 3) _exit(1);
    accepted.release();
  }
  const int connection = 3;
  syscall(SYS_close_range, 4u, ~0u, 0u);
  listener_.release();
  signal(SIGPIPE, SIG_IGN);
  // When the guest ends, everything is asked to end by SIGTERM; a session still tells how its program took it.
  signal(SIGTERM, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  write_into("/proc/self/oom_score_adj", "-900");

  FrameReader reader;
  Frame frame;
  if (!read_request(connection, reader, frame)) _exit(0);
  const std::string body(frame.body);
  switch (frame.type) {
    case VOLLEY_GUEST_EXEC:
      run_exec(connection, reader, body, config_);
      break;
    case VOLLEY_GUEST_PUT:
      run_put(connection, reader, body);
      break;
    case VOLLEY_GUEST_GET:
      run_get(connection, body);
      break;
    case VOLLEY_GUEST_CLOCK:
      set_clock(connection, body, machine_);
      break;
    case VOLLEY_GUEST_SHUTDOWN:
      shut_down(connection, body);
      break;
    case VOLLEY_GUEST_PING:
      reply(connection, 0, "");
      break;
    case VOLLEY_GUEST_HOLD:
    case VOLLEY_GUEST_RESTORED:
      if (machine_ == Machine::kNone) {
        reply(connection, EPERM, "this is no guest: nothing of it is held or changed");
      } else if (frame.type == VOLLEY_GUEST_HOLD) {
        run_hold(connection);
      } else {
        run_restored(connection, body);
      }
      break;
    default:
      reply(connection, EPROTO, format("there is no request %u", frame.type));
  }
  finish(connection);
  _exit(0);
}

}  // namespace volley
