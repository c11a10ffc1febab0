// The engine without Node, against the fake VMM.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "check.h"
#include "engine.h"
#include "proc.h"

using namespace volley;
namespace fs = std::filesystem;

namespace {

// The fake VMM does nothing with it, so that these tests need no KVM.
constexpr char kKvmDevice[] = "/dev/null";
std::string fake_vmm;
fs::path scratch;

size_t OpenDescriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

bool HasChildren() {
  siginfo_t any{};
  return waitid(P_ALL, 0, &any, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

class Agent {
 public:
  explicit Agent(const std::string& vmm = fake_vmm) : wake_(eventfd(0, EFD_CLOEXEC)) {
    EngineOptions options;
    options.vmm_path = vmm;
    options.kvm_device = kKvmDevice;
    options.launch_threads = 2;
    auto opened = Engine::Open(options, [this] {
      const uint64_t one = 1;
      CHECK(write(wake_.get(), &one, sizeof one) == sizeof one);
    });
    if (!opened) fprintf(stderr, "%s\n", opened.failure().message.c_str());
    CHECK(opened);
    engine_ = std::move(*opened);
  }
  Engine& operator*() { return *engine_; }

  Event Next() {
    while (taken_.empty()) {
      pollfd ready{wake_.get(), POLLIN, 0};
      CHECK(poll(&ready, 1, 60000) == 1);
      uint64_t count = 0;
      CHECK(read(wake_.get(), &count, sizeof count) == sizeof count);
      for (Event& event : engine_->TakeEvents()) taken_.push_back(std::move(event));
    }
    Event event = std::move(taken_.front());
    taken_.erase(taken_.begin());
    return event;
  }

  template <class T>
  T Next() {
    Event event = Next();
    if (const auto* refused = std::get_if<RefusedEvent>(&event); refused && !std::is_same_v<T, RefusedEvent>) {
      fprintf(stderr, "refused: %s\n", refused->failure.message.c_str());
    }
    // The connection breaks whenever a VMM ends; most tests do not care which is noticed first.
    if (std::holds_alternative<DisconnectedEvent>(event) && !std::is_same_v<T, DisconnectedEvent>) return Next<T>();
    CHECK(std::holds_alternative<T>(event));
    return std::get<T>(std::move(event));
  }

 private:
  UniqueFd wake_;
  std::unique_ptr<Engine> engine_;
  std::vector<Event> taken_;
};

volley_message Command(uint32_t type, uint32_t request) {
  volley_message message{};
  message.type = type;
  message.request_id = request;
  return message;
}

// What needs no rights at all.
ShellOrder Plain() {
  ShellOrder order;
  order.barriers = VOLLEY_BARRIER_CAPABILITIES | VOLLEY_BARRIER_RLIMITS | VOLLEY_BARRIER_SECCOMP;
  order.uid = getuid();
  order.gid = getgid();
  order.open_files = 64;
  order.file_bytes = 1 << 20;
  return order;
}

LaunchOrder Order(const std::string& name, const std::string& cmdline) {
  LaunchOrder order;
  order.id = name;
  order.directory = scratch / name;
  order.kernel_path = scratch / "kernel";
  order.cmdline = cmdline;
  order.boot_protocol = VOLLEY_BOOT_FLAT;
  order.irqchip = VOLLEY_IRQCHIP_SPLIT;
  order.vcpus = 1;
  order.memory_bytes = 2 << 20;
  fs::create_directory(order.directory);
  return order;
}

void AChildGetsWhatItNeedsAndNothingElse() {
  const int leak = open("/dev/null", O_RDONLY);  // not close-on-exec
  signal(SIGPIPE, SIG_IGN);
  setenv("SECRET", "1", 1);
  Agent agent;
  auto order = Order("plain", "confess");
  (*agent).Launch(1, order, Plain(), 0);
  const auto launched = agent.Next<LaunchedEvent>();
  agent.Next<BootedEvent>();
  CHECK(IsVmmOf(launched.pid, "plain"));
  auto serial = (*agent).Get(launched.handle)->Pages()->ReadSerial(UINT64_MAX, nullptr);
  CHECK(serial);
  fprintf(stderr, "%s", serial->bytes.c_str());
  // KVM, kernel, control socket and page file; the socket it was born with is closed.
  CHECK(serial->bytes == "fds 0 1 2 4 5 6 7\nblocked 0\nignored 0\nsession own\ncwd /\nenvironment 0\nkernel 6\n");

  CHECK((*agent).Send(launched.handle, Command(VOLLEY_CMD_STOP, 5)) == 0);
  CHECK(agent.Next<RepliedEvent>().request == 5);
  const auto exited = agent.Next<ExitedEvent>();
  CHECK(exited.evidence.page_reason == VOLLEY_EXIT_POWER_OFF && exited.evidence.status_code == CLD_EXITED);
  CHECK(!HasChildren());
  CHECK((*agent).Send(launched.handle, Command(VOLLEY_CMD_STOP, 6)) == ENOTCONN);
  CHECK((*agent).Kill(launched.handle) == 0);

  order = Order("initrd", "confess");
  order.initrd_path = order.kernel_path;
  (*agent).Launch(2, order, Plain(), 0);
  const auto second = agent.Next<LaunchedEvent>();
  agent.Next<BootedEvent>();
  serial = (*agent).Get(second.handle)->Pages()->ReadSerial(UINT64_MAX, nullptr);
  CHECK(serial && serial->bytes.starts_with("fds 0 1 2 4 5 6 7 8\n"));
  (*agent).Kill(second.handle);
  const auto killed = agent.Next<ExitedEvent>();
  CHECK(killed.evidence.kill_requested && killed.evidence.status == SIGKILL);
  close(leak);
}

std::string FirstLine(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  CHECK(std::getline(stream, line));
  return line;
}

constexpr char kScore[] = "oom_score_adj";

bool WriteOwnScore(const std::string& score) {
  return static_cast<bool>(std::ofstream(fs::path("/proc/self") / kScore) << score << std::flush);
}

void ExpectOfAChild(int nice, const std::string& score) {
  {
    Agent agent;
    (*agent).Launch(1, Order("after-its-agent", ""), Plain(), 0);
    const auto launched = agent.Next<LaunchedEvent>();
    agent.Next<BootedEvent>();
    CHECK(getpriority(PRIO_PROCESS, static_cast<id_t>(launched.pid)) == nice);
    CHECK(FirstLine(fs::path("/proc") / std::to_string(launched.pid) / kScore) == score);
    (*agent).Kill(launched.handle);
    agent.Next<ExitedEvent>();
  }
  fs::remove_all(scratch / "after-its-agent");
}

// Of an agent that the kernel runs before others, or kills after them, its VMMs inherit neither; of one that stands
// behind others, both.
void AChildComesNoSoonerThanOthers() {
  const std::string score = FirstLine(fs::path("/proc/self") / kScore);
  const int nice = getpriority(PRIO_PROCESS, 0);

  if (setpriority(PRIO_PROCESS, 0, -5) == 0) {
    ExpectOfAChild(0, score);
    CHECK(getpriority(PRIO_PROCESS, 0) == -5);
  } else {
    fprintf(stderr, "SKIPPED: to run before others needs CAP_SYS_NICE\n");
  }
  if (setpriority(PRIO_PROCESS, 0, 5) == 0) ExpectOfAChild(5, score);
  // Without the privilege nice values only go up: then the rest of this test stays behind others.
  const int now = setpriority(PRIO_PROCESS, 0, nice) == 0 ? nice : 5;

  if (WriteOwnScore("-500")) {
    ExpectOfAChild(now, "0");
    CHECK(FirstLine(fs::path("/proc/self") / kScore) == "-500");
  } else {
    fprintf(stderr, "SKIPPED: to be killed after others needs CAP_SYS_RESOURCE\n");
  }
  CHECK(WriteOwnScore("500"));
  ExpectOfAChild(now, "500");
  WriteOwnScore(score);
}

void NothingIsLeftWhenExecFails() {
  const fs::path script = scratch / "not-a-program";
  std::ofstream(script) << "neither ELF nor script";
  fs::permissions(script, fs::perms::owner_all);
  Agent agent(script);
  (*agent).Launch(1, Order("no-exec", ""), Plain(), 0);
  const auto refused = agent.Next<RefusedEvent>();
  CHECK(refused.failure.error == ENOEXEC);
  CHECK(refused.failure.message.find("execveat") != std::string::npos);
  CHECK(fs::is_empty(scratch / "no-exec"));
  CHECK(!HasChildren());
}

void BadOrdersLeaveNothing() {
  Agent agent;
  auto order = Order("bad", "");
  order.kernel_path = scratch / "absent";
  (*agent).Launch(1, order, Plain(), 0);
  CHECK(agent.Next<RefusedEvent>().failure.error == ENOENT);
  order.kernel_path = scratch;
  (*agent).Launch(2, order, Plain(), 0);
  CHECK(agent.Next<RefusedEvent>().failure.error == EINVAL);
  order = Order("bad2", "");
  order.initrd_path = scratch / "absent";
  (*agent).Launch(3, order, Plain(), 0);
  CHECK(agent.Next<RefusedEvent>().failure.error == ENOENT);
  order.initrd_path.clear();
  auto shell = Plain();
  shell.cgroup_paths = {scratch};  // a directory, but no cgroup
  (*agent).Launch(4, order, shell, 0);
  CHECK(agent.Next<RefusedEvent>().failure.error == EINVAL);
  shell = Plain();
  shell.uid = 4242;
  (*agent).Launch(6, order, shell, 0);
  const auto unlucky = agent.Next<RefusedEvent>();
  CHECK(unlucky.failure.error == EPERM && unlucky.failure.message.find("bad luck") != std::string::npos);
  CHECK(fs::is_empty(scratch / "bad") && fs::is_empty(scratch / "bad2"));

  // What belongs to somebody else stays.
  std::ofstream(scratch / "bad2" / "pages") << "mine";
  (*agent).Launch(5, order, Plain(), 0);
  CHECK(agent.Next<RefusedEvent>().failure.error == EEXIST);
  CHECK(fs::file_size(scratch / "bad2" / "pages") == 4);
  CHECK(!HasChildren());
}

void AVmmOutlivesItsAgentAndIsFoundAndAdopted() {
  pid_t pid = 0;
  std::string ticks;
  const auto order = Order("adopted", "");
  {
    Agent first;
    (*first).Launch(1, order, Plain(), 0);
    const auto launched = first.Next<LaunchedEvent>();
    first.Next<BootedEvent>();
    pid = launched.pid;
    ticks = launched.start_ticks;
  }
  Agent second;
  (*second).Find(1, "adopted", order.directory);
  const auto found = second.Next<FoundEvent>();
  CHECK(found.pid == pid && found.start_ticks == ticks);
  (*second).Find(2, "somebody-else", order.directory);
  CHECK(second.Next<FoundEvent>().pid == 0);

  AdoptOrder adopt{"adopted", order.directory, ticks, (*second).boot_id(), pid};
  adopt.start_ticks = "1";
  (*second).Adopt(3, adopt);
  second.Next<GoneEvent>();
  adopt.start_ticks = ticks;
  adopt.boot_id = "another-boot";
  (*second).Adopt(4, adopt);
  second.Next<GoneEvent>();
  adopt.boot_id = (*second).boot_id();
  (*second).Adopt(5, adopt);
  const auto adopted = second.Next<LaunchedEvent>();
  CHECK(adopted.pid == pid && adopted.booted_ns != 0);
  CHECK((*second).Send(adopted.handle, Command(VOLLEY_CMD_PAUSE, 9)) == 0);
  CHECK(second.Next<RepliedEvent>().status == 0);
  (*second).Kill(adopted.handle);
  CHECK(second.Next<ExitedEvent>().evidence.kill_requested);
  // Its own parent is this very process, so the end has to be collected here.
  CHECK(waitpid(pid, nullptr, 0) == pid);
  (*second).Adopt(6, adopt);
  second.Next<GoneEvent>();
}

void AShellWaitsAndIsLaunchedIntoDiscardedOrEnded() {
  pid_t left = 0;
  {
    Agent agent;
    (*agent).Prepare(1, Plain());
    const auto first = agent.Next<ShellEvent>();
    CHECK(first.barriers == Plain().barriers);
    auto order = Order("in-shell", "");
    (*agent).Launch(2, order, {}, first.handle);
    const auto launched = agent.Next<LaunchedEvent>();
    CHECK(launched.pid == first.pid && launched.handle == first.handle);
    agent.Next<BootedEvent>();
    CHECK(IsVmmOf(launched.pid, "in-shell"));
    // A shell is used once.
    (*agent).Launch(3, Order("again", ""), {}, first.handle);
    CHECK(agent.Next<RefusedEvent>().failure.error == ESRCH);
    CHECK(fs::is_empty(scratch / "again"));
    CHECK(!HasEnded((*agent).Get(launched.handle)->pidfd.get()));
    (*agent).Kill(launched.handle);
    CHECK(agent.Next<ExitedEvent>().handle == launched.handle);

    (*agent).Prepare(4, Plain());
    const auto second = agent.Next<ShellEvent>();
    (*agent).Discard(second.handle);
    CHECK(agent.Next<ShellEndedEvent>().handle == second.handle);
    (*agent).Launch(5, Order("too-late", ""), {}, second.handle);
    CHECK(agent.Next<RefusedEvent>().failure.error == ESRCH);

    // A launch that fails takes its shell along.
    (*agent).Prepare(6, Plain());
    const auto third = agent.Next<ShellEvent>();
    order = Order("no-kernel", "");
    order.kernel_path = scratch / "absent";
    (*agent).Launch(7, order, {}, third.handle);
    // Who launches and who watches processes tell in their own time.
    Event refused = agent.Next();
    Event ended = agent.Next();
    if (std::holds_alternative<ShellEndedEvent>(refused)) std::swap(refused, ended);
    CHECK(std::get<RefusedEvent>(refused).failure.error == ENOENT);
    CHECK(std::get<ShellEndedEvent>(ended).handle == third.handle);

    (*agent).Prepare(8, Plain());
    left = agent.Next<ShellEvent>().pid;
  }
  CHECK(!HasChildren());
  CHECK(kill(left, 0) < 0 && errno == ESRCH);
}

void AUndeliveredLaunchIsUndoneOnClose() {
  const auto order = Order("undone", "");
  {
    Agent agent;
    (*agent).Launch(1, order, Plain(), 0);
    // The process is there once its directory holds the socket and the page names it; nobody takes the event.
    for (int i = 0; i < 5000 && !FindVmm("undone", order.directory); ++i) usleep(1000);
    CHECK(FindVmm("undone", order.directory));
  }
  CHECK(fs::is_empty(order.directory));
  CHECK(!HasChildren());
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 2);
  fake_vmm = argv[1];
  char name[] = "/tmp/volley-spawn-test-XXXXXX";
  CHECK(mkdtemp(name) != nullptr);
  scratch = name;
  std::ofstream(scratch / "kernel") << "kernel";
  const size_t before = OpenDescriptors();
  AChildGetsWhatItNeedsAndNothingElse();
  AChildComesNoSoonerThanOthers();
  NothingIsLeftWhenExecFails();
  BadOrdersLeaveNothing();
  AVmmOutlivesItsAgentAndIsFoundAndAdopted();
  AShellWaitsAndIsLaunchedIntoDiscardedOrEnded();
  AUndeliveredLaunchIsUndoneOnClose();
  CHECK(OpenDescriptors() == before);
  fs::remove_all(scratch);
}
