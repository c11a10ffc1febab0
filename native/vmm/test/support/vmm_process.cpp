#include "support/vmm_process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/clock.h"

namespace volley::test {
namespace {

constexpr int kMessageDeadlineMs = 30'000;
constexpr int kEndDeadlineMs = 30'000;
// Room for the id, which the VMM writes there once it knows it.
char kTitle[] = "shell                                                           ";

[[noreturn]] void give_up(const char* what) {
  perror(what);
  abort();
}

int must(int result, const char* what) {
  if (result < 0) give_up(what);
  return result;
}

// An abstract address that the kernel picks: nothing to clean up.
UniqueFd listen_anywhere() {
  UniqueFd fd(must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), "socket"));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  must(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address.sun_family)), "bind");
  must(listen(fd.get(), 8), "listen");
  return fd;
}

pid_t clone_with_pidfd(int* pidfd, uint64_t flags) {
  clone_args arguments{};
  arguments.flags = CLONE_PIDFD | flags;
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

ShellProcess::ShellProcess(const ShellOptions& options) {
  int ends[2];
  must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), "socketpair");
  socket.reset(ends[0]);
  const UniqueFd theirs(ends[1]);
  const char* path = options.vmm_path.empty() ? VOLLEY_VMM_PATH : options.vmm_path.c_str();
  char name[] = "volley-vmm";
  char* arguments[] = {name, kTitle, nullptr};
  std::vector<char*> environment;
  for (const std::string& variable : options.environment) environment.push_back(const_cast<char*>(variable.c_str()));
  environment.push_back(nullptr);
  int fd = -1;
  pid = must(clone_with_pidfd(&fd, (options.barriers & VOLLEY_BARRIER_PIDS) != 0 ? CLONE_NEWPID : 0), "clone3");
  if (pid == 0) {
    // dup2() onto itself would leave close-on-exec set.
    const int born_with =
        theirs.get() == VOLLEY_FD_BIRTH ? fcntl(theirs.get(), F_SETFD, 0) : dup2(theirs.get(), VOLLEY_FD_BIRTH);
    if (born_with < 0) _exit(126);
    execve(path, arguments, environment.data());
    _exit(127);
  }
  pidfd.reset(fd);
  volley_jail_order order{};
  order.barriers = options.barriers;
  order.uid = options.uid;
  order.gid = options.gid;
  order.open_files = options.open_files;
  order.file_bytes = options.file_bytes;
  const int error = send_jail_order(socket.get(), order, options.namespaces);
  if (error != 0 && error != EPIPE) {
    errno = error;
    give_up("send the jail order");
  }
}

ShellProcess::~ShellProcess() {
  if (pid <= 0) return;
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

std::optional<volley_shell_report> ShellProcess::report() const {
  volley_shell_report report{};
  if (receive_shell_report(socket.get(), kMessageDeadlineMs, &report) != 0) return std::nullopt;
  return report;
}

VmmProcess::VmmProcess(const LaunchOptions& options) {
  launched_ns_ = monotonic_ns();
  launch(options, ShellProcess(options.shell));
}

VmmProcess::VmmProcess(const LaunchOptions& options, ShellProcess shell) {
  launched_ns_ = monotonic_ns();
  launch(options, std::move(shell));
}

void VmmProcess::launch(const LaunchOptions& options, ShellProcess shell) {
  const char* kernel_path = options.kernel_path.empty() ? VOLLEY_CANARY_PATH : options.kernel_path.c_str();
  const char* kvm_path = options.kvm_path.c_str();
  const UniqueFd kvm(options.kvm_path.empty() ? -1 : must(open(kvm_path, O_RDWR | O_CLOEXEC), kvm_path));
  const UniqueFd kernel(options.boots ? must(open(kernel_path, O_RDONLY | O_CLOEXEC), kernel_path) : -1);
  struct stat kernel_file {};
  if (options.boots) must(fstat(kernel.get(), &kernel_file), "fstat");

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
  config.launched_ns = launched_ns_;
  config.flags = options.flags;
  snprintf(config.id, sizeof(config.id), "01TEST%010d", getpid());
  config.cmdline_length = static_cast<uint32_t>(options.cmdline.size());
  memcpy(config.cmdline, options.cmdline.c_str(), std::min<size_t>(options.cmdline.size(), VOLLEY_CMDLINE_MAX - 1));
  if (options.mutate) options.mutate(config);
  if (options.page_file_size >= VOLLEY_STATS_OFFSET + sizeof(volley_stats)) {
    memcpy(pages_.data(), &config, sizeof(config));
    reinterpret_cast<volley_stats*>(pages_.data() + VOLLEY_STATS_OFFSET)->pid = static_cast<uint32_t>(shell.pid);
  }
  connection_ = connect();

  std::vector<PassedFd> descriptors = {{VOLLEY_ROLE_CONTROL, listener_.get()}, {VOLLEY_ROLE_PAGES, page_file_.get()}};
  if (kvm.is_open()) descriptors.push_back({VOLLEY_ROLE_KVM, kvm.get()});
  if (options.boots) descriptors.push_back({VOLLEY_ROLE_KERNEL, kernel.get()});
  descriptors.insert(descriptors.end(), options.descriptors.begin(), options.descriptors.end());
  const int error = send_launch_order(shell.socket.get(), descriptors);
  if (error != 0 && error != EPIPE) {
    errno = error;
    give_up("send the launch order");
  }
  pid_ = std::exchange(shell.pid, -1);
  pidfd_ = std::move(shell.pidfd);
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
  const volley_message message{
      .type = type, .request_id = request_id, .status = 0, .argument = 0, .time_ns = 0, .payload = {}};
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

std::optional<volley_message> VmmProcess::request(volley_message message) {
  message.request_id = next_request_++;
  send(message);
  while (std::optional<volley_message> reply = await(VOLLEY_REPLY)) {
    if (reply->request_id == message.request_id && reply->argument == message.type) return reply;
  }
  return std::nullopt;
}

void VmmProcess::send(const volley_message& message, int fd) { send(message, fd, -1); }

void VmmProcess::send(const volley_message& message, int fd, int second) {
  volley_message copy = message;
  iovec part{&copy, sizeof(copy)};
  const int fds[] = {fd, second};
  const size_t count = fd < 0 ? 0 : second < 0 ? 1 : 2;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(fds))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (count != 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
  }
  sendmsg(connection_.get(), &header, MSG_NOSIGNAL);
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
