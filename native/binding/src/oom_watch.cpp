#include "oom_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>

#include "proc.h"

namespace volley {
namespace {

// Inode of the first pid namespace, a constant of the kernel's interface (PROC_PID_INIT_INO).
constexpr ino_t kFirstPidNamespace = 0xEFFFFFFC;
constexpr size_t kVictimsRemembered = 1024;
// The kernel sends the signal just before it writes the record.
constexpr int kLogAttempts = 5;
constexpr int kLogWaitMs = 2;
// The log's clock and CLOCK_MONOTONIC may drift apart a little.
constexpr uint64_t kClockSlackUs = 1'000'000;

template <class Number>
std::optional<Number> Leading(std::string_view text) {
  Number number{};
  if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc()) return std::nullopt;
  return number;
}

}  // namespace

std::optional<OomKill> ParseOomRecord(std::string_view record) {
  // "priority,sequence,microseconds,flags;Memory cgroup out of memory: Killed process 1234 (name) total-vm:..."
  const size_t body = record.find(';');
  if (body == std::string_view::npos) return std::nullopt;
  // Only the kernel's own records (facility 0) count: any process allowed to write the log could forge others.
  const auto priority = Leading<uint32_t>(record);
  if (!priority || (*priority >> 3) != 0) return std::nullopt;
  std::string_view head = record.substr(0, body);
  const size_t first = head.find(',');
  if (first == std::string_view::npos) return std::nullopt;
  const size_t second = head.find(',', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const auto at = Leading<uint64_t>(head.substr(second + 1));

  const std::string_view text = record.substr(body + 1);
  constexpr std::string_view kKilled = "Killed process ";
  const size_t killed = text.find(kKilled);
  if (killed == std::string_view::npos) return std::nullopt;
  // "Out of memory", "Memory cgroup out of memory", "Out of memory (oom_kill_allocating_task)"
  if (text.substr(0, killed).find("ut of memory") == std::string_view::npos) return std::nullopt;
  const auto pid = Leading<pid_t>(text.substr(killed + kKilled.size()));
  if (!at || !pid) return std::nullopt;
  return OomKill{*pid, *at};
}

std::optional<uint64_t> ParseVmstat(std::string_view text, std::string_view name) {
  size_t line = 0;
  while (line < text.size()) {
    const std::string_view rest = text.substr(line);
    if (rest.starts_with(name) && rest.size() > name.size() && rest[name.size()] == ' ') {
      return Leading<uint64_t>(rest.substr(name.size() + 1));
    }
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) break;
    line += end + 1;
  }
  return std::nullopt;
}

OomWatch::OomWatch() : kills_at_start_(CountKills()) {
  struct stat space {};
  if (stat("/proc/self/ns/pid", &space) < 0 || space.st_ino != kFirstPidNamespace) return;
  log_ = UniqueFd(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (log_.is_open() && lseek(log_.get(), 0, SEEK_END) < 0) log_.reset();
}

std::optional<uint64_t> OomWatch::CountKills() {
  auto text = ReadSmallFile("/proc/vmstat", 64 * 1024);
  return text ? ParseVmstat(*text, "oom_kill") : std::nullopt;
}

void OomWatch::ReadLog() {
  if (!log_.is_open()) return;
  std::array<char, 8192> record;
  for (;;) {
    const ssize_t n = read(log_.get(), record.data(), record.size());
    if (n < 0 && (errno == EINTR || errno == EPIPE)) continue;  // EPIPE: old records were overwritten, go on
    if (n <= 0) return;
    const auto kill = ParseOomRecord({record.data(), static_cast<size_t>(n)});
    if (!kill) continue;
    ++kills_read_;
    victims_[kill->pid] = kill->at_us;
    if (victims_.size() > kVictimsRemembered) {
      auto oldest = victims_.begin();
      for (auto i = victims_.begin(); i != victims_.end(); ++i) {
        if (i->second < oldest->second) oldest = i;
      }
      victims_.erase(oldest);
    }
  }
}

OomWatch::Verdict OomWatch::Ask(pid_t pid, uint64_t launched_ns) {
  for (int attempt = 0; attempt < kLogAttempts; ++attempt) {
    ReadLog();
    const auto victim = victims_.find(pid);
    // Process ids are reused: an older record speaks of another process.
    if (victim != victims_.end() && victim->second + kClockSlackUs >= launched_ns / 1000) return Verdict::kYes;
    const auto kills = CountKills();
    if (!kills || !kills_at_start_) return Verdict::kNo;
    // Every OOM kill of the host is accounted for by a record that names somebody else.
    if (*kills - *kills_at_start_ <= kills_read_) return Verdict::kNo;
    if (!log_.is_open()) return Verdict::kPerhaps;
    pollfd more{log_.get(), POLLIN, 0};
    poll(&more, 1, kLogWaitMs);
  }
  // The record is lost (the log overwrote itself): this kill stays unexplained, but must not cast doubt on later ones.
  if (const auto kills = CountKills()) kills_read_ = *kills - *kills_at_start_;
  return Verdict::kPerhaps;
}

}  // namespace volley
