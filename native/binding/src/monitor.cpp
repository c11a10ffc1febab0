#include "monitor.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "clock.h"
#include "launch.h"

namespace volley {
namespace {

enum Source : uint64_t { kWake = 0, kEnd = 1, kControl = 2 };

uint64_t Tag(uint32_t handle, Source source) { return static_cast<uint64_t>(handle) << 2 | source; }

// A VMM that talks without being asked is broken or hostile; it must not keep this thread busy.
constexpr uint32_t kUnsolicitedAllowed = 256;
constexpr int kMessagesPerTurn = 32;

// A guest that opens more connections to the host than this is refused the rest: each costs this thread some work.
constexpr uint32_t kAsksPerSecond = 1000;
// How long a connection waits for room at a service that is behind, and how often it looks. The VMM gives up after 2 s.
constexpr uint64_t kAskPatienceNs = 1'500'000'000;
constexpr int kAskAgainMs = 5;
constexpr size_t kPostponedAtMost = 1024;

}  // namespace

Result<bool> Monitor::Start() {
  epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.is_open()) return FailedCall(errno, "cannot make an epoll instance");
  wake_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_.is_open()) return FailedCall(errno, "cannot make an eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = Tag(0, kWake);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) < 0) return FailedCall(errno, "epoll_ctl failed");
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(), "vmm-monitor");
  return true;
}

void Monitor::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(wake_.get(), &one, sizeof one);
  thread_.join();
}

Result<bool> Monitor::WatchLocked(const std::shared_ptr<Vmm>& vmm) {
  {
    std::lock_guard lock(mutex_);
    vmms_[vmm->handle] = vmm;
  }
  if (auto watched = WatchControlLocked(*vmm); !watched) return watched;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = Tag(vmm->handle, kEnd);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, vmm->pidfd.get(), &event) < 0) {
    return FailedCall(errno, "cannot watch a process");
  }
  return true;
}

Result<bool> Monitor::WatchControlLocked(const Vmm& vmm) {
  if (!vmm.control.is_open()) return true;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = Tag(vmm.handle, kControl);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, vmm.control.get(), &event) < 0) {
    return FailedCall(errno, "cannot watch a control connection");
  }
  return true;
}

std::shared_ptr<Vmm> Monitor::Find(uint32_t handle) {
  std::lock_guard lock(mutex_);
  const auto found = vmms_.find(handle);
  return found == vmms_.end() ? nullptr : found->second;
}

void Monitor::Forget(uint32_t handle) {
  std::lock_guard lock(mutex_);
  vmms_.erase(handle);
}

void Monitor::Release(uint32_t handle) {
  const auto vmm = Find(handle);
  if (!vmm) return;
  bool reaping = false;
  {
    std::lock_guard lock(vmm->mutex);
    vmm->released = true;
    vmm->pages.reset();
    // Closing removes a descriptor from epoll: nobody else holds a duplicate of it.
    vmm->control.reset();
    reaping = vmm->is_child && vmm->pidfd.is_open();
    if (!reaping) vmm->pidfd.reset();
  }
  if (!reaping) Forget(handle);
}

void Monitor::Run() {
  std::array<epoll_event, 256> ready;
  for (;;) {
    const int count =
        epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), postponed_.empty() ? -1 : kAskAgainMs);
    if (!postponed_.empty()) AskAgain();
    if (count < 0) continue;  // EINTR
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      const uint64_t tag = ready[i].data.u64;
      const auto source = static_cast<Source>(tag & 3);
      if (source == kWake) return;
      const auto vmm = Find(static_cast<uint32_t>(tag >> 2));
      if (!vmm) continue;  // released since epoll_wait returned
      if (source == kControl) {
        ReadControl(*vmm);
      } else {
        HandleEnd(vmm);
      }
    }
  }
}

void Monitor::ReadControl(Vmm& vmm) {
  std::lock_guard lock(vmm.mutex);
  ReadControlLocked(vmm);
}

