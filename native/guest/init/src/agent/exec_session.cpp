#include "agent/exec_session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/files.h"
#include "base/monotonic_clock.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "program.h"
#include "users.h"

namespace volley {
namespace {

// Output that waits for the host. The programs that make it wait with it.
constexpr size_t kOutputLimit = 128 * 1024;
constexpr size_t kOutputAtOnce = 32 * 1024;
constexpr size_t kCreditStep = 32 * 1024;
constexpr int64_t kHangupGraceMs = 2'000;
constexpr int kIdleTerminalMs = 100;
constexpr char kEndOfInput = 4;  // Ctrl-D, which a terminal in its usual mode takes as the end of input

void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

void set_size(int terminal, uint16_t rows, uint16_t columns) {
  if (rows == 0 || columns == 0) return;
  winsize size{};
  size.ws_row = rows;
  size.ws_col = columns;
  ioctl(terminal, TIOCSWINSZ, &size);
}

// A string closed by NUL at the front of `rest`.
bool take_text(std::string_view& rest, std::string& text) {
  const size_t end = rest.find('\0');
  if (end == std::string_view::npos) return false;
  text = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return true;
}

bool take_texts(std::string_view& rest, uint32_t count, std::vector<std::string>& texts) {
  for (uint32_t i = 0; i < count; ++i) {
    std::string text;
    if (!take_text(rest, text)) return false;
    texts.push_back(std::move(text));
  }
  return true;
}

bool read_request(std::string_view body, const Config& config, volley_exec& request, ProgramSpec& spec) {
  if (!read_number(body, request)) return false;
  body.remove_prefix(sizeof(request));
  spec.env = config.env;
  if (!take_texts(body, request.argc, spec.args) || !take_texts(body, request.envc, spec.env)) return false;
  if (!take_text(body, spec.user) || !take_text(body, spec.cwd)) return false;
  if (spec.user.empty()) spec.user = config.user;
  if (spec.cwd.empty()) spec.cwd = config.cwd;
  // Anything said counts more.
  if (request.flags & VOLLEY_EXEC_TTY) spec.env.insert(spec.env.begin(), "TERM=xterm");
  return !spec.args.empty();
}

// The program's side and ours of its standard streams.
struct Streams {
  UniqueFd terminal;  // our side of a pseudo terminal: both directions
  UniqueFd in;        // what we write to; the terminal's own descriptor when there is one
  UniqueFd out;
  UniqueFd err;
  UniqueFd program_in;
  UniqueFd program_out;
  UniqueFd program_err;
};

bool open_pipe(UniqueFd& reading, UniqueFd& writing) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  reading.reset(ends[0]);
  writing.reset(ends[1]);
  return true;
}

bool open_pipes(Streams& streams, bool with_stdin) {
  if (!open_pipe(streams.out, streams.program_out) || !open_pipe(streams.err, streams.program_err)) return false;
  if (with_stdin) return open_pipe(streams.program_in, streams.in);
  streams.program_in.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
  return streams.program_in.is_open();
}

bool open_terminal(Streams& streams, const volley_exec& request) {
  streams.terminal.reset(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!streams.terminal.is_open()) return false;
  int unlocked = 0;
  if (ioctl(streams.terminal.get(), TIOCSPTLCK, &unlocked) != 0) return false;
  // By descriptor, so that it is found wherever (and whether) devpts is mounted.
  streams.program_in.reset(ioctl(streams.terminal.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!streams.program_in.is_open()) return false;
  set_size(streams.terminal.get(), request.rows, request.columns);
  if (request.flags & VOLLEY_EXEC_STDIN) streams.in.reset(fcntl(streams.terminal.get(), F_DUPFD_CLOEXEC, 3));
  return true;
}

// Its user may open it again by name.
void give_terminal(int terminal, std::string_view user) {
  Credentials owner;
  std::string problem;
  if (getuid() != 0 || !find_user(user, read_file("/etc/passwd", 4 << 20).value_or(""), "", owner, problem)) return;
  [[maybe_unused]] const int ignored = fchown(terminal, owner.uid, static_cast<gid_t>(-1));
}

class ExecSession {
 public:
  ExecSession(int connection, FrameReader& reader, Streams streams, pid_t pid)
      : connection_(connection), reader_(reader), streams_(std::move(streams)), pid_(pid) {
    program_.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    for (const int fd : {connection_, streams_.in.get(), output().get(), streams_.err.get()}) {
      if (fd >= 0) set_nonblocking(fd);
    }
    out_ += frame_of(VOLLEY_GUEST_STARTED, bytes_of(static_cast<uint32_t>(pid)));
  }

  void run() {
    while (take_frames() && step()) {
    }
    if (!is_done_) hang_up();
  }

 private:
  UniqueFd& output() { return streams_.terminal.is_open() ? streams_.terminal : streams_.out; }
  bool has_room() const { return out_.size() - sent_ < kOutputLimit; }
  bool has_exited() const { return !program_.is_open(); }

  // Waits for something to happen and does it. False: it is over.
  bool step() {
    enum { kConnection, kProgram, kOut, kErr, kIn, kCount };
    pollfd events[kCount];
    const bool wants_output = has_room();
    events[kConnection] = {connection_, static_cast<short>(POLLIN | POLLRDHUP | (out_.size() > sent_ ? POLLOUT : 0)),
                           0};
    events[kProgram] = {program_.get(), POLLIN, 0};
    events[kOut] = {wants_output && !is_terminal_idle_ ? output().get() : -1, POLLIN, 0};
    events[kErr] = {wants_output ? streams_.err.get() : -1, POLLIN, 0};
    events[kIn] = {in_.size() > taken_ || closes_in_ ? streams_.in.get() : -1, POLLOUT, 0};
    const int ready = poll(events, kCount, is_terminal_idle_ ? kIdleTerminalMs : -1);
    if (ready < 0) return errno == EINTR;
    if (ready == 0) is_terminal_idle_ = false;

    if (events[kConnection].revents & (POLLIN | POLLRDHUP | POLLHUP | POLLERR)) {
      // The host leaves its side open until EXITED, so an end is a broken connection.
      const ssize_t length = reader_.fill(connection_);
      if (length == 0 || (length < 0 && errno != EAGAIN)) return false;
    }
    if (events[kIn].revents != 0) feed();
    if (events[kOut].revents != 0) read_output(output(), VOLLEY_GUEST_STDOUT);
    if (events[kErr].revents != 0) read_output(streams_.err, VOLLEY_GUEST_STDERR);
    if (events[kProgram].revents != 0) program_.reset();
    if (has_exited()) finish_output();
    if (!flush()) return false;
    return !(is_done_ && out_.empty());
  }

  bool take_frames() {
    Frame frame;
    while (reader_.next(frame)) {
      if (!take(frame)) return false;
    }
    return !reader_.is_broken();
  }

  // False: the host does not keep to the protocol.
  bool take(const Frame& frame) {
    switch (frame.type) {
      case VOLLEY_GUEST_STDIN:
        return take_input(frame.body);
      case VOLLEY_GUEST_RESIZE: {
        uint16_t size[2];
        if (!read_number(frame.body, size)) return false;
        if (streams_.terminal.is_open()) set_size(streams_.terminal.get(), size[0], size[1]);
        return true;
      }
      case VOLLEY_GUEST_SIGNAL: {
        uint32_t number = 0;
        if (!read_number(frame.body, number)) return false;
        // Until it is reaped its number belongs to nobody else.
        if (number > 0 && number < _NSIG && !is_done_) kill(-pid_, static_cast<int>(number));
        return true;
      }
      default:
        return false;
    }
  }

  bool take_input(std::string_view bytes) {
    if (bytes.empty()) {
      closes_in_ = true;
      return true;
    }
    if (bytes.size() > VOLLEY_STDIN_WINDOW - owed_) return false;
    owed_ += static_cast<uint32_t>(bytes.size());
    if (closes_in_ || !streams_.in.is_open()) {
      give_credit(static_cast<uint32_t>(bytes.size()));
    } else {
      in_ += bytes;
    }
    return true;
  }

  void give_credit(uint32_t bytes) {
    credit_ += bytes;
    if (credit_ < kCreditStep && in_.size() > taken_) return;
    out_ += frame_of(VOLLEY_GUEST_CREDIT, bytes_of(credit_));
    owed_ -= credit_;
    credit_ = 0;
  }

  void feed() {
    while (in_.size() > taken_) {
      const ssize_t length = write(streams_.in.get(), in_.data() + taken_, in_.size() - taken_);
      if (length < 0 && errno == EINTR) continue;
      if (length < 0 && errno == EAGAIN) return;
      if (length < 0) return drop_input();  // the program wants no more
      taken_ += static_cast<size_t>(length);
      if (taken_ == in_.size()) {
        in_.clear();
        taken_ = 0;
      } else if (taken_ > VOLLEY_STDIN_WINDOW / 2) {
        in_.erase(0, taken_);
        taken_ = 0;
      }
      give_credit(static_cast<uint32_t>(length));
    }
    if (!closes_in_) return;
    if (streams_.terminal.is_open() && write(streams_.in.get(), &kEndOfInput, 1) < 0 && errno == EAGAIN) return;
    streams_.in.reset();
    closes_in_ = false;
  }

  void drop_input() {
    const auto rest = static_cast<uint32_t>(in_.size() - taken_);
    in_.clear();
    taken_ = 0;
    streams_.in.reset();
    if (rest > 0) give_credit(rest);
  }

  // Returns whether there may be more.
  bool read_output(UniqueFd& from, uint8_t type) {
    char bytes[kOutputAtOnce];
    const ssize_t length = read(from.get(), bytes, sizeof(bytes));
    if (length > 0) {
      out_ += frame_of(type, {bytes, static_cast<size_t>(length)});
      return true;
    }
    if (length < 0 && (errno == EINTR || errno == EAGAIN)) return errno == EINTR;
    // The end of a pipe. A terminal that nobody has open says EIO; it stays ours until the program has ended, as
    // closing it hangs up on the program, and it may be opened again.
    if (&from == &streams_.terminal) {
      is_terminal_idle_ = true;
    } else {
      from.reset();
    }
    return false;
  }

  // What the program wrote before it ended is there to be read by now. What others that hold its streams write later is
  // theirs alone.
  void finish_output() {
    if (is_done_) return;
    while (output().is_open() && has_room()) {
      if (!read_output(output(), VOLLEY_GUEST_STDOUT)) break;
    }
    if (!has_room()) return;
    while (streams_.err.is_open() && has_room()) {
      if (!read_output(streams_.err, VOLLEY_GUEST_STDERR)) break;
    }
    if (!has_room()) return;
    siginfo_t info{};
    waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED);
    const bool exited = info.si_code == CLD_EXITED;
    const auto status = static_cast<uint32_t>(info.si_status);
    const uint32_t end[2] = {exited ? status : 0, exited ? 0 : status};
    out_ += frame_of(VOLLEY_GUEST_EXITED, bytes_of(end));
    is_done_ = true;
  }

  // Sends what the connection takes. False: it broke.
  bool flush() {
    while (sent_ < out_.size()) {
      const ssize_t length = write(connection_, out_.data() + sent_, out_.size() - sent_);
      if (length < 0 && errno == EINTR) continue;
      if (length < 0 && errno == EAGAIN) {
        if (sent_ > kOutputLimit) {
          out_.erase(0, sent_);
          sent_ = 0;
        }
        return true;
      }
      if (length < 0) return false;
      sent_ += static_cast<size_t>(length);
    }
    out_.clear();
    sent_ = 0;
    return true;
  }

  // The connection broke: the process group hears of it, and is ended when it goes on all the same. What it says
  // meanwhile is thrown away; closed streams would end it before it has tidied up.
  void hang_up() {
    const int64_t deadline = now_ms() + kHangupGraceMs;
    streams_.in.reset();
    kill(-pid_, SIGHUP);
    kill(-pid_, SIGCONT);
    for (int64_t left = kHangupGraceMs; left > 0 && !has_exited(); left = deadline - now_ms()) {
      pollfd events[3] = {{program_.get(), POLLIN, 0},
                          {is_terminal_idle_ ? -1 : output().get(), POLLIN, 0},
                          {streams_.err.get(), POLLIN, 0}};
      if (poll(events, 3, static_cast<int>(left)) <= 0) continue;
      if (events[1].revents != 0) read_output(output(), VOLLEY_GUEST_STDOUT);
      if (events[2].revents != 0) read_output(streams_.err, VOLLEY_GUEST_STDERR);
      out_.clear();
      if (events[0].revents != 0) program_.reset();
    }
    if (!has_exited()) kill(-pid_, SIGKILL);
    siginfo_t info{};
    waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED);
    // As long as anybody is left in the group its number is not given to others.
    while (kill(-pid_, 0) == 0 && now_ms() < deadline) usleep(20'000);
    kill(-pid_, SIGKILL);
  }

  int connection_;
  FrameReader& reader_;
  Streams streams_;
  pid_t pid_;
  UniqueFd program_;  // a pidfd, closed when it has ended
  std::string in_;    // standard input that the program has not taken; [taken_, end)
  size_t taken_ = 0;
  bool closes_in_ = false;
  uint32_t owed_ = 0;    // bytes of STDIN that were not credited
  uint32_t credit_ = 0;  // part of them that can be
  std::string out_;      // frames on their way to the host; [sent_, end)
  size_t sent_ = 0;
  bool is_done_ = false;
  bool is_terminal_idle_ = false;  // nobody has it open
};

}  // namespace

