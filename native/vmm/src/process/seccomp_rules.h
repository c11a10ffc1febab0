#pragma once

#include <asm/unistd.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <cerrno>
#include <csignal>

#include "kvm/kvm_ioctls.h"
#include "process/bpf.h"

// What each kind of thread may ask of the kernel: everything else ends the VMM. To allow a call, add it to the list of
// the thread that makes it. Calls with conditions come first, the most frequent before the others: the kernel remembers
// the answer for calls without.
namespace volley::rules {

using bpf::allow;
using bpf::is;
using bpf::only;
using bpf::refuse;
using bpf::Rule;

inline constexpr int kKickSignal = SIGUSR1;
// glibc's own signal for changing the user of all threads: it installs a handler when the first thread is made.
inline constexpr int kGlibcSetxidSignal = 33;
inline constexpr unsigned long kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                                         CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
inline constexpr unsigned long kDetached = 0x00400000;  // CLONE_DETACHED: means nothing, musl still sets it
inline constexpr int kFreeNow = 4;                      // MADV_DONTNEED, _FREE and _REMOVE, which not every libc names
inline constexpr int kFreeLater = 8;
inline constexpr int kFreeFile = 9;

// clang-format off

inline constexpr Rule kEvery[] = {
    // Signals: the kick of a vCPU thread, and abort(). To threads of this process: numbers of others mean nothing in
    // its pid namespace, and processes of other users are out of reach anyhow.
    allow(__NR_tkill, is(1, kKickSignal)), allow(__NR_tkill, is(1, SIGABRT)),
    allow(__NR_tgkill, is(2, kKickSignal)), allow(__NR_tgkill, is(2, SIGABRT)),
    allow(__NR_futex),
    allow(__NR_write),           // to what is open: eventfds, disks, sockets, taps
    allow(__NR_rt_sigreturn),
    allow(__NR_rt_sigprocmask),  // part of sending a signal; to block SIGSYS makes a violation deadly at once
    allow(__NR_clock_gettime),   // where the vDSO cannot tell the time
    allow(__NR_restart_syscall), // after SIGCONT
    allow(__NR_getpid), allow(__NR_gettid),
    allow(__NR_exit_group),
};

// Raised by whatever thread does the work.
inline constexpr Rule kInterrupts[] = {
    allow(__NR_ioctl, is(1, KVM_IRQ_LINE)), allow(__NR_ioctl, is(1, KVM_SIGNAL_MSI)),
};

// Sockets that are there: no thread can make one, or connect one.
inline constexpr Rule kSockets[] = {
    allow(__NR_sendto), allow(__NR_sendmsg), allow(__NR_recvfrom), allow(__NR_recvmsg),
    allow(__NR_accept4), allow(__NR_shutdown), allow(__NR_close),
};

inline constexpr Rule kLoop[] = {
    allow(__NR_epoll_wait), allow(__NR_epoll_pwait), allow(__NR_epoll_ctl),
    allow(__NR_read),             // eventfds, timers
    allow(__NR_timerfd_settime),  // of rate limiters
};

// Runs the guest. What a device has to do for it is told to the device's loop, through an eventfd.
inline constexpr Rule kVcpuOnly[] = {
    allow(__NR_ioctl, is(1, KVM_RUN)),
    allow(__NR_ioctl, is(1, KVM_KVMCLOCK_CTRL)),
    allow(__NR_ioctl, is(1, KVM_GET_REGS)),  // for the sentence when KVM gives up
};

// Answers the agent, presses the guest's buttons, stops and starts the other threads.
inline constexpr Rule kControlOnly[] = {
    allow(__NR_poll), allow(__NR_read),
    allow(__NR_getsockopt),  // who is it that connects
    // A snapshot: what KVM knows of the machine, written into files that the agent passed.
    allow(__NR_ioctl, is(1, kKvmGetSupportedCpuid)), allow(__NR_ioctl, is(1, KVM_CHECK_EXTENSION)),
    allow(__NR_ioctl, is(1, kKvmGetMsrIndexList)), allow(__NR_ioctl, is(1, kKvmGetMsrs)),
    allow(__NR_ioctl, is(1, kKvmGetCpuid2)), allow(__NR_ioctl, is(1, KVM_GET_MP_STATE)),
    allow(__NR_ioctl, is(1, KVM_GET_REGS)), allow(__NR_ioctl, is(1, KVM_GET_SREGS)),
    allow(__NR_ioctl, is(1, kKvmGetXsave)), allow(__NR_ioctl, is(1, kKvmGetXsave2)), allow(__NR_ioctl, is(1, KVM_GET_XCRS)),
    allow(__NR_ioctl, is(1, KVM_GET_DEBUGREGS)), allow(__NR_ioctl, is(1, KVM_GET_LAPIC)),
    allow(__NR_ioctl, is(1, KVM_GET_VCPU_EVENTS)), allow(__NR_ioctl, is(1, KVM_GET_TSC_KHZ)),
    allow(__NR_ioctl, is(1, KVM_GET_CLOCK)), allow(__NR_ioctl, is(1, KVM_GET_IRQCHIP)),
    allow(__NR_pread64), allow(__NR_pwrite64), allow(__NR_lseek),
    // While it is written and the guest runs: the dirty log, which is a flag of a memory slot. Who could set others made
    // the guest see what this process has, and has that already. Afterwards its room is given back.
    allow(__NR_ioctl, is(1, KVM_SET_USER_MEMORY_REGION)), allow(__NR_ioctl, is(1, KVM_GET_DIRTY_LOG)),
    allow(__NR_ioctl, is(1, KVM_CLEAR_DIRTY_LOG)), allow(__NR_madvise, is(2, kFreeNow)),
};

// Devices that never wait: net, vsock, balloon, rng.
inline constexpr Rule kDeviceOnly[] = {
    allow(__NR_ioctl, is(1, TUNSETOFFLOAD)),
    allow(__NR_fcntl, is(1, F_GETFL)), allow(__NR_fcntl, is(1, F_SETFL)),
    allow(__NR_madvise, is(2, kFreeNow)), allow(__NR_madvise, is(2, kFreeLater)), allow(__NR_madvise, is(2, kFreeFile)),
    allow(__NR_readv), allow(__NR_writev),
    allow(__NR_getrandom),
};

// One disk: reads, writes, flushes, frees.
inline constexpr Rule kDiskOnly[] = {
    allow(__NR_fallocate, is(1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)),
    allow(__NR_fallocate, is(1, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)),
    allow(__NR_preadv), allow(__NR_pwritev), allow(__NR_fdatasync),
};

// From the moment the jail is up until the guest runs: waits for the launch order, builds the machine, starts threads.
inline constexpr Rule kSetUp[] = {
    allow(__NR_ioctl, is(1, KVM_GET_API_VERSION)), allow(__NR_ioctl, is(1, KVM_CHECK_EXTENSION)),
    allow(__NR_ioctl, is(1, KVM_CREATE_VM)), allow(__NR_ioctl, is(1, KVM_GET_VCPU_MMAP_SIZE)),
    allow(__NR_ioctl, is(1, kKvmGetSupportedCpuid)), allow(__NR_ioctl, is(1, KVM_SET_USER_MEMORY_REGION)),
    allow(__NR_ioctl, is(1, KVM_ENABLE_CAP)), allow(__NR_ioctl, is(1, KVM_SET_TSS_ADDR)),
    allow(__NR_ioctl, is(1, KVM_SET_IDENTITY_MAP_ADDR)), allow(__NR_ioctl, is(1, KVM_CREATE_IRQCHIP)),
    allow(__NR_ioctl, is(1, KVM_IOEVENTFD)), allow(__NR_ioctl, is(1, KVM_CREATE_VCPU)),
    allow(__NR_ioctl, is(1, kKvmSetCpuid2)), allow(__NR_ioctl, is(1, kKvmSetMsrs)),
    allow(__NR_ioctl, is(1, KVM_GET_SREGS)), allow(__NR_ioctl, is(1, KVM_SET_SREGS)),
    allow(__NR_ioctl, is(1, KVM_SET_REGS)), allow(__NR_ioctl, is(1, KVM_GET_TSC_KHZ)),
    // Going on from a snapshot.
    allow(__NR_ioctl, is(1, KVM_SET_MP_STATE)), allow(__NR_ioctl, is(1, kKvmSetXsave)),
    allow(__NR_ioctl, is(1, KVM_SET_XCRS)), allow(__NR_ioctl, is(1, KVM_SET_DEBUGREGS)),
    allow(__NR_ioctl, is(1, KVM_SET_LAPIC)), allow(__NR_ioctl, is(1, KVM_SET_VCPU_EVENTS)),
    allow(__NR_ioctl, is(1, KVM_SET_IRQCHIP)), allow(__NR_ioctl, is(1, KVM_SET_CLOCK)),
    allow(__NR_ioctl, is(1, TUNGETIFF)), allow(__NR_ioctl, is(1, TUNSETVNETHDRSZ)),
    // Memory that is data, never code: guest memory, run pages, stacks of threads.
    allow(__NR_mmap, only(2, PROT_READ | PROT_WRITE)), allow(__NR_mprotect, only(2, PROT_READ | PROT_WRITE)),
    allow(__NR_munmap), allow(__NR_brk),
    allow(__NR_madvise, is(2, MADV_NOHUGEPAGE)),
    // Threads, never processes.
    allow(__NR_clone, is(0, kThread)), allow(__NR_clone, is(0, kThread | kDetached)),
    refuse(__NR_clone3, ENOSYS),  // nobody can look at its flags; glibc takes clone then
    allow(__NR_rt_sigaction, is(0, kKickSignal)), allow(__NR_rt_sigaction, is(0, kGlibcSetxidSignal)),
    allow(__NR_seccomp, is(0, SECCOMP_SET_MODE_FILTER), is(1, 0)),  // adds to the filters, takes nothing away
    allow(__NR_prctl, is(0, PR_SET_NAME)),
    allow(__NR_sigaltstack), allow(__NR_set_robust_list), allow(__NR_rseq), allow(__NR_membarrier),
    allow(__NR_eventfd2), allow(__NR_epoll_create1), allow(__NR_timerfd_create),
    allow(__NR_fcntl, is(1, F_OFD_SETLK)),  // a disk belongs to one writer
    allow(__NR_fstat), allow(__NR_ftruncate), allow(__NR_lseek), allow(__NR_pread64),
#if defined(__GLIBC__)
    allow(__NR_newfstatat, is(3, AT_EMPTY_PATH)),  // how it says fstat
#endif
    allow(__NR_clock_nanosleep), allow(__NR_nanosleep),  // between two tries of KVM_CREATE_VM
    allow(__NR_exit),
};

// clang-format on

inline constexpr bpf::Table kVcpu = bpf::merge(kVcpuOnly, kInterrupts, kEvery);
inline constexpr bpf::Table kControl = bpf::merge(kInterrupts, kControlOnly, kSockets, kEvery);
inline constexpr bpf::Table kDeviceLoop = bpf::merge(kInterrupts, kDeviceOnly, kLoop, kSockets, kEvery);
inline constexpr bpf::Table kDiskLoop = bpf::merge(kInterrupts, kDiskOnly, kLoop, kEvery);
// Every thread is behind this one as well, so it holds what all of them may do.
inline constexpr bpf::Table kShell = bpf::merge(kVcpu, kControl, kDeviceLoop, kDiskLoop, kSetUp);

}  // namespace volley::rules