void Monitor::ReadControlLocked(Vmm& vmm) {
  for (int turn = 0; turn < kMessagesPerTurn && vmm.control.is_open(); ++turn) {
    volley_message message{};
    // MSG_TRUNC: the length of the packet, even if it is longer than a message.
    const ssize_t n = recv(vmm.control.get(), &message, sizeof message, MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    // Comes first, ahead of messages still in the queue, when the VMM ended without reading our last command.
    if (n < 0 && errno == ECONNRESET) continue;
    if (n <= 0) return DisconnectLocked(vmm, "the VMM closed the control connection");
    if (n != sizeof message) return DisconnectLocked(vmm, "the VMM sent a packet that is not a control message");
    TakeMessageLocked(vmm, message);
  }
}

void Monitor::TakeMessageLocked(Vmm& vmm, const volley_message& message) {
  if (message.type == VOLLEY_REPLY) {
    const auto awaited = std::find(vmm.awaited.begin(), vmm.awaited.end(), message.request_id);
    if (awaited != vmm.awaited.end()) {
      vmm.awaited.erase(awaited);
      RepliedEvent replied{vmm.handle, message.request_id, message.status, message.payload.count, {}};
      std::copy_n(message.payload.bytes_in, replied.payload.size(), replied.payload.begin());
      return events_.Push(replied);
    }
  }
  if (message.type == VOLLEY_NOTE_BOOTED) {
    if (!vmm.boot_reported) return ReportBootLocked(vmm, message.time_ns);
  }
  if (message.type == VOLLEY_ASK_VSOCK) return TakeAskLocked(vmm, message);
  if (++vmm.unsolicited > kUnsolicitedAllowed) DisconnectLocked(vmm, "the VMM sends messages that nobody asked for");
}

void Monitor::TakeAskLocked(Vmm& vmm, const volley_message& ask) {
  const uint64_t now = MonotonicNs();
  if (now - vmm.asks_since_ns > 1'000'000'000) {
    vmm.asks_since_ns = now;
    vmm.asks = 0;
  }
  VsockBroker::Connection connection{ECONNREFUSED, {}};
  if (++vmm.asks <= kAsksPerSecond) connection = broker_.Connect(vmm.directory, vmm.id, ask.argument);
  if (connection.error == EAGAIN && postponed_.size() < kPostponedAtMost) {
    postponed_.push_back({vmm.handle, ask, now + kAskPatienceNs});
    return;
  }
  const int error = AnswerVsock(vmm.control.get(), ask.request_id, connection);
  // An answer that finds no room is given up by the VMM after its deadline; a broken connection shows itself.
  (void)error;
}

void Monitor::AskAgain() {
  const uint64_t now = MonotonicNs();
  std::erase_if(postponed_, [this, now](const Postponed& postponed) {
    const auto vmm = Find(postponed.handle);
    if (!vmm) return true;
    std::lock_guard lock(vmm->mutex);
    if (!vmm->control.is_open()) return true;
    const auto connection = broker_.Connect(vmm->directory, vmm->id, postponed.ask.argument);
    if (connection.error == EAGAIN && now < postponed.until_ns) return false;
    (void)AnswerVsock(vmm->control.get(), postponed.ask.request_id, connection);
    return true;
  });
}

void Monitor::ReportBootLocked(Vmm& vmm, uint64_t at_ns) {
  if (std::exchange(vmm.boot_reported, true)) return;
  const uint64_t now = MonotonicNs();
  events_.Push(BootedEvent{vmm.handle, at_ns == 0 || at_ns > now ? now : at_ns});
}

void Monitor::DisconnectLocked(Vmm& vmm, const char* why) {
  vmm.control.reset();
  // Every VMM that ends closes its connection first. That is only news to those who wait for an answer.
  if (std::exchange(vmm.awaited, {}).empty()) return;
  events_.Push(DisconnectedEvent{vmm.handle, why});
}

void Monitor::HandleEnd(const std::shared_ptr<Vmm>& vmm) {
  ExitEvidence evidence;
  std::unique_lock lock(vmm->mutex);
  if (!vmm->pidfd.is_open()) return;
  // Notes sent just before the end still count.
  if (vmm->control.is_open()) ReadControlLocked(*vmm);

  if (vmm->is_child) {
    siginfo_t ended{};
    int result = 0;
    do {
      result = waitid(P_PIDFD, static_cast<id_t>(vmm->pidfd.get()), &ended, WEXITED | WNOHANG | __WALL);
    } while (result < 0 && errno == EINTR);
    if (result == 0 && ended.si_pid == 0) return;  // not ended after all
    if (result == 0) {
      evidence.status_code = ended.si_code;
      evidence.status = ended.si_status;
    }
  }
  if (vmm->is_shell) {
    const bool unheard = vmm->released;
    vmm->pidfd.reset();
    vmm->birth.reset();
    lock.unlock();
    Forget(vmm->handle);
    if (!unheard) events_.Push(ShellEndedEvent{vmm->handle});
    return;
  }
  const auto status_code = evidence.status_code;
  const int status = evidence.status;
  const bool released = vmm->released;
  if (vmm->pages) {
    evidence = ReadExitEvidence(*vmm->pages);
    evidence.status_code = status_code;
    evidence.status = status;
    if (auto stats = vmm->pages->ReadStats(); stats && stats->booted_ns != 0) ReportBootLocked(*vmm, stats->booted_ns);
  }
  evidence.kill_requested = vmm->kill_requested;
  if (evidence.at_ns == 0) evidence.at_ns = MonotonicNs();
  vmm->pidfd.reset();
  vmm->control.reset();
  vmm->awaited.clear();
  lock.unlock();

  if (released) return Forget(vmm->handle);
  const bool perhaps_sigkill = !status_code || (*status_code != CLD_EXITED && status == SIGKILL);
  if (evidence.page_reason == VOLLEY_EXIT_NONE && perhaps_sigkill && !evidence.kill_requested) {
    const auto verdict = oom_.Ask(vmm->pid, vmm->launched_ns);
    evidence.oom_killed = verdict == OomWatch::Verdict::kYes;
    evidence.oom_suspected = verdict == OomWatch::Verdict::kPerhaps;
  }
  events_.Push(ExitedEvent{vmm->handle, std::move(evidence)});
}

}  // namespace volley
