// The page file of one microVM as the agent sees it: written by a less trusted process, at any moment.
#ifndef VOLLEY_BINDING_PAGE_FILE_H
#define VOLLEY_BINDING_PAGE_FILE_H

#include <cstdint>
#include <string>

#include "base/unique_fd.h"
#include "result.h"
#include "volley_abi.h"

namespace volley {

struct SerialChunk {
  std::string bytes;
  uint64_t from = 0;  // number of the first byte, counted from the start of the microVM
  uint64_t to = 0;
  bool ended = false;  // the VMM has exited: nothing will follow
};

/// Reads with pread instead of a mapping: a VMM that shortens the file would turn a read of mapped memory into SIGBUS
/// and so end the agent, and a copy cannot change between its check and its use. Safe to use from several threads.
class PageFile {
 public:
  explicit PageFile(UniqueFd fd) : fd_(std::move(fd)) {}

  /// The statistics page; all zero with state STARTING while the VMM has not filled it yet. Strings are terminated.
  /// Fails when the page belongs to another version of the contract or is damaged.
  Result<volley_stats> ReadStats() const;

  /// The configuration page. Fails when it belongs to another version of the contract or is damaged.
  Result<volley_config> ReadConfig() const;

  /// The process that the page file was handed to, before any check; 0 = none yet.
  uint32_t ReadClaimedPid() const;

  /// Up to `max_bytes` of serial output: the bytes after number `*since`, or the last ones when `since` is null.
  Result<SerialChunk> ReadSerial(uint64_t max_bytes, const uint64_t* since) const;

 private:
  bool ReadAt(void* into, size_t bytes, uint64_t offset) const;

  UniqueFd fd_;
};

}  // namespace volley

#endif
