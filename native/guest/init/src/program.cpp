#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string_view>

#include "base/files.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "users.h"
#include "workload.h"

namespace volley {
namespace {

constexpr char kDefaultPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr size_t kLargestUserFile = 4 << 20;

enum class Step : int { kStdio, kUser, kFolder, kRun };

struct Failure {
  Step step;
  int error;
};

std::string_view name_of(std::string_view variable) { return variable.substr(0, variable.find('=')); }

// The last one of each name, in the order in which the names first came.
std::vector<std::string> joined(const std::vector<std::string>& given) {
  std::vector<std::string> env;
  for (const auto& variable : given) {
    bool is_known = false;
    for (auto& other : env) {
      if (name_of(other) != name_of(variable)) continue;
      other = variable;
      is_known = true;
    }
    if (!is_known) env.push_back(variable);
  }
  return env;
}

const std::string* find(const std::vector<std::string>& env, std::string_view name) {
  for (const auto& variable : env) {
    if (name_of(variable) == name) return &variable;
  }
  return nullptr;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  list.reserve(texts.size() + 1);
  for (auto& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

// Files to try for a command, in order.
std::vector<std::string> candidates(const std::string& command, std::string_view path) {
  std::vector<std::string> files;
  if (command.find('/') != std::string::npos) {
    files.push_back(command);
    return files;
  }
  for (const auto folder : split(path, ':')) {
    files.push_back((folder.empty() ? std::string(".") : std::string(folder)) + "/" + command);
  }
  return files;
}

bool take_stdio(const Stdio& stdio) {
  // First out of the way of each other.
  const int in = fcntl(stdio.in, F_DUPFD_CLOEXEC, 10);
  const int out = fcntl(stdio.out, F_DUPFD_CLOEXEC, 10);
  const int err = fcntl(stdio.err, F_DUPFD_CLOEXEC, 10);
  if (in < 0 || out < 0 || err < 0) return false;
  if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) return false;
  // A console that is no terminal, or is another session's, still takes output.
  if (stdio.is_terminal) ioctl(0, TIOCSCTTY, 0);
  return true;
}

bool become(const Credentials& user) {
  if (getuid() != 0 && getuid() == user.uid) return true;
  return setgroups(user.groups.size(), user.groups.data()) == 0 && setgid(user.gid) == 0 && setuid(user.uid) == 0;
}

void reset_signals() {
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < _NSIG; ++number) sigaction(number, &standard, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

struct Prepared {
  Credentials user;
  std::string cwd;
  bool make_cwd;
  std::vector<std::string> files;
  std::vector<char*> args;
  std::vector<char*> env;
};

[[noreturn]] void run(const Prepared& prepared, const Stdio& stdio, int errors) {
  const auto give_up = [errors](Step step) {
    const Failure failure{step, errno};
    [[maybe_unused]] const ssize_t ignored = write(errors, &failure, sizeof(failure));
    _exit(127);
  };
  reset_signals();
  setsid();
  umask(022);
  join_workload();
  write_into("/proc/self/oom_score_adj", "0");
  if (!take_stdio(stdio)) give_up(Step::kStdio);
  if (prepared.make_cwd) make_folders(prepared.cwd);
  if (chdir(prepared.cwd.c_str()) != 0) give_up(Step::kFolder);
  if (!become(prepared.user)) give_up(Step::kUser);
  int error = ENOENT;
  for (const auto& file : prepared.files) {
    execve(file.c_str(), prepared.args.data(), prepared.env.data());
    if (errno == ENOENT || errno == ENOTDIR) continue;
    error = errno;
    if (error != EACCES) break;  // one further down the path may be allowed
  }
  errno = error;
  give_up(Step::kRun);
  __builtin_unreachable();
}

std::string sentence(const Failure& failure, const ProgramSpec& spec) {
  switch (failure.step) {
    case Step::kStdio:
      return failed("its standard streams cannot be set up", failure.error);
    case Step::kUser:
      return failed("cannot become user " + (spec.user.empty() ? "root" : spec.user), failure.error);
    case Step::kFolder:
      return failed("cannot work in " + spec.cwd, failure.error);
    case Step::kRun:
      break;
  }
  if (failure.error == ENOENT) return spec.args[0] + ": there is no such program, or its interpreter is missing";
  return failed("cannot run " + spec.args[0], failure.error);
}

}  // namespace

Started start_program(const ProgramSpec& spec, const Stdio& stdio) {
  Started started;
  const auto refuse = [&started](int error, std::string problem) {
    started.error = error;
    started.problem = std::move(problem);
    return started;
  };
  if (spec.args.empty() || spec.args[0].empty()) return refuse(EINVAL, "there is nothing to run");

  Prepared prepared{};
  prepared.cwd = spec.cwd.empty() ? "/" : spec.cwd;
  prepared.make_cwd = spec.make_cwd;
  std::string problem;
  const std::string passwd = read_file("/etc/passwd", kLargestUserFile).value_or("");
  const std::string group = read_file("/etc/group", kLargestUserFile).value_or("");
  if (spec.user.empty() && getuid() != 0) {
    prepared.user.uid = getuid();  // not in a guest: a test's agent runs as whoever runs the test
  } else if (!find_user(spec.user, passwd, group, prepared.user, problem)) {
    return refuse(EINVAL, problem);
  }

  std::vector<std::string> args = spec.args;
  std::vector<std::string> env = joined(spec.env);
  if (find(env, "PATH") == nullptr) env.push_back(std::string("PATH=") + kDefaultPath);
  if (find(env, "HOME") == nullptr) env.push_back("HOME=" + prepared.user.home);
  prepared.files = candidates(args[0], std::string_view(*find(env, "PATH")).substr(5));
  prepared.args = pointers(args);
  prepared.env = pointers(env);

  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return refuse(errno, failed("cannot make a pipe", errno));
  UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) return refuse(errno, failed("cannot start a process", errno));
  if (pid == 0) run(prepared, stdio, writing.get());
  writing.reset();

  // Ends with the exec, or tells what went wrong.
  Failure failure{};
  ssize_t length = 0;
  do {
    length = read(reading.get(), &failure, sizeof(failure));
  } while (length < 0 && errno == EINTR);
  if (length == static_cast<ssize_t>(sizeof(failure))) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return refuse(failure.error, sentence(failure, spec));
  }
  started.pid = pid;
  return started;
}

}  // namespace volley
