// volley-starts: starts a program many times over and measures how long each start takes until the program says a word.
// It knows nothing of what it starts, so that VMMs of any make are measured alike: by what arrives on their standard
// output.
//
// Each start is a process group of its own, killed when it has said the word, and over when no process of it is left.
// With
// `--hold yes` all of them are kept, their memory is measured, and then they are killed. Prints one line of JSON. Exit
// status: 0 when all said the word, 1 when one did not (the JSON then is absent and its last words are told), 2 when it
// was called wrongly.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

constexpr std::string_view kUsage =
    "usage: volley-starts --until TEXT [options] -- PROGRAM [ARGUMENT...]\n"
    "  --count N           how many starts (100)\n"
    "  --concurrency N     how many at a time (1)\n"
    "  --hold yes|no       keep all of them until the last one runs, and measure their memory (no)\n"
    "  --deadline SECONDS  how long one start may take (30)\n";

// Memory of the host settles: what was freed a moment ago becomes available a little later.
constexpr useconds_t kSettleUs = 1'000'000;
constexpr size_t kMaxHeard = 64u << 10;
constexpr uint64_t kMaxCount = 100'000;

struct Options {
  uint64_t count = 100;
  uint64_t concurrency = 1;
  bool hold = false;
  uint64_t deadline_s = 30;
  std::string until;
  char** program = nullptr;
};

[[noreturn]] void refuse(const std::string& problem) {
  std::fprintf(stderr, "volley-starts: %s\n%s", problem.c_str(), kUsage.data());
  std::exit(2);
}

uint64_t number_of(std::string_view name, const char* text) {
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(text, &end, 10);
  if (errno != 0 || *text == '\0' || *end != '\0' || value == 0 || value > kMaxCount) {
    refuse(std::string(name) + " wants a number from 1 to 100000, not \"" + text + "\"");
  }
  return value;
}

Options parse(int count, char** arguments) {
  Options options;
  int i = 1;
  for (; i + 1 < count && std::strcmp(arguments[i], "--") != 0; i += 2) {
    const std::string_view name = arguments[i];
    const char* value = arguments[i + 1];
    if (name == "--until") {
      options.until = value;
    } else if (name == "--count") {
      options.count = number_of(name, value);
    } else if (name == "--concurrency") {
      options.concurrency = number_of(name, value);
    } else if (name == "--deadline") {
      options.deadline_s = number_of(name, value);
    } else if (name == "--hold" && (std::strcmp(value, "yes") == 0 || std::strcmp(value, "no") == 0)) {
      options.hold = std::strcmp(value, "yes") == 0;
    } else {
      refuse("unknown option " + std::string(name) + " " + value);
    }
  }
  if (options.until.empty()) refuse("--until is needed");
  if (i >= count || std::strcmp(arguments[i], "--") != 0 || i + 1 == count) refuse("-- and a program are needed");
  options.program = arguments + i + 1;
  return options;
}

uint64_t now_us() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000u + static_cast<uint64_t>(time.tv_nsec) / 1'000u;
}

// One start of the program. What it says is read up to the word only: a pipe holds more than a waiting guest prints.
class Start {
 public:
  explicit Start(const Options& options) : options_(&options) {}
  Start(const Start&) = delete;
  Start& operator=(const Start&) = delete;
  Start(Start&& other) noexcept
      : options_(other.options_), group_(std::exchange(other.group_, 0)), output_(std::exchange(other.output_, -1)) {}
  Start& operator=(Start&&) = delete;
  ~Start() { end(); }

  pid_t group() const { return group_; }

  // Microseconds until the word was there; false with the reason in `problem` if it never was.
  bool run(uint64_t* ready_us, std::string* problem) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return failed("make a pipe", problem);
    output_ = ends[0];
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const uint64_t began = now_us();
    const pid_t child = vfork();
    if (child == 0) become_program(null, ends[1]);
    const int error = errno;
    close(null);
    close(ends[1]);
    errno = error;
    if (child < 0) return failed("make a process", problem);
    group_ = child;
    if (!hear(began + options_->deadline_s * 1'000'000u, problem)) return false;
    *ready_us = now_us() - began;
    return true;
  }

  // Kills what it started, and returns when nothing of it is left: not even memory that the kernel still takes back.
  void end() {
    if (group_ > 0) {
      kill(-group_, SIGKILL);
      while (waitpid(-group_, nullptr, 0) > 0 || errno == EINTR) {
      }
    }
    if (output_ >= 0) close(output_);
    group_ = 0;
    output_ = -1;
  }

 private:
  // In the child, which borrows the memory of its parent until then: system calls only.
  [[noreturn]] void become_program(int input, int output) const {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execvp(options_->program[0], options_->program);
    _exit(127);
  }

  bool hear(uint64_t deadline, std::string* problem) const {
    std::string heard;
    char part[4096];
    for (;;) {
      const uint64_t now = now_us();
      pollfd output{output_, POLLIN, 0};
      const int left_ms = now < deadline ? static_cast<int>((deadline - now) / 1'000u) + 1 : 0;
      if (left_ms == 0 || poll(&output, 1, left_ms) == 0) break;
      const ssize_t got = read(output_, part, sizeof part);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0 || heard.size() > kMaxHeard) break;
      heard.append(part, static_cast<size_t>(got));
      if (heard.find(options_->until) != std::string::npos) return true;
    }
    *problem = "\"" + options_->until + "\" was not said; what was: " + (heard.empty() ? "nothing" : heard);
    return false;
  }

  static bool failed(const char* doing, std::string* problem) {
    *problem = std::string(doing) + ": " + std::strerror(errno);
    return false;
  }

  const Options* options_;
  pid_t group_ = 0;
  int output_ = -1;
};

