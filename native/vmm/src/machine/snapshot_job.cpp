#include "machine/snapshot_job.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "base/clock.h"

namespace volley {
namespace {

constexpr uint64_t kPage = VOLLEY_SNAPSHOT_PAGE;
constexpr uint64_t kWord = PageSet::kPagesOfWord;
// Copied in one step: 2 MiB take one or two milliseconds.
constexpr uint64_t kStepWords = 8;
// So many words without a page to copy are as long as a step.
constexpr uint64_t kScanWords = 16'384;
// The guest is stopped for so few pages: 1 MiB is copied in a fraction of what stopping costs.
constexpr uint64_t kFewPages = 256;
// What is written after the pause is held in memory meanwhile. With more the guest waits for the file.
constexpr uint64_t kMostHeld = 1'024;
constexpr uint32_t kMostStalled = 2;
// 32 vCPUs and 17 devices take less than 1 MiB.
constexpr uint64_t kSectionBytes = 1536 * 1024;

}  // namespace

Status SnapshotJob::open() {
  const uint64_t pages = memory_.size() / kPage;
  const uint64_t words = PageSet::words_for(pages);
  const uint64_t set_bytes = words * sizeof(uint64_t);
  const uint64_t held_bytes = kMostHeld * MemoryWriter::kHeldBytes;
  constexpr uint64_t kWriterBytes = (sizeof(StateWriter) + 63) / 64 * 64;
  const uint64_t bytes = kWriterBytes + held_bytes + kSectionBytes + 3 * set_bytes;
  if (Status status = room_.map_anonymous(bytes, "room for snapshots"); !status.is_ok()) return status;
  uint8_t* at = room_.data() + kWriterBytes;
  held_ = {at, held_bytes};
  sections_ = {at += held_bytes, kSectionBytes};
  at += kSectionBytes;
  const auto set = [&] { return std::span(reinterpret_cast<uint64_t*>(std::exchange(at, at + set_bytes)), words); };
  pending_ = PageSet(set(), pages);
  collected_ = PageSet(set(), pages);
  marks_ = set();
  return Status::ok();
}

void SnapshotJob::set_base(const volley_snapshot_header& header) {
  memcpy(base_id_, header.id, sizeof(base_id_));
  base_checksum_ = header.memory_checksum;
  has_base_ = true;
}

Status SnapshotJob::begin(const volley_snapshot_order& order, UniqueFd state, UniqueFd memory) {
  if (is_active()) return Status::system_error(EBUSY, "another snapshot is being written");
  if ((order.flags & VOLLEY_SNAPSHOT_DIFF) != 0 &&
      (!has_base_ || memcmp(base_id_, order.base_id, sizeof(base_id_)) != 0)) {
    return Status::system_error(ESTALE, "the base is not this microVM's last snapshot");
  }
  order_ = order;
  taken_ = {};
  state_fd_ = static_cast<UniqueFd&&>(state);
  memory_fd_ = static_cast<UniqueFd&&>(memory);
  begun_ns_ = stopped_ns_ = monotonic_ns();
  was_paused_ = subject_.is_paused();
  stopped_here_ = false;
  Status status = prepare();
  if (status.is_ok()) {
    phase_ = Phase::kRounds;
  } else {
    let_go();
    end();
  }
  return status;
}

Status SnapshotJob::prepare() {
  state_ = new (room_.data()) StateWriter(state_fd_.get(), sections_);
  writer_ = MemoryWriter(memory_, memory_fd_.get());
  if ((order_.flags & VOLLEY_SNAPSHOT_DIFF) != 0) writer_.continue_from(base_checksum_);
  pending_.fill();
  cursor_ = round_began_ = last_round_ = 0;
  stalled_ = 0;
  memory_.marks().begin(marks_);
  // Where there is no log the guest stands still instead, and the answer says so.
  const bool live = (order_.flags & VOLLEY_SNAPSHOT_LIVE) != 0 && !was_paused_ && log_.start().is_ok();
  taken_.tracking = static_cast<uint16_t>(log_.tracking());
  return live ? Status::ok() : stop_subject();
}

Status SnapshotJob::stop_subject() {
  stopped_ns_ = monotonic_ns();
  if (subject_.is_paused()) return Status::ok();
  if (const int error = subject_.pause(); error != 0) {
    return Status::system_error(error, "the machine does not stand still");
  }
  stopped_here_ = true;
  return Status::ok();
}

void SnapshotJob::let_go() {
  if (stopped_here_) subject_.resume();
  stopped_here_ = false;
}

bool SnapshotJob::step(Status* status, volley_snapshot_taken* taken) {
  bool last = false;
  if (phase_ == Phase::kWriteOut) {
    *status = write_out();
  } else {
    *status = copy_some();
    if (status->is_ok() && cursor_ >= memory_.size() / kPage) *status = end_round(&last);
    if (status->is_ok() && last) *status = take_rest();
    if (status->is_ok()) return false;
  }
  taken_.total_ns = monotonic_ns() - begun_ns_;
  *taken = taken_;
  let_go();
  end();
  return true;
}

// The pages of this round from the cursor on, until enough is done.
Status SnapshotJob::copy_some() {
  const std::span<const uint64_t> words = pending_.words();
  uint64_t at = cursor_ / kWord;
  const uint64_t scan_end = std::min(at + kScanWords, words.size());
  while (at < scan_end && words[at] == 0) ++at;
  const uint64_t part = std::min(kStepWords, words.size() - at);
  const uint64_t end = (at + part) * kWord;
  if (log_.is_running() && part != 0) {
    if (Status status = log_.protect(at, words.subspan(at, part)); !status.is_ok()) return status;
  }
  const bool onto_nothing = taken_.rounds == 0 && (order_.flags & VOLLEY_SNAPSHOT_DIFF) == 0;
  for (uint64_t page = at * kWord;;) {
    const PageSet::Run run = pending_.next_run(page, end, kWord);
    if (run.count == 0) break;
    if (Status status = onto_nothing ? writer_.write(run.first, run.count) : writer_.update(run.first, run.count);
        !status.is_ok()) {
      return status;
    }
    page = run.first + run.count;
  }
  cursor_ = end;
  return Status::ok();
}

// What was written since into `pending_`, beside what is there.
Status SnapshotJob::collect() {
  collected_.clear();
  if (log_.is_running()) {
    if (Status status = log_.collect(collected_.words()); !status.is_ok()) return status;
  }
  for (uint64_t i = 0; i < pending_.words().size(); ++i) {
    pending_.words()[i] |= collected_.words()[i] | memory_.marks().take(i);
  }
  return Status::ok();
}

Status SnapshotJob::end_round(bool* last) {
  taken_.round_pages[taken_.rounds++] = static_cast<uint32_t>(writer_.pages_written() - round_began_);
  round_began_ = writer_.pages_written();
  pending_.clear();
  cursor_ = 0;
  if (Status status = collect(); !status.is_ok()) return status;
  const uint64_t left = pending_.count();
  // An eighth less is not worth another round.
  stalled_ = last_round_ != 0 && left > last_round_ - last_round_ / 8 ? stalled_ + 1 : 0;
  last_round_ = left;
  taken_.converged = left <= kFewPages ? 1 : 0;
  *last = subject_.is_paused() || left <= kFewPages || stalled_ == kMostStalled ||
          taken_.rounds == VOLLEY_SNAPSHOT_MAX_ROUNDS;
  return Status::ok();
}

// The pause: state, and what is left of memory.
Status SnapshotJob::take_rest() {
  // Before the guest is stopped: to make room costs more than to copy.
  writer_.reserve(held_, 2 * pending_.count());
  if (log_.is_running()) {
    if (Status status = stop_subject(); !status.is_ok()) return status;
  }
  volley_snapshot_header& header = state_->header();
  memcpy(header.id, order_.id, sizeof(header.id));
  header.created_ms = order_.created_ms;
  header.kvm_kind = order_.kvm_kind;
  // First, since to bring devices to rest writes to memory.
  if (Status status = subject_.save_state(*state_); !status.is_ok()) return status;
  if (Status status = collect(); !status.is_ok()) return status;
  const bool held = pending_.count() <= kMostHeld;
  for (uint64_t page = 0;;) {
    const PageSet::Run run = pending_.next_run(page, ~uint64_t{0}, kWord);
    if (run.count == 0) break;
    if (held) {
      writer_.hold(run.first, run.count);
    } else if (Status status = writer_.update(run.first, run.count); !status.is_ok()) {
      return status;
    }
    page = run.first + run.count;
  }
  const bool goes_on = (order_.flags & VOLLEY_SNAPSHOT_STAY) == 0 &&
                       (stopped_here_ || (was_paused_ && (order_.flags & VOLLEY_SNAPSHOT_RESUME) != 0));
  if (goes_on) {
    stopped_here_ = false;
    subject_.resume();
  }
  taken_.pause_ns = monotonic_ns() - stopped_ns_;
  memory_.marks().end();
  log_.stop();
  phase_ = Phase::kWriteOut;
  return Status::ok();
}

Status SnapshotJob::write_out() {
  if (Status status = writer_.write_held(); !status.is_ok()) return status;
  taken_.round_pages[taken_.rounds] = static_cast<uint32_t>(writer_.pages_written() - round_began_);
  if (Status status = writer_.finish(&state_->header()); !status.is_ok()) return status;
  if (Status status = state_->finish(); !status.is_ok()) return status;
  taken_.pages = writer_.pages_written();
  taken_.bytes = state_->bytes() + taken_.pages * kPage;
  set_base(state_->header());
  // That it stands still is the outcome, not an accident.
  stopped_here_ = false;
  return Status::ok();
}

void SnapshotJob::give_up() {
  if (!is_active()) return;
  let_go();
  end();
}

void SnapshotJob::end() {
  memory_.marks().end();
  log_.stop();
  writer_ = MemoryWriter();
  state_ = nullptr;
  // A device that is marking at this moment finds zeroes to write to.
  madvise(room_.data(), room_.size(), MADV_DONTNEED);
  state_fd_.reset();
  memory_fd_.reset();
  phase_ = Phase::kIdle;
}

}  // namespace volley
