// The contract between the host agent's binding and one VMM process: descriptor numbers, the microVM's page file and
// the control messages. Plain fixed-layout C structs, so that nothing in the VMM parses text.
//
// Every number is little endian; every time is CLOCK_MONOTONIC in nanoseconds (0 = has not happened yet).
// A change of layout or meaning raises VOLLEY_ABI_VERSION; a VMM refuses a page file of another version and an agent
// adopts a VMM of another version read-only (it can still watch and kill it).
#ifndef VOLLEY_ABI_H
#define VOLLEY_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VOLLEY_ABI_VERSION 1u

// ---- Descriptors a VMM process inherits. Everything it may ever use is here; all others are closed. ----
enum volley_fd {
  VOLLEY_FD_KVM = 3,      // /dev/kvm, read-write
  VOLLEY_FD_CONTROL = 4,  // listening Unix SOCK_SEQPACKET socket; the agent connects to it, again after a restart
  VOLLEY_FD_PAGES = 5,    // the page file (see below), read-write, VOLLEY_PAGES_SIZE bytes
  VOLLEY_FD_KERNEL = 6,   // kernel image, read-only
  VOLLEY_FD_INITRD = 7,   // initial ram disk, read-only; closed when config.initrd_size is 0
};

// ---- The page file: one file per microVM on tmpfs, shared by agent and VMM, left behind for the agent to read. ----
//   [0, 4096)         struct volley_config: written by the agent before exec, read once by the VMM
//   [4096, 8192)      struct volley_stats:  written by the VMM, read by the agent at any time
//   [8192, +64 KiB)   serial ring: byte n of the guest's output is at offset n % VOLLEY_SERIAL_RING
#define VOLLEY_CONFIG_OFFSET 0u
#define VOLLEY_STATS_OFFSET 4096u
#define VOLLEY_SERIAL_OFFSET 8192u
#define VOLLEY_SERIAL_RING 65536u
#define VOLLEY_PAGES_SIZE (VOLLEY_SERIAL_OFFSET + VOLLEY_SERIAL_RING)

#define VOLLEY_CONFIG_MAGIC 0x31474643594c4c56ull  // "VLLYCFG1"
#define VOLLEY_STATS_MAGIC 0x31415453594c4c56ull   // "VLLYSTA1"

enum volley_boot_protocol {
  VOLLEY_BOOT_FLAT = 1,   // flat 64-bit binary loaded and entered at 0x100000 (canary)
  VOLLEY_BOOT_LINUX = 2,  // bzImage or ELF vmlinux, 64-bit Linux boot protocol, zero page in rsi
};

enum volley_irqchip {
  VOLLEY_IRQCHIP_SPLIT = 1,  // local APICs in the kernel, nothing else: cheap to make and to destroy
  VOLLEY_IRQCHIP_FULL = 2,   // PIC, IOAPIC, local APICs and PIT in the kernel: what a stock kernel expects today
};

#define VOLLEY_MAX_VCPUS 32u
#define VOLLEY_CMDLINE_MAX 2048u
#define VOLLEY_ID_MAX 64u

struct volley_config {
  uint64_t magic;           // VOLLEY_CONFIG_MAGIC
  uint32_t abi_version;     // VOLLEY_ABI_VERSION
  uint32_t boot_protocol;   // enum volley_boot_protocol
  uint32_t irqchip;         // enum volley_irqchip
  uint32_t vcpus;           // 1..VOLLEY_MAX_VCPUS
  uint64_t memory_bytes;    // guest memory, a multiple of 4096, at least 2 MiB
  uint64_t kernel_size;     // bytes of VOLLEY_FD_KERNEL to load
  uint64_t initrd_size;     // bytes of VOLLEY_FD_INITRD, 0 = none
  uint64_t launched_ns;     // when the agent called clone3
  uint32_t flags;           // VOLLEY_FLAG_*
  uint32_t cmdline_length;  // bytes of cmdline used, without the closing NUL
  char id[VOLLEY_ID_MAX];   // microVM id, NUL terminated; used in the process title and in messages
  char cmdline[VOLLEY_CMDLINE_MAX];  // kernel command line, NUL terminated
};
#define VOLLEY_FLAG_START_PAUSED 1u

enum volley_vmm_state {
  VOLLEY_VMM_STARTING = 1,
  VOLLEY_VMM_RUNNING = 2,
  VOLLEY_VMM_PAUSED = 3,
  VOLLEY_VMM_EXITED = 4,
};

// Why a microVM ended. KILLED and OUT_OF_MEMORY are concluded by the agent from the process's end when the VMM could not
// write a reason; all others are written by the VMM itself before it exits.
enum volley_exit_reason {
  VOLLEY_EXIT_NONE = 0,
  VOLLEY_EXIT_POWER_OFF = 1,      // guest powered off (ACPI S5)
  VOLLEY_EXIT_REBOOT = 2,         // guest asked for a reset (i8042 0xFE)
  VOLLEY_EXIT_PANIC = 3,          // guest reported a panic (pvpanic port)
  VOLLEY_EXIT_TRIPLE_FAULT = 4,   // KVM_EXIT_SHUTDOWN
  VOLLEY_EXIT_KILLED = 5,         // the VMM process was killed by a signal
  VOLLEY_EXIT_OUT_OF_MEMORY = 6,  // the kernel's OOM killer ended the VMM
  VOLLEY_EXIT_JAIL_VIOLATION = 7, // SIGSYS
  VOLLEY_EXIT_VMM_ERROR = 8,      // the VMM could not go on; exit_message says why
  VOLLEY_EXIT_REQUESTED = 9,      // the agent sent VOLLEY_CMD_QUIT
};

