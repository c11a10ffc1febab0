// The contract between the host agent's binding and one VMM process: how it is jailed and launched, the microVM's page
// file and the control messages. Plain fixed-layout C structs, so that nothing in the VMM parses text.
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

#define VOLLEY_ABI_VERSION 2u

// ---- Birth. A VMM process is born with stdio on /dev/null and one descriptor: its end of a SOCK_SEQPACKET pair. ----
//   agent -> VMM  struct volley_jail_order    with the namespaces to enter (VOLLEY_ROLE_NS_*)
//   VMM -> agent  struct volley_shell_report  jailed now, or why not; a VMM that reports a failure ends
//   agent -> VMM  struct volley_launch_order  with everything this microVM may ever use
// The first two may happen long before the third: such a process is a shell, prepared for whatever microVM comes. In
// between a shell may be primed with a snapshot, and is then prepared for a clone of that one only:
//   agent -> VMM  struct volley_launch_order  of VOLLEY_PRIME_MAGIC, with VOLLEY_ROLE_KVM, _STATE and _MEMORY, none of
//                                             which the launch order brings again
//   VMM -> agent  struct volley_shell_report  KVM's machine, memory and vCPUs are there, or why not; a VMM that reports
//                                             a failure ends
// A VMM whose agent goes away before the launch order ends silently. After the launch order the socket is closed.
#define VOLLEY_FD_BIRTH 3

#define VOLLEY_JAIL_MAGIC 0x314c494a594c4c56ull    // "VLLYJIL1"
#define VOLLEY_SHELL_MAGIC 0x314c4853594c4c56ull   // "VLLYSHL1"
#define VOLLEY_LAUNCH_MAGIC 0x3148434e594c4c56ull  // "VLLYNCH1"
#define VOLLEY_PRIME_MAGIC 0x314d5250594c4c56ull   // "VLLYPRM1"

// The barriers of the jail. Asked for in the order, reported as what holds.
#define VOLLEY_BARRIER_MOUNTS 0x0001u      // mount namespace whose root is empty and read-only
#define VOLLEY_BARRIER_NETWORK 0x0002u     // network namespace without any interface that is up
#define VOLLEY_BARRIER_IPC 0x0004u
#define VOLLEY_BARRIER_UTS 0x0008u
#define VOLLEY_BARRIER_PIDS 0x0010u        // own pid namespace; made by the agent at clone, reported when pid is 1
#define VOLLEY_BARRIER_USER 0x0020u        // own user namespace, owned by the slot's uid
#define VOLLEY_BARRIER_CGROUP 0x0040u      // own cgroup namespace
#define VOLLEY_BARRIER_IDS 0x0080u         // uid and gid of the slot, no supplementary groups
#define VOLLEY_BARRIER_CAPABILITIES 0x0100u  // none in any set, bounding set included; no new privileges
#define VOLLEY_BARRIER_RLIMITS 0x0200u
#define VOLLEY_BARRIER_SECCOMP 0x0400u     // an allow-list per thread
#define VOLLEY_BARRIER_ALL 0x07ffu

// What a descriptor passed with SCM_RIGHTS is for; roles[i] speaks of the i-th descriptor of the message.
enum volley_role {
  VOLLEY_ROLE_KVM = 1,           // /dev/kvm, read-write
  VOLLEY_ROLE_CONTROL = 2,       // listening Unix SOCK_SEQPACKET socket; the agent connects to it, again after a restart
  VOLLEY_ROLE_PAGES = 3,         // the page file (see below), read-write, VOLLEY_PAGES_SIZE bytes
  VOLLEY_ROLE_KERNEL = 4,        // kernel image, read-only
  VOLLEY_ROLE_INITRD = 5,        // initial ram disk, read-only
  VOLLEY_ROLE_INITRD_EXTRA = 6,  // a second, small archive loaded behind the first (at a multiple of 4 bytes)
  VOLLEY_ROLE_VSOCK = 7,         // listening Unix SOCK_STREAM socket: the host side of the vsock device
  VOLLEY_ROLE_STATE = 8,         // the files of a snapshot (abi/volley_snapshot.h), read-only: with VOLLEY_FLAG_RESTORE,
  VOLLEY_ROLE_MEMORY = 9,        // and instead of a kernel
  VOLLEY_ROLE_NS_MOUNT = 16,
  VOLLEY_ROLE_NS_NETWORK = 17,
  VOLLEY_ROLE_NS_IPC = 18,
  VOLLEY_ROLE_NS_UTS = 19,
  // Device i of the configuration: a disk's file or a tap at FIRST + 2 i; a disk's copy-on-write overlay at FIRST + 2 i + 1.
  VOLLEY_ROLE_DEVICE_FIRST = 64,
};
#define VOLLEY_ROLES_MAX 64u

