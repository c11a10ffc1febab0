// A stand-in that speaks the contract of volley_abi.h without KVM, for what a real VMM must never do: not answer, lie,
// die at any step. Words of the kernel command line choose its behaviour, in the order below.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "volley_abi.h"

namespace {

uint64_t Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

char* pages = nullptr;
volley_config config{};
volley_launch_order launch{};
int passed[VOLLEY_ROLES_MAX];

int Passed(uint16_t role) {
  for (uint32_t i = 0; i < launch.fd_count; ++i) {
    if (launch.roles[i] == role) return passed[i];
  }
  return -1;
}

// Receives an order and the descriptors with it. False at the end of the agent.
bool Receive(void* order, size_t size) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof passed)];
  iovec part{order, size};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  if (recvmsg(VOLLEY_FD_BIRTH, &header, MSG_CMSG_CLOEXEC) != static_cast<ssize_t>(size)) return false;
  if (const cmsghdr* rights = CMSG_FIRSTHDR(&header)) {
    memcpy(passed, CMSG_DATA(rights), rights->cmsg_len - CMSG_LEN(0));
  }
  return true;
}

volley_stats& Stats() { return *reinterpret_cast<volley_stats*>(pages + VOLLEY_STATS_OFFSET); }

bool Asked(const char* word) {
  const std::string text = ' ' + std::string(config.cmdline) + ' ';
  return text.find(' ' + std::string(word) + ' ') != std::string::npos;
}

void Print(const std::string& text) {
  uint64_t head = Stats().serial_bytes;
  for (const char byte : text) {
    pages[VOLLEY_SERIAL_OFFSET + head % VOLLEY_SERIAL_RING] = byte;
    ++head;
  }
  std::atomic_ref<uint64_t>(Stats().serial_bytes).store(head, std::memory_order_release);
}

[[noreturn]] void End(volley_exit_reason reason, const char* message) {
  Stats().exit_reason = reason;
  snprintf(Stats().exit_message, sizeof Stats().exit_message, "%s", message);
  Stats().exited_ns = Now();
  std::atomic_ref<uint32_t>(Stats().state).store(VOLLEY_VMM_EXITED, std::memory_order_release);
  _exit(0);
}

// What the process was given, for the test to compare with what it should have been given.
void Confess() {
  std::string text = "fds";
  for (int fd = 0; fd < 1024; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) text += ' ' + std::to_string(fd);
  }
  sigset_t mask;
  sigprocmask(SIG_SETMASK, nullptr, &mask);
  int blocked = 0;
  int ignored = 0;
  for (int signal = 1; signal <= 31; ++signal) {
    blocked += sigismember(&mask, signal);
    struct sigaction action {};
    if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) ++ignored;
  }
  char cwd[256] = "?";
  if (getcwd(cwd, sizeof cwd) == nullptr) cwd[0] = '?';
  int variables = 0;
  while (environ[variables] != nullptr) ++variables;
  text += "\nblocked " + std::to_string(blocked) + "\nignored " + std::to_string(ignored) + "\nsession " +
          (getsid(0) == getpid() ? "own" : "inherited") + "\ncwd " + cwd + "\nenvironment " +
          std::to_string(variables) + "\nkernel " + std::to_string(lseek(Passed(VOLLEY_ROLE_KERNEL), 0, SEEK_END)) +
          "\n";
  Print(text);
}

void Send(int connection, uint32_t type, uint32_t request, int32_t status, uint32_t argument) {
  const volley_message message{type, request, status, argument, Now(), {}};
  send(connection, &message, sizeof message, MSG_NOSIGNAL);
}

