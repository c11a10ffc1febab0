#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "abi/volley_abi.h"
#include "birth/inherited_fds.h"
#include "devices/interrupt_line.h"
#include "devices/io_bus.h"
#include "memory/guest_memory.h"
#include "support/demand.h"
#include "support/racing_guest.h"
#include "support/script.h"
#include "support/virtio_script.h"
#include "support/virtual_time.h"
#include "virtio/device_context.h"
#include "virtio/device_loop.h"
#include "virtio/mmio_transport.h"
#include "virtio/virtio_device.h"

namespace volley::fuzz {

// A piece of a request.
struct Piece {
  uint64_t address;
  uint32_t length;
  bool writable;
};

// The agent: writes down what it is asked.
class ScriptedAgent final : public AgentPort {
 public:
  bool ask(const volley_message& question) override {
    if (deaf) return false;
    questions.push_back(question);
    return true;
  }
  std::vector<volley_message> questions;
  bool deaf = false;
};

class VirtioBench;

// What a fuzzer of one device knows of it.
class DeviceScript {
 public:
  // A request for `queue` as a driver might make it.
  virtual std::vector<Piece> request(Script& script, VirtioBench& bench, uint32_t queue) = 0;
  // Something on the host's side.
  virtual void host(Script& script, VirtioBench& bench) = 0;

 protected:
  ~DeviceScript() = default;
};

// One device behind its register window on a bus, a thread that goes round when the script says so, and a guest with
// 3 GiB and 128 KiB of memory, so that there is some on both sides of the gap.
class VirtioBench {
 public:
  VirtioBench(uint32_t type, const volley_device& config, const InheritedFds& fds);
  VirtioBench(const VirtioBench&) = delete;
  VirtioBench& operator=(const VirtioBench&) = delete;
  ~VirtioBench();

  // Whether the device took its configuration.
  bool is_open() const { return transport_ != nullptr; }
  // Runs the script to its end, and the end of the microVM.
  void run(Script& script, DeviceScript& device_script);

  VirtioDevice& device() { return *device_; }
  MmioTransport& transport() { return *transport_; }
  ScriptedAgent& agent() { return agent_; }
  const volley_stats& stats() const { return *stats_; }
  const GuestMemory& memory() const { return memory_; }

  // For requests: room in the guest's memory with these bytes in it, taken round and round.
  uint64_t put(const void* bytes, size_t count);
  uint64_t address(Script& script);
  uint32_t length(Script& script);
  // As if the agent had sent it.
  void set_limit(Script& script, uint32_t limiters);
  int command(const volley_message& message, UniqueFd& passed);

 private:
  static constexpr uint32_t kMaxQueues = VirtioDevice::kMaxQueues;
  struct Ring {
    uint64_t base = 0;
    uint16_t size = 0;
    uint16_t next_descriptor = 0;
    uint16_t next_available = 0;
  };

  void step(Script& script, DeviceScript& device_script);
  void bring_up(Script& script);
  void offer(uint32_t queue, const std::vector<Piece>& pieces, bool indirect);
  void put_descriptor(uint64_t table, uint32_t index, const Piece& piece, uint16_t flags, uint16_t next);
  void write_register(uint64_t offset, uint32_t value);
  uint32_t read_register(uint64_t offset);
  void access(Script& script);
  void kick(uint32_t queue, bool by_descriptor);
  void turn(unsigned times);
  void check();

  const GuestMemory& memory_;
  std::unique_ptr<volley_stats> stats_;
  std::unique_ptr<DeviceLoop> loop_;
  ScriptedAgent agent_;
  struct Line final : InterruptLine {
    void set(bool) override {}
  } line_;
  uint32_t type_;
  void* room_ = nullptr;
  VirtioDevice* device_ = nullptr;
  std::unique_ptr<IoBus> bus_;
  std::unique_ptr<MmioTransport> transport_;
  Ring rings_[kMaxQueues];
  uint32_t queue_count_ = 0;
  uint64_t next_header_ = 0;
  uint64_t next_table_ = 0;
};

// Guest memory as it is at the start: all zero, the same mapping for every input.
const GuestMemory& fresh_guest_memory();

}  // namespace volley::fuzz
