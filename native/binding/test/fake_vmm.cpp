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
          std::to_string(variables) + "\nkernel " + std::to_string(lseek(VOLLEY_FD_KERNEL, 0, SEEK_END)) + "\n";
  Print(text);
}

void Send(int connection, uint32_t type, uint32_t request, int32_t status, uint32_t argument) {
  const volley_message message{type, request, status, argument, Now()};
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
    default:
      return Send(connection, VOLLEY_REPLY, command.request_id, 0, command.type);
  }
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
  if (Asked("truncate") && ftruncate(VOLLEY_FD_PAGES, 0) != 0) _exit(8);
}

}  // namespace

int main() {
  void* mapped = mmap(nullptr, VOLLEY_PAGES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, VOLLEY_FD_PAGES, 0);
  if (mapped == MAP_FAILED) return 2;
  pages = static_cast<char*>(mapped);
  memcpy(&config, pages, sizeof config);
  if (config.magic != VOLLEY_CONFIG_MAGIC) return 2;
  if (Asked("early")) Die();

  Stats().abi_version = VOLLEY_ABI_VERSION;
  Stats().pid = static_cast<uint32_t>(getpid());
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

  pollfd caller{VOLLEY_FD_CONTROL, POLLIN, 0};
  if (poll(&caller, 1, -1) < 0) return 3;
  int connection = accept4(VOLLEY_FD_CONTROL, nullptr, nullptr, SOCK_CLOEXEC);
  if (connection < 0) return 3;
  if (Asked("hang-up")) {
    close(connection);
    for (;;) pause();
  }
  if (Asked("flood")) {
    for (int i = 0; i < 100000; ++i) Send(connection, VOLLEY_REPLY, 7, 0, 0);
  }
  if (Asked("odd-packet") && send(connection, "hello", 5, MSG_NOSIGNAL) != 5) return 4;

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
    pollfd watched[] = {{VOLLEY_FD_CONTROL, POLLIN, 0}, {connection, POLLIN, 0}};
    if (poll(watched, 2, -1) < 0) return 5;
    if (watched[0].revents != 0) {
      if (connection >= 0) close(connection);
      connection = accept4(VOLLEY_FD_CONTROL, nullptr, nullptr, SOCK_CLOEXEC);
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