struct volley_jail_order {
  uint64_t magic;        // VOLLEY_JAIL_MAGIC
  uint32_t abi_version;  // VOLLEY_ABI_VERSION
  uint32_t barriers;     // VOLLEY_BARRIER_*: those that cannot be put up make the VMM report a failure and end
  uint32_t uid;
  uint32_t gid;
  uint32_t open_files;   // RLIMIT_NOFILE
  uint32_t fd_count;
  uint64_t file_bytes;   // RLIMIT_FSIZE: no file of the microVM may grow beyond it
  uint16_t roles[VOLLEY_ROLES_MAX];
};

struct volley_shell_report {
  uint64_t magic;  // VOLLEY_SHELL_MAGIC
  uint32_t abi_version;
  uint32_t barriers;  // those that hold now; SECCOMP: the filter for the time before the launch
  int32_t status;     // 0, or the errno of what failed
  uint32_t failed;    // the barrier that could not be put up; 0 = none, or it was the order that made no sense
  char message[128];  // what failed, NUL terminated
};

struct volley_launch_order {
  uint64_t magic;        // VOLLEY_LAUNCH_MAGIC or VOLLEY_PRIME_MAGIC
  uint32_t abi_version;  // VOLLEY_ABI_VERSION
  uint32_t fd_count;
  uint16_t roles[VOLLEY_ROLES_MAX];
};

// ---- The page file: one file per microVM on tmpfs, shared by agent and VMM, left behind for the agent to read. ----
//   [0, 8 KiB)        struct volley_config: written by the agent before the launch order, read once by the VMM
//   [8 KiB, 12 KiB)   struct volley_stats:  written by the VMM, read by the agent at any time
//   [12 KiB, +64 KiB) serial ring: byte n of the guest's output is at offset n % VOLLEY_SERIAL_RING
#define VOLLEY_CONFIG_OFFSET 0u
#define VOLLEY_STATS_OFFSET 8192u
#define VOLLEY_SERIAL_OFFSET 12288u
#define VOLLEY_SERIAL_RING 65536u
#define VOLLEY_PAGES_SIZE (VOLLEY_SERIAL_OFFSET + VOLLEY_SERIAL_RING)

#define VOLLEY_CONFIG_MAGIC 0x32474643594c4c56ull  // "VLLYCFG2"
#define VOLLEY_STATS_MAGIC 0x32415453594c4c56ull   // "VLLYSTA2"

enum volley_boot_protocol {
  VOLLEY_BOOT_FLAT = 1,   // flat 64-bit binary loaded and entered at 0x100000 (canary)
  VOLLEY_BOOT_LINUX = 2,  // bzImage or ELF vmlinux: 64-bit Linux boot protocol, or PVH where only that note is there
};

enum volley_irqchip {
  VOLLEY_IRQCHIP_SPLIT = 1,  // local APICs in the kernel, nothing else: cheap to make and to destroy
  VOLLEY_IRQCHIP_FULL = 2,   // PIC, IOAPIC and local APICs in the kernel: what a stock kernel expects today
};

#define VOLLEY_MAX_VCPUS 32u
#define VOLLEY_CMDLINE_MAX 2048u
#define VOLLEY_ID_MAX 64u
#define VOLLEY_MAX_DEVICES 17u

