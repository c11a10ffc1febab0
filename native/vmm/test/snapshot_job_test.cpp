// Snapshots of a guest that a KVM of ours lets write what a test says, when it says so: calls for KVM end here (see
// CMakeLists.txt).
#include "machine/snapshot_job.h"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <functional>
#include <vector>

#include "kvm/vm.h"
#include "support/check.h"

namespace volley {
namespace {

constexpr uint64_t kPage = VOLLEY_SNAPSHOT_PAGE;
constexpr uint64_t kPages = 4'096;
// More than is held in memory for after the pause, and fewer.
constexpr uint64_t kMany = 2'048;
constexpr uint64_t kSome = 600;
constexpr uint64_t kFew = 100;

struct Kvm {
  bool has_log = true;
  bool has_manual_protection = true;
  int log_error = 0;
  // The guest: what it has written whenever it is asked.
  std::function<void(kvm_dirty_log&)> collect = [](kvm_dirty_log&) {};
  bool logs = false;
  unsigned protections = 0;
};
Kvm kvm;

int answer(unsigned long request, void* argument) {
  switch (request) {
    case KVM_SET_USER_MEMORY_REGION: {
      const bool logs = (static_cast<kvm_userspace_memory_region*>(argument)->flags & KVM_MEM_LOG_DIRTY_PAGES) != 0;
      if (logs && !kvm.has_log) return EINVAL;
      kvm.logs = logs;
      return 0;
    }
    case KVM_ENABLE_CAP:
      return kvm.has_manual_protection ? 0 : EINVAL;
    case KVM_GET_DIRTY_LOG:
      if (kvm.log_error == 0) kvm.collect(*static_cast<kvm_dirty_log*>(argument));
      return kvm.log_error;
    case KVM_CLEAR_DIRTY_LOG:
      ++kvm.protections;
      return kvm.has_manual_protection ? 0 : ENOTTY;
    default:
      return ENOTTY;
  }
}

}  // namespace
}  // namespace volley

extern "C" int __wrap_ioctl(int fd, unsigned long request, ...);
extern "C" int __wrap_ioctl(int, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  errno = volley::answer(request, argument);
  return errno == 0 ? 0 : -1;
}

namespace volley {
namespace {

class Guest final : public SnapshotSubject {
 public:
  Guest() : memory_file(memfd_create("memory", MFD_CLOEXEC)), state_file(memfd_create("state", MFD_CLOEXEC)) {
    kvm = {};
    REQUIRE(memory.map(kPages * kPage, true).is_ok());
    write(kPages);
  }

  // Writes to its first pages.
  void write(uint64_t pages) {
    ++writes;
    for (uint64_t page = 0; page < pages; ++page) memcpy(memory.host_base() + page * kPage, &writes, sizeof writes);
  }
  // The same for as long as it runs, whenever KVM is asked.
  void writes_each_time(std::function<uint64_t()> pages) {
    kvm.collect = [this, pages](kvm_dirty_log& log) {
      if (paused) return;
      const uint64_t count = pages();
      write(count);
      for (uint64_t page = 0; page < count; ++page) {
        static_cast<uint64_t*>(log.dirty_bitmap)[page / 64] |= uint64_t{1} << page % 64;
      }
    };
  }

  bool is_paused() const override { return paused; }
  int pause() override {
    if (pause_error != 0) return pause_error;
    paused = true;
    ++pauses;
    at_pause.assign(memory.host_base(), memory.host_base() + kPages * kPage);
    return 0;
  }
  void resume() override {
    paused = false;
    ++resumes;
    file_was_whole = file_is_of_the_pause();
    write(kPages);
  }
  Status save_state(StateWriter&) override {
    CHECK(paused);
    return Status::ok();
  }

  bool file_is_of_the_pause() const {
    std::vector<uint8_t> content(kPages * kPage);
    if (pread(memory_file.get(), content.data(), content.size(), 0) < 0) return false;
    return content == at_pause;
  }

