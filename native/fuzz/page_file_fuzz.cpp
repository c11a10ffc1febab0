// The page file as the agent reads it: written by a VMM that may be in the guest's hands.
#include <sys/mman.h>
#include <unistd.h>

#include "page_file.h"
#include "support/demand.h"
#include "support/script.h"

namespace volley::fuzz {
namespace {

void put(int fd, uint64_t offset, const void* bytes, size_t count) {
  demand(pwrite(fd, bytes, count, static_cast<off_t>(offset)) == static_cast<ssize_t>(count), "no memory file");
}

}  // namespace

void run(Script& script) {
  const int fd = memfd_create("pages", MFD_CLOEXEC);
  demand(fd >= 0, "no memory file");
  const uint8_t how = script.byte();
  demand(ftruncate(fd, (how & 1) != 0 ? script.take<uint32_t>() & 0x1ffff : VOLLEY_PAGES_SIZE) == 0, "no memory file");
  volley_stats stats{};
  stats.magic = VOLLEY_STATS_MAGIC;
  stats.abi_version = VOLLEY_ABI_VERSION;
  stats.state = script.choice(6);
  stats.exit_reason = script.choice(11);
  stats.serial_bytes = (how & 2) != 0 ? script.take<uint64_t>() : script.take<uint32_t>();
  if ((how & 4) != 0) {
    for (uint8_t changes = script.byte() % 16; changes != 0; --changes) {
      reinterpret_cast<uint8_t*>(&stats)[script.take<uint16_t>() % sizeof(stats)] = script.byte();
    }
  }
  if ((how & 8) != 0) memset(stats.exit_message, 'x', sizeof(stats.exit_message));
  put(fd, VOLLEY_STATS_OFFSET, &stats, sizeof(stats));
  volley_config config{};
  config.magic = VOLLEY_CONFIG_MAGIC;
  config.abi_version = VOLLEY_ABI_VERSION;
  if ((how & 16) != 0) {
    memset(config.id, 'x', sizeof(config.id));
    memset(config.cmdline, 'x', sizeof(config.cmdline));
  }
  put(fd, VOLLEY_CONFIG_OFFSET, &config, sizeof(config));
  const auto text = script.bytes(script.byte());
  if (!text.empty()) put(fd, VOLLEY_SERIAL_OFFSET, text.data(), text.size());
  if ((how & 32) != 0) demand(ftruncate(fd, script.take<uint32_t>() & 0x1ffff) == 0, "no memory file");

  const PageFile pages{UniqueFd(fd)};
  pages.ReadClaimedPid();
  if (auto read = pages.ReadStats()) {
    demand(read->state >= VOLLEY_VMM_STARTING && read->state <= VOLLEY_VMM_EXITED, "a state that there is not");
    demand(read->exit_reason <= VOLLEY_EXIT_REQUESTED, "a reason that there is not");
    demand(memchr(read->exit_message, 0, sizeof(read->exit_message)) != nullptr, "a sentence without an end");
  }
  if (auto read = pages.ReadConfig()) {
    demand(memchr(read->id, 0, sizeof(read->id)) != nullptr, "a name without an end");
    demand(memchr(read->cmdline, 0, sizeof(read->cmdline)) != nullptr, "a command line without an end");
  }
  for (unsigned steps = 0; steps < 8 && !script.is_over(); ++steps) {
    const uint8_t step = script.byte();
    const uint64_t most = (step & 1) != 0 ? script.take<uint64_t>() : script.take<uint16_t>();
    const uint64_t since = (step & 2) != 0 ? script.take<uint64_t>() : stats.serial_bytes - script.take<uint16_t>();
    auto chunk = pages.ReadSerial(most, (step & 4) != 0 ? &since : nullptr);
    if (!chunk) continue;
    demand(chunk->to - chunk->from == chunk->bytes.size() && chunk->bytes.size() <= VOLLEY_SERIAL_RING &&
               chunk->bytes.size() <= most,
           "more serial output than was asked for, or than there is");
    demand(chunk->to <= stats.serial_bytes, "serial output from the future");
  }
}
}  // namespace volley::fuzz
