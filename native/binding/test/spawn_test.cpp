// The engine without Node, against the fake VMM.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
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
    auto opened = Engine::Open({vmm, 2}, [this] {
      const uint64_t one = 1;
      CHECK(write(wake_.get(), &one, sizeof one) == sizeof one);
    });
    if (!opened) fprintf(stderr, "%s\n", opened.failure().message.c_str());
    CHECK(opened);
    engine_ = std::move(*opened);
  }
  Engine& operator*() { return *engine_; }

  template <class T>
  T Next() {
    while (taken_.empty()) {
      pollfd ready{wake_.get(), POLLIN, 0};
      CHECK(poll(&ready, 1, 10000) == 1);
      uint64_t count = 0;
      CHECK(read(wake_.get(), &count, sizeof count) == sizeof count);
      for (Event& event : engine_->TakeEvents()) taken_.push_back(std::move(event));
    }
    Event event = std::move(taken_.front());
    taken_.erase(taken_.begin());
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
  (*agent).Launch(1, order);
  const auto launched = agent.Next<LaunchedEvent>();
  agent.Next<BootedEvent>();
  CHECK(IsVmmOf(launched.pid, "plain"));
  auto serial = (*agent).Get(launched.handle)->Pages()->ReadSerial(UINT64_MAX, nullptr);
  CHECK(serial);
  fprintf(stderr, "%s", serial->bytes.c_str());
  // 7 (initial RAM disk) is closed; 8 is the connection that the fake accepted.. after it printed this.
  CHECK(serial->bytes == "fds 0 1 2 3 4 5 6\nblocked 0\nignored 0\nsession own\ncwd /\nenvironment 0\nkernel 6\n");

  CHECK((*agent).Send(launched.handle, VOLLEY_CMD_STOP, 5) == 0);
  CHECK(agent.Next<RepliedEvent>().request == 5);
  const auto exited = agent.Next<ExitedEvent>();
  CHECK(exited.evidence.page_reason == VOLLEY_EXIT_POWER_OFF && exited.evidence.status_code == CLD_EXITED);
  CHECK(!HasChildren());
  CHECK((*agent).Send(launched.handle, VOLLEY_CMD_STOP, 6) == ENOTCONN);
  CHECK((*agent).Kill(launched.handle) == 0);

  order = Order("initrd", "confess");
  order.initrd_path = order.kernel_path;
  (*agent).Launch(2, order);
  const auto second = agent.Next<LaunchedEvent>();
  agent.Next<BootedEvent>();
  serial = (*agent).Get(second.handle)->Pages()->ReadSerial(UINT64_MAX, nullptr);
  CHECK(serial && serial->bytes.starts_with("fds 0 1 2 3 4 5 6 7\n"));
  (*agent).Kill(second.handle);
  const auto killed = agent.Next<ExitedEvent>();
  CHECK(killed.evidence.kill_requested && killed.evidence.status == SIGKILL);
  close(leak);
}

void NothingIsLeftWhenExecFails() {
  const fs::path script = scratch / "not-a-program";
  std::ofstream(script) << "neither ELF nor script";
  fs::permissions(script, fs::perms::owner_all);
  Agent agent(script);
  (*agent).Launch(1, Order("no-exec", ""));
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
  (*agent).Launch(1, order);
  CHECK(agent.Next<RefusedEvent>().failure.error == ENOENT);
  order.kernel_path = scratch;
  (*agent).Launch(2, order);
  CHECK(agent.Next<RefusedEvent>().failure.error == EINVAL);
  order = Order("bad2", "");
  order.initrd_path = scratch / "absent";
  (*agent).Launch(3, order);
  CHECK(agent.Next<RefusedEvent>().failure.error == ENOENT);
  order.initrd_path.clear();
  order.cgroup_path = scratch;  // a directory, but no cgroup: clone3 refuses
  (*agent).Launch(4, order);
  CHECK(agent.Next<RefusedEvent>().failure.error == EBADF);
  CHECK(fs::is_empty(scratch / "bad") && fs::is_empty(scratch / "bad2"));

  // What belongs to somebody else stays.
  order.cgroup_path.clear();
  std::ofstream(scratch / "bad2" / "pages") << "mine";
  (*agent).Launch(5, order);
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
    (*first).Launch(1, order);
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
  CHECK((*second).Send(adopted.handle, VOLLEY_CMD_PAUSE, 9) == 0);
  CHECK(second.Next<RepliedEvent>().status == 0);
  (*second).Kill(adopted.handle);
  CHECK(second.Next<ExitedEvent>().evidence.kill_requested);
  // Its own parent is this very process, so the end has to be collected here.
  CHECK(waitpid(pid, nullptr, 0) == pid);
  (*second).Adopt(6, adopt);
  second.Next<GoneEvent>();
}

void AUndeliveredLaunchIsUndoneOnClose() {
  const auto order = Order("undone", "");
  {
    Agent agent;
    (*agent).Launch(1, order);
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
  if (access("/dev/kvm", R_OK | W_OK) != 0) {
    fprintf(stderr, "SKIPPED: /dev/kvm cannot be opened, and a launch begins with opening it\n");
    return 0;
  }
  fake_vmm = argv[1];
  char name[] = "/tmp/volley-spawn-test-XXXXXX";
  CHECK(mkdtemp(name) != nullptr);
  scratch = name;
  std::ofstream(scratch / "kernel") << "kernel";
  const size_t before = OpenDescriptors();
  AChildGetsWhatItNeedsAndNothingElse();
  NothingIsLeftWhenExecFails();
  BadOrdersLeaveNothing();
  AVmmOutlivesItsAgentAndIsFoundAndAdopted();
  AUndeliveredLaunchIsUndoneOnClose();
  CHECK(OpenDescriptors() == before);
  fs::remove_all(scratch);
}
