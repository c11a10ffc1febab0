#include "boot/linux_boot.h"

#include <asm/bootparam.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>

#include "boot/acpi_tables.h"
#include "boot/long_mode.h"
#include "boot/pvh.h"
#include "kvm/guest_cpuid.h"
#include "memory/layout.h"

namespace volley {
namespace {

constexpr uint8_t kUnregisteredLoader = 0xff;
constexpr uint16_t kBootFlag = 0xaa55;
constexpr uint16_t kElfProtocol = 0x020f;
constexpr uint32_t kElfAlignment = 0x1000000;
constexpr uint32_t kE820Ram = 1;
constexpr uint32_t kE820Reserved = 2;
constexpr uint64_t kPageSize = 4096;
// A kernel looks for the start of a further archive at multiples of 4 only.
constexpr uint64_t kArchiveAlignment = 4;
// Of each segment of notes; those of a vmlinux have a few hundred bytes.
constexpr uint64_t kMaxNoteBytes = 8192;
// Until the kernel has tables of its own it can only use what load_long_mode_tables maps.
constexpr uint64_t kMappedAtEntry = 1ull << 30;

constexpr uint32_t kMsrMiscEnable = 0x1a0;
constexpr uint64_t kMiscEnableFastStrings = 1;
constexpr uint32_t kMsrMtrrDefaultType = 0x2ff;
constexpr uint64_t kMtrrEnabledWriteBack = 0x800 | 6;

Status read_bytes(int fd, uint64_t offset, std::span<uint8_t> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::system_error(errno, "cannot read the kernel");
    if (got == 0) {
      return Status::error("the kernel ends after %" PRIu64 " bytes, more were announced", offset + done);
    }
    done += static_cast<size_t>(got);
  }
  return Status::ok();
}

// Guest memory below the MMIO gap: all that the boot protocol's 32-bit fields are used for.
uint64_t low_memory_end(const GuestMemory& memory) { return memory.regions()[0].size; }

void add_e820(boot_params* zero_page, uint64_t start, uint64_t end, uint32_t type) {
  boot_e820_entry entry{};
  entry.addr = start;
  entry.size = end - start;
  entry.type = type;
  zero_page->e820_table[zero_page->e820_entries++] = entry;
}

void describe_memory(boot_params* zero_page, const GuestMemory& memory) {
  add_e820(zero_page, 0, kLowRamEnd, kE820Ram);
  add_e820(zero_page, kRsdpAddress, kFirmwareEnd, kE820Reserved);
  add_e820(zero_page, kFirmwareEnd, low_memory_end(memory), kE820Ram);
  for (const GuestRegion& region : memory.regions().subspan(1)) {
    add_e820(zero_page, region.guest_address, region.guest_address + region.size, kE820Ram);
  }
}

}  // namespace

LinuxBoot::Button::Button(const Vm& vm) : line_(vm, kPowerButtonGsi) {}

int LinuxBoot::Button::press() {
  line_.pulse();
  return 0;
}

Status load_linux_image(const LinuxImage& image, int kernel_fd, const GuestMemory& memory) {
  // PVH kernels are entered without paging: they see all of it.
  const uint64_t limit = image.entry == 0 ? low_memory_end(memory) : std::min(low_memory_end(memory), kMappedAtEntry);
  if (image.memory_end > limit) {
    return Status::error("the kernel needs memory up to %" PRIu64 " MiB to start, the guest has %" PRIu64
                         " MiB (at most 1024 count)",
                         (image.memory_end + (1u << 20) - 1) >> 20, limit >> 20);
  }
  for (size_t i = 0; i < image.segment_count; ++i) {
    const LinuxSegment& segment = image.segments[i];
    Status status = memory.read_from(kernel_fd, segment.file_offset, segment.address, segment.file_bytes, "the kernel");
    if (!status.is_ok()) return status;
  }
  return Status::ok();
}

Status load_linux_initrd(const LinuxImage& image, const BootSource& source, const GuestMemory& memory,
                         LoadedInitrd* loaded) {
  *loaded = {};
  // The second archive begins where the kernel looks for one behind the first.
  const uint64_t extra_at = (source.initrd_size + kArchiveAlignment - 1) & ~(kArchiveAlignment - 1);
  const uint64_t size = source.initrd_extra_size == 0 ? source.initrd_size : extra_at + source.initrd_extra_size;
  if (size == 0) return Status::ok();
  // As high as it may be, so that it is in nobody's way.
  const uint64_t end = std::min(low_memory_end(memory), image.initrd_limit);
  const uint64_t room = end > image.memory_end ? end - image.memory_end : 0;
  if (size > room || extra_at < source.initrd_size || size < extra_at) {
    return Status::error("the initial ram disk (%" PRIu64
                         " bytes) does not fit between the kernel, which needs memory up to "
                         "%#" PRIx64 ", and %#" PRIx64,
                         size, image.memory_end, end);
  }
  const uint64_t address = (end - size) & ~(kPageSize - 1);
  if (address < image.memory_end) {
    return Status::error("the initial ram disk (%" PRIu64 " bytes) leaves no room for a page boundary above %#" PRIx64,
                         size, image.memory_end);
  }
  Status status = memory.read_from(source.initrd_fd, 0, address, source.initrd_size, "the initial ram disk");
  if (!status.is_ok()) return status;
  status = memory.read_from(source.initrd_extra_fd, 0, address + extra_at, source.initrd_extra_size,
                            "the second initial ram disk");
  if (!status.is_ok()) return status;
  *loaded = {address, size};
  return Status::ok();
}

