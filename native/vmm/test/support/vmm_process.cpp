#include "support/vmm_process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/clock.h"

namespace volley::test {
namespace {

constexpr int kMessageDeadlineMs = 5'000;
constexpr int kEndDeadlineMs = 30'000;
constexpr int kFirstFreeFd = 64;  // the child's descriptors are moved up here before they get their numbers

[[noreturn]] void give_up(const char* what) {
  perror(what);
  abort();
}

int must(int result, const char* what) {
  if (result < 0) give_up(what);
  return result;
}

UniqueFd moved_up(int fd) { return UniqueFd(must(fcntl(fd, F_DUPFD_CLOEXEC, kFirstFreeFd), "fcntl(F_DUPFD)")); }

// An abstract address that the kernel picks: nothing to clean up.
UniqueFd listen_anywhere() {
  UniqueFd fd(must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), "socket"));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  must(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address.sun_family)), "bind");
  must(listen(fd.get(), 8), "listen");
  return fd;
}

pid_t clone_with_pidfd(int* pidfd) {
  clone_args arguments{};
  arguments.flags = CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<uint64_t>(pidfd);
  arguments.exit_signal = SIGCHLD;
  return static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof(arguments)));
}

}  // namespace

bool kvm_available() {
  const UniqueFd kvm(open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (kvm.is_open()) return true;
  fprintf(stderr, "SKIPPED: /dev/kvm cannot be opened (%s); these tests need a host that runs microVMs\n",
          strerror(errno));
  return false;
}

VmmProcess::VmmProcess(const LaunchOptions& options) {
  const char* kernel_path = options.kernel_path.empty() ? VOLLEY_CANARY_PATH : options.kernel_path.c_str();
  const UniqueFd kvm(must(open(options.kvm_path.c_str(), O_RDWR | O_CLOEXEC), options.kvm_path.c_str()));
  const UniqueFd kernel(must(open(kernel_path, O_RDONLY | O_CLOEXEC), kernel_path));
  struct stat kernel_file;
  must(fstat(kernel.get(), &kernel_file), "fstat");

  listener_ = listen_anywhere();
  page_file_.reset(must(memfd_create("pages", MFD_CLOEXEC), "memfd_create"));
  must(ftruncate(page_file_.get(), static_cast<off_t>(options.page_file_size)), "ftruncate");
  if (!pages_.map_shared(page_file_.get(), VOLLEY_PAGES_SIZE, "pages").is_ok()) give_up("mmap");

  volley_config config{};
  config.magic = VOLLEY_CONFIG_MAGIC;
  config.abi_version = VOLLEY_ABI_VERSION;
  config.boot_protocol = VOLLEY_BOOT_FLAT;
  config.irqchip = options.irqchip;
  config.vcpus = options.vcpus;
  config.memory_bytes = options.memory_mib << 20;
  config.kernel_size = static_cast<uint64_t>(kernel_file.st_size);
  config.flags = options.flags;
  snprintf(config.id, sizeof(config.id), "01TEST%010d", getpid());
  config.cmdline_length = static_cast<uint32_t>(options.cmdline.size());
  memcpy(config.cmdline, options.cmdline.c_str(), std::min<size_t>(options.cmdline.size(), VOLLEY_CMDLINE_MAX - 1));
  if (options.mutate) options.mutate(config);

  connection_ = connect();
  const UniqueFd passed[] = {moved_up(kvm.get()), moved_up(listener_.get()), moved_up(page_file_.get()),
                             moved_up(kernel.get())};
  launched_ns_ = monotonic_ns();
  config.launched_ns = launched_ns_;
  if (options.page_file_size >= sizeof(config)) memcpy(pages_.data(), &config, sizeof(config));

  char name[] = "volley-vmm";
  char* arguments[] = {name, nullptr};
  int pidfd = -1;
  pid_ = must(clone_with_pidfd(&pidfd), "clone3");
  if (pid_ == 0) {
    for (int i = 0; i < 4; ++i) {
      if (dup2(passed[i].get(), VOLLEY_FD_KVM + i) < 0) _exit(126);
    }
    execve(VOLLEY_VMM_PATH, arguments, environ);
    _exit(127);
  }
  pidfd_.reset(pidfd);
}

VmmProcess::~VmmProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

uint64_t VmmProcess::now_ns() { return monotonic_ns(); }

UniqueFd VmmProcess::connect() const {
  sockaddr_un address{};
  socklen_t length = sizeof(address);
  must(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
  UniqueFd fd(must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), "socket"));
  must(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), length), "connect");
  return fd;
}