  GuestMemory memory;
  UniqueFd memory_file;
  UniqueFd state_file;
  uint64_t writes = 0;
  int pause_error = 0;
  bool paused = false;
  unsigned pauses = 0;
  unsigned resumes = 0;
  std::vector<uint8_t> at_pause;
  bool file_was_whole = false;
};

struct Outcome {
  Status status = Status::ok();
  volley_snapshot_taken taken{};
};

Outcome take(Guest& guest, uint32_t flags = VOLLEY_SNAPSHOT_LIVE) {
  Outcome outcome;
  Vm vm;
  CHECK(vm.add_memory(guest.memory).is_ok());
  SnapshotJob job(guest, vm, guest.memory);
  CHECK(job.open().is_ok());
  volley_snapshot_order order{};
  order.flags = flags;
  outcome.status = job.begin(order, UniqueFd(dup(guest.state_file.get())), UniqueFd(dup(guest.memory_file.get())));
  if (!outcome.status.is_ok()) return outcome;
  CHECK_EQ(job.needs_rest(), guest.paused);
  while (!job.step(&outcome.status, &outcome.taken)) {
  }
  CHECK(!job.is_active());
  CHECK(!kvm.logs);
  return outcome;
}

void check_whole(const Guest& guest, const Outcome& outcome) {
  CHECK_EQ(std::string(outcome.status.message()), std::string());
  CHECK_EQ(guest.pauses, 1u);
  CHECK_EQ(guest.resumes, 1u);
  CHECK(!guest.paused);
  CHECK(guest.file_is_of_the_pause());
}

TEST(rounds_go_on_until_little_is_left) {
  Guest guest;
  std::vector<uint64_t> left = {kMany, kSome, kFew};
  size_t asked = 0;
  guest.writes_each_time([&] { return left[std::min(asked++, left.size() - 1)]; });
  const Outcome outcome = take(guest);
  check_whole(guest, outcome);
  CHECK_EQ(outcome.taken.converged, 1);
  CHECK_EQ(outcome.taken.tracking, uint16_t{VOLLEY_TRACKING_MANUAL});
  REQUIRE(outcome.taken.rounds == 3);
  for (size_t i = 0; const uint64_t pages : {kPages, kMany, kSome, kFew}) {
    CHECK_EQ(uint64_t{outcome.taken.round_pages[i++]}, pages);
  }
  // The last pages were written when the guest was running again, and wrote over them.
  CHECK(!guest.file_was_whole);
  CHECK(kvm.protections > 0);
}

TEST(a_guest_that_outruns_the_copy_is_stopped_after_two_rounds_in_vain) {
  Guest guest;
  guest.writes_each_time([] { return kMany; });
  const Outcome outcome = take(guest);
  check_whole(guest, outcome);
  CHECK_EQ(outcome.taken.converged, 0);
  REQUIRE(outcome.taken.rounds == 3);
  for (size_t i = 0; const uint64_t pages : {kPages, kMany, kMany, kMany}) {
    CHECK_EQ(uint64_t{outcome.taken.round_pages[i++]}, pages);
  }
  // There is no room to hold so many: it waited for the file.
  CHECK(guest.file_was_whole);
}

TEST(slow_progress_has_an_end_too) {
  Guest guest;
  uint64_t left = kPages;
  // A seventh less each time is more than an eighth.
  guest.writes_each_time([&] { return left -= left / 7; });
  const Outcome outcome = take(guest);
  check_whole(guest, outcome);
  CHECK_EQ(outcome.taken.converged, 0);
  CHECK_EQ(outcome.taken.rounds, VOLLEY_SNAPSHOT_MAX_ROUNDS);
}

TEST(one_round_in_vain_is_forgiven) {
  Guest guest;
  std::vector<uint64_t> left = {kMany, kMany, kSome, kSome, kFew};
  size_t asked = 0;
  guest.writes_each_time([&] { return left[std::min(asked++, left.size() - 1)]; });
  const Outcome outcome = take(guest);
  check_whole(guest, outcome);
  CHECK_EQ(outcome.taken.converged, 1);
  CHECK_EQ(outcome.taken.rounds, 5u);
}

TEST(where_kvm_tells_nothing_the_guest_stands_still_for_all_of_it) {
  Guest guest;
  kvm.has_log = false;
  guest.writes_each_time([] { return kMany; });
  const Outcome outcome = take(guest);
  check_whole(guest, outcome);
  CHECK_EQ(outcome.taken.tracking, uint16_t{VOLLEY_TRACKING_NONE});
  CHECK_EQ(outcome.taken.rounds, 1u);
  CHECK_EQ(uint64_t{outcome.taken.round_pages[0]}, kPages);
  CHECK_EQ(outcome.taken.round_pages[1], 0u);
  CHECK_EQ(guest.writes, uint64_t{2});  // before it began, and when it went on
}

TEST(a_kvm_without_manual_protection_is_not_asked_for_any) {
  Guest guest;
  kvm.has_manual_protection = false;
  guest.writes_each_time([] { return kFew; });
  const Outcome outcome = take(guest);
  check_whole(guest, outcome);
  CHECK_EQ(outcome.taken.tracking, uint16_t{VOLLEY_TRACKING_PLAIN});
  CHECK_EQ(outcome.taken.converged, 1);
  CHECK_EQ(kvm.protections, 0u);
}

TEST(a_log_that_fails_ends_the_snapshot_and_not_the_guest) {
  Guest guest;
  kvm.log_error = EIO;
  const Outcome outcome = take(guest);
  CHECK_CONTAINS(outcome.status.message(), "cannot ask KVM what the guest has written");
  CHECK_EQ(guest.pauses, 0u);
  CHECK(!guest.paused);
}

TEST(a_guest_that_cannot_be_stopped_goes_on) {
  for (const bool has_log : {true, false}) {
    Guest guest;
    kvm.has_log = has_log;
    guest.pause_error = ETIMEDOUT;
    const Outcome outcome = take(guest);
    CHECK_CONTAINS(outcome.status.message(), "the machine does not stand still");
    CHECK(!guest.paused);
    CHECK(!kvm.logs);
  }
}

}  // namespace
}  // namespace volley