Status read_pvh_entry(const LinuxImage& image, int kernel_fd, uint64_t* entry) {
  uint8_t bytes[kMaxNoteBytes];
  for (size_t i = 0; i < image.note_count; ++i) {
    const NoteSegment& segment = image.notes[i];
    const std::span<uint8_t> notes(bytes, std::min(segment.file_bytes, kMaxNoteBytes));
    if (Status status = read_bytes(kernel_fd, segment.file_offset, notes); !status.is_ok()) return status;
    if (!find_pvh_entry(notes, segment.alignment, entry)) continue;
    if (*entry >= VOLLEY_KERNEL_BASE && *entry < image.memory_end) return Status::ok();
    return Status::error("the kernel's PVH entry point %#" PRIx64 " is outside what it loads", *entry);
  }
  return Status::error("the kernel has neither a 64-bit entry point inside what it loads nor a PVH note");
}

Status write_zero_page(const LinuxImage& image, const BootSource& source, const LoadedInitrd& initrd,
                       const GuestMemory& memory) {
  static_assert(offsetof(boot_params, hdr) == 0x1f1 && sizeof(boot_params) == kPageSize);
  if (source.cmdline_length > image.cmdline_limit) {
    return Status::error("the command line has %u characters, this kernel takes %u", source.cmdline_length,
                         image.cmdline_limit);
  }
  boot_params zero_page{};
  if (image.setup_header_size != 0) {
    memcpy(reinterpret_cast<uint8_t*>(&zero_page) + offsetof(boot_params, hdr), image.setup_header,
           image.setup_header_size);
  } else {
    zero_page.hdr.boot_flag = kBootFlag;
    zero_page.hdr.header = kLinuxHeaderMagic;
    zero_page.hdr.version = kElfProtocol;
    zero_page.hdr.kernel_alignment = kElfAlignment;
  }
  zero_page.hdr.type_of_loader = kUnregisteredLoader;
  zero_page.hdr.loadflags |= LOADED_HIGH;
  zero_page.hdr.cmd_line_ptr = static_cast<uint32_t>(VOLLEY_CMDLINE_ADDRESS);
  zero_page.hdr.ramdisk_image = static_cast<uint32_t>(initrd.address);
  zero_page.hdr.ramdisk_size = static_cast<uint32_t>(initrd.size);
  zero_page.acpi_rsdp_addr = kRsdpAddress;
  describe_memory(&zero_page, memory);
  if (!memory.write_value(kZeroPageAddress, zero_page)) {
    return Status::error("the zero page does not fit into guest memory");
  }
  return Status::ok();
}

Status write_reset_vector(const GuestMemory& memory) {
  constexpr uint8_t kReset[] = {
      0xb0, 0xfe,                       // mov $0xfe, %al
      0xe6, VOLLEY_PORT_I8042_COMMAND,  // out %al, $0x64
      0xf4,                             // hlt
      0xeb, 0xfd,                       // jmp to the hlt
  };
  if (!memory.write(kResetVectorAddress, kReset)) {
    return Status::error("the reset vector does not fit into guest memory");
  }
  return Status::ok();
}

Status LinuxBoot::attach_devices(const BootPlatform&) { return Status::ok(); }

Status LinuxBoot::load(const BootSource& source, const GuestMemory& memory) {
  vcpus_ = source.vcpus;
  uint8_t head[kLinuxImageHead];
  const std::span<uint8_t> used_head(head, std::min<uint64_t>(source.kernel_size, sizeof head));
  if (Status status = read_bytes(source.kernel_fd, 0, used_head); !status.is_ok()) return status;
  LinuxImage image;
  if (Status status = parse_linux_image(used_head, source.kernel_size, &image); !status.is_ok()) return status;
  entry_ = image.entry;
  pvh_ = image.entry == 0;
  if (pvh_) {
    if (Status status = read_pvh_entry(image, source.kernel_fd, &entry_); !status.is_ok()) return status;
  }

  if (Status status = load_linux_image(image, source.kernel_fd, memory); !status.is_ok()) return status;
  LoadedInitrd initrd;
  if (Status status = load_linux_initrd(image, source, memory, &initrd); !status.is_ok()) return status;
  if (Status status = load_cmdline(source, memory); !status.is_ok()) return status;
  const AcpiMachine machine{.vcpus = source.vcpus, .devices = source.devices, .generation_id = source.generation_id};
  if (Status status = write_acpi_tables(memory, machine); !status.is_ok()) return status;
  if (Status status = write_reset_vector(memory); !status.is_ok()) return status;
  if (pvh_) return write_pvh_start_info(source, initrd.address, initrd.size, memory);
  if (Status status = write_zero_page(image, source, initrd, memory); !status.is_ok()) return status;
  return load_long_mode_tables(memory);
}

Status LinuxBoot::prepare_vcpu(const KvmSystem& kvm, const Vcpu& vcpu) {
  CpuidTable cpuid;
  if (Status status = kvm.supported_cpuid(&cpuid); !status.is_ok()) return status;
  adapt_cpuid(&cpuid, {vcpu.index(), vcpus_, kvm.has_tsc_deadline_timer()});
  if (Status status = vcpu.set_cpuid(cpuid); !status.is_ok()) return status;
  // Firmware would have left memory cacheable; without it a kernel may run without caches.
  if (Status status = vcpu.set_msr(kMsrMtrrDefaultType, kMtrrEnabledWriteBack); !status.is_ok()) return status;
  if (Status status = vcpu.set_msr(kMsrMiscEnable, kMiscEnableFastStrings); !status.is_ok()) return status;
  if (vcpu.index() != 0) return Status::ok();
  if (pvh_) return enter_pvh(vcpu, entry_);
  return enter_long_mode(
      vcpu, {.instruction_pointer = entry_, .stack_pointer = kBootStackTop, .boot_parameters = kZeroPageAddress});
}

}  // namespace volley