void VmmProcess::send(uint32_t type, uint32_t request_id) {
  const volley_message message{.type = type, .request_id = request_id, .status = 0, .argument = 0, .time_ns = 0};
  ::send(connection_.get(), &message, sizeof(message), MSG_NOSIGNAL);
}

std::optional<volley_message> VmmProcess::receive() {
  pollfd ready{connection_.get(), POLLIN, 0};
  if (poll(&ready, 1, kMessageDeadlineMs) <= 0) return std::nullopt;
  volley_message message{};
  if (recv(connection_.get(), &message, sizeof(message), 0) != sizeof(message)) return std::nullopt;
  return message;
}

std::optional<volley_message> VmmProcess::await(uint32_t type) {
  while (std::optional<volley_message> message = receive()) {
    if (message->type == type) return message;
  }
  return std::nullopt;
}

int VmmProcess::command(uint32_t type) {
  const uint32_t id = next_request_++;
  send(type, id);
  while (std::optional<volley_message> reply = await(VOLLEY_REPLY)) {
    if (reply->request_id == id && reply->argument == type) return reply->status;
  }
  return -1;
}

std::optional<ProcessEnd> VmmProcess::await_end() {
  pollfd ready{pidfd_.get(), POLLIN, 0};
  if (poll(&ready, 1, kEndDeadlineMs) <= 0) return std::nullopt;
  int status = 0;
  if (waitpid(pid_, &status, 0) != pid_) return std::nullopt;
  pid_ = -1;
  if (WIFEXITED(status)) return ProcessEnd{true, WEXITSTATUS(status)};
  return ProcessEnd{false, WTERMSIG(status)};
}

bool VmmProcess::await_page(const std::function<bool(const volley_stats&)>& condition) const {
  const uint64_t deadline = monotonic_ns() + kMessageDeadlineMs * 1'000'000ull;
  while (!condition(stats())) {
    if (monotonic_ns() > deadline) return false;
    usleep(200);
  }
  return true;
}

const volley_stats& VmmProcess::stats() const {
  return *reinterpret_cast<const volley_stats*>(pages_.data() + VOLLEY_STATS_OFFSET);
}

uint32_t VmmProcess::state() const {
  auto& stats = *reinterpret_cast<volley_stats*>(pages_.data() + VOLLEY_STATS_OFFSET);
  return std::atomic_ref<uint32_t>(stats.state).load(std::memory_order_acquire);
}

std::string VmmProcess::serial() const {
  const uint64_t head = stats().serial_bytes;
  const uint64_t start = head > VOLLEY_SERIAL_RING ? head - VOLLEY_SERIAL_RING : 0;
  std::string text;
  for (uint64_t i = start; i < head; ++i) {
    text += static_cast<char>(pages_.data()[VOLLEY_SERIAL_OFFSET + i % VOLLEY_SERIAL_RING]);
  }
  return text;
}

uint64_t VmmProcess::thread_cpu_ns(pid_t tid) const {
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid_, tid);
  FILE* file = fopen(path, "re");
  if (file == nullptr) return 0;
  unsigned long long ns = 0;
  if (fscanf(file, "%llu", &ns) != 1) ns = 0;
  fclose(file);
  return ns;
}

}  // namespace volley::test
