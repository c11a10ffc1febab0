#pragma once

#include <pthread.h>

#include "abi/volley_abi.h"
#include "kvm/vcpu.h"
#include "machine/end_record.h"
#include "machine/exit_dispatch.h"
#include "machine/vcpu_gate.h"

namespace volley {

// What every vCPU thread works with.
struct VcpuContext {
  VcpuGate& gate;
  ExitDispatch& dispatch;
  EndRecord& end;
  volley_stats& stats;
};

// The thread that runs one vCPU. Threads live as long as the process: at the end of the microVM they park.
class VcpuThread {
 public:
  // Both must outlive the thread.
  Status start(Vcpu& vcpu, const VcpuContext& context);
  // Brings the thread out of KVM_RUN of its vCPU. Close the gate first.
  void kick(Vcpu& vcpu);

  // Installs the handler of the kick signal. Once per process, before the first start().
  static void install_kick_handler();

 private:
  static void* main(void* self);
  [[noreturn]] void loop();

  Vcpu* vcpu_ = nullptr;
  const VcpuContext* context_ = nullptr;
  pthread_t thread_{};
};

}  // namespace volley
