#include "support/snapshot_files.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "block/crc32c.h"
#include "snapshot/state_writer.h"

namespace volley::test {

SnapshotFiles::SnapshotFiles()
    : state_(memfd_create("state", MFD_CLOEXEC)), memory_(memfd_create("memory", MFD_CLOEXEC)) {
  if (!state_.is_open() || !memory_.is_open() || getrandom(id_, sizeof(id_), 0) != sizeof(id_)) abort();
}

std::optional<volley_message> SnapshotFiles::take(VmmProcess& vmm, uint32_t flags, const SnapshotFiles* base) {
  volley_message message{};
  message.type = VOLLEY_CMD_SNAPSHOT;
  message.request_id = 77;
  message.payload.snapshot = {
      .flags = flags, .kvm_kind = VOLLEY_KVM_SOFTWARE, .created_ms = 1'000'000'000'000, .id = {}, .base_id = {}};
  memcpy(message.payload.snapshot.id, id_, sizeof(id_));
  if (base != nullptr) {
    memcpy(message.payload.snapshot.base_id, base->id_, sizeof(id_));
    struct stat file {};
    if (fstat(base->memory(), &file) != 0) abort();
    off_t from = 0;
    while (from < file.st_size) {
      if (sendfile(memory_.get(), base->memory(), &from, static_cast<size_t>(file.st_size - from)) <= 0) abort();
    }
  }
  vmm.send(message, state_.get(), memory_.get());
  return vmm.await(VOLLEY_REPLY);
}

void SnapshotFiles::restore_by(LaunchOptions& options) const {
  options.boots = false;
  options.flags |= VOLLEY_FLAG_RESTORE;
  options.descriptors.push_back({VOLLEY_ROLE_STATE, state_.get()});
  options.descriptors.push_back({VOLLEY_ROLE_MEMORY, memory_.get()});
  const auto mutate = options.mutate;
  options.mutate = [mutate](volley_config& config) {
    if (getrandom(config.generation_id, sizeof(config.generation_id), 0) < 0) abort();
    if (mutate) mutate(config);
  };
}

volley_snapshot_header SnapshotFiles::header() const {
  volley_snapshot_header header{};
  if (pread(state_.get(), &header, sizeof(header), 0) != sizeof(header)) abort();
  return header;
}

void SnapshotFiles::forge(const std::function<void(volley_snapshot_header&)>& change) const {
  volley_snapshot_header changed = header();
  change(changed);
  changed.checksum = header_checksum(changed);
  if (pwrite(state_.get(), &changed, sizeof(changed), 0) != sizeof(changed)) abort();
}

void SnapshotFiles::forge_section(uint32_t type, uint32_t index,
                                  const std::function<void(uint8_t* bytes, size_t length)>& change) const {
  forge([&](volley_snapshot_header& header) {
    for (volley_snapshot_section& section : header.sections) {
      if (section.type != type || section.index != index) continue;
      std::vector<uint8_t> bytes(section.length);
      if (pread(state_.get(), bytes.data(), bytes.size(), static_cast<off_t>(section.offset)) < 0) abort();
      change(bytes.data(), bytes.size());
      if (pwrite(state_.get(), bytes.data(), bytes.size(), static_cast<off_t>(section.offset)) < 0) abort();
      section.checksum = crc32c(bytes);
      return;
    }
    abort();
  });
}

uint64_t SnapshotFiles::allocated() const {
  struct stat file {};
  if (fstat(memory_.get(), &file) != 0) abort();
  return static_cast<uint64_t>(file.st_blocks) * 512;
}

}  // namespace volley::test
