#include "snapshot/memory_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "snapshot/file_bytes.h"
#include "snapshot/memory_checksum.h"

namespace volley {
namespace {

constexpr uint64_t kPage = VOLLEY_SNAPSHOT_PAGE;
constexpr uint64_t kPagesAtOnce = MemoryWriter::kPagesAtOnce;

// What is copied is what is summed up and written: the guest may be changing it. Used by one thread, and touched by
// microVMs that are snapshotted only.
alignas(kPage) uint8_t copied[kPagesAtOnce * kPage];
alignas(kPage) uint8_t before[kPagesAtOnce * kPage];

bool is_zero(const uint8_t* page) {
  // In steps that the compiler turns into wide loads; most pages show at once what they are.
  for (uint64_t at = 0; at < kPage; at += 64) {
    uint64_t words[8];
    memcpy(words, page + at, sizeof(words));
    uint64_t any = 0;
    for (const uint64_t word : words) any |= word;
    if (any != 0) return false;
  }
  return true;
}

uint64_t checksum_of(uint64_t index, const uint8_t* page) {
  return is_zero(page) ? 0 : page_checksum(index, {page, kPage});
}

}  // namespace

Status MemoryWriter::write_run(uint64_t first, uint64_t count) {
  memcpy(copied, page(first), count * kPage);
  for (uint64_t i = 0; i < count; ++i) checksum_ += checksum_of(first + i, copied + i * kPage);
  pages_ += count;
  return write_all(fd_, first * kPage, {copied, count * kPage}, "memory");
}

Status MemoryWriter::write(uint64_t first, uint64_t count) {
  const uint64_t end = first + count;
  for (uint64_t index = first; index < end;) {
    uint64_t run = 0;
    while (index + run < end && !is_zero(page(index + run))) ++run;
    if (run == 0) {
      ++index;
      continue;
    }
    if (Status status = write_run(index, run); !status.is_ok()) return status;
    index += run;
  }
  return Status::ok();
}

Status MemoryWriter::update(uint64_t first, uint64_t count) { return update_from(page(first), first, count); }

Status MemoryWriter::update_from(const uint8_t* pages, uint64_t first, uint64_t count) {
  memset(before, 0, count * kPage);
  // A file may be shorter than memory for as long as nothing was written at its end.
  for (uint64_t done = 0; done < count * kPage;) {
    const ssize_t got = pread(fd_, before + done, count * kPage - done, static_cast<off_t>(first * kPage + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::system_error(errno, "cannot read the snapshot's memory");
    if (got == 0) break;
    done += static_cast<uint64_t>(got);
  }
  memcpy(copied, pages, count * kPage);
  for (uint64_t i = 0; i < count;) {
    uint64_t run = 0;
    for (; i + run < count; ++run) {
      const uint8_t* old_page = before + (i + run) * kPage;
      const uint8_t* new_page = copied + (i + run) * kPage;
      if (memcmp(old_page, new_page, kPage) == 0) break;
      checksum_ += checksum_of(first + i + run, new_page) - checksum_of(first + i + run, old_page);
    }
    if (run == 0) {
      ++i;
      continue;
    }
    pages_ += run;
    Status status = write_all(fd_, (first + i) * kPage, {copied + i * kPage, run * kPage}, "memory");
    if (!status.is_ok()) return status;
    i += run;
  }
  return Status::ok();
}

void MemoryWriter::reserve(std::span<uint8_t> room, uint64_t likely) {
  held_ = room;
  most_held_ = room.size() / kHeldBytes;
  held_count_ = 0;
  const uint64_t ready = std::min(most_held_, likely);
  for (uint64_t i = 0; i < ready; ++i) *static_cast<volatile uint8_t*>(held_.data() + i * kPage) = 1;
  for (uint64_t i = 0; i < ready; i += kPage / sizeof(uint64_t)) {
    *static_cast<volatile uint64_t*>(held_indices() + i) = 1;
  }
}

void MemoryWriter::hold(uint64_t first, uint64_t count) {
  memcpy(held_.data() + held_count_ * kPage, page(first), count * kPage);
  for (uint64_t i = 0; i < count; ++i) held_indices()[held_count_++] = first + i;
}

Status MemoryWriter::write_held() {
  const uint64_t* indices = held_indices();
  for (uint64_t at = 0; at < held_count_;) {
    uint64_t run = 1;
    while (at + run < held_count_ && run < kPagesAtOnce && indices[at + run] == indices[at] + run) ++run;
    Status status = update_from(held_.data() + at * kPage, indices[at], run);
    if (!status.is_ok()) return status;
    at += run;
  }
  held_count_ = 0;
  return Status::ok();
}

Status MemoryWriter::finish(volley_snapshot_header* header) {
  const uint64_t bytes = memory_->size();
  volley_snapshot_trailer trailer{.magic = VOLLEY_SNAPSHOT_TRAILER, .id = {}, .memory_bytes = bytes};
  memcpy(trailer.id, header->id, sizeof(trailer.id));
  memset(copied, 0, kPage);
  memcpy(copied, &trailer, sizeof(trailer));
  if (Status status = write_all(fd_, bytes, {copied, kPage}, "memory"); !status.is_ok()) return status;

  // Holes that are small against all of it are not worth a mapping of their own. With this step there can be no more
  // extents than there is room for.
  const uint64_t gap = std::max<uint64_t>(bytes / (VOLLEY_SNAPSHOT_MAX_EXTENTS - 1), 16 * kPage);
  header->extent_count = 0;
  header->data_bytes = 0;
  for (uint64_t at = 0; at < bytes;) {
    const off_t data = lseek(fd_, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0) return Status::system_error(errno, "cannot find the data in the snapshot's memory");
    const uint64_t start = static_cast<uint64_t>(data) / kPage * kPage;
    if (start >= bytes) break;
    const off_t hole = lseek(fd_, data, SEEK_HOLE);
    if (hole < 0) return Status::system_error(errno, "cannot find the holes in the snapshot's memory");
    const uint64_t end = std::min((static_cast<uint64_t>(hole) + kPage - 1) / kPage * kPage, bytes);
    volley_snapshot_extent* last = header->extent_count == 0 ? nullptr : &header->extents[header->extent_count - 1];
    if (last != nullptr && start - (last->offset + last->length) < gap) {
      last->length = end - last->offset;
    } else {
      header->extents[header->extent_count++] = {start, end - start};
    }
    at = end;
  }
  for (uint32_t i = 0; i < header->extent_count; ++i) header->data_bytes += header->extents[i].length;
  header->memory_bytes = bytes;
  header->memory_checksum = checksum_;
  return Status::ok();
}

Status check_memory_file(int fd, const volley_snapshot_header& header) {
  volley_snapshot_trailer trailer{};
  if (Status status = read_all(fd, header.memory_bytes, bytes_of(trailer), "memory"); !status.is_ok()) return status;
  if (trailer.magic != VOLLEY_SNAPSHOT_TRAILER || trailer.memory_bytes != header.memory_bytes) {
    return Status::error("the snapshot's memory is no memory of a snapshot of Volley's, or of another size");
  }
  if (memcmp(trailer.id, header.id, sizeof(trailer.id)) != 0) {
    return Status::error("the snapshot's memory belongs to another snapshot than its state");
  }
  return Status::ok();
}

}  // namespace volley
