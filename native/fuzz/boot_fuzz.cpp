// Kernel files (bzImage, ELF with and without PVH notes), initial ram disks and command lines, loaded into memory of
// any size.
#include <algorithm>
#include <memory>
#include <string>

#include "boot/linux_boot.h"
#include "boot/linux_image.h"
#include "boot/pvh.h"
#include "config/config.h"
#include "kvm/vm.h"
#include "support/bounded_file.h"
#include "support/demand.h"
#include "support/descriptors.h"
#include "support/script.h"

namespace volley::fuzz {
namespace {

void check(const LinuxImage& image, uint64_t file_bytes) {
  demand(image.segment_count >= 1 && image.segment_count <= LinuxImage::kMaxSegments, "segments");
  for (size_t i = 0; i < image.segment_count; ++i) {
    const LinuxSegment& segment = image.segments[i];
    demand(segment.file_offset <= file_bytes && segment.file_bytes <= file_bytes - segment.file_offset,
           "a segment beyond the end of its file");
    demand(segment.address >= VOLLEY_KERNEL_BASE && segment.address + segment.file_bytes <= image.memory_end,
           "a segment where the kernel does not want memory");
  }
  demand(image.entry == 0 || (image.entry >= VOLLEY_KERNEL_BASE && image.entry < image.memory_end), "an entry point");
  demand(image.entry != 0 || image.note_count != 0, "no way in");
}

}  // namespace

void run(Script& script) {
  const DescriptorScope descriptors(true);
  const uint8_t how = script.byte();
  const uint64_t initrd = (how & 1) != 0 ? script.take<uint16_t>() : 0;
  const uint64_t extra = (how & 2) != 0 ? script.take<uint16_t>() : 0;
  // The sizes that a configuration announces need not be those of the files.
  const uint64_t initrd_told = (how & 4) != 0 ? script.take<uint64_t>() : initrd;
  const uint64_t extra_told = (how & 4) != 0 ? script.take<uint64_t>() : extra;
  const uint64_t kernel_told = (how & 8) != 0 ? script.take<uint32_t>() : 0;
  const uint64_t memory_pages = (how & 16) != 0 ? script.take<uint32_t>() & 0xfffff : 0x4000;
  const std::string cmdline(script.take<uint16_t>() % VOLLEY_CMDLINE_MAX, 'x');
  // The file may go on behind what the input says of it, with zeros.
  const uint64_t tail = (how & 32) != 0 ? script.take<uint16_t>() : 0;
  const auto kernel = script.rest();
  const BoundedFile kernel_file(kernel.size() + tail, 0);
  kernel_file.write(0, kernel.data(), kernel.size());
  const BoundedFile initrd_file(initrd, 0);
  const BoundedFile extra_file(extra, 0);

  LinuxImage image;
  const auto head = kernel.first(std::min(kernel.size(), kLinuxImageHead));
  if (parse_linux_image(head, kernel.size() + tail, &image).is_ok()) check(image, kernel.size() + tail);
  uint64_t entry = 0;
  for (const uint64_t alignment : {4u, 8u})
    [[maybe_unused]] const bool found = find_pvh_entry(kernel, alignment, &entry);

  GuestMemory memory;
  const uint64_t memory_bytes = std::max<uint64_t>(memory_pages * 4096, kMinGuestMemory);
  demand(memory.map(memory_bytes, false).is_ok(), "no memory");
  const Vm vm;
  LinuxBoot boot(vm);
  BootSource source;
  source.kernel_fd = kernel_file.fd();
  source.kernel_size = kernel_told != 0 ? kernel_told : kernel.size() + tail;
  source.initrd_fd = initrd_file.fd();
  source.initrd_size = initrd_told;
  source.initrd_extra_fd = extra_file.fd();
  source.initrd_extra_size = extra_told;
  source.cmdline = cmdline.c_str();
  source.cmdline_length = static_cast<uint32_t>(cmdline.size());
  source.vcpus = 1 + (how >> 6);
  source.devices = how >> 6;
  if (source.kernel_size == 0) return;
  [[maybe_unused]] const Status loaded = boot.load(source, memory);
}
}  // namespace volley::fuzz