// Token buckets. A bucket starts full and refills evenly: `size` tokens in `refill_ms`. `burst` tokens more are there
// once, spent first. A request larger than the bucket is let through when the bucket is full and leaves it in debt.
struct volley_bucket {
  uint64_t size;       // 0 = no limit
  uint64_t burst;
  uint64_t refill_ms;  // > 0 where size > 0
};
struct volley_limiter {
  struct volley_bucket bytes;
  struct volley_bucket operations;
};

enum volley_device_type {
  VOLLEY_DEVICE_NONE = 0,
  VOLLEY_DEVICE_BLOCK = 1,
  VOLLEY_DEVICE_NET = 2,
  VOLLEY_DEVICE_VSOCK = 3,    // at most one
  VOLLEY_DEVICE_BALLOON = 4,  // at most one
  VOLLEY_DEVICE_RNG = 5,      // at most one
};

#define VOLLEY_BLOCK_READ_ONLY 1u
#define VOLLEY_BLOCK_OVERLAY 2u  // writes go to the overlay file (role FIRST + 2 i + 1), see docs/devices.md for its format
#define VOLLEY_BLOCK_REPLACED 4u  // with VOLLEY_FLAG_RESTORE: not the snapshot's disk, which its guest does not use; of any size
#define VOLLEY_BALLOON_DEFLATE_ON_OOM 1u
#define VOLLEY_BALLOON_REPORTING 2u   // free page reporting
#define VOLLEY_BALLOON_STATISTICS 4u

struct volley_device {
  uint32_t type;   // enum volley_device_type
  uint32_t flags;
  uint64_t size;   // block: bytes, a multiple of 512; balloon: bytes to take at the start
  uint32_t guest_cid;  // vsock: 3 or more
  uint32_t stats_interval_ms;  // balloon: how often the guest is asked, 0 = never
  uint8_t mac[6];  // net
  uint16_t mtu;    // net: 0 = not offered
  char serial[20]; // block: ASCII, NUL padded; empty = none
  uint32_t reserved;
  struct volley_limiter limits[2];  // block: [0]; net: [0] towards the guest, [1] from the guest; rng: [0] (bytes)
};

struct volley_config {
  uint64_t magic;           // VOLLEY_CONFIG_MAGIC
  uint32_t abi_version;     // VOLLEY_ABI_VERSION
  uint32_t boot_protocol;   // enum volley_boot_protocol
  uint32_t irqchip;         // enum volley_irqchip
  uint32_t vcpus;           // 1..VOLLEY_MAX_VCPUS
  uint64_t memory_bytes;    // guest memory, a multiple of 4096, at least 2 MiB
  uint64_t kernel_size;     // bytes of the kernel to load
  uint64_t initrd_size;     // 0 = none
  uint64_t initrd_extra_size;  // 0 = none
  uint64_t launched_ns;     // when the agent began this launch
  uint32_t flags;           // VOLLEY_FLAG_*
  uint32_t cmdline_length;  // bytes of cmdline used, without the closing NUL
  uint32_t device_count;
  uint32_t reserved;
  uint8_t generation_id[16];  // VMGENID: new for every start and every clone
  struct volley_limiter serial_limit;  // guest output beyond it is dropped and counted; the guest never waits
  char id[VOLLEY_ID_MAX];   // microVM id, NUL terminated; used in the process title and in messages
  char cmdline[VOLLEY_CMDLINE_MAX];  // kernel command line, NUL terminated
  struct volley_device devices[VOLLEY_MAX_DEVICES];  // in the order in which the guest finds them
};
#define VOLLEY_FLAG_START_PAUSED 1u
#define VOLLEY_FLAG_RESTORE 2u  // go on from a snapshot: there is no kernel, no initrd and no command line

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
  VOLLEY_EXIT_JAIL_VIOLATION = 7, // SIGSYS: a system call that the filter refuses; exit_detail is its number
  VOLLEY_EXIT_VMM_ERROR = 8,      // the VMM could not go on; exit_message says why
  VOLLEY_EXIT_REQUESTED = 9,      // the agent sent VOLLEY_CMD_QUIT
};

