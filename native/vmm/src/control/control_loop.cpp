#include "control/control_loop.h"

#include <poll.h>

#include <cerrno>

#include "base/clock.h"

namespace volley {

void ControlLoop::run() {
  while (!machine_.end().ended()) {
    pollfd watched[] = {
        {wake_.get(), POLLIN, 0}, {link_.listening_fd(), POLLIN, 0}, {link_.connection_fd(), POLLIN, 0}};
    if (poll(watched, 3, -1) < 0) {
      if (errno == EINTR) continue;
      machine_.end().fail(Status::system_error(errno, "poll failed"));
      break;
    }
    if (watched[0].revents != 0) wake_.drain();
    // New connections first: what is reported below should reach the agent that is there now.
    const bool connection_ready = watched[2].revents != 0;
    const bool new_connection = watched[1].revents != 0 && link_.accept_newest();
    if ((watched[1].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) link_.stop_listening();
    report_boot(new_connection);
    if (connection_ready && !new_connection) serve_connection();
  }
  machine_.halt();
  // A guest may boot and end between two looks: the agent hears of both, in order.
  report_boot(link_.accept_newest());
}

void ControlLoop::serve_connection() {
  volley_message message{};
  while (!machine_.end().ended()) {
    switch (link_.receive(&message)) {
      case AgentLink::Received::kMessage:
        handle(message);
        break;
      case AgentLink::Received::kMalformed:
        message = {};
        reply(message, EBADMSG);
        break;
      case AgentLink::Received::kNothing:
      case AgentLink::Received::kClosed:
        return;
    }
  }
}

void ControlLoop::handle(const volley_message& command) {
  switch (command.type) {
    case VOLLEY_CMD_PAUSE:
      reply(command, machine_.pause());
      return;
    case VOLLEY_CMD_RESUME:
      machine_.resume();
      reply(command, 0);
      return;
    case VOLLEY_CMD_STOP:
      reply(command, machine_.press_power_button());
      return;
    case VOLLEY_CMD_QUIT:
      machine_.end().end(VOLLEY_EXIT_REQUESTED, 0, "the agent asked the VMM to end");
      return;
    case VOLLEY_CMD_PING:
      reply(command, 0);
      return;
    default:
      reply(command, ENOSYS);
      return;
  }
}

void ControlLoop::reply(const volley_message& command, int status) {
  link_.send({.type = VOLLEY_REPLY,
              .request_id = command.request_id,
              .status = status,
              .argument = command.type,
              .time_ns = monotonic_ns()});
}

void ControlLoop::report_boot(bool new_connection) {
  if (!machine_.booted() || (boot_reported_ && !new_connection)) return;
  boot_reported_ = true;
  link_.send(
      {.type = VOLLEY_NOTE_BOOTED, .request_id = 0, .status = 0, .argument = 0, .time_ns = machine_.booted_ns()});
}

}  // namespace volley
