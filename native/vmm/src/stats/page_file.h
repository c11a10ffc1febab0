#pragma once

#include <atomic>
#include <cstdint>

#include "abi/volley_abi.h"
#include "base/mapping.h"
#include "stats/serial_ring.h"

namespace volley {

// The microVM's page file, mapped shared. Only the VMM writes the statistics and the ring.
class PageFile {
 public:
  // Maps the file. Fails if it is shorter than VOLLEY_PAGES_SIZE: touching it would raise SIGBUS.
  Status map(int fd);

  // A private copy of the configuration: the shared page is read once, here.
  volley_config read_config() const;
  volley_stats& stats() const;
  SerialRing serial_ring() const;

 private:
  Mapping mapping_;
};

// Adds to a counter that several vCPUs write and the agent reads at any time.
inline void count(uint64_t& counter, uint64_t amount = 1) {
  std::atomic_ref<uint64_t>(counter).fetch_add(amount, std::memory_order_relaxed);
}

// Publishes a time, address or size with one store.
inline void publish(uint64_t& field, uint64_t value) {
  std::atomic_ref<uint64_t>(field).store(value, std::memory_order_relaxed);
}

inline void publish_state(volley_stats& stats, volley_vmm_state state) {
  std::atomic_ref<uint32_t>(stats.state).store(state, std::memory_order_release);
}

}  // namespace volley
