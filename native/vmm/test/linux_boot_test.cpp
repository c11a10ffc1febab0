#include "boot/linux_boot.h"

#include <asm/bootparam.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "base/unique_fd.h"
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
  return {.kernel_fd = -1,
          .kernel_size = 0,
          .initrd_fd = -1,
          .initrd_size = 0,
          .cmdline = cmdline,
          .cmdline_length = static_cast<uint32_t>(strlen(cmdline)),
          .vcpus = 1};
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
  uint64_t address = 0;
  CHECK(load_linux_initrd(image, source, memory, &address).is_ok());
  CHECK(address == 64 * kMib - 12288);
  CHECK(memcmp(memory.range(address, initrd.size()).data(), initrd.data(), initrd.size()) == 0);

  // The kernel's own limit counts where it is lower than the memory.
  LinuxImage limited = image;
  limited.initrd_limit = 56 * kMib;
  CHECK(load_linux_initrd(limited, source, memory, &address).is_ok());
  CHECK(address == 56 * kMib - 12288);

  GuestMemory tight;
  CHECK(tight.map(48 * kMib + 8192, true).is_ok());
  CHECK_REFUSED(load_linux_initrd(image, source, tight, &address), "does not fit between");
  limited.memory_end = 64 * kMib - 10'001;
  limited.initrd_limit = 64 * kMib;
  CHECK_REFUSED(load_linux_initrd(limited, source, memory, &address), "no room for a page boundary");
}

TEST(describes_memory_around_the_device_window) {
  const LinuxImage image = parsed(sample_bzimage());
  GuestMemory small;
  CHECK(small.map(64 * kMib, true).is_ok());
  CHECK(write_zero_page(image, source_of("quiet"), 0x3000000, small).is_ok());
  boot_params zero_page = zero_page_of(small);
  CHECK(zero_page.e820_entries == 3);
  CHECK(zero_page.e820_table[0].addr == 0 && zero_page.e820_table[0].size == 0x9fc00);
  CHECK(zero_page.e820_table[1].addr == 0xe0000 && zero_page.e820_table[1].type == 2);
  CHECK(zero_page.e820_table[2].addr == kMib && zero_page.e820_table[2].size == 63 * kMib);
  CHECK(zero_page.hdr.type_of_loader == 0xff && zero_page.hdr.cmd_line_ptr == VOLLEY_CMDLINE_ADDRESS);
  CHECK(zero_page.hdr.ramdisk_image == 0x3000000 && zero_page.acpi_rsdp_addr == kRsdpAddress);
  CHECK(zero_page.hdr.pref_address == 0x1000000);  // copied from the file

  GuestMemory large;
  CHECK(large.map(5 * 1024 * kMib, true).is_ok());
  CHECK(write_zero_page(image, source_of(""), 0, large).is_ok());
  zero_page = zero_page_of(large);
  CHECK(zero_page.e820_entries == 4);
  CHECK(zero_page.e820_table[2].addr + zero_page.e820_table[2].size == kMmioGapStart);
  CHECK(zero_page.e820_table[3].addr == 4096 * kMib && zero_page.e820_table[3].size == 2048 * kMib);
}

TEST(gives_an_elf_kernel_a_header) {
  GuestMemory memory;
  CHECK(memory.map(64 * kMib, true).is_ok());
  CHECK(write_zero_page(parsed(sample_elf()), source_of("quiet"), 0, memory).is_ok());
  const boot_params zero_page = zero_page_of(memory);
  CHECK(zero_page.hdr.boot_flag == 0xaa55 && zero_page.hdr.header == 0x53726448);
}

TEST(refuses_a_command_line_longer_than_the_kernel_takes) {
  LinuxImage image = parsed(sample_bzimage());
  image.cmdline_limit = 4;
  GuestMemory memory;
  CHECK(memory.map(64 * kMib, true).is_ok());
  CHECK_REFUSED(write_zero_page(image, source_of("quiet"), 0, memory), "has 5 characters, this kernel takes 4");
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
