#include "test_agent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/files.h"
#include "base/text.h"
#include "config.h"

namespace volley {

int run_test_agent(const std::string& socket, const std::string& config_path) {
  std::vector<std::string> problems;
  const auto records = config_path.empty() ? std::string() : read_file(config_path, 1 << 20);
  const Config config = parse_config(records.value_or(""), problems);
  for (const auto& problem : problems) say("%s", problem.c_str());

  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int number : {SIGCHLD, SIGINT, kPowerOffSignal, kRebootSignal}) sigaddset(&wanted, number);
  sigprocmask(SIG_BLOCK, &wanted, nullptr);
  const UniqueFd signals(signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));

  Agent agent(config, Agent::Machine::kNone);
  if (const int error = agent.listen_on_unix(socket); error != 0) {
    say("%s", failed("cannot listen on " + socket, error).c_str());
    return 1;
  }
  write_all(STDOUT_FILENO, "ready\n");
  for (;;) {
    pollfd events[2] = {{signals.get(), POLLIN, 0}, {agent.descriptor(), POLLIN, 0}};
    if (poll(events, 2, -1) < 0 && errno != EINTR) return 1;
    signalfd_siginfo info{};
    while (read(signals.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
      const auto number = static_cast<int>(info.ssi_signo);
      if (number == kPowerOffSignal) write_all(STDOUT_FILENO, "power off\n");
      if (number == kRebootSignal) write_all(STDOUT_FILENO, "reboot\n");
      if (number != SIGCHLD) return 0;
    }
    for (pid_t pid = 0; (pid = waitpid(-1, nullptr, WNOHANG)) > 0;) agent.reaped(pid);
    if (events[1].revents != 0) agent.accept_one();
  }
}

}  // namespace volley
