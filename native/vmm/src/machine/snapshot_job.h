#pragma once

#include <cstdint>
#include <span>

#include "abi/volley_abi.h"
#include "base/mapping.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "kvm/dirty_log.h"
#include "memory/guest_memory.h"
#include "snapshot/memory_file.h"
#include "snapshot/page_set.h"
#include "snapshot/state_writer.h"

namespace volley {

// What a snapshot is taken of. Called on the control thread.
class SnapshotSubject {
 public:
  virtual bool is_paused() const = 0;
  // 0, or ETIMEDOUT; it then runs on.
  virtual int pause() = 0;
  virtual void resume() = 0;
  // While it stands still: everything but memory and what the job knows itself. May write to memory.
  virtual Status save_state(StateWriter& to) = 0;

 protected:
  ~SnapshotSubject() = default;
};

// Writes a snapshot in steps of some milliseconds, between which the control thread answers the agent.
//
// Live, memory is copied in rounds while the guest runs, each round what was written during the one before. When little
// is left, or when the rounds do not get anywhere, the guest is stopped, its state and the last pages are copied, and
// it goes on before they are written out: how long it stands still does not depend on the files. Otherwise, and where
// KVM does not tell what the guest writes, the guest is stopped first. Devices may be told something by the agent
// meanwhile, and then write to memory; therefore the state is taken last in any case.
class SnapshotJob {
 public:
  SnapshotJob(SnapshotSubject& subject, const Vm& vm, const GuestMemory& memory)
      : subject_(subject), memory_(memory), log_(vm, memory) {}

  // Before the guest runs, when there is memory: afterwards no thread may map anything. Costs address space, and
  // memory only while a snapshot is written.
  Status open();

  // The snapshot from which the machine has been restored: the base of a diff until there is one of its own.
  void set_base(const volley_snapshot_header& header);

  // Begins to write into two files. Nothing has happened if it fails.
  Status begin(const volley_snapshot_order& order, UniqueFd state, UniqueFd memory);
  bool is_active() const { return phase_ != Phase::kIdle; }
  // Does the next part. True when it is over: `status` and `taken` say how it ended.
  bool step(Status* status, volley_snapshot_taken* taken);
  // The agent is gone, there is nobody who would keep the files: the machine goes on as if nothing had been.
  void give_up();

  // The agent wants the machine to stand still: it does so afterwards as well.
  void stay_paused() { stopped_here_ = false; }
  // Whether a machine that ran on would spoil the snapshot.
  bool needs_rest() const { return phase_ == Phase::kRounds && !log_.is_running(); }

 private:
  enum class Phase { kIdle, kRounds, kWriteOut };

  Status prepare();
  Status stop_subject();
  void let_go();
  Status copy_some();
  Status end_round(bool* last);
  Status collect();
  Status take_rest();
  Status write_out();
  void end();

  SnapshotSubject& subject_;
  const GuestMemory& memory_;
  DirtyLog log_;
  Phase phase_ = Phase::kIdle;
  volley_snapshot_order order_{};
  volley_snapshot_taken taken_{};
  UniqueFd state_fd_;
  UniqueFd memory_fd_;
  MemoryWriter writer_;
  Mapping room_;                 // of what follows
  std::span<uint8_t> sections_;  // of the state, until they are written
  std::span<uint8_t> held_;
  std::span<uint64_t> marks_;
  StateWriter* state_ = nullptr;
  PageSet pending_;  // to be copied in this round
  PageSet collected_;
  uint64_t cursor_ = 0;       // the page at which the round has arrived
  uint64_t round_began_ = 0;  // with so many pages written
  uint64_t last_round_ = 0;   // pages that were to be copied in it
  uint32_t stalled_ = 0;      // rounds in a row that got nowhere
  uint64_t begun_ns_ = 0;
  uint64_t stopped_ns_ = 0;
  bool was_paused_ = false;    // when it began
  bool stopped_here_ = false;  // by this job, and nobody else wants it
  // The last snapshot of this microVM or, before there is one, the one it was restored from.
  bool has_base_ = false;
  uint8_t base_id_[VOLLEY_SNAPSHOT_ID_BYTES] = {};
  uint64_t base_checksum_ = 0;
};

}  // namespace volley