#define VOLLEY_MESSAGE_MAX 256u

// One device's work. For net, `read` is towards the guest and `write` from the guest; vsock the same; for the balloon
// `read_bytes` is what was inflated, `write_bytes` what was reported free.
struct volley_device_stats {
  uint64_t reads;
  uint64_t writes;
  uint64_t read_bytes;
  uint64_t write_bytes;
  uint64_t flushes;      // block: flushes; vsock: connections made
  uint64_t errors;       // requests refused or failed, broken descriptor chains included
  uint64_t throttled;    // times that a limiter made it wait
  uint64_t interrupts;
};

// What the guest says of its memory, in bytes (virtio balloon statistics): hints, not facts.
struct volley_balloon_stats {
  uint64_t target;
  uint64_t actual;
  uint64_t updated_ns;
  uint64_t free_memory;
  uint64_t total_memory;
  uint64_t available_memory;
  uint64_t disk_caches;
  uint64_t swap_in;
  uint64_t swap_out;
  uint64_t major_faults;
  uint64_t minor_faults;
};

// Counters only grow. Single writer per field; 64-bit aligned fields are written with one store, so a reader never sees
// half a number. exit_* are valid once state is VOLLEY_VMM_EXITED (written last, with release order).
struct volley_stats {
  uint64_t magic;  // VOLLEY_STATS_MAGIC, written last during start-up
  uint32_t abi_version;
  uint32_t pid;           // the VMM process in the agent's pid namespace, written by the agent before the launch order
  uint32_t state;         // enum volley_vmm_state
  uint32_t exit_reason;   // enum volley_exit_reason
  uint64_t exit_detail;   // KVM exit reason and suberror (reason << 32 | suberror), errno, system call, or 0
  uint64_t entered_ns;    // launch order received
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
  uint64_t serial_bytes;  // bytes of the guest's serial console in the ring since start: head of the ring
  uint64_t serial_dropped;  // bytes beyond serial_limit
  uint64_t unknown_io;    // accesses to addresses where no device is
  uint64_t guest_memory_address;  // where guest memory is mapped in the VMM, to tell guest pages from VMM pages in smaps
  uint64_t guest_memory_bytes;
  uint64_t guest_report;  // last write to VOLLEY_GUEST_REPORT_ADDRESS, bit 63 set; 0 = none
  uint32_t barriers;      // VOLLEY_BARRIER_* that hold for this process
  uint32_t vcpu_tids[VOLLEY_MAX_VCPUS];   // thread ids as the VMM sees them: add the agent's view through /proc
  uint32_t reserved;
  struct volley_balloon_stats balloon;
  struct volley_device_stats devices[VOLLEY_MAX_DEVICES];
  char exit_message[VOLLEY_MESSAGE_MAX];  // one sentence, NUL terminated
};

