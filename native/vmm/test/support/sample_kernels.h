#pragma once

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <vector>

namespace volley {

// Kernel files that are right in all that a loader looks at, and hold nothing to run.
using KernelFile = std::vector<uint8_t>;

template <typename T>
void poke(KernelFile* file, size_t offset, T value) {
  memcpy(file->data() + offset, &value, sizeof value);
}

inline KernelFile sample_bzimage() {
  constexpr size_t kPayload = 2 * 512;
  KernelFile file(kPayload + 8192, 0x90);
  memset(file.data(), 0, kPayload);
  poke<uint8_t>(&file, 0x1f1, 1);  // one sector of set-up code after the boot sector
  poke<uint16_t>(&file, 0x1fe, 0xaa55);
  poke<uint8_t>(&file, 0x200, 0xeb);
  poke<uint8_t>(&file, 0x201, 0x6a);  // the header ends at 0x26c
  poke<uint32_t>(&file, 0x202, 0x53726448);
  poke<uint16_t>(&file, 0x206, 0x020f);
  poke<uint8_t>(&file, 0x211, 1);
  poke<uint32_t>(&file, 0x22c, 0x7fffffff);
  poke<uint32_t>(&file, 0x230, 0x200000);
  poke<uint8_t>(&file, 0x234, 1);
  poke<uint16_t>(&file, 0x236, 1);
  poke<uint32_t>(&file, 0x238, 2047);
  poke<uint64_t>(&file, 0x258, 0x1000000);
  poke<uint32_t>(&file, 0x260, 0x2000000);
  return file;
}

inline KernelFile sample_elf() {
  KernelFile file(3 * 4096, 0x90);
  Elf64_Ehdr header{};
  memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_entry = 0x1000100;
  header.e_phoff = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 3;
  Elf64_Phdr parts[3] = {};
  parts[0].p_type = PT_LOAD;
  parts[0].p_offset = 4096;
  parts[0].p_paddr = 0x1000000;
  parts[0].p_filesz = parts[0].p_memsz = 4096;
  parts[1].p_type = PT_LOAD;
  parts[1].p_offset = 8192;
  parts[1].p_paddr = 0x1200000;
  parts[1].p_filesz = 4096;
  parts[1].p_memsz = 0x100000;
  parts[2].p_type = PT_NOTE;
  poke(&file, 0, header);
  for (size_t i = 0; i < 3; ++i) poke(&file, sizeof header + i * sizeof(Elf64_Phdr), parts[i]);
  return file;
}

// Where the program header `index` of sample_elf lies.
inline size_t sample_elf_part(size_t index) { return sizeof(Elf64_Ehdr) + index * sizeof(Elf64_Phdr); }

}  // namespace volley