void run_exec(int connection, FrameReader& reader, std::string_view body, const Config& config) {
  const auto refuse = [connection](int error, std::string_view sentence) {
    send_frame(connection, VOLLEY_GUEST_RESULT, result_body(error, sentence));
  };
  volley_exec request{};
  ProgramSpec spec;
  if (!read_request(body, config, request, spec)) return refuse(EPROTO, "this is no EXEC request");
  const bool has_terminal = (request.flags & VOLLEY_EXEC_TTY) != 0;
  Streams streams;
  if (has_terminal ? !open_terminal(streams, request)
                   : !open_pipes(streams, (request.flags & VOLLEY_EXEC_STDIN) != 0)) {
    return refuse(errno, failed("the program's streams cannot be made", errno));
  }
  if (has_terminal) give_terminal(streams.program_in.get(), spec.user);
  const int in = streams.program_in.get();
  const Started started =
      start_program(spec, has_terminal ? Stdio{in, in, in, true}
                                       : Stdio{in, streams.program_out.get(), streams.program_err.get(), false});
  if (started.pid < 0) return refuse(started.error, started.problem);
  streams.program_in.reset();
  streams.program_out.reset();
  streams.program_err.reset();
  ExecSession(connection, reader, std::move(streams), started.pid).run();
}

}  // namespace volley
