#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"

namespace volley {

// "HdrS", at the head of the kernel's setup header.
constexpr uint32_t kLinuxHeaderMagic = 0x53726448;

// A run of bytes of the kernel file and where it goes in guest memory.
struct LinuxSegment {
  uint64_t file_offset;
  uint64_t file_bytes;
  uint64_t address;
};

// Where a kernel file keeps ELF notes.
struct NoteSegment {
  uint64_t file_offset;
  uint64_t file_bytes;
  uint64_t alignment;
};

// What a kernel file says about itself: enough to load and enter it, nothing of it loaded yet.
struct LinuxImage {
  static constexpr size_t kMaxSegments = 16;
  static constexpr size_t kMaxSetupHeader = 0x290 - 0x1f1;  // the room it has in the zero page

  LinuxSegment segments[kMaxSegments];
  size_t segment_count = 0;
  uint64_t entry = 0;          // 64-bit entry point; 0 if the file has none that can be used: it must be entered by PVH
  uint64_t memory_end = 0;     // the kernel may use all memory from 1 MiB up to here before it looks at the memory map
  uint64_t initrd_limit = 0;   // the initial ram disk must end at or below this address
  uint32_t cmdline_limit = 0;  // longest command line, without the closing NUL
  uint8_t setup_header[kMaxSetupHeader] = {};  // as found in a bzImage; zeros for an ELF file
  size_t setup_header_size = 0;
  static constexpr size_t kMaxNoteSegments = 4;
  NoteSegment notes[kMaxNoteSegments];  // filled in only where there is no 64-bit entry point
  size_t note_count = 0;
};

// How much of a kernel file's start is enough to understand it.
inline constexpr size_t kLinuxImageHead = 4096;

// Understands a bzImage (boot protocol 2.12 or newer with a 64-bit entry point) or a 64-bit ELF vmlinux. An ELF file's
// entry point is taken for a 64-bit one if it is a physical address inside of what the file loads, as in every vmlinux;
// other kernels give a virtual address there and name their real entry point in a PVH note. `head` is the file's start,
// kLinuxImageHead bytes or the whole file if it is shorter. Everything in it is doubted: no offset or size is used
// before it was found to lie inside the file and above 1 MiB.
Status parse_linux_image(std::span<const uint8_t> head, uint64_t file_size, LinuxImage* image);

}  // namespace volley
