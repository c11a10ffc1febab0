#include "boot/linux_image.h"

#include <elf.h>

#include <algorithm>
#include <cinttypes>
#include <cstring>

#include "abi/volley_abi.h"

namespace volley {
namespace {

// Offsets into a bzImage, from the Linux/x86 boot protocol.
constexpr size_t kSetupSectors = 0x1f1;
constexpr size_t kHeaderJump = 0x200;
constexpr size_t kHeaderMagic = 0x202;
constexpr size_t kProtocolVersion = 0x206;
constexpr size_t kLoadFlags = 0x211;
constexpr size_t kInitrdAddressMax = 0x22c;
constexpr size_t kKernelAlignment = 0x230;
constexpr size_t kRelocatable = 0x234;
constexpr size_t kXloadFlags = 0x236;
constexpr size_t kCmdlineSize = 0x238;
constexpr size_t kPreferredAddress = 0x258;
constexpr size_t kInitSize = 0x260;
constexpr size_t kHeaderEndOfProtocol212 = 0x268;

constexpr uint16_t kProtocol212 = 0x020c;
constexpr uint8_t kLoadedHigh = 0x01;
constexpr uint16_t kHas64BitEntry = 0x0001;
constexpr uint64_t k64BitEntryOffset = 0x200;
constexpr uint64_t kSectorSize = 512;
constexpr uint64_t kHighestAddress = 1ull << 32;
constexpr uint32_t kInitrdAddressMaxOfElf = 0x7fffffff;

// Unaligned and bounds-checked by the caller, who knows how long `head` is.
template <typename T>
T read_at(std::span<const uint8_t> head, size_t offset) {
  T value;
  memcpy(&value, head.data() + offset, sizeof value);
  return value;
}

Status parse_bzimage(std::span<const uint8_t> head, uint64_t file_size, LinuxImage* image) {
  if (head.size() < kHeaderEndOfProtocol212 || read_at<uint32_t>(head, kHeaderMagic) != kLinuxHeaderMagic) {
    return Status::error("the kernel is neither a bzImage nor a 64-bit ELF file");
  }
  const uint16_t protocol = read_at<uint16_t>(head, kProtocolVersion);
  if (protocol < kProtocol212) {
    return Status::error("the kernel speaks boot protocol %u.%02u, 2.12 or newer is needed", protocol >> 8,
                         protocol & 0xffu);
  }
  if ((read_at<uint16_t>(head, kXloadFlags) & kHas64BitEntry) == 0) {
    return Status::error("the kernel has no 64-bit entry point: it is not an x86_64 kernel");
  }
  if ((head[kLoadFlags] & kLoadedHigh) == 0) {
    return Status::error("the kernel is a zImage that wants to be loaded below 1 MiB, which is not supported");
  }

  // 0 stands for 4 in images of the last century.
  const uint64_t sectors = head[kSetupSectors] == 0 ? 4 : head[kSetupSectors];
  const uint64_t payload = (sectors + 1) * kSectorSize;
  if (payload + k64BitEntryOffset >= file_size) {
    return Status::error("the kernel file is cut off: %" PRIu64 " bytes, of which %" PRIu64 " are set-up code",
                         file_size, payload);
  }
  image->segments[0] = {payload, file_size - payload, VOLLEY_KERNEL_BASE};
  image->segment_count = 1;
  image->entry = VOLLEY_KERNEL_BASE + k64BitEntryOffset;

  // Where it unpacks itself: at its preferred address, or at the next aligned one above where it was loaded.
  const uint64_t alignment = read_at<uint32_t>(head, kKernelAlignment);
  const uint64_t preferred = read_at<uint64_t>(head, kPreferredAddress);
  const uint64_t needed = read_at<uint32_t>(head, kInitSize);
  if (alignment == 0 || (alignment & (alignment - 1)) != 0 || preferred >= kHighestAddress) {
    return Status::error("the kernel's header is damaged: alignment %#" PRIx64 ", preferred address %#" PRIx64,
                         alignment, preferred);
  }
  const uint64_t aligned_base = (VOLLEY_KERNEL_BASE + alignment - 1) & ~(alignment - 1);
  const uint64_t runs_at = head[kRelocatable] != 0 ? std::max(aligned_base, preferred) : preferred;
  image->memory_end = std::max<uint64_t>(runs_at + needed, VOLLEY_KERNEL_BASE + image->segments[0].file_bytes);
  image->initrd_limit = uint64_t{read_at<uint32_t>(head, kInitrdAddressMax)} + 1;
  image->cmdline_limit = read_at<uint32_t>(head, kCmdlineSize);

  // The header ends where the jump over it lands.
  const size_t header_end = kHeaderMagic + head[kHeaderJump + 1];
  const size_t copied_end = std::min({header_end, kSetupSectors + LinuxImage::kMaxSetupHeader, head.size()});
  if (copied_end < kHeaderEndOfProtocol212) {
    return Status::error("the kernel's header is damaged: it ends at %#zx, before what protocol 2.12 promises",
                         header_end);
  }
  image->setup_header_size = copied_end - kSetupSectors;
  memcpy(image->setup_header, head.data() + kSetupSectors, image->setup_header_size);
  return Status::ok();
}

Status add_elf_segment(const Elf64_Phdr& part, uint64_t file_size, LinuxImage* image) {
  if (part.p_offset > file_size || part.p_filesz > file_size - part.p_offset) {
    return Status::error("the kernel file is cut off: a segment of %" PRIu64 " bytes at %#" PRIx64 " is beyond its end",
                         part.p_filesz, part.p_offset);
  }
  if (part.p_filesz > part.p_memsz || part.p_paddr < VOLLEY_KERNEL_BASE || part.p_paddr >= kHighestAddress ||
      part.p_memsz >= kHighestAddress) {
    return Status::error("the kernel wants %" PRIu64 " bytes at %#" PRIx64 ", outside 1 MiB to 4 GiB", part.p_memsz,
                         part.p_paddr);
  }
  if (image->segment_count == LinuxImage::kMaxSegments) {
    return Status::error("the kernel has more than %zu segments to load", LinuxImage::kMaxSegments);
  }
  image->segments[image->segment_count++] = {part.p_offset, part.p_filesz, part.p_paddr};
  image->memory_end = std::max(image->memory_end, part.p_paddr + part.p_memsz);
  return Status::ok();
}

// Empty notes, notes beyond the end of the file, and too many of them are as good as none.
void add_notes(const Elf64_Phdr& part, uint64_t file_size, LinuxImage* image) {
  if (part.p_offset > file_size || part.p_filesz > file_size - part.p_offset) return;
  if (part.p_filesz < sizeof(Elf64_Nhdr) || image->note_count == LinuxImage::kMaxNoteSegments) return;
  image->notes[image->note_count++] = {part.p_offset, part.p_filesz, part.p_align};
}

Status parse_elf(std::span<const uint8_t> head, uint64_t file_size, LinuxImage* image) {
  if (head.size() < sizeof(Elf64_Ehdr)) return Status::error("the kernel file is cut off inside its ELF header");
  const auto header = read_at<Elf64_Ehdr>(head, 0);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_machine != EM_X86_64 || header.e_type != ET_EXEC) {
    return Status::error("the kernel is an ELF file, but not a 64-bit x86 executable");
  }
  const uint64_t table_bytes = uint64_t{header.e_phnum} * sizeof(Elf64_Phdr);
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff > head.size() ||
      table_bytes > head.size() - header.e_phoff) {
    return Status::error("the kernel's ELF program headers (%u at %#" PRIx64 ") are not within its first %zu bytes",
                         header.e_phnum, header.e_phoff, head.size());
  }
  for (size_t i = 0; i < header.e_phnum; ++i) {
    const auto part = read_at<Elf64_Phdr>(head, header.e_phoff + i * sizeof(Elf64_Phdr));
    if (part.p_type == PT_NOTE) add_notes(part, file_size, image);
    if (part.p_type != PT_LOAD || part.p_memsz == 0) continue;
    if (Status status = add_elf_segment(part, file_size, image); !status.is_ok()) return status;
  }
  if (image->segment_count == 0) return Status::error("the kernel is an ELF file without anything to load");
  if (header.e_entry >= VOLLEY_KERNEL_BASE && header.e_entry < image->memory_end) {
    image->entry = header.e_entry;
    image->note_count = 0;
  } else if (image->note_count == 0) {
    return Status::error("the kernel's entry point %#" PRIx64 " is outside what it loads, and it has no PVH note",
                         header.e_entry);
  }
  image->initrd_limit = uint64_t{kInitrdAddressMaxOfElf} + 1;
  image->cmdline_limit = VOLLEY_CMDLINE_MAX - 1;
  return Status::ok();
}

}  // namespace

Status parse_linux_image(std::span<const uint8_t> head, uint64_t file_size, LinuxImage* image) {
  *image = LinuxImage{};
  if (head.size() >= SELFMAG && memcmp(head.data(), ELFMAG, SELFMAG) == 0) return parse_elf(head, file_size, image);
  return parse_bzimage(head, file_size, image);
}

}  // namespace volley
