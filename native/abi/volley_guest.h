// The contract between a host and `init`, PID 1 of Linux guests: what init is told at boot, and what it answers over
// vsock. libs/guest is the other side of it.
//
// Every number is little endian. Strings are bytes without a closing NUL unless said otherwise.
#ifndef VOLLEY_GUEST_H
#define VOLLEY_GUEST_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- Boot: the file /volley/config of the second initrd archive. ----
// A sequence of records, each a key and a value, both closed by NUL, in any order; repeated keys are lists in order.
// Unknown keys are skipped.
//   root          block device of the read-only root file system, such as /dev/vda      (required for images)
//   root.type     squashfs, erofs or ext4
//   overlay       block device of the writable layer (ext4); absent: a tmpfs takes writes and loses them at power-off
//   mount         DEVICE:PATH:TYPE:ro|rw, further disks
//   arg           one word of the program to run (entrypoint and command joined); none: nothing runs, init serves on
//   env           NAME=value
//   user          as in an OCI image: name, uid, name:group or uid:gid; absent: 0:0
//   cwd           working directory; absent: /
//   hostname
//   net           INTERFACE-MAC ADDRESS/PREFIX GATEWAY MTU, one space between; absent: only loopback. GATEWAY `-`: none;
//                 MTU 0: the device's
//   dns           address of a name server
//   module        path in the first initrd of a kernel module to load, in order (usually from /volley/modules there)
//   on.exit       poweroff (default), reboot or stay: what init does when the program has ended
//   grace         ms from SIGTERM to SIGKILL when the guest is told to stop; absent: 10000
//   time          seconds since 1970 of the wall clock, to be set before anything runs

// ---- Agent: init listens on vsock port VOLLEY_VSOCK_PORT_AGENT. One request for each connection. ----
// Frames in both directions; the first frame of the host is the request. Either side closes when it has said all.
struct volley_frame {
  uint32_t length;  // bytes after this header, at most VOLLEY_FRAME_MAX
  uint8_t type;     // enum volley_frame_type
  uint8_t flags;
  uint16_t reserved;
};
#define VOLLEY_FRAME_MAX 65536u

#define VOLLEY_SEED_BYTES 64u

enum volley_frame_type {
  // host -> guest, requests
  VOLLEY_GUEST_EXEC = 1,      // volley_exec, then strings
  VOLLEY_GUEST_PUT = 2,       // path; entries and data follow, then END; answered by RESULT
  VOLLEY_GUEST_GET = 3,       // path; answered by entries and data, then END; or by RESULT where it fails
  VOLLEY_GUEST_CLOCK = 4,     // uint64_t ns since 1970; answered by RESULT
  VOLLEY_GUEST_SHUTDOWN = 5,  // one byte: 0 power off, 1 reboot; answered by RESULT before it begins
  VOLLEY_GUEST_PING = 6,      // answered by RESULT
  VOLLEY_GUEST_HOLD = 7,      // answered by RESULT when no program runs any more; see below
  VOLLEY_GUEST_RESTORED = 8,  // volley_restored, then records as of /volley/config; answered by RESULT
  // host -> guest, while an EXEC runs
  VOLLEY_GUEST_STDIN = 16,   // bytes, no more than VOLLEY_STDIN_WINDOW ahead of CREDIT; length 0 closes standard input
  VOLLEY_GUEST_RESIZE = 17,  // uint16_t rows, uint16_t columns
  VOLLEY_GUEST_SIGNAL = 18,  // uint32_t signal, sent to the program's process group
  // both directions, for PUT and GET
  VOLLEY_GUEST_ENTRY = 32,  // volley_entry, then its path, then a link's target
  VOLLEY_GUEST_DATA = 33,   // next bytes of the file of the last entry
  VOLLEY_GUEST_END = 34,
  // guest -> host
  VOLLEY_GUEST_STARTED = 64,  // uint32_t pid
  VOLLEY_GUEST_STDOUT = 65,
  VOLLEY_GUEST_STDERR = 66,
  VOLLEY_GUEST_EXITED = 67,  // uint32_t code, uint32_t signal (one of them 0)
  VOLLEY_GUEST_RESULT = 68,  // int32_t errno (0 = done), then a sentence; ends the exchange
  VOLLEY_GUEST_CREDIT = 69,  // uint32_t: the program took so many bytes of STDIN (or will never want them)
};
// So many bytes of STDIN may be under way. Because of it the guest always reads its connection: a signal or the end of
// the connection is never stuck behind input that the program does not read.
#define VOLLEY_STDIN_WINDOW 262144u

