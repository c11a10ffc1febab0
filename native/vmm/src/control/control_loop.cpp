#include "control/control_loop.h"

#include <poll.h>

#include <cerrno>

#include "base/clock.h"

namespace volley {

void ControlLoop::run() {
  while (!machine_.end().ended()) {
    pollfd watched[] = {
        {wake_.get(), POLLIN, 0}, {link_.listening_fd(), POLLIN, 0}, {link_.connection_fd(), POLLIN, 0}};
    if (poll(watched, 3, machine_.snapshot().is_active() ? 0 : -1) < 0) {
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
    pass_on_questions();
    if (connection_ready && !new_connection) serve_connection();
    // Who ordered it is gone, and with them the files.
    if (new_connection || !link_.connected()) machine_.snapshot().give_up();
    if (!machine_.end().ended()) go_on_with_snapshot();
  }
  machine_.halt();
  // A guest may boot and end between two looks: the agent hears of both, in order.
  report_boot(link_.accept_newest());
}

void ControlLoop::serve_connection() {
  volley_message message{};
  while (!machine_.end().ended()) {
    UniqueFd passed;
    UniqueFd second;
    switch (link_.receive(&message, &passed, &second)) {
      case AgentLink::Received::kMessage:
        handle(message, static_cast<UniqueFd&&>(passed), static_cast<UniqueFd&&>(second));
        break;
      case AgentLink::Received::kMalformed:
        message = {};
        link_.reply(message, EBADMSG);
        break;
      case AgentLink::Received::kNothing:
      case AgentLink::Received::kClosed:
        return;
    }
  }
}

void ControlLoop::handle(const volley_message& command, UniqueFd passed, UniqueFd second) {
  if (second.is_open() && command.type != VOLLEY_CMD_SNAPSHOT) {
    link_.reply(command, EBADMSG);
    return;
  }
  switch (command.type) {
    case VOLLEY_CMD_PAUSE:
      machine_.snapshot().stay_paused();
      link_.reply(command, machine_.pause());
      return;
    case VOLLEY_CMD_RESUME:
      if (machine_.snapshot().needs_rest()) {
        link_.reply(command, EBUSY);
        return;
      }
      machine_.resume();
      link_.reply(command, 0);
      return;
    case VOLLEY_CMD_STOP:
      link_.reply(command, machine_.press_power_button());
      return;
    case VOLLEY_CMD_QUIT:
      machine_.end().end(VOLLEY_EXIT_REQUESTED, 0, "the agent asked the VMM to end");
      return;
    case VOLLEY_CMD_PING:
      link_.reply(command, 0);
      return;
    case VOLLEY_CMD_CTRL_ALT_DEL:
      link_.reply(command, machine_.press_ctrl_alt_del());
      return;
    case VOLLEY_CMD_SERIAL_INPUT:
      type(command);
      return;
    case VOLLEY_CMD_SET_LIMIT:
      link_.reply(command, machine_.set_limit(command.payload.limit));
      return;
    case VOLLEY_CMD_SET_BALLOON:
      link_.reply(command, machine_.devices().command(VOLLEY_DEVICE_BALLOON, command, passed));
      return;
    case VOLLEY_CMD_SNAPSHOT:
      begin_snapshot(command, static_cast<UniqueFd&&>(passed), static_cast<UniqueFd&&>(second));
      return;
    case VOLLEY_CMD_VSOCK_ANSWER:
      machine_.devices().command(VOLLEY_DEVICE_VSOCK, command, passed);
      return;
    default:
      link_.reply(command, ENOSYS);
      return;
  }
}

void ControlLoop::type(const volley_message& command) {
  if (command.argument > sizeof(command.payload.bytes_in)) {
    link_.reply(command, EINVAL);
    return;
  }
  link_.reply(command, 0, machine_.type({command.payload.bytes_in, command.argument}));
}

void ControlLoop::begin_snapshot(const volley_message& command, UniqueFd state, UniqueFd memory) {
  constexpr uint32_t kKnown =
      VOLLEY_SNAPSHOT_RESUME | VOLLEY_SNAPSHOT_DIFF | VOLLEY_SNAPSHOT_STAY | VOLLEY_SNAPSHOT_LIVE;
  const volley_snapshot_order& order = command.payload.snapshot;
  const bool sound = state.is_open() && memory.is_open() && (order.flags & ~kKnown) == 0;
  const Status status =
      sound ? machine_.snapshot().begin(order, static_cast<UniqueFd&&>(state), static_cast<UniqueFd&&>(memory))
            : Status::system_error(EINVAL, "the order for a snapshot makes no sense");
  if (status.is_ok()) {
    snapshot_request_ = command.request_id;
  } else {
    link_.reply_why(command.request_id, VOLLEY_CMD_SNAPSHOT, status);
  }
}

void ControlLoop::go_on_with_snapshot() {
  Status status = Status::ok();
  volley_snapshot_taken taken{};
  if (!machine_.snapshot().is_active() || !machine_.snapshot().step(&status, &taken)) return;
  if (!status.is_ok()) {
    link_.reply_why(snapshot_request_, VOLLEY_CMD_SNAPSHOT, status);
    return;
  }
  volley_message message = reply_to(snapshot_request_, VOLLEY_CMD_SNAPSHOT, 0);
  message.payload.snapshot_taken = taken;
  link_.send(message);
}

void ControlLoop::pass_on_questions() {
  volley_message question;
  while (machine_.questions().take(&question)) {
    question.time_ns = monotonic_ns();
    if (link_.send(question)) continue;
    // Nobody to ask is a refusal, at once.
    volley_message refusal{};
    refusal.type = VOLLEY_CMD_VSOCK_ANSWER;
    refusal.request_id = question.request_id;
    refusal.status = ECONNREFUSED;
    UniqueFd nothing;
    machine_.devices().command(VOLLEY_DEVICE_VSOCK, refusal, nothing);
  }
}

void ControlLoop::report_boot(bool new_connection) {
  if (!machine_.booted() || (boot_reported_ && !new_connection)) return;
  boot_reported_ = true;
  link_.note_booted(machine_.booted_ns());
}

}  // namespace volley
