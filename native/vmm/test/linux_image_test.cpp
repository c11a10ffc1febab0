#include "boot/linux_image.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <random>

#include "support/refused.h"
#include "support/sample_kernels.h"

namespace volley {
namespace {

Status parse(const KernelFile& file, LinuxImage* image) {
  return parse_linux_image({file.data(), std::min(file.size(), kLinuxImageHead)}, file.size(), image);
}

template <typename T>
Status parse_with(KernelFile file, size_t offset, T value) {
  poke(&file, offset, value);
  LinuxImage image;
  return parse(file, &image);
}

TEST(understands_a_bzimage) {
  KernelFile file = sample_bzimage();
  LinuxImage image;
  CHECK(parse(file, &image).is_ok());
  CHECK(image.segment_count == 1);
  CHECK(image.segments[0].file_offset == 1024 && image.segments[0].file_bytes == 8192);
  CHECK(image.segments[0].address == 0x100000 && image.entry == 0x100200);
  CHECK(image.memory_end == 0x1000000 + 0x2000000);
  CHECK(image.initrd_limit == 0x80000000 && image.cmdline_limit == 2047);
  CHECK(image.setup_header_size == 0x26c - 0x1f1);
  CHECK(memcmp(image.setup_header, file.data() + 0x1f1, image.setup_header_size) == 0);

  // Above its preferred address a relocatable kernel unpacks itself at the next aligned one.
  poke<uint64_t>(&file, 0x258, 0x100000);
  CHECK(parse(file, &image).is_ok());
  CHECK(image.memory_end == 0x200000 + 0x2000000);
}

TEST(refuses_other_bzimages) {
  const KernelFile file = sample_bzimage();
  CHECK_REFUSED(parse_with<uint32_t>(file, 0x202, 0), "neither a bzImage nor");
  CHECK_REFUSED(parse_with<uint16_t>(file, 0x206, 0x020b), "boot protocol 2.11");
  CHECK_REFUSED(parse_with<uint16_t>(file, 0x236, 0), "no 64-bit entry point");
  CHECK_REFUSED(parse_with<uint8_t>(file, 0x211, 0), "zImage");
  CHECK_REFUSED(parse_with<uint8_t>(file, 0x1f1, 40), "cut off");
  CHECK_REFUSED(parse_with<uint32_t>(file, 0x230, 0), "damaged");
  CHECK_REFUSED(parse_with<uint32_t>(file, 0x230, 3), "damaged");
  CHECK_REFUSED(parse_with<uint64_t>(file, 0x258, ~0ull), "damaged");
  CHECK_REFUSED(parse_with<uint8_t>(file, 0x201, 0x10), "damaged");
  LinuxImage image;
  for (const size_t size : {size_t{0}, size_t{3}, size_t{0x1f1}, size_t{0x203}, size_t{0x267}}) {
    CHECK_REFUSED(parse(KernelFile(file.begin(), file.begin() + static_cast<ptrdiff_t>(size)), &image), "neither");
  }
  CHECK_REFUSED(parse(KernelFile(file.begin(), file.begin() + 1024), &image), "cut off");
}

TEST(understands_an_elf_file) {
  LinuxImage image;
  CHECK(parse(sample_elf(), &image).is_ok());
  CHECK(image.segment_count == 2 && image.entry == 0x1000100);
  CHECK(image.segments[1].file_offset == 8192 && image.segments[1].address == 0x1200000);
  CHECK(image.memory_end == 0x1300000 && image.setup_header_size == 0);
}

TEST(refuses_other_elf_files) {
  const KernelFile file = sample_elf();
  CHECK_REFUSED(parse_with<uint8_t>(file, EI_CLASS, ELFCLASS32), "not a 64-bit x86");
  CHECK_REFUSED(parse_with<uint16_t>(file, offsetof(Elf64_Ehdr, e_machine), EM_AARCH64), "not a 64-bit x86");
  CHECK_REFUSED(parse_with<uint16_t>(file, offsetof(Elf64_Ehdr, e_type), ET_REL), "not a 64-bit x86");
  CHECK_REFUSED(parse_with<uint16_t>(file, offsetof(Elf64_Ehdr, e_phentsize), 8), "program headers");
  CHECK_REFUSED(parse_with<uint64_t>(file, offsetof(Elf64_Ehdr, e_phoff), ~0ull), "program headers");
  CHECK_REFUSED(parse_with<uint16_t>(file, offsetof(Elf64_Ehdr, e_phnum), 0xffff), "program headers");
  CHECK_REFUSED(parse_with<uint16_t>(file, offsetof(Elf64_Ehdr, e_phnum), 0), "without anything to load");
  CHECK_REFUSED(parse_with<uint64_t>(file, offsetof(Elf64_Ehdr, e_entry), 0x1000), "entry point");
  CHECK_REFUSED(parse_with<uint64_t>(file, offsetof(Elf64_Ehdr, e_entry), 0x1300000), "entry point");
  const size_t part = sample_elf_part(1);
  CHECK_REFUSED(parse_with<uint64_t>(file, part + offsetof(Elf64_Phdr, p_offset), ~0ull), "beyond its end");
  CHECK_REFUSED(parse_with<uint64_t>(file, part + offsetof(Elf64_Phdr, p_filesz), 4097), "beyond its end");
  CHECK_REFUSED(parse_with<uint64_t>(file, part + offsetof(Elf64_Phdr, p_memsz), 1), "outside 1 MiB to 4 GiB");
  CHECK_REFUSED(parse_with<uint64_t>(file, part + offsetof(Elf64_Phdr, p_memsz), ~0ull), "outside 1 MiB to 4 GiB");
  CHECK_REFUSED(parse_with<uint64_t>(file, part + offsetof(Elf64_Phdr, p_paddr), 0x1000), "outside 1 MiB to 4 GiB");
  CHECK_REFUSED(parse_with<uint64_t>(file, part + offsetof(Elf64_Phdr, p_paddr), 1ull << 40), "outside 1 MiB to 4 GiB");
  LinuxImage image;
  CHECK_REFUSED(parse(KernelFile(file.begin(), file.begin() + 20), &image), "cut off");
}

// Whatever the bytes, nothing accepted points outside the file or below 1 MiB.
void damage_many_times(const KernelFile& sound) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200'000; ++round) {
    KernelFile file = sound;
    for (uint64_t changes = 1 + random() % 6; changes > 0; --changes)
      file[random() % 0x280] = static_cast<uint8_t>(random());
    LinuxImage image;
    if (!parse(file, &image).is_ok()) continue;
    CHECK(image.segment_count >= 1 && image.segment_count <= LinuxImage::kMaxSegments);
    CHECK(image.setup_header_size <= LinuxImage::kMaxSetupHeader);
    const bool by_pvh = image.entry == 0 && image.note_count > 0;
    CHECK(by_pvh || (image.entry >= 0x100000 && image.entry < image.memory_end));
    for (size_t i = 0; i < image.segment_count; ++i) {
      const LinuxSegment& segment = image.segments[i];
      CHECK(segment.file_offset <= file.size() && segment.file_bytes <= file.size() - segment.file_offset);
      CHECK(segment.address >= 0x100000 && segment.address + segment.file_bytes <= image.memory_end);
    }
  }
}

TEST(a_damaged_bzimage_is_refused_or_harmless) { damage_many_times(sample_bzimage()); }
TEST(a_damaged_elf_file_is_refused_or_harmless) { damage_many_times(sample_elf()); }

}  // namespace
}  // namespace volley
