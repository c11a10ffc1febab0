#include "machine/vcpu_thread.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>

#include "base/clock.h"
#include "process/crash_handlers.h"
#include "process/seccomp.h"
#include "stats/page_file.h"

namespace volley {
namespace {

constexpr int kKickSignal = SIGUSR1;
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 1024 * 1024;
#else
constexpr size_t kStackBytes = 64 * 1024;
#endif

void on_kick(int) {}

}  // namespace

void VcpuThread::install_kick_handler() {
  struct sigaction action {};
  action.sa_handler = on_kick;  // does nothing: its point is that KVM_RUN returns with EINTR
  sigaction(kKickSignal, &action, nullptr);
}

Status VcpuThread::start(Vcpu& vcpu, const VcpuContext& context) {
  vcpu_ = &vcpu;
  context_ = &context;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, std::max(kStackBytes, static_cast<size_t>(PTHREAD_STACK_MIN)));
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  const int error_number = pthread_create(&thread_, &attributes, main, this);
  pthread_attr_destroy(&attributes);
  if (error_number != 0)
    return Status::system_error(error_number, "cannot start the thread of vCPU %u", vcpu_->index());
  return Status::ok();
}

void VcpuThread::kick(Vcpu& vcpu) {
  std::atomic_ref<uint8_t>(vcpu.shared().immediate_exit).store(1, std::memory_order_seq_cst);
  pthread_kill(thread_, kKickSignal);
}

void* VcpuThread::main(void* self) {
  static_cast<VcpuThread*>(self)->loop();
  return nullptr;
}

void VcpuThread::loop() {
  const uint32_t index = vcpu_->index();
  char name[16];
  snprintf(name, sizeof(name), "vcpu:%u", index);
  prctl(PR_SET_NAME, name);
  use_crash_stack(index + 1);
  volley_stats& stats = context_->stats;
  std::atomic_ref<uint32_t>(stats.vcpu_tids[index]).store(static_cast<uint32_t>(gettid()), std::memory_order_release);

  bool go_on = true;
  if (Status status = enter_seccomp(ThreadKind::kVcpu); !status.is_ok()) {
    context_->end.fail(status);
    go_on = false;
  }
  bool settled = true;
  while (go_on) {
    context_->gate.pass(*vcpu_, settled);
    if (index == 0 && stats.run_ns == 0) publish(stats.run_ns, monotonic_ns());
    const int error_number = vcpu_->run();
    count(stats.exits_total);
    settled = error_number != 0;
    if (error_number == 0) {
      go_on = context_->dispatch.handle(*vcpu_);
    } else if (error_number == EINTR || error_number == EAGAIN) {
      count(stats.exits_signal);
      go_on = !context_->end.ended();
    } else {
      context_->dispatch.run_failed(*vcpu_, error_number);
      go_on = false;
    }
  }
  context_->gate.park_for_ever();
}

}  // namespace volley
