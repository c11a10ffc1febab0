#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace volley {

using GenerationId = std::array<uint8_t, 16>;

// The number that is another one in each microVM that goes on from the same snapshot; nothing: it cannot be read.
std::optional<GenerationId> read_generation_id();

// The page of the machine's address space in which the VMM listens to init: the boot timer and the report register.
class MachinePage {
 public:
  MachinePage() = default;
  MachinePage(const MachinePage&) = delete;
  MachinePage& operator=(const MachinePage&) = delete;
  ~MachinePage();

  // Returns 0 or an errno. Without it init works, but its host does not learn that the guest is up.
  int open();

  // The guest is ready.
  void tell_booted();

  // How the workload ended: VOLLEY_REPORT_* of abi/volley_abi.h.
  void report(uint32_t value);

 private:
  volatile uint8_t* page_ = nullptr;
};

}  // namespace volley