// EXEC is answered by STARTED, later EXITED; or by RESULT when the program cannot be started. An end of the connection is a
// broken connection: the host leaves its side open until EXITED.
//
// Strings after it, each closed by NUL: argc words, envc NAME=value (added to the image's), user, cwd (both may be empty:
// the image's).
struct volley_exec {
  uint32_t flags;  // VOLLEY_EXEC_*
  uint16_t rows;
  uint16_t columns;
  uint32_t argc;
  uint32_t envc;
};
#define VOLLEY_EXEC_TTY 1u       // a pseudo terminal; no STDERR then
#define VOLLEY_EXEC_STDIN 2u     // without it standard input is empty
// A connection that breaks ends the program: its process group gets SIGHUP, and SIGKILL 2 s later.

// A snapshot is taken while the guest holds its programs, so that in a clone none of them runs before it is told who it
// is. HOLD stops them (not init and its sessions) for as long as its connection lives, and lets them go on when that
// closes or breaks. In a guest that was restored it is broken too, but there the generation id is another one: the
// programs stay where they are until RESTORED.
//
// The sentence of HOLD's RESULT, where there is no error, are the names (vdc) of the disks that nobody in the guest uses,
// one space between: not mounted, not swapped to, no part of another device, and not open. A clone may find another disk
// in such a place.
//
// RESTORED tells a guest that went on from a snapshot, on this host or another, who it is now: seed of its random
// numbers, wall clock, and the records `hostname`, `net` (in the order of its network devices, which take the MACs),
// `dns`. It may be sent again. When all of it is done the guest writes the boot timer, and its programs go on; when one
// part fails it does neither.
struct volley_restored {
  uint64_t time_ns;  // since 1970
  uint8_t seed[VOLLEY_SEED_BYTES];
};

// Paths of entries are relative, and the first part is the name of the thing that is copied: `name`, `name/child`; `.`
// stands for /. PUT: where the request's path is a folder, the entries go into it under their own names. Otherwise the
// one thing that is copied becomes the request's path (a slash at its end, or entries below `.`: a folder of that name);
// folders above it are made. What is there gives way to what comes, except that folders stay and are added to. No entry
// leaves the folder it goes into: neither by `..` nor over a symbolic link.
// GET follows a symbolic link that is the request's path, and no other; it leaves out sockets, pipes, devices and the
// kernel's own file systems.
enum {
  VOLLEY_ENTRY_FILE = 1,
  VOLLEY_ENTRY_FOLDER = 2,
  VOLLEY_ENTRY_LINK = 3,       // symbolic
  VOLLEY_ENTRY_HARD_LINK = 4,  // PUT only: another name of the file at the path `target` of this exchange
};
struct volley_entry {
  uint32_t kind;  // VOLLEY_ENTRY_*
  uint32_t mode;  // permission bits
  uint32_t uid;
  uint32_t gid;
  uint64_t size;       // file: bytes that follow as DATA
  uint64_t modified;   // s since 1970
  uint32_t path_length;
  uint32_t target_length;
};

#ifdef __cplusplus
}
static_assert(sizeof(volley_frame) == 8);
static_assert(sizeof(volley_exec) == 16);
static_assert(sizeof(volley_restored) == 72);
static_assert(sizeof(volley_entry) == 40);
#endif

#endif
