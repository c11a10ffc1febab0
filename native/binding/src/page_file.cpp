#include "page_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace volley {
namespace {

// How far behind the head a reader keeps while the VMM runs: the writer stores bytes before it moves the head, so the
// oldest part of the ring may be changing under the reader. One exit to the VMM writes at most a page (string output).
constexpr uint64_t kWriterMargin = 4096;

Failure Damaged(const char* what) { return {0, std::string("the page file is damaged: ") + what}; }

Failure OtherVersion(uint32_t version) {
  return {0, "the page file is of ABI version " + std::to_string(version) + ", this agent reads version " +
                 std::to_string(VOLLEY_ABI_VERSION)};
}

}  // namespace

bool PageFile::ReadAt(void* into, size_t bytes, uint64_t offset) const {
  auto* next = static_cast<char*>(into);
  while (bytes > 0) {
    const ssize_t n = pread(fd_.get(), next, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;  // shorter than it was made: somebody truncated it
    next += n;
    offset += static_cast<uint64_t>(n);
    bytes -= static_cast<size_t>(n);
  }
  return true;
}

Result<volley_stats> PageFile::ReadStats() const {
  volley_stats stats{};
  if (!ReadAt(&stats, sizeof stats, VOLLEY_STATS_OFFSET)) return Damaged("the statistics page cannot be read");
  if (stats.magic == 0) {
    volley_stats starting{};
    starting.state = VOLLEY_VMM_STARTING;
    return starting;
  }
  if (stats.magic != VOLLEY_STATS_MAGIC) return Damaged("the statistics page has no magic number");
  if (stats.abi_version != VOLLEY_ABI_VERSION) return OtherVersion(stats.abi_version);
  // EXITED is written after the fields that explain it, so those may be older than the state in one copy, not in two.
  if (stats.state == VOLLEY_VMM_EXITED && !ReadAt(&stats, sizeof stats, VOLLEY_STATS_OFFSET)) {
    return Damaged("the statistics page cannot be read");
  }
  if (stats.state < VOLLEY_VMM_STARTING || stats.state > VOLLEY_VMM_EXITED) return Damaged("unknown VMM state");
  if (stats.exit_reason > VOLLEY_EXIT_REQUESTED) return Damaged("unknown exit reason");
  stats.exit_message[VOLLEY_MESSAGE_MAX - 1] = '\0';
  return stats;
}

Result<volley_config> PageFile::ReadConfig() const {
  volley_config config{};
  if (!ReadAt(&config, sizeof config, VOLLEY_CONFIG_OFFSET)) return Damaged("the configuration page cannot be read");
  if (config.magic != VOLLEY_CONFIG_MAGIC) return Damaged("the configuration page has no magic number");
  if (config.abi_version != VOLLEY_ABI_VERSION) return OtherVersion(config.abi_version);
  config.id[VOLLEY_ID_MAX - 1] = '\0';
  config.cmdline[VOLLEY_CMDLINE_MAX - 1] = '\0';
  return config;
}

uint32_t PageFile::ReadClaimedPid() const {
  uint32_t pid = 0;
  return ReadAt(&pid, sizeof pid, VOLLEY_STATS_OFFSET + offsetof(volley_stats, pid)) ? pid : 0;
}

Result<SerialChunk> PageFile::ReadSerial(uint64_t max_bytes, const uint64_t* since) const {
  auto before = ReadStats();
  if (!before) return before.failure();
  const bool ended = before->state == VOLLEY_VMM_EXITED;
  const uint64_t margin = ended ? 0 : kWriterMargin;
  const uint64_t head = before->serial_bytes;
  const auto oldest = [margin](uint64_t at_head) {
    const uint64_t kept = VOLLEY_SERIAL_RING - margin;
    return at_head > kept ? at_head - kept : 0;
  };

  const uint64_t length_limit = std::min<uint64_t>(max_bytes, VOLLEY_SERIAL_RING);
  SerialChunk chunk;
  chunk.ended = ended;
  if (since != nullptr) {
    // A cursor ahead of the head belongs to another microVM or to a damaged page: there is nothing to give.
    chunk.from = std::min(std::max(*since, oldest(head)), head);
    chunk.to = chunk.from + std::min(head - chunk.from, length_limit);
  } else {
    chunk.to = head;
    chunk.from = std::max(oldest(head), head - std::min(head, length_limit));
  }

  chunk.bytes.resize(static_cast<size_t>(chunk.to - chunk.from));
  size_t used = 0;
  while (used < chunk.bytes.size()) {
    const uint64_t place = (chunk.from + used) % VOLLEY_SERIAL_RING;
    const size_t part = std::min(chunk.bytes.size() - used, static_cast<size_t>(VOLLEY_SERIAL_RING - place));
    if (!ReadAt(chunk.bytes.data() + used, part, VOLLEY_SERIAL_OFFSET + place)) {
      return Damaged("the serial ring cannot be read");
    }
    used += part;
  }

  if (!ended) {
    // Bytes that the writer may have reached meanwhile are not the bytes they were.
    auto after = ReadStats();
    if (!after) return after.failure();
    const uint64_t safe = std::min(oldest(after->serial_bytes), chunk.to);
    if (safe > chunk.from) {
      chunk.bytes.erase(0, static_cast<size_t>(safe - chunk.from));
      chunk.from = safe;
    }
  }
  return chunk;
}

}  // namespace volley
