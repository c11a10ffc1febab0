#include "config/config.h"

#include <cinttypes>
#include <cstring>

#include "config/device_config.h"

namespace volley {
namespace {

Status validate_header(const volley_config& config) {
  if (config.magic != VOLLEY_CONFIG_MAGIC) {
    return Status::error("config.magic is %#" PRIx64 ", not %#" PRIx64 ": this is not a Volley page file", config.magic,
                         static_cast<uint64_t>(VOLLEY_CONFIG_MAGIC));
  }
  if (config.abi_version != VOLLEY_ABI_VERSION) {
    return Status::error("config.abi_version is %u, this VMM speaks %u: start it with the agent it came with",
                         config.abi_version, VOLLEY_ABI_VERSION);
  }
  return Status::ok();
}

Status validate_machine(const volley_config& config) {
  if (config.boot_protocol != VOLLEY_BOOT_FLAT && config.boot_protocol != VOLLEY_BOOT_LINUX) {
    return Status::error("config.boot_protocol %u is unknown, use 1 (flat) or 2 (linux)", config.boot_protocol);
  }
  if (config.irqchip != VOLLEY_IRQCHIP_SPLIT && config.irqchip != VOLLEY_IRQCHIP_FULL) {
    return Status::error("config.irqchip %u is unknown, use 1 (split) or 2 (full)", config.irqchip);
  }
  if (config.boot_protocol == VOLLEY_BOOT_LINUX && config.irqchip != VOLLEY_IRQCHIP_FULL) {
    return Status::error("config.irqchip must be 2 (full) for the linux boot protocol: a stock kernel needs an IOAPIC");
  }
  if (config.vcpus < 1 || config.vcpus > VOLLEY_MAX_VCPUS) {
    return Status::error("config.vcpus is %u, must be 1 to %u", config.vcpus, VOLLEY_MAX_VCPUS);
  }
  if (config.memory_bytes % 4096 != 0) {
    return Status::error("config.memory_bytes %" PRIu64 " is not a multiple of 4096", config.memory_bytes);
  }
  if (config.memory_bytes < kMinGuestMemory || config.memory_bytes > kMaxGuestMemory) {
    return Status::error("config.memory_bytes %" PRIu64 " is outside %" PRIu64 " to %" PRIu64, config.memory_bytes,
                         kMinGuestMemory, kMaxGuestMemory);
  }
  constexpr uint32_t kKnownFlags = VOLLEY_FLAG_START_PAUSED | VOLLEY_FLAG_RESTORE;
  if ((config.flags & ~kKnownFlags) != 0) {
    return Status::error("config.flags %#x has bits this VMM does not know, it knows %#x", config.flags, kKnownFlags);
  }
  return Status::ok();
}

Status validate_images(const volley_config& config) {
  if ((config.flags & VOLLEY_FLAG_RESTORE) != 0) {
    if (config.kernel_size == 0 && config.initrd_size == 0 && config.initrd_extra_size == 0) return Status::ok();
    return Status::error("config.kernel_size is %" PRIu64 ": a microVM that is restored brings its kernel along",
                         config.kernel_size);
  }
  if (config.kernel_size == 0) return Status::error("config.kernel_size is 0: there is nothing to boot");
  if (config.kernel_size > config.memory_bytes - VOLLEY_KERNEL_BASE) {
    return Status::error("config.kernel_size %" PRIu64 " does not fit into %" PRIu64
                         " bytes of guest memory above %#llx",
                         config.kernel_size, config.memory_bytes, VOLLEY_KERNEL_BASE);
  }
  if (config.boot_protocol == VOLLEY_BOOT_FLAT && config.initrd_size != 0) {
    return Status::error("config.initrd_size is %" PRIu64 ", a flat kernel takes no initial ram disk",
                         config.initrd_size);
  }
  if (config.initrd_size > config.memory_bytes - VOLLEY_KERNEL_BASE - config.kernel_size) {
    return Status::error("config.initrd_size %" PRIu64 " does not fit into %" PRIu64
                         " bytes of guest memory beside the kernel",
                         config.initrd_size, config.memory_bytes);
  }
  return Status::ok();
}

bool is_id_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_' || c == '.';
}

Status validate_texts(const volley_config& config) {
  const size_t id_length = strnlen(config.id, sizeof(config.id));
  if (id_length == 0) return Status::error("config.id is empty");
  if (id_length == sizeof(config.id)) return Status::error("config.id is not NUL terminated");
  for (size_t i = 0; i < id_length; ++i) {
    if (!is_id_character(config.id[i])) {
      return Status::error("config.id has byte %#x at %zu, only letters, digits, '-', '_' and '.' may be used",
                           static_cast<unsigned char>(config.id[i]), i);
    }
  }
  if (config.cmdline_length >= VOLLEY_CMDLINE_MAX) {
    return Status::error("config.cmdline_length is %u, at most %u fit", config.cmdline_length, VOLLEY_CMDLINE_MAX - 1);
  }
  const size_t found = strnlen(config.cmdline, sizeof(config.cmdline));
  if (found != config.cmdline_length) {
    return Status::error("config.cmdline_length is %u but the command line's NUL is at %zu", config.cmdline_length,
                         found);
  }
  return Status::ok();
}

}  // namespace

Status validate_config(const volley_config& config) {
  if (Status status = validate_header(config); !status.is_ok()) return status;
  if (Status status = validate_machine(config); !status.is_ok()) return status;
  if (Status status = validate_images(config); !status.is_ok()) return status;
  if (Status status = validate_texts(config); !status.is_ok()) return status;
  return validate_devices(config);
}

}  // namespace volley