void Answer(int connection, const volley_message& command) {
  switch (command.type) {
    case VOLLEY_CMD_PAUSE:
      if (Asked("refuse-pause")) return Send(connection, VOLLEY_REPLY, command.request_id, EBUSY, command.type);
      if (Asked("die-on-pause")) _exit(9);
      Stats().state = VOLLEY_VMM_PAUSED;
      return Send(connection, VOLLEY_REPLY, command.request_id, 0, command.type);
    case VOLLEY_CMD_RESUME:
      Stats().state = VOLLEY_VMM_RUNNING;
      return Send(connection, VOLLEY_REPLY, command.request_id, 0, command.type);
    case VOLLEY_CMD_STOP:
      Send(connection, VOLLEY_REPLY, command.request_id, 0, command.type);
      if (Asked("eat-memory")) {
        for (;;) {
          void* more = mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
          if (more == MAP_FAILED) End(VOLLEY_EXIT_VMM_ERROR, "mmap failed before the OOM killer came");
          memset(more, 1, 1 << 20);
        }
      }
      End(VOLLEY_EXIT_POWER_OFF, "powered off");
    case VOLLEY_CMD_QUIT:
      End(VOLLEY_EXIT_REQUESTED, "asked to end");
    case VOLLEY_CMD_SERIAL_INPUT:
    case VOLLEY_CMD_SET_LIMIT:
    case VOLLEY_CMD_SET_BALLOON: {
      // What came, for the test to compare; and a count that says that not everything fitted.
      const auto* bytes = reinterpret_cast<const unsigned char*>(&command.payload);
      std::string text = std::to_string(command.type) + ' ' + std::to_string(command.argument);
      for (size_t i = 0; i < sizeof command.payload; ++i) text += ' ' + std::to_string(bytes[i]);
      Print(text + "\n");
      volley_message reply{VOLLEY_REPLY, command.request_id, 0, command.type, Now(), {}};
      reply.payload.count = command.argument / 2;
      send(connection, &reply, sizeof reply, MSG_NOSIGNAL);
      return;
    }
    default:
      return Send(connection, VOLLEY_REPLY, command.request_id, 0, command.type);
  }
}

// Asks for a connection to the host's port 80 once, prints what it reads on it, then goes on as usual.
void AskForPort(int connection, uint32_t port) {
  Send(connection, VOLLEY_ASK_VSOCK, 77, 0, port);
  volley_message answer{};
  iovec part{&answer, sizeof answer};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  if (recvmsg(connection, &header, 0) != sizeof answer || answer.type != VOLLEY_CMD_VSOCK_ANSWER ||
      answer.request_id != 77) {
    return Print("no answer\n");
  }
  const cmsghdr* rights = CMSG_FIRSTHDR(&header);
  if (answer.status != 0 || rights == nullptr) return Print("refused " + std::to_string(answer.status) + "\n");
  int fd = -1;
  memcpy(&fd, CMSG_DATA(rights), sizeof fd);
  pollfd ready{fd, POLLIN, 0};
  char text[100];
  std::string got;
  while (poll(&ready, 1, 5000) == 1) {
    const ssize_t n = read(fd, text, sizeof text);
    if (n <= 0) break;
    got.append(text, static_cast<size_t>(n));
  }
  Print("connected: " + got);
  close(fd);
}

void Die() {
  if (Asked("exit-3")) _exit(3);
  if (Asked("sigkill")) raise(SIGKILL);
  if (Asked("sigsys")) raise(SIGSYS);
  if (Asked("sigsegv")) raise(SIGSEGV);
  if (Asked("claims-oom")) End(VOLLEY_EXIT_OUT_OF_MEMORY, "not mine to say");
  if (Asked("panic")) End(VOLLEY_EXIT_PANIC, "guest\x1b[31m pa\xffnicked\n");
}

void Lie() {
  if (Asked("endless-message")) {
    memset(Stats().exit_message, 'A', sizeof Stats().exit_message);
    Stats().exit_reason = VOLLEY_EXIT_VMM_ERROR;
    Stats().state = VOLLEY_VMM_EXITED;
    _exit(1);
  }
  if (Asked("huge-counters")) {
    Stats().serial_bytes = UINT64_MAX;
    Stats().exits_total = UINT64_MAX;
    Stats().booted_ns = UINT64_MAX;
    Stats().guest_memory_bytes = UINT64_MAX;
  }
  if (Asked("bad-magic")) Stats().magic = 42;
  if (Asked("other-version")) Stats().abi_version = 77;
  if (Asked("truncate") && ftruncate(Passed(VOLLEY_ROLE_PAGES), 0) != 0) _exit(8);
}

}  // namespace

