// The namespaces that all VMMs of one agent share: there is nothing in them. Made once, entered by each VMM, because
// making a network namespace takes longer than starting a microVM, and a mount namespace copies the agent's mounts.
#ifndef VOLLEY_BIRTH_VOID_NAMESPACES_H
#define VOLLEY_BIRTH_VOID_NAMESPACES_H

#include <cstdint>
#include <string>
#include <vector>

#include "orders.h"

namespace volley {

// The barriers that are namespaces one enters; the others are made by or for each VMM alone.
inline constexpr uint32_t kVoidBarriers =
    VOLLEY_BARRIER_MOUNTS | VOLLEY_BARRIER_NETWORK | VOLLEY_BARRIER_IPC | VOLLEY_BARRIER_UTS;

class VoidNamespaces {
 public:
  VoidNamespaces() = default;
  VoidNamespaces(VoidNamespaces&& other) noexcept;
  VoidNamespaces& operator=(VoidNamespaces&&) = delete;
  ~VoidNamespaces();

  // Makes what can be made, on a thread of its own. Needs CAP_SYS_ADMIN; the rest is in why_not().
  static VoidNamespaces make();

  // Barriers of kVoidBarriers for which there is a namespace.
  uint32_t barriers() const;
  // Why there is none for this barrier; empty when there is one.
  const std::string& why_not(uint32_t barrier) const;
  // What to pass with a jail order that asks for `barriers`.
  std::vector<PassedFd> to_pass(uint32_t barriers) const;

 private:
  static constexpr int kKinds = 4;

  void make_here();

  int fds_[kKinds] = {-1, -1, -1, -1};
  std::string why_not_[kKinds];
};

}  // namespace volley

#endif
