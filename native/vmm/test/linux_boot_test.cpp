#include "boot/linux_boot.h"

#include <asm/bootparam.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "base/unique_fd.h"
#include "boot/pvh.h"
#include "memory/layout.h"
#include "support/refused.h"
#include "support/sample_kernels.h"

namespace volley {
namespace {

constexpr uint64_t kMib = 1ull << 20;

UniqueFd file_of(const std::vector<uint8_t>& bytes) {
  UniqueFd file(memfd_create("test", MFD_CLOEXEC));
  CHECK(file.is_open());
  CHECK(write(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  return file;
}

LinuxImage parsed(const KernelFile& file) {
  LinuxImage image;
  CHECK(parse_linux_image({file.data(), std::min(file.size(), kLinuxImageHead)}, file.size(), &image).is_ok());
  return image;
}

BootSource source_of(const char* cmdline) {
  BootSource source;
  source.cmdline = cmdline;
  source.cmdline_length = static_cast<uint32_t>(strlen(cmdline));
  return source;
}

boot_params zero_page_of(const GuestMemory& memory) {
  boot_params zero_page;
  memcpy(&zero_page, memory.range(kZeroPageAddress, sizeof zero_page).data(), sizeof zero_page);
  return zero_page;
}

TEST(loads_the_kernel_where_it_says) {
  const KernelFile bzimage = sample_bzimage();
  GuestMemory memory;
  CHECK(memory.map(64 * kMib, true).is_ok());
  CHECK(load_linux_image(parsed(bzimage), file_of(bzimage).get(), memory).is_ok());
  CHECK(memcmp(memory.range(0x100000, 8192).data(), bzimage.data() + 1024, 8192) == 0);
  CHECK(memory.range(0x100000 + 8192, 1)[0] == 0);

  const KernelFile elf = sample_elf();
  CHECK(load_linux_image(parsed(elf), file_of(elf).get(), memory).is_ok());
  CHECK(memory.range(0x1200000, 1)[0] == 0x90);
}

TEST(refuses_a_guest_too_small_for_the_kernel) {
  const KernelFile bzimage = sample_bzimage();
  GuestMemory memory;
  CHECK(memory.map(47 * kMib, true).is_ok());
  CHECK_REFUSED(load_linux_image(parsed(bzimage), file_of(bzimage).get(), memory), "up to 48 MiB");
}

TEST(refuses_a_kernel_file_that_became_shorter) {
  const KernelFile bzimage = sample_bzimage();
  GuestMemory memory;
  CHECK(memory.map(64 * kMib, true).is_ok());
  const UniqueFd file = file_of(bzimage);
  CHECK(ftruncate(file.get(), 4000) == 0);
  CHECK_REFUSED(load_linux_image(parsed(bzimage), file.get(), memory), "ends after");
}

TEST(puts_the_initrd_at_the_top_of_low_memory) {
  const LinuxImage image = parsed(sample_bzimage());
  const std::vector<uint8_t> initrd(10'000, 0x5a);
  const UniqueFd file = file_of(initrd);
  BootSource source = source_of("");
  source.initrd_fd = file.get();
  source.initrd_size = initrd.size();
  GuestMemory memory;
  CHECK(memory.map(64 * kMib, true).is_ok());
  LoadedInitrd loaded;
  CHECK(load_linux_initrd(image, source, memory, &loaded).is_ok());
  CHECK(loaded.address == 64 * kMib - 12288 && loaded.size == initrd.size());
  CHECK(memcmp(memory.range(loaded.address, initrd.size()).data(), initrd.data(), initrd.size()) == 0);

  // The kernel's own limit counts where it is lower than the memory.
  LinuxImage limited = image;
  limited.initrd_limit = 56 * kMib;
  CHECK(load_linux_initrd(limited, source, memory, &loaded).is_ok());
  CHECK(loaded.address == 56 * kMib - 12288);

  GuestMemory tight;
  CHECK(tight.map(48 * kMib + 8192, true).is_ok());
  CHECK_REFUSED(load_linux_initrd(image, source, tight, &loaded), "does not fit between");
  limited.memory_end = 64 * kMib - 10'001;
  limited.initrd_limit = 64 * kMib;
  CHECK_REFUSED(load_linux_initrd(limited, source, memory, &loaded), "no room for a page boundary");
}

TEST(puts_a_second_archive_right_behind_the_first) {
  const LinuxImage image = parsed(sample_bzimage());
  const std::vector<uint8_t> first(10'001, 0x5a);
  const std::vector<uint8_t> second(777, 0xa5);
  const UniqueFd first_file = file_of(first);
  const UniqueFd second_file = file_of(second);
  BootSource source = source_of("");
  source.initrd_fd = first_file.get();
  source.initrd_size = first.size();
  source.initrd_extra_fd = second_file.get();
  source.initrd_extra_size = second.size();
  GuestMemory memory;
  CHECK(memory.map(64 * kMib, true).is_ok());
  LoadedInitrd loaded;
  CHECK(load_linux_initrd(image, source, memory, &loaded).is_ok());
  CHECK(loaded.address == 64 * kMib - 12288);
  CHECK_EQ(loaded.size, 10'004u + 777u);
  const std::span<uint8_t> bytes = memory.range(loaded.address, loaded.size);
  CHECK(bytes[10'000] == 0x5a && bytes[10'001] == 0 && bytes[10'003] == 0 && bytes[10'004] == 0xa5);
  CHECK(memcmp(bytes.data() + 10'004, second.data(), second.size()) == 0);

  source.initrd_size = 0;
  CHECK(load_linux_initrd(image, source, memory, &loaded).is_ok());
  CHECK(loaded.size == 777 && memory.range(loaded.address, 1)[0] == 0xa5);

  source.initrd_size = ~0ull - 100;
  CHECK_REFUSED(load_linux_initrd(image, source, memory, &loaded), "does not fit");
  source.initrd_size = first.size();
  source.initrd_extra_size = ~0ull - first.size();
  CHECK_REFUSED(load_linux_initrd(image, source, memory, &loaded), "does not fit");
}

TEST(takes_files_by_their_role) {
  volley_config config{};
  config.kernel_size = 1;
  config.initrd_extra_size = 2;
  config.vcpus = 3;
  config.device_count = 4;
  config.generation_id[15] = 5;
  InheritedFds fds;
  fds.count = 2;
  fds.fds[0] = 70;
  fds.roles[0] = VOLLEY_ROLE_INITRD_EXTRA;
  fds.fds[1] = 71;
  fds.roles[1] = VOLLEY_ROLE_KERNEL;
  BootSource source;
  CHECK(boot_source_of(config, fds, &source).is_ok());
  CHECK(source.kernel_fd == 71 && source.initrd_extra_fd == 70 && source.initrd_fd == -1);
  CHECK(source.vcpus == 3 && source.devices == 4 && source.generation_id[15] == 5);
  config.initrd_size = 1;
  CHECK_REFUSED(boot_source_of(config, fds, &source), "no descriptor of the initial ram disk");
}

// Notes as a linker writes them: some owner's first, then the entry point.
std::vector<uint8_t> pvh_notes(uint64_t entry, uint32_t entry_bytes) {
  std::vector<uint8_t> notes(64, 0);
  const auto put = [&](size_t at, uint32_t owner, uint32_t content, uint32_t type, const char* name) {
    const Elf64_Nhdr header{owner, content, type};
    memcpy(notes.data() + at, &header, sizeof header);
    memcpy(notes.data() + at + sizeof header, name, owner);
  };
  put(0, 4, 2, 18, "GNU");  // 12 + 4 + 2 and padding
  put(20, 4, entry_bytes, 18, "Xen");
  memcpy(notes.data() + 36, &entry, entry_bytes);
  notes.resize(36 + entry_bytes);
  return notes;
}

TEST(finds_the_pvh_entry_among_the_notes) {
  uint64_t entry = 0;
  CHECK(find_pvh_entry(pvh_notes(0x1000370, 4), 4, &entry));
  CHECK_EQ(entry, 0x1000370u);
  CHECK(find_pvh_entry(pvh_notes(0x1000370, 8), 4, &entry));
  CHECK_EQ(entry, 0x1000370u);
  // Whatever is cut off or lies about its length holds no entry, and nothing behind the end is read.
  const std::vector<uint8_t> whole = pvh_notes(0x1000370, 4);
  for (size_t length = 0; length < whole.size(); ++length) {
    const std::vector<uint8_t> part(whole.begin(), whole.begin() + static_cast<long>(length));
    CHECK(!find_pvh_entry(part, 4, &entry));
  }
  for (size_t at = 0; at < 28; at += 4) {
    std::vector<uint8_t> bad = whole;
    memset(bad.data() + at, 0xff, 4);
    CHECK(!find_pvh_entry(bad, 4, &entry) || entry == 0x1000370);
  }
}

// An ELF file whose entry point is a virtual address, as kernels other than Linux have it.
KernelFile pvh_elf(uint64_t entry) {
  KernelFile file = sample_elf();
  poke<uint64_t>(&file, offsetof(Elf64_Ehdr, e_entry), 0xffffffff81000000);
  const std::vector<uint8_t> notes = pvh_notes(entry, 4);
  memcpy(file.data() + 3 * 4096 - 128, notes.data(), notes.size());
  poke<uint64_t>(&file, sample_elf_part(2) + offsetof(Elf64_Phdr, p_offset), 3 * 4096 - 128);
  poke<uint64_t>(&file, sample_elf_part(2) + offsetof(Elf64_Phdr, p_filesz), notes.size());
  poke<uint64_t>(&file, sample_elf_part(2) + offsetof(Elf64_Phdr, p_align), 4);
  return file;
}

TEST(enters_by_pvh_where_there_is_no_64_bit_entry) {
  const KernelFile file = pvh_elf(0x1000040);
  const LinuxImage image = parsed(file);
  CHECK(image.entry == 0 && image.note_count == 1);
  uint64_t entry = 0;
  CHECK(read_pvh_entry(image, file_of(file).get(), &entry).is_ok());
  CHECK_EQ(entry, 0x1000040u);

  const KernelFile outside = pvh_elf(0x1300000);
  CHECK_REFUSED(read_pvh_entry(parsed(outside), file_of(outside).get(), &entry), "0x1300000 is outside");
  const KernelFile without = pvh_elf(0);
  KernelFile nameless = without;
  nameless[3 * 4096 - 128 + 32] = 'Y';
  CHECK_REFUSED(read_pvh_entry(parsed(nameless), file_of(nameless).get(), &entry), "nor a PVH note");
}

TEST(describes_the_machine_to_pvh_kernels) {
  GuestMemory memory;
  CHECK(memory.map(5 * 1024 * kMib, true).is_ok());
  CHECK(write_pvh_start_info(source_of("quiet"), 0x3000000, 999, memory).is_ok());
  const auto word = [&](uint64_t address) {
    uint32_t value;
    memcpy(&value, memory.range(address, 4).data(), 4);
    return value;
  };
  CHECK_EQ(word(0x6000), 0x336ec578u);
  CHECK_EQ(word(0x6004), 1u);
  CHECK_EQ(word(0x600c), 1u);  // modules
  CHECK_EQ(word(0x6010), 0x6040u);
  CHECK_EQ(word(0x6018), static_cast<uint32_t>(VOLLEY_CMDLINE_ADDRESS));
  CHECK_EQ(word(0x6020), static_cast<uint32_t>(kRsdpAddress));
  CHECK_EQ(word(0x6028), 0x7000u);
  CHECK_EQ(word(0x6030), 4u);
  CHECK(word(0x6040) == 0x3000000 && word(0x6048) == 999);
  CHECK(word(0x7000) == 0 && word(0x7008) == 0x9fc00 && word(0x7010) == 1);
  CHECK(word(0x7018) == 0xe0000 && word(0x7028) == 2);
  CHECK(word(0x7030) == 0x100000 && word(0x7038) == 0xbff00000);
  CHECK(word(0x7048) == 0 && word(0x704c) == 1);  // 4 GiB
}

TEST(describes_memory_around_the_device_window) {
  const LinuxImage image = parsed(sample_bzimage());
  GuestMemory small;
  CHECK(small.map(64 * kMib, true).is_ok());
  CHECK(write_zero_page(image, source_of("quiet"), {0x3000000, 999}, small).is_ok());
  boot_params zero_page = zero_page_of(small);
  CHECK(zero_page.e820_entries == 3);
  CHECK(zero_page.e820_table[0].addr == 0 && zero_page.e820_table[0].size == 0x9fc00);
  CHECK(zero_page.e820_table[1].addr == 0xe0000 && zero_page.e820_table[1].type == 2);
  CHECK(zero_page.e820_table[2].addr == kMib && zero_page.e820_table[2].size == 63 * kMib);
  CHECK(zero_page.hdr.type_of_loader == 0xff && zero_page.hdr.cmd_line_ptr == VOLLEY_CMDLINE_ADDRESS);
  CHECK(zero_page.hdr.ramdisk_image == 0x3000000 && zero_page.hdr.ramdisk_size == 999 &&
        zero_page.acpi_rsdp_addr == kRsdpAddress);
  CHECK(zero_page.hdr.pref_address == 0x1000000);  // copied from the file

  GuestMemory large;
  CHECK(large.map(5 * 1024 * kMib, true).is_ok());
  CHECK(write_zero_page(image, source_of(""), {}, large).is_ok());
  zero_page = zero_page_of(large);
  CHECK(zero_page.e820_entries == 4);
  CHECK(zero_page.e820_table[2].addr + zero_page.e820_table[2].size == kMmioGapStart);
  CHECK(zero_page.e820_table[3].addr == 4096 * kMib && zero_page.e820_table[3].size == 2048 * kMib);
}

TEST(gives_an_elf_kernel_a_header) {
  GuestMemory memory;
  CHECK(memory.map(64 * kMib, true).is_ok());
  CHECK(write_zero_page(parsed(sample_elf()), source_of("quiet"), {}, memory).is_ok());
  const boot_params zero_page = zero_page_of(memory);
  CHECK(zero_page.hdr.boot_flag == 0xaa55 && zero_page.hdr.header == 0x53726448);
}

TEST(refuses_a_command_line_longer_than_the_kernel_takes) {
  LinuxImage image = parsed(sample_bzimage());
  image.cmdline_limit = 4;
  GuestMemory memory;
  CHECK(memory.map(64 * kMib, true).is_ok());
  CHECK_REFUSED(write_zero_page(image, source_of("quiet"), {}, memory), "has 5 characters, this kernel takes 4");
}

TEST(asks_for_a_reset_at_the_reset_vector) {
  GuestMemory memory;
  CHECK(memory.map(2 * kMib, true).is_ok());
  CHECK(write_reset_vector(memory).is_ok());
  const std::span<uint8_t> code = memory.range(0xffff0, 4);
  CHECK(code[0] == 0xb0 && code[1] == 0xfe && code[2] == 0xe6 && code[3] == 0x64);
}

}  // namespace
}  // namespace volley
