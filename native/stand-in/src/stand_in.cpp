#include "stand_in.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "base/clock.h"

namespace volley {
namespace {

constexpr uint64_t kNsPerMs = 1'000'000;

}  // namespace

void StandIn::run(bool paused) {
  paused_ = paused;
  publish_state(stats_, paused ? VOLLEY_VMM_PAUSED : VOLLEY_VMM_RUNNING);
  publish(stats_.booted_ns, monotonic_ns());
  link_.accept_newest();
  link_.note_booted(stats_.booted_ns);
  for (;;) {
    play();
    if (end_.ended()) return;
    pollfd watched[] = {{link_.listening_fd(), POLLIN, 0}, {link_.connection_fd(), POLLIN, 0}};
    if (poll(watched, 2, wait_ms()) < 0) {
      if (errno == EINTR) continue;
      end_.fail(Status::system_error(errno, "poll failed"));
      return;
    }
    const bool new_connection = watched[0].revents != 0 && link_.accept_newest();
    if ((watched[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) link_.stop_listening();
    if (new_connection) {
      link_.note_booted(stats_.booted_ns);
    } else if (watched[1].revents != 0) {
      serve_connection();
    }
  }
}

void StandIn::serve_connection() {
  volley_message message{};
  while (!end_.ended()) {
    // What comes along is for snapshots and devices, of which there are none.
    UniqueFd passed;
    UniqueFd second;
    switch (link_.receive(&message, &passed, &second)) {
      case AgentLink::Received::kMessage:
        handle(message);
        break;
      case AgentLink::Received::kMalformed:
        link_.reply({}, EBADMSG);
        break;
      case AgentLink::Received::kNothing:
      case AgentLink::Received::kClosed:
        return;
    }
  }
}

void StandIn::handle(const volley_message& command) {
  switch (command.type) {
    case VOLLEY_CMD_PAUSE:
      if (!paused_) publish(stats_.paused_ns, monotonic_ns());
      paused_ = true;
      publish_state(stats_, VOLLEY_VMM_PAUSED);
      link_.reply(command, 0);
      return;
    case VOLLEY_CMD_RESUME:
      if (paused_) publish(stats_.resumed_ns, monotonic_ns());
      paused_ = false;
      publish_state(stats_, VOLLEY_VMM_RUNNING);
      link_.reply(command, 0);
      return;
    case VOLLEY_CMD_STOP:
      button_pressed_ = true;
      link_.reply(command, 0);
      return;
    case VOLLEY_CMD_QUIT:
      end_.end(VOLLEY_EXIT_REQUESTED, 0, "the agent asked the VMM to end");
      return;
    case VOLLEY_CMD_PING:
      link_.reply(command, 0);
      return;
    case VOLLEY_CMD_SNAPSHOT:
      link_.reply_why(command.request_id, command.type,
                      Status::system_error(ENOTSUP, "a stand-in has no guest to take a snapshot of"));
      return;
    case VOLLEY_CMD_CTRL_ALT_DEL:
    case VOLLEY_CMD_SERIAL_INPUT:
    case VOLLEY_CMD_SET_LIMIT:
    case VOLLEY_CMD_SET_BALLOON:
      link_.reply(command, ENOTSUP);
      return;
    case VOLLEY_CMD_VSOCK_ANSWER:
      return;  // nothing was asked, and an answer gets none
    default:
      link_.reply(command, ENOSYS);
      return;
  }
}

int StandIn::wait_ms() const {
  if (paused_ || hung_ || (script_.end == VOLLEY_EXIT_NONE && !script_.hangs)) return -1;
  const uint64_t due_ns = stats_.booted_ns + script_.end_after_ms * kNsPerMs;
  const uint64_t now_ns = monotonic_ns();
  if (now_ns >= due_ns) return 0;
  return static_cast<int>(std::min<uint64_t>((due_ns - now_ns) / kNsPerMs + 1, INT_MAX));
}

void StandIn::play() {
  if (paused_ || hung_) return;
  if (button_pressed_ && !script_.ignores_power_button) {
    end_.end(VOLLEY_EXIT_POWER_OFF, 0, "the power button was pressed");
  } else if (wait_ms() != 0) {
    return;
  } else if (script_.hangs) {
    hung_ = true;
  } else {
    end_.end(script_.end, 0, "the command line had it end this way");
  }
}

}  // namespace volley
