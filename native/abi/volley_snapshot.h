// The files of a snapshot (docs/snapshots.md). Both are written by the VMM and read by another one, which may be of
// another version or on another host; libs/microvm reads the header alone. Every number is little endian.
//
//   state   a header of VOLLEY_SNAPSHOT_HEADER_BYTES, then the sections it lists
//   memory  guest memory from its first byte on, without the gap below 4 GiB, pages of zeros as holes; behind it
//           struct volley_snapshot_trailer, padded to a page
//
// A change of layout or meaning raises VOLLEY_SNAPSHOT_VERSION. What a section of type VCPU, IRQCHIP and so on holds is
// fixed by the structs in vmm/src/snapshot and by KVM's own.
#ifndef VOLLEY_SNAPSHOT_H
#define VOLLEY_SNAPSHOT_H

#include <stdint.h>

#include "volley_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VOLLEY_SNAPSHOT_MAGIC 0x31504e53594c4c56ull    // "VLLYSNP1"
#define VOLLEY_SNAPSHOT_TRAILER 0x314d454d594c4c56ull  // "VLLYMEM1"
#define VOLLEY_SNAPSHOT_VERSION 1u
#define VOLLEY_SNAPSHOT_HEADER_BYTES 8192u
#define VOLLEY_SNAPSHOT_PAGE 4096u
#define VOLLEY_SNAPSHOT_MAX_SECTIONS 96u
#define VOLLEY_SNAPSHOT_MAX_EXTENTS 128u
#define VOLLEY_SNAPSHOT_ID_BYTES 16u

enum volley_snapshot_section_type {
  VOLLEY_SECTION_CPUID = 1,     // what CPUID tells vCPU `index`
  VOLLEY_SECTION_VCPU = 2,      // vCPU `index`
  VOLLEY_SECTION_VM = 3,        // clock and interrupt controllers
  VOLLEY_SECTION_PLATFORM = 4,  // serial port, keyboard controller
  VOLLEY_SECTION_DEVICE = 5,    // virtio device `index`
};

struct volley_snapshot_section {
  uint32_t type;
  uint32_t index;
  uint64_t offset;  // in `state`, behind the header
  uint32_t length;
  uint32_t checksum;  // CRC-32C of its bytes
};

// Where `memory` may have bytes that are not zero: multiples of a page, in order, apart from each other.
struct volley_snapshot_extent {
  uint64_t offset;
  uint64_t length;
};

// What a device of the restored microVM must be like.
struct volley_snapshot_device {
  uint32_t type;      // enum volley_device_type
  uint32_t flags;     // as in volley_device, without VOLLEY_BLOCK_OVERLAY
  uint64_t size;      // block: bytes
  uint64_t features;  // that the device offered
  uint32_t queues;
  uint32_t mtu;
};

enum volley_kvm_kind { VOLLEY_KVM_HARDWARE = 1, VOLLEY_KVM_SOFTWARE = 2 };

struct volley_snapshot_header {
  uint64_t magic;                        // VOLLEY_SNAPSHOT_MAGIC
  uint32_t version;                      // VOLLEY_SNAPSHOT_VERSION
  uint32_t checksum;                     // CRC-32C of all VOLLEY_SNAPSHOT_HEADER_BYTES, with 0 here
  uint8_t id[VOLLEY_SNAPSHOT_ID_BYTES];  // of this snapshot; also in the trailer of its memory
  uint64_t created_ms;                   // since 1970
  uint64_t memory_bytes;                 // guest memory
  uint64_t memory_checksum;              // see memory_checksum.h
  uint64_t data_bytes;                   // of all extents
  uint64_t state_bytes;                  // of `state`
  uint32_t kvm_kind;                     // enum volley_kvm_kind
  uint32_t boot_protocol;
  uint32_t irqchip;
  uint32_t vcpus;
  uint32_t device_count;
  uint32_t section_count;
  uint32_t extent_count;
  uint32_t cpu_family;
  uint32_t cpu_model;
  uint32_t cpu_stepping;
  uint32_t cpu_features;  // CRC-32C of what CPUID can tell a guest on this host
  char cpu_vendor[12];
  uint64_t tsc_khz;
  struct volley_snapshot_section sections[VOLLEY_SNAPSHOT_MAX_SECTIONS];
  struct volley_snapshot_device devices[VOLLEY_MAX_DEVICES];
  struct volley_snapshot_extent extents[VOLLEY_SNAPSHOT_MAX_EXTENTS];
};

struct volley_snapshot_trailer {
  uint64_t magic;  // VOLLEY_SNAPSHOT_TRAILER
  uint8_t id[VOLLEY_SNAPSHOT_ID_BYTES];
  uint64_t memory_bytes;
};

#ifdef __cplusplus
}
static_assert(sizeof(volley_snapshot_section) == 24);
static_assert(sizeof(volley_snapshot_device) == 32);
static_assert(sizeof(volley_snapshot_header) == 136 + 96 * 24 + 17 * 32 + 128 * 16);
static_assert(sizeof(volley_snapshot_header) <= VOLLEY_SNAPSHOT_HEADER_BYTES);
// CPUID and state of each vCPU, the devices, the VM and the platform.
static_assert(VOLLEY_SNAPSHOT_MAX_SECTIONS >= 2 * VOLLEY_MAX_VCPUS + VOLLEY_MAX_DEVICES + 2);
#endif

#endif