#define VOLLEY_MESSAGE_MAX 256u

// Counters only grow. Single writer per field; 64-bit aligned fields are written with one store, so a reader never sees
// half a number. exit_* are valid once state is VOLLEY_VMM_EXITED (written last, with release order).
struct volley_stats {
  uint64_t magic;  // VOLLEY_STATS_MAGIC, written last during start-up
  uint32_t abi_version;
  uint32_t pid;           // the VMM process, as it sees itself
  uint32_t state;         // enum volley_vmm_state
  uint32_t exit_reason;   // enum volley_exit_reason
  uint64_t exit_detail;   // KVM exit reason and suberror (reason << 32 | suberror), errno, or 0
  uint64_t entered_ns;    // main() entered
  uint64_t vm_created_ns; // KVM_CREATE_VM done
  uint64_t memory_ns;     // memory slots, irqchip done
  uint64_t loaded_ns;     // kernel, page tables, command line written to guest memory
  uint64_t vcpus_ns;      // vCPUs created and their registers set
  uint64_t run_ns;        // first KVM_RUN entered
  uint64_t booted_ns;     // boot-timer write by the guest
  uint64_t exited_ns;     // VMM about to exit
  uint64_t paused_ns;     // last pause completed
  uint64_t resumed_ns;    // last resume completed
  uint64_t exits_total;   // returns from KVM_RUN, all vCPUs
  uint64_t exits_pio;
  uint64_t exits_mmio;
  uint64_t exits_hlt;
  uint64_t exits_signal;  // interrupted by a kick
  uint64_t serial_bytes;  // bytes the guest wrote to its serial console since start: head of the ring
  uint64_t unknown_io;    // accesses to addresses where no device is
  uint64_t guest_memory_address;  // where guest memory is mapped in the VMM, to tell guest pages from VMM pages in smaps
  uint64_t guest_memory_bytes;
  uint32_t vcpu_tids[VOLLEY_MAX_VCPUS];   // thread ids, for /proc/<pid>/task/<tid>/schedstat
  char exit_message[VOLLEY_MESSAGE_MAX];  // one sentence, NUL terminated
};

// ---- Control messages: one SOCK_SEQPACKET packet each, fixed size, either direction. ----
enum volley_message_type {
  // agent -> VMM
  VOLLEY_CMD_PAUSE = 1,   // park every vCPU outside KVM_RUN; answered when all are parked
  VOLLEY_CMD_RESUME = 2,  // answered when vCPUs were let go
  VOLLEY_CMD_STOP = 3,    // press the guest's power button; answered at once, the guest may take its time or ignore it
  VOLLEY_CMD_QUIT = 4,    // end now with VOLLEY_EXIT_REQUESTED; answered by the process's end
  VOLLEY_CMD_PING = 5,    // answered at once
  // VMM -> agent
  VOLLEY_REPLY = 64,         // request_id and type of the command answered in `argument`; `status` 0 or an errno
  VOLLEY_NOTE_BOOTED = 65,   // the guest wrote the boot timer; sent again at once to an agent that connects after that
  VOLLEY_NOTE_EXITING = 66,  // exit_reason in `argument`; the page file is complete, the process ends next
};

struct volley_message {
  uint32_t type;        // enum volley_message_type
  uint32_t request_id;  // chosen by the agent, echoed in the reply
  int32_t status;
  uint32_t argument;
  uint64_t time_ns;
};

// ---- Guest physical layout and ports a guest may rely on. ----
// Linux guests need not know any of it: ACPI tables (RSDP at 0xE0000) name the ports, the processors and the power button,
// and the code at the reset vector 0xFFFF0 resets through the i8042. Only the boot timer has to be written by their init.
#define VOLLEY_KERNEL_BASE 0x100000ull
#define VOLLEY_CMDLINE_ADDRESS 0x20000ull
#define VOLLEY_BOOT_TIMER_ADDRESS 0xC0000000ull  // MMIO; a one-byte write of VOLLEY_BOOT_TIMER_VALUE means "booted"
#define VOLLEY_BOOT_TIMER_VALUE 123u
#define VOLLEY_PORT_SERIAL 0x3F8u
#define VOLLEY_PORT_I8042_COMMAND 0x64u  // 0xFE resets
#define VOLLEY_PORT_PVPANIC 0x505u       // bit 0: panicked
// One byte each, as hardware-reduced ACPI has them: at this port the sleep control register, where SLP_TYP 5 with SLP_EN
// (0x34) powers off and everything else is ignored; at the next the sleep status register, which reads 0.
#define VOLLEY_PORT_ACPI_SLEEP 0x604u
#define VOLLEY_POWER_BUTTON_VECTOR 0x40u // flat guests: local APIC interrupt on vCPU 0 when the power button is pressed

#ifdef __cplusplus
}
static_assert(sizeof(volley_config) <= VOLLEY_STATS_OFFSET - VOLLEY_CONFIG_OFFSET);
static_assert(sizeof(volley_stats) <= VOLLEY_SERIAL_OFFSET - VOLLEY_STATS_OFFSET);
static_assert(sizeof(volley_message) == 24);
#endif

#endif