// ---- Control messages: one SOCK_SEQPACKET packet each, fixed size, either direction. ----
enum volley_message_type {
  // agent -> VMM
  VOLLEY_CMD_PAUSE = 1,   // park every vCPU outside KVM_RUN and every device between requests; answered when all are
  VOLLEY_CMD_RESUME = 2,  // answered when vCPUs were let go. EBUSY: a snapshot is being written for which they must stand still
  VOLLEY_CMD_STOP = 3,    // press the guest's power button; answered at once, the guest may take its time or ignore it
  VOLLEY_CMD_QUIT = 4,    // end now with VOLLEY_EXIT_REQUESTED; answered by the process's end
  VOLLEY_CMD_PING = 5,    // answered at once
  VOLLEY_CMD_CTRL_ALT_DEL = 6,
  VOLLEY_CMD_SERIAL_INPUT = 7,  // `argument` bytes of the payload are typed; the reply's payload.count says how many fitted
  VOLLEY_CMD_SET_LIMIT = 8,     // payload.limit; its bucket starts full. ENODEV, EINVAL
  VOLLEY_CMD_SET_BALLOON = 9,   // payload.bytes; answered when the guest was told. ENODEV, EINVAL
  VOLLEY_CMD_VSOCK_ANSWER = 10, // answers VOLLEY_ASK_VSOCK by request_id: status 0 and a connected socket, or an errno. No reply
  VOLLEY_CMD_SNAPSHOT = 11,     // payload.snapshot, with two descriptors: empty files for `state` and `memory` (for a diff: a
                                // copy of its base's `memory`), read-write; answered with payload.snapshot_taken or, where
                                // it fails, payload.text. Other commands are answered meanwhile. When the agent's connection
                                // ends the snapshot is given up. EINVAL; EBUSY: one is being written; ESTALE: the base is not
                                // this microVM's last snapshot
  // VMM -> agent
  VOLLEY_REPLY = 64,         // request_id and type of the command answered in `argument`; `status` 0 or an errno
  VOLLEY_NOTE_BOOTED = 65,   // the guest wrote the boot timer; sent again at once to an agent that connects after that
  VOLLEY_NOTE_EXITING = 66,  // exit_reason in `argument`; the page file is complete, the process ends next
  VOLLEY_ASK_VSOCK = 67,     // the guest connects to port `argument` of the host; unanswered for 2 s = refused
};

#define VOLLEY_LIMIT_SERIAL 0xffffffffu
struct volley_limit_change {
  uint32_t device;  // index in the configuration, or VOLLEY_LIMIT_SERIAL
  uint32_t which;   // index in volley_device.limits
  struct volley_limiter limiter;
};

#define VOLLEY_SNAPSHOT_RESUME 1u  // let the guest go on afterwards, also if it was paused before
#define VOLLEY_SNAPSHOT_DIFF 2u    // write only the pages that differ from those in the file
#define VOLLEY_SNAPSHOT_STAY 4u    // let the guest stand still afterwards, also if it ran before
#define VOLLEY_SNAPSHOT_LIVE 8u    // write memory while the guest runs, and stop it for what it wrote meanwhile
#define VOLLEY_SNAPSHOT_MAX_ROUNDS 13u

// How the VMM knew what the guest wrote meanwhile: KVM's dirty log, with pages protected again one by one or all at once.
// NONE: the guest stood still all the time, because that was ordered, it was paused, or this KVM keeps no log.
enum volley_snapshot_tracking { VOLLEY_TRACKING_NONE = 0, VOLLEY_TRACKING_PLAIN = 1, VOLLEY_TRACKING_MANUAL = 2 };

struct volley_snapshot_order {
  uint32_t flags;     // VOLLEY_SNAPSHOT_*
  uint32_t kvm_kind;  // enum volley_kvm_kind
  uint64_t created_ms;
  uint8_t id[16];       // of the snapshot
  uint8_t base_id[16];  // diff: of its base
};
struct volley_snapshot_taken {
  uint64_t pause_ns;  // that the guest stood still
  uint64_t total_ns;
  uint64_t pages;  // written
  uint64_t bytes;  // written
  uint16_t tracking;   // enum volley_snapshot_tracking
  uint16_t converged;  // 0: the guest wrote faster than could be copied and was stopped all the same
  uint32_t rounds;     // over memory before the guest was stopped, at most VOLLEY_SNAPSHOT_MAX_ROUNDS
  uint32_t round_pages[VOLLEY_SNAPSHOT_MAX_ROUNDS + 1];  // written in each round; then [rounds], those of the pause
};

struct volley_message {
  uint32_t type;        // enum volley_message_type
  uint32_t request_id;  // chosen by who asks, echoed in the answer
  int32_t status;
  uint32_t argument;
  uint64_t time_ns;
  union {
    uint8_t bytes_in[96];
    char text[96];  // why a snapshot was not written, NUL terminated
    uint64_t bytes;
    uint64_t count;
    struct volley_limit_change limit;
    struct volley_snapshot_order snapshot;
    struct volley_snapshot_taken snapshot_taken;
  } payload;
};