int main(int, char** arguments) {
  volley_jail_order jail{};
  if (!Receive(&jail, sizeof jail)) return 0;
  volley_shell_report report{};
  report.magic = VOLLEY_SHELL_MAGIC;
  report.abi_version = VOLLEY_ABI_VERSION;
  // It claims to be jailed, but for a user that nobody has: a jail that cannot be built.
  constexpr uint32_t kUnlucky = 4242;
  report.barriers = jail.barriers;
  if (jail.uid == kUnlucky) {
    report.status = EPERM;
    report.failed = VOLLEY_BARRIER_IDS;
    strcpy(report.message, "ids: this user brings bad luck");
  }
  if (send(VOLLEY_FD_BIRTH, &report, sizeof report, MSG_NOSIGNAL) < 0 || report.status != 0) return 1;
  if (!Receive(&launch, sizeof launch)) return 0;
  close(VOLLEY_FD_BIRTH);
  const int listener = Passed(VOLLEY_ROLE_CONTROL);

  void* mapped = mmap(nullptr, VOLLEY_PAGES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, Passed(VOLLEY_ROLE_PAGES), 0);
  if (mapped == MAP_FAILED) return 2;
  pages = static_cast<char*>(mapped);
  memcpy(&config, pages, sizeof config);
  if (config.magic != VOLLEY_CONFIG_MAGIC) return 2;
  const size_t room = strlen(arguments[1]);
  memset(arguments[1], 0, room);
  memcpy(arguments[1], config.id, strnlen(config.id, room));
  if (Asked("early")) Die();

  Stats().abi_version = VOLLEY_ABI_VERSION;
  Stats().entered_ns = Now();
  Stats().state = VOLLEY_VMM_RUNNING;
  Stats().vcpu_tids[0] = static_cast<uint32_t>(getpid());
  Stats().magic = VOLLEY_STATS_MAGIC;
  if (Asked("confess")) Confess();
  if (Asked("babble")) {
    for (int line = 0; line < 20000; ++line) Print("line " + std::to_string(line) + "\n");
  }
  if (Asked("split-character")) Print("h\xc3\xa9llo \xff \xe2\x82");
  if (Asked("silent")) {
    for (;;) pause();
  }

  pollfd caller{listener, POLLIN, 0};
  if (poll(&caller, 1, -1) < 0) return 3;
  int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (connection < 0) return 3;
  if (Asked("hang-up")) {
    close(connection);
    for (;;) pause();
  }
  if (Asked("flood")) {
    for (int i = 0; i < 100000; ++i) Send(connection, VOLLEY_REPLY, 7, 0, 0);
  }
  if (Asked("odd-packet") && send(connection, "hello", 5, MSG_NOSIGNAL) != 5) return 4;

  if (Asked("ask-80")) AskForPort(connection, 80);
  if (!Asked("never-boot")) {
    Stats().booted_ns = Now();
    if (!Asked("no-note")) Send(connection, VOLLEY_NOTE_BOOTED, 0, 0, 0);
  }
  if (Asked("boot-twice")) Send(connection, VOLLEY_NOTE_BOOTED, 0, 0, 0);
  Lie();
  Die();
  if (Asked("deaf")) {
    for (;;) pause();
  }

  for (;;) {
    pollfd watched[] = {{listener, POLLIN, 0}, {connection, POLLIN, 0}};
    if (poll(watched, 2, -1) < 0) return 5;
    if (watched[0].revents != 0) {
      if (connection >= 0) close(connection);
      connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (Stats().booted_ns != 0) Send(connection, VOLLEY_NOTE_BOOTED, 0, 0, 0);
      continue;
    }
    volley_message command{};
    const ssize_t n = recv(connection, &command, sizeof command, 0);
    if (n == sizeof command) {
      Answer(connection, command);
    } else if (n <= 0) {
      close(connection);
      connection = -1;
    }
  }
}
