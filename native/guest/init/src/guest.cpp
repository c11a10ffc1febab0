#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "abi/volley_abi.h"
#include "agent/agent.h"
#include "base/files.h"
#include "base/monotonic_clock.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "boot/modules.h"
#include "boot/names.h"
#include "boot/network.h"
#include "boot/root.h"
#include "config.h"
#include "machine_page.h"
#include "power_button.h"
#include "program.h"

namespace volley {
namespace {

constexpr char kConfigPath[] = "/volley/config";
constexpr size_t kLargestConfig = 1 << 20;
constexpr char kMetadataProgram[] = "/run/volley/metadata";
// After the program has ended: for whatever else runs to end by itself.
constexpr int64_t kOthersGraceMs = 1'000;
// After SIGKILL; a process that hangs in the kernel does not keep the guest from powering off.
constexpr int64_t kKillMs = 2'000;
// A clock that is at most so far ahead of what the host told is right: the host's word grows old while the guest boots.
constexpr int64_t kClockSlackSeconds = 3'600;
// systemd's way of asking PID 1.
const int kSystemdPowerOff = SIGRTMIN + 4;
const int kSystemdReboot = SIGRTMIN + 5;

// How often the kernel's OOM killer has struck.
uint64_t oom_kills() {
  const std::string text = read_file("/proc/vmstat", 64 * 1024).value_or("");
  for (const auto line : split(text, '\n')) {
    if (line.starts_with("oom_kill ")) return parse_number(line.substr(9), UINT64_MAX).value_or(0);
  }
  return 0;
}

// The terminal behind /dev/console: that itself cannot be a controlling terminal of its own name.
UniqueFd open_console() {
  std::string active = read_file("/sys/class/tty/console/active", 256).value_or("");
  while (!active.empty() && (active.back() == '\n' || active.back() == ' ')) active.pop_back();
  const std::string name = "/dev/" + active.substr(active.rfind(' ') + 1);
  for (const std::string& path : {name, std::string("/dev/console"), std::string("/dev/null")}) {
    UniqueFd console(open(path.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (console.is_open()) return console;
  }
  return UniqueFd();
}

// To be done anew when a session that had the console has ended: that hangs up whoever else has it open.
void take_console() {
  const UniqueFd console = open_console();
  if (!console.is_open()) return;
  for (int fd = 0; fd < 3; ++fd) {
    if (console.get() != fd) dup2(console.get(), fd);
  }
}

void set_clock(int64_t told) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (told == 0 || (now.tv_sec >= told && now.tv_sec <= told + kClockSlackSeconds)) return;
  const timespec time{static_cast<time_t>(told), 0};
  if (clock_settime(CLOCK_REALTIME, &time) != 0) say("%s", failed("cannot set the clock", errno).c_str());
}

void install_metadata() {
  const auto self = read_file("/proc/self/exe", 16 << 20);
  int error = self ? make_folders("/run/volley") : ENOENT;
  if (error == 0) error = replace_file(kMetadataProgram, *self, 0755);
  if (error != 0) say("%s", failed(std::string("cannot make ") + kMetadataProgram, error).c_str());
}

class Guest {
 public:
  [[noreturn]] void run() {
    umask(022);
    root_.mount_first();
    take_console();
    block_signals();
    reboot(RB_DISABLE_CAD);  // Ctrl-Alt-Del becomes SIGINT
    std::string problem;
    const int error = boot(problem);
    if (error != 0) give_up(error, problem);
    start();
    for (;;) step();
  }

 private:
  enum class Ending { kNone, kPowerOff, kReboot };

  void block_signals() {
    sigset_t all;
    sigfillset(&all);
    // A fault of init itself must end it, not spin.
    for (const int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigdelset(&all, fault);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    signals_.reset(signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  int boot(std::string& problem) {
    const auto records = read_file(kConfigPath, kLargestConfig);
    std::vector<std::string> complaints;
    if (records) config_ = parse_config(*records, complaints);
    if (!records) complaints.push_back("there is no /volley/config in the initial ram disk");
    for (const auto& one : complaints) say("%s", one.c_str());
    load_modules(config_.modules);
    if (const int error = page_.open(); error != 0) {
      say("%s", failed("the host cannot be told that the guest is up, without /dev/mem", error).c_str());
    }
    if (const int error = root_.enter(config_, problem); error != 0) return error;
    if (const int error = root_.mount_rest(config_, problem); error != 0) return error;
    set_clock(config_.time);
    write_names(config_);
    set_up_network(config_.interfaces);
    install_metadata();
    return 0;
  }

  void start() {
    // Both may be missing by choice: no vsock device, no button driver.
    if (const int error = button_.open(); error != 0 && error != ENOENT) {
      say("%s", failed("the power button cannot be heard", error).c_str());
    }
    const int error = agent_.listen_on_vsock();
    if (error != 0 && error != EAFNOSUPPORT && error != ENODEV) {
      say("%s", failed("no vsock, so the host cannot run commands here", error).c_str());
    }
    has_agent_ = error == 0;
    page_.tell_booted();
    if (!config_.args.empty()) start_workload();
  }

  void start_workload() {
    const UniqueFd console = open_console();
    const ProgramSpec spec{config_.args, config_.env, config_.user, config_.cwd, true};
    oom_kills_before_ = oom_kills();
    const Started started = start_program(spec, Stdio{console.get(), console.get(), console.get(), true});
    if (started.pid > 0) {
      program_ = started.pid;
      return;
    }
    take_console();
    say("%s", started.problem.c_str());
    page_.report(VOLLEY_REPORT_NOT_STARTED | (static_cast<uint32_t>(started.error) & 0xffff));
    after_workload();
  }

  void step() {
    if (ending_ != Ending::kNone && (program_ < 0 || (finish_at_ && now_ms() >= *finish_at_))) finish();
    enum { kSignals, kAgent, kButton, kCount };
    pollfd events[kCount] = {{signals_.get(), POLLIN, 0},
                             {has_agent_ ? agent_.descriptor() : -1, POLLIN, 0},
                             {button_.descriptor(), POLLIN, 0}};
    if (poll(events, kCount, time_left()) < 0 && errno != EINTR) say("%s", failed("poll", errno).c_str());
    take_signals();
    if (events[kAgent].revents != 0) agent_.accept_one();
    if (events[kButton].revents != 0 && button_.take()) end(Ending::kPowerOff);
    if (kill_at_ && now_ms() >= *kill_at_) {
      say("the program did not end within %u ms and is killed", config_.grace_ms);
      kill(-program_, SIGKILL);
      kill_at_.reset();
      finish_at_ = now_ms() + kKillMs;
    }
  }

  int time_left() const {
    const std::optional<int64_t> next = kill_at_ ? kill_at_ : finish_at_;
    if (!next) return -1;
    return static_cast<int>(std::max<int64_t>(*next - now_ms(), 0));
  }

  void take_signals() {
    signalfd_siginfo info{};
    while (read(signals_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
      const auto number = static_cast<int>(info.ssi_signo);
      if (number == SIGCHLD) continue;  // many may have become one: all are asked for below
      const bool powers_off = number == SIGINT || number == SIGUSR1 || number == kPowerOffSignal || number == SIGPWR ||
                              number == kSystemdPowerOff;
      if (powers_off) end(Ending::kPowerOff);
      if (number == kRebootSignal || number == kSystemdReboot) end(Ending::kReboot);
    }
    reap();
  }

  void reap() {
    for (;;) {
      int status = 0;
      const pid_t pid = waitpid(-1, &status, WNOHANG);
      if (pid <= 0) return;
      if (agent_.reaped(pid) || pid != program_) continue;
      program_ = -1;
      take_console();
      report_end(status);
      after_workload();
    }
  }

  void report_end(int status) {
    const uint32_t asked = ending_ == Ending::kNone ? 0u : VOLLEY_REPORT_ASKED;
    if (WIFEXITED(status)) {
      say("the program exited with code %d", WEXITSTATUS(status));
      return page_.report(VOLLEY_REPORT_EXITED | asked | static_cast<uint32_t>(WEXITSTATUS(status)));
    }
    const int number = WTERMSIG(status);
    if (number == SIGKILL && ending_ == Ending::kNone && oom_kills() != oom_kills_before_) {
      say("the program was killed because the guest ran out of memory");
      return page_.report(VOLLEY_REPORT_OOM);
    }
    say("the program was ended by signal %d", number);
    page_.report(VOLLEY_REPORT_SIGNALED | asked | static_cast<uint32_t>(number));
  }

  void after_workload() {
    if (config_.on_exit == OnExit::kStay) return;
    end(config_.on_exit == OnExit::kReboot ? Ending::kReboot : Ending::kPowerOff);
  }

  // Begins the end; a second wish changes nothing but makes haste: the program is killed at once.
  void end(Ending how) {
    if (ending_ != Ending::kNone) {
      if (program_ > 0 && kill_at_ && now_ms() - ending_since_ > 1'000) kill_at_ = now_ms();
      return;
    }
    ending_ = how;
    ending_since_ = now_ms();
    if (program_ < 0) return;
    kill(program_, SIGTERM);
    kill(program_, SIGCONT);
    kill_at_ = now_ms() + config_.grace_ms;
  }

  bool has_children() {
    for (;;) {
      const pid_t pid = waitpid(-1, nullptr, WNOHANG);
      if (pid == 0) return true;
      if (pid < 0 && errno != EINTR) return false;
    }
  }

  void wait_for_children(int64_t ms) {
    const int64_t deadline = now_ms() + ms;
    while (has_children()) {
      const int64_t left = deadline - now_ms();
      if (left <= 0) return;
      pollfd one{signals_.get(), POLLIN, 0};
      poll(&one, 1, static_cast<int>(left));
      signalfd_siginfo info{};
      while (read(signals_.get(), &info, sizeof(info)) > 0) {
      }
    }
  }

  [[noreturn]] void finish() {
    kill(-1, SIGTERM);
    kill(-1, SIGCONT);
    wait_for_children(kOthersGraceMs);
    kill(-1, SIGKILL);
    wait_for_children(kKillMs);
    leave(ending_ == Ending::kReboot);
  }

  [[noreturn]] void leave(bool restarts) {
    root_.leave();
    tcdrain(STDERR_FILENO);  // what was said last is still in the serial port
    reboot(restarts ? RB_AUTOBOOT : RB_POWER_OFF);
    reboot(RB_AUTOBOOT);
    _exit(1);  // nothing is left but a panic
  }

  [[noreturn]] void give_up(int error, const std::string& problem) {
    say("%s", problem.c_str());
    page_.report(VOLLEY_REPORT_NOT_STARTED | (static_cast<uint32_t>(error) & 0xffff));
    leave(false);
  }

  Config config_;
  Root root_;
  MachinePage page_;
  PowerButton button_;
  Agent agent_{config_, Agent::Machine::kGuest};
  bool has_agent_ = false;
  UniqueFd signals_;
  pid_t program_ = -1;
  uint64_t oom_kills_before_ = 0;
  Ending ending_ = Ending::kNone;
  int64_t ending_since_ = 0;
  std::optional<int64_t> kill_at_;    // of the program
  std::optional<int64_t> finish_at_;  // although the program is still there
};

}  // namespace

void run_guest() {
  Guest guest;
  guest.run();
}

}  // namespace volley