// ---- Guest physical layout and ports a guest may rely on. ----
// Linux guests need not know any of it: ACPI tables (RSDP at 0xE0000) name the ports, the processors, the virtio devices
// and the power button, and the code at the reset vector 0xFFFF0 resets through the i8042. Only the boot timer and the
// report are for their init to write.
#define VOLLEY_KERNEL_BASE 0x100000ull
#define VOLLEY_CMDLINE_ADDRESS 0x20000ull
#define VOLLEY_BOOT_TIMER_ADDRESS 0xC0000000ull  // MMIO; a one-byte write of VOLLEY_BOOT_TIMER_VALUE means "booted"
#define VOLLEY_BOOT_TIMER_VALUE 123u
// MMIO, in the same page: a four-byte write tells how the workload ended, before the guest powers off.
#define VOLLEY_GUEST_REPORT_ADDRESS 0xC0000008ull
#define VOLLEY_REPORT_EXITED 0x01000000u    // | exit code
#define VOLLEY_REPORT_SIGNALED 0x02000000u  // | signal number
#define VOLLEY_REPORT_OOM 0x03000000u       // the guest's own OOM killer ended the workload
#define VOLLEY_REPORT_NOT_STARTED 0x04000000u  // | errno: there was nothing to run, or it could not be run
#define VOLLEY_REPORT_ASKED 0x00800000u        // flag: the guest had been told to end, so the workload did not fail
#define VOLLEY_PORT_SERIAL 0x3F8u
#define VOLLEY_PORT_I8042_DATA 0x60u
#define VOLLEY_PORT_I8042_COMMAND 0x64u  // 0xFE resets
#define VOLLEY_PORT_PVPANIC 0x505u       // bit 0: panicked
// One byte each, as hardware-reduced ACPI has them: at this port the sleep control register, where SLP_TYP 5 with SLP_EN
// (0x34) powers off and everything else is ignored; at the next the sleep status register, which reads 0.
#define VOLLEY_PORT_ACPI_SLEEP 0x604u
// virtio-mmio (version 2) device i: registers at FIRST + i * STRIDE. Linux finds it by ACPI (LNRO0005). Flat guests look at
// the magic values, up to the first window that reads all ones, and get device i's interrupts as vector
// VOLLEY_DEVICE_VECTOR + i on vCPU 0.
#define VOLLEY_VIRTIO_FIRST 0xC0001000ull
#define VOLLEY_VIRTIO_STRIDE 0x1000ull
#define VOLLEY_DEVICE_VECTOR 0x50u
#define VOLLEY_POWER_BUTTON_VECTOR 0x40u // flat guests: local APIC interrupt on vCPU 0 when the power button is pressed
// VMGENID: 16 bytes that are new for every start, every clone and every restore; a Linux guest finds them by ACPI. A guest
// that goes on from a snapshot gets an event (ACPI; flat guests: this vector on vCPU 0). When it knows of its new identity it
// writes the boot timer again: that is when it counts as ready.
#define VOLLEY_GENERATION_ID_ADDRESS 0xff000ull
#define VOLLEY_GENERATION_VECTOR 0x42u

// ---- vsock ports with a meaning. The host is CID 2. ----
#define VOLLEY_VSOCK_PORT_AGENT 1024u     // in the guest: init, see abi/volley_guest.h
#define VOLLEY_VSOCK_PORT_METADATA 80u    // on the host: HTTP/1.1, GET /v1/metadata and GET /v1/metadata/KEY

#ifdef __cplusplus
}
static_assert(sizeof(volley_config) <= VOLLEY_STATS_OFFSET - VOLLEY_CONFIG_OFFSET);
static_assert(sizeof(volley_stats) <= VOLLEY_SERIAL_OFFSET - VOLLEY_STATS_OFFSET);
static_assert(sizeof(volley_device) == 152);
static_assert(sizeof(volley_message) == 120);
static_assert(sizeof(volley_snapshot_taken) == 96);
#endif

#endif