// Empty where there is no such file, or no longer.
std::string text_of(const std::string& path) {
  std::string text;
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return text;
  char part[4096];
  for (ssize_t got; (got = read(file, part, sizeof part)) > 0;) text.append(part, static_cast<size_t>(got));
  close(file);
  return text;
}

// The number behind a name at the start of a line, KiB; 0 if there is none.
uint64_t kib_of(const std::string& text, const std::string& name) {
  const size_t at = text.find(name);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + name.size(), nullptr, 10);
}

uint64_t available_kib() { return kib_of(text_of("/proc/meminfo"), "MemAvailable:"); }

struct Memory {
  uint64_t processes = 0;
  uint64_t proportional_kib = 0;
  uint64_t private_kib = 0;
};

std::string program_of(const std::string& process) {
  std::error_code unknown;
  const std::string path = std::filesystem::read_symlink(process + "/exe", unknown).filename();
  return unknown ? "unknown" : path;
}

// Of all processes of these groups, by program.
std::map<std::string, Memory> memory_of(const std::set<pid_t>& groups) {
  std::map<std::string, Memory> memory;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const std::string process = entry.path();
    const std::string stat = text_of(process + "/stat");
    // pid (name) state parent group ...: the name may hold anything.
    const size_t name_end = stat.rfind(')');
    int group = 0;
    if (name_end == std::string::npos || std::sscanf(stat.c_str() + name_end + 1, " %*c %*d %d", &group) != 1 ||
        !groups.contains(group)) {
      continue;
    }
    const std::string maps = text_of(process + "/smaps_rollup");
    Memory& of = memory[program_of(process)];
    ++of.processes;
    of.proportional_kib += kib_of(maps, "\nPss:");
    of.private_kib += kib_of(maps, "\nPrivate_Clean:") + kib_of(maps, "\nPrivate_Dirty:");
  }
  return memory;
}

// What one thread starts: a program dies with the thread that has started it, so each keeps its own until the end.
struct Worker {
  std::vector<uint64_t> ready_us;
  std::vector<Start> held;
  std::string problem;
};

void work(const Options& options, std::atomic<uint64_t>& next, std::atomic<bool>& failed, Worker* worker) {
  while (!failed && next.fetch_add(1) < options.count) {
    Start start(options);
    uint64_t ready_us = 0;
    if (!start.run(&ready_us, &worker->problem)) {
      failed = true;
      return;
    }
    worker->ready_us.push_back(ready_us);
    if (options.hold) worker->held.push_back(std::move(start));
  }
}

void print_held(uint64_t before_kib, uint64_t after_kib, const std::map<std::string, Memory>& memory) {
  std::printf(",\"availableKiB\":{\"before\":%llu,\"after\":%llu},\"programs\":{",
              static_cast<unsigned long long>(before_kib), static_cast<unsigned long long>(after_kib));
  const char* between = "";
  for (const auto& [name, of] : memory) {
    std::printf("%s\"%s\":{\"processes\":%llu,\"proportionalKiB\":%llu,\"privateKiB\":%llu}", between, name.c_str(),
                static_cast<unsigned long long>(of.processes), static_cast<unsigned long long>(of.proportional_kib),
                static_cast<unsigned long long>(of.private_kib));
    between = ",";
  }
  std::printf("}");
}

int run(const Options& options) {
  // Nothing goes on when whoever asked is gone.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // What the program starts itself is ours to wait for when it is gone.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  std::vector<Worker> workers(std::min(options.concurrency, options.count));
  std::atomic<uint64_t> next = 0;
  std::atomic<bool> failed = false;
  std::atomic<uint64_t> busy = workers.size();
  std::atomic<bool> release = false;
  const uint64_t before_kib = available_kib();
  const uint64_t began = now_us();
  std::vector<std::thread> threads;
  for (Worker& worker : workers) {
    threads.emplace_back([&options, &next, &failed, &busy, &release, &worker] {
      work(options, next, failed, &worker);
      if (busy.fetch_sub(1) == 1) busy.notify_all();
      release.wait(false);
      worker.held.clear();
    });
  }
  for (uint64_t left = busy; left != 0; left = busy) busy.wait(left);
  const uint64_t wall_us = now_us() - began;
  uint64_t after_kib = 0;
  std::map<std::string, Memory> memory;
  if (options.hold && !failed) {
    usleep(kSettleUs);
    after_kib = available_kib();
    std::set<pid_t> groups;
    for (const Worker& worker : workers) {
      for (const Start& start : worker.held) groups.insert(start.group());
    }
    memory = memory_of(groups);
  }
  release = true;
  release.notify_all();
  for (std::thread& thread : threads) thread.join();
  for (const Worker& worker : workers) {
    if (worker.problem.empty()) continue;
    std::fprintf(stderr, "volley-starts: %s: %s\n", options.program[0], worker.problem.c_str());
    return 1;
  }
  std::printf("{\"wallUs\":%llu,\"readyUs\":[", static_cast<unsigned long long>(wall_us));
  const char* between = "";
  for (const Worker& worker : workers) {
    for (const uint64_t us : worker.ready_us) {
      std::printf("%s%llu", between, static_cast<unsigned long long>(us));
      between = ",";
    }
  }
  std::printf("]");
  if (options.hold) print_held(before_kib, after_kib, memory);
  std::printf("}\n");
  return 0;
}

}  // namespace

int main(int count, char** arguments) { return run(parse(count, arguments)); }
