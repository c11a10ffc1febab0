#include "page_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "check.h"

using namespace volley;

namespace {

// A page file with the writer's side mapped, as the VMM has it.
struct Fixture {
  int fd = memfd_create("pages", MFD_CLOEXEC);
  char* memory;
  PageFile pages;

  Fixture() : memory(Map(fd)), pages(UniqueFd(dup(fd))) {
    Stats().magic = VOLLEY_STATS_MAGIC;
    Stats().abi_version = VOLLEY_ABI_VERSION;
    Stats().state = VOLLEY_VMM_RUNNING;
  }
  ~Fixture() {
    munmap(memory, VOLLEY_PAGES_SIZE);
    close(fd);
  }
  static char* Map(int fd) {
    CHECK(ftruncate(fd, VOLLEY_PAGES_SIZE) == 0);
    void* memory = mmap(nullptr, VOLLEY_PAGES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(memory != MAP_FAILED);
    return static_cast<char*>(memory);
  }
  volley_stats& Stats() { return *reinterpret_cast<volley_stats*>(memory + VOLLEY_STATS_OFFSET); }
  void Print(const std::string& text) {
    uint64_t head = Stats().serial_bytes;
    for (const char byte : text) memory[VOLLEY_SERIAL_OFFSET + head++ % VOLLEY_SERIAL_RING] = byte;
    std::atomic_ref<uint64_t>(Stats().serial_bytes).store(head, std::memory_order_release);
  }
};

void StatsAreChecked() {
  Fixture f;
  CHECK(f.pages.ReadStats());
  f.Stats().state = 9;
  CHECK(!f.pages.ReadStats());
  f.Stats().state = VOLLEY_VMM_EXITED;
  f.Stats().exit_reason = 1000;
  CHECK(!f.pages.ReadStats());
  f.Stats().exit_reason = VOLLEY_EXIT_PANIC;
  memset(f.Stats().exit_message, 'A', VOLLEY_MESSAGE_MAX);
  auto stats = f.pages.ReadStats();
  CHECK(stats && strlen(stats->exit_message) == VOLLEY_MESSAGE_MAX - 1);
  f.Stats().abi_version = 77;
  auto other = f.pages.ReadStats();
  CHECK(!other && other.failure().message.find("version 77") != std::string::npos);
  f.Stats().magic = 1;
  CHECK(!f.pages.ReadStats());
  f.Stats().magic = 0;
  auto starting = f.pages.ReadStats();
  CHECK(starting && starting->state == VOLLEY_VMM_STARTING && starting->exit_reason == 0);
}

void ATruncatedFileIsAnErrorAndNoSignal() {
  Fixture f;
  CHECK(ftruncate(f.fd, VOLLEY_STATS_OFFSET + 100) == 0);
  CHECK(!f.pages.ReadStats());
  CHECK(!f.pages.ReadSerial(10, nullptr));
  CHECK(ftruncate(f.fd, 0) == 0);
  CHECK(!f.pages.ReadConfig());
  CHECK(f.pages.ReadClaimedPid() == 0);
}

void SerialGivesTheTailOrWhatFollows() {
  Fixture f;
  f.Print("hello world");
  auto all = f.pages.ReadSerial(UINT64_MAX, nullptr);
  CHECK(all && all->bytes == "hello world" && all->from == 0 && all->to == 11 && !all->ended);
  auto tail = f.pages.ReadSerial(5, nullptr);
  CHECK(tail && tail->bytes == "world" && tail->from == 6);
  const uint64_t since = 6;
  auto next = f.pages.ReadSerial(3, &since);
  CHECK(next && next->bytes == "wor" && next->from == 6 && next->to == 9);
  const uint64_t ahead = 1000;
  auto nothing = f.pages.ReadSerial(10, &ahead);
  CHECK(nothing && nothing->bytes.empty() && nothing->from == 11 && nothing->to == 11);
}

void SerialWrapsAndKeepsAwayFromTheWriter() {
  Fixture f;
  std::string text;
  for (int i = 0; text.size() < 3 * VOLLEY_SERIAL_RING; ++i) text += std::to_string(i) + ' ';
  f.Print(text);
  auto live = f.pages.ReadSerial(UINT64_MAX, nullptr);
  CHECK(live && live->to == text.size());
  CHECK(live->bytes.size() < VOLLEY_SERIAL_RING && live->bytes.size() > VOLLEY_SERIAL_RING / 2);
  CHECK(live->bytes == text.substr(live->from));
  // The end of the VMM is the end of the race: the whole ring can be trusted.
  f.Stats().state = VOLLEY_VMM_EXITED;
  auto whole = f.pages.ReadSerial(UINT64_MAX, nullptr);
  CHECK(whole && whole->ended && whole->bytes == text.substr(text.size() - VOLLEY_SERIAL_RING));
}

void AnAbsurdHeadIsHarmless() {
  Fixture f;
  for (const uint64_t head : {UINT64_MAX, UINT64_MAX - 1, uint64_t{1} << 63, uint64_t{1} << 53}) {
    f.Stats().serial_bytes = head;
    auto chunk = f.pages.ReadSerial(UINT64_MAX, nullptr);
    CHECK(chunk && chunk->bytes.size() <= VOLLEY_SERIAL_RING && chunk->to == head);
    const uint64_t since = 5;
    chunk = f.pages.ReadSerial(100, &since);
    CHECK(chunk && chunk->bytes.size() == 100);
  }
}

// Every byte carries its own number (modulo 251), so that a reader which returns overwritten bytes is found out.
void AReaderNeverSeesOverwrittenBytes() {
  Fixture f;
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    uint64_t head = 0;
    while (!stop) {
      for (int i = 0; i < 64; ++i, ++head) {
        std::atomic_ref<char>(f.memory[VOLLEY_SERIAL_OFFSET + head % VOLLEY_SERIAL_RING])
            .store(static_cast<char>(head % 251), std::memory_order_relaxed);
      }
      std::atomic_ref<uint64_t>(f.Stats().serial_bytes).store(head, std::memory_order_release);
    }
  });
  // The writer may take its time to begin; without a byte there is nothing to check.
  while (std::atomic_ref<uint64_t>(f.Stats().serial_bytes).load(std::memory_order_acquire) == 0) {
    std::this_thread::yield();
  }
  uint64_t checked = 0;
  uint64_t since = 0;
  for (int round = 0; round < 500; ++round) {
    auto chunk = f.pages.ReadSerial(UINT64_MAX, round % 2 == 0 ? &since : nullptr);
    CHECK(chunk && chunk->to - chunk->from == chunk->bytes.size());
    for (size_t i = 0; i < chunk->bytes.size(); ++i, ++checked) {
      CHECK(static_cast<unsigned char>(chunk->bytes[i]) == (chunk->from + i) % 251);
    }
    since = chunk->to;
  }
  stop = true;
  writer.join();
  CHECK(checked > 0);
}

}  // namespace

int main() {
  StatsAreChecked();
  ATruncatedFileIsAnErrorAndNoSignal();
  SerialGivesTheTailOrWhatFollows();
  SerialWrapsAndKeepsAwayFromTheWriter();
  AnAbsurdHeadIsHarmless();
  AReaderNeverSeesOverwrittenBytes();
}
