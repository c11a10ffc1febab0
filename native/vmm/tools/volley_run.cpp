// volley-run: starts one VMM by hand, the way an agent does but without one, and tells how it ended.
//
// It opens what the VMM inherits (see volley_abi.h), writes the configuration, starts the VMM, copies the guest's
// serial console to standard output while it runs, and prints one line of JSON at the end. Exit status: 0 when the VMM
// wrote why it ended, 1 when it did not, 2 when nothing was started.
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "abi/volley_abi.h"
#include "abi/volley_snapshot.h"
#include "orders.h"
#include "void_namespaces.h"

namespace {

constexpr int kBirthDeadlineMs = 5'000;

constexpr std::string_view kUsage =
    "usage: volley-run --vmm FILE --kernel FILE [options]\n"
    "  --initrd FILE            initial ram disk\n"
    "  --initrd-extra FILE      a second one, loaded behind the first\n"
    "  --disk FILE              a raw disk; several are found in this order\n"
    "  --read-only-disk FILE    one that cannot be written to\n"
    "  --overlay FILE           writes to the disk named last go to this file, which is made if it is not there\n"
    "  --tap NAME               a network card on this tap, which is there; several are found in this order\n"
    "  --rng yes|no             a source of random numbers (no)\n"
    "  --vsock SOCKET           a vsock device, with its host side at this path\n"
    "  --balloon yes|no         a balloon with statistics, free page reporting and deflation on OOM (no)\n"
    "  --jail yes|no            every barrier there is; needs root (no: those that need no rights)\n"
    "  --uid NUMBER             user and group of a jailed VMM (65534)\n"
    "  --protocol flat|linux    how the kernel is booted (linux)\n"
    "  --irqchip split|full     where interrupt controllers live (full for linux, split for flat)\n"
    "  --memory MIB             guest memory (128)\n"
    "  --vcpus N                virtual processors (1)\n"
    "  --cmdline TEXT           kernel command line\n"
    "  --snapshot DIR           write a snapshot into this folder, and then kill the VMM, when\n"
    "  --snapshot-on TEXT       the console says this\n"
    "  --restore DIR            go on from that snapshot instead of booting; devices as they were\n"
    "  --power-button-on TEXT   press the guest's power button when its console says this\n"
    "  --ctrl-alt-del-on TEXT   press Ctrl-Alt-Del when its console says this\n"
    "  --type-on TEXT           type a line on the serial console when it says this\n"
    "  --type TEXT              the line\n"
    "  --kill-on TEXT           kill the VMM when its guest's console says this\n"
    "  --timeout SECONDS        kill the VMM after this time (60), and end with status 124\n";

constexpr int kTimedOut = 124;  // As of timeout(1).

[[noreturn]] void refuse(const std::string& problem) {
  std::fprintf(stderr, "volley-run: %s\n", problem.c_str());
  std::exit(2);
}

[[noreturn]] void refuse_with_errno(const std::string& doing) { refuse(doing + ": " + std::strerror(errno)); }

uint64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(time.tv_nsec);
}

// A descriptor that is closed with its owner. Held above the number that the VMM inherits, so that putting one there
// never overwrites another.
class Descriptor {
 public:
  Descriptor(int number, const std::string& doing) {
    if (number < 0) refuse_with_errno(doing);
    number_ = fcntl(number, F_DUPFD_CLOEXEC, 16);
    if (number_ < 0) refuse_with_errno(doing);
    close(number);
  }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  int number() const { return number_; }

 private:
  int number_ = -1;
};

Descriptor open_file(const std::string& path, int flags) {
  return Descriptor(open(path.c_str(), flags | O_CLOEXEC, 0600), "open " + path);
}

uint64_t size_of(const Descriptor& file, const std::string& path) {
  struct stat status {};
  if (fstat(file.number(), &status) != 0) refuse_with_errno("stat " + path);
  return static_cast<uint64_t>(status.st_size);
}

// A tap of the network namespace that this program runs in, as the network device wants it.
Descriptor open_tap(const std::string& name) {
  Descriptor tap(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "open /dev/net/tun");
  ifreq request{};
  if (name.empty() || name.size() >= sizeof request.ifr_name) refuse("--tap wants the name of an interface");
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(tap.number(), TUNSETIFF, &request) != 0) refuse_with_errno("take the tap " + name);
  int header = 12;  // struct virtio_net_hdr_v1
  if (ioctl(tap.number(), TUNSETVNETHDRSZ, &header) != 0) refuse_with_errno("set up the tap " + name);
  return tap;
}

// The page file, mapped; see volley_abi.h.
class Pages {
 public:
  Pages() : file_(memfd_create("volley-pages", MFD_CLOEXEC), "memfd_create") {
    if (ftruncate(file_.number(), VOLLEY_PAGES_SIZE) != 0) refuse_with_errno("size the page file");
    void* mapped = mmap(nullptr, VOLLEY_PAGES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file_.number(), 0);
    if (mapped == MAP_FAILED) refuse_with_errno("map the page file");
    base_ = static_cast<char*>(mapped);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages() { munmap(base_, VOLLEY_PAGES_SIZE); }

  int number() const { return file_.number(); }
  volley_config& config() { return *reinterpret_cast<volley_config*>(base_ + VOLLEY_CONFIG_OFFSET); }
  volley_stats& stats() { return *reinterpret_cast<volley_stats*>(base_ + VOLLEY_STATS_OFFSET); }

  // Copies what the guest wrote since the last call to standard output.
  void show_serial() {
    const uint64_t head = std::atomic_ref<uint64_t>(stats().serial_bytes).load(std::memory_order_acquire);
    if (head - shown_ > VOLLEY_SERIAL_RING) {
      std::printf("\n[%llu bytes of serial output were overwritten]\n",
                  static_cast<unsigned long long>(head - shown_ - VOLLEY_SERIAL_RING));
      shown_ = head - VOLLEY_SERIAL_RING;
    }
    for (; shown_ < head; ++shown_) {
      const char character = base_[VOLLEY_SERIAL_OFFSET + shown_ % VOLLEY_SERIAL_RING];
      std::putchar(character);
      text_ += character;
    }
    std::fflush(stdout);
  }

  bool has_shown(const std::string& words) const { return text_.find(words) != std::string::npos; }

 private:
  Descriptor file_;
  char* base_ = nullptr;
  uint64_t shown_ = 0;
  std::string text_;
};

struct Disk {
  std::string path;
  std::string overlay;  // empty: none
  bool read_only = false;
};

struct Options {
  std::string vmm;
  std::string kernel;
  std::string initrd;
  std::string initrd_extra;
  std::vector<Disk> disks;
  std::vector<std::string> taps;
  bool rng = false;
  std::string vsock;
  bool balloon = false;
  bool jail = false;
  uint32_t uid = 65534;
  std::string cmdline;
  uint32_t protocol = VOLLEY_BOOT_LINUX;
  uint32_t irqchip = 0;
  uint64_t memory_mib = 128;
  uint32_t vcpus = 1;
  std::string power_button_on;
  std::string ctrl_alt_del_on;
  std::string kill_on;
  std::string snapshot;
  std::string snapshot_on;
  std::string restore;
  std::string type_on;
  std::string type;
  uint64_t timeout_s = 60;
};

uint64_t number_of(std::string_view name, const std::string& text) {
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(text.c_str(), &end, 10);
  if (errno != 0 || text.empty() || *end != '\0' || value > 1u << 30) {
    refuse(std::string(name) + " wants a number, not \"" + text + "\"");
  }
  return value;
}

uint32_t choice_of(std::string_view name, const std::string& text, std::string_view first, uint32_t first_value,
                   std::string_view second, uint32_t second_value) {
  if (text == first) return first_value;
  if (text == second) return second_value;
  refuse(std::string(name) + " is " + std::string(first) + " or " + std::string(second) + ", not \"" + text + "\"");
}

Options parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; i += 2) {
    const std::string_view name = arguments[i];
    if (i + 1 == count) refuse(std::string(name) + " wants a value\n" + std::string(kUsage));
    const std::string value = arguments[i + 1];
    if (name == "--vmm") {
      options.vmm = value;
    } else if (name == "--kernel") {
      options.kernel = value;
    } else if (name == "--initrd") {
      options.initrd = value;
    } else if (name == "--initrd-extra") {
      options.initrd_extra = value;
    } else if (name == "--disk") {
      options.disks.push_back({value, "", false});
    } else if (name == "--read-only-disk") {
      options.disks.push_back({value, "", true});
    } else if (name == "--overlay") {
      if (options.disks.empty()) refuse("--overlay belongs behind a --disk");
      options.disks.back().overlay = value;
    } else if (name == "--kill-on") {
      options.kill_on = value;
    } else if (name == "--snapshot") {
      options.snapshot = value;
    } else if (name == "--snapshot-on") {
      options.snapshot_on = value;
    } else if (name == "--restore") {
      options.restore = value;
    } else if (name == "--tap") {
      options.taps.push_back(value);
    } else if (name == "--rng") {
      options.rng = choice_of(name, value, "yes", 1, "no", 0) == 1;
    } else if (name == "--vsock") {
      options.vsock = value;
    } else if (name == "--balloon") {
      options.balloon = choice_of(name, value, "yes", 1, "no", 0) == 1;
    } else if (name == "--jail") {
      options.jail = choice_of(name, value, "yes", 1, "no", 0) == 1;
    } else if (name == "--uid") {
      options.uid = static_cast<uint32_t>(number_of(name, value));
    } else if (name == "--ctrl-alt-del-on") {
      options.ctrl_alt_del_on = value;
    } else if (name == "--type-on") {
      options.type_on = value;
    } else if (name == "--type") {
      options.type = value;
    } else if (name == "--cmdline") {
      options.cmdline = value;
    } else if (name == "--protocol") {
      options.protocol = choice_of(name, value, "flat", VOLLEY_BOOT_FLAT, "linux", VOLLEY_BOOT_LINUX);
    } else if (name == "--irqchip") {
      options.irqchip = choice_of(name, value, "split", VOLLEY_IRQCHIP_SPLIT, "full", VOLLEY_IRQCHIP_FULL);
    } else if (name == "--memory") {
      options.memory_mib = number_of(name, value);
    } else if (name == "--vcpus") {
      options.vcpus = static_cast<uint32_t>(number_of(name, value));
    } else if (name == "--power-button-on") {
      options.power_button_on = value;
    } else if (name == "--timeout") {
      options.timeout_s = number_of(name, value);
    } else {
      refuse("unknown option " + std::string(name) + "\n" + std::string(kUsage));
    }
  }
  if (options.vmm.empty() || options.kernel.empty() == options.restore.empty())
    refuse("--vmm is needed, and --kernel or --restore\n" + std::string(kUsage));
  if (options.cmdline.size() >= VOLLEY_CMDLINE_MAX) refuse("--cmdline is too long");
  if (options.type.size() >= sizeof volley_message::payload) refuse("--type is too long");
  if (options.disks.size() + options.taps.size() + 3 > VOLLEY_MAX_DEVICES) refuse("there are too many devices");
  if (options.irqchip == 0) {
    options.irqchip = options.protocol == VOLLEY_BOOT_FLAT ? VOLLEY_IRQCHIP_SPLIT : VOLLEY_IRQCHIP_FULL;
  }
  return options;
}

// A listening socket under a name that the kernel chooses, so that nothing is left in a file system.
Descriptor listen_for_agent(sockaddr_un& address, socklen_t& length) {
  Descriptor listening(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), "make the control socket");
  address.sun_family = AF_UNIX;
  if (bind(listening.number(), reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t)) != 0 ||
      listen(listening.number(), 4) != 0) {
    refuse_with_errno("listen on the control socket");
  }
  length = sizeof address;
  getsockname(listening.number(), reinterpret_cast<sockaddr*>(&address), &length);
  return listening;
}

// The host side of a vsock device. What was at this path is the caller's to clear away, before and after.
Descriptor listen_for_callers(const std::string& path) {
  Descriptor listening(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "make the vsock socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) refuse("--vsock " + path + " is too long for a socket");
  std::memcpy(address.sun_path, path.data(), path.size());
  if (bind(listening.number(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listening.number(), 16) != 0) {
    refuse_with_errno("listen on " + path);
  }
  return listening;
}

struct Child {
  pid_t pid;
  Descriptor birth;  // our end of the socket that it is born with
};

Child start_vmm(const Options& options) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) refuse_with_errno("make a socket pair");
  Descriptor ours(ends[0], "move a socket");
  const Descriptor theirs(ends[1], "move a socket");
  clone_args arguments_of_clone{};
  arguments_of_clone.exit_signal = SIGCHLD;
  if (options.jail) arguments_of_clone.flags = CLONE_NEWPID;
  const auto child = static_cast<pid_t>(syscall(SYS_clone3, &arguments_of_clone, sizeof arguments_of_clone));
  if (child < 0) refuse_with_errno("make a process");
  if (child > 0) return {child, std::move(ours)};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (dup2(theirs.number(), VOLLEY_FD_BIRTH) < 0) _exit(127);
  // What this program inherited itself is not the VMM's business.
  syscall(SYS_close_range, VOLLEY_FD_BIRTH + 1, ~0u, 0u);
  char name[] = "volley-vmm";
  char title[] = "shell                                                           ";  // room for the id
  char* const arguments[] = {name, title, nullptr};
  char* const environment[] = {nullptr};
  execve(options.vmm.c_str(), arguments, environment);
  std::fprintf(stderr, "volley-run: execute %s: %s\n", options.vmm.c_str(), std::strerror(errno));
  _exit(127);
}

// Has the new process jail itself, then tells it what it may use.
void give_birth(const Options& options, const Child& child, const std::vector<volley::PassedFd>& fds) {
  volley_jail_order order{};
  order.barriers = VOLLEY_BARRIER_CAPABILITIES | VOLLEY_BARRIER_RLIMITS | VOLLEY_BARRIER_SECCOMP;
  order.uid = getuid();
  order.gid = getgid();
  std::optional<volley::VoidNamespaces> voids;
  std::vector<volley::PassedFd> namespaces;
  if (options.jail) {
    order.barriers = VOLLEY_BARRIER_ALL;
    order.uid = options.uid;
    order.gid = options.uid;
    voids.emplace(volley::VoidNamespaces::make());
    namespaces = voids->to_pass(VOLLEY_BARRIER_ALL);
  }
  order.open_files = 256;
  order.file_bytes = ~0ull;
  volley_shell_report report{};
  int error = volley::send_jail_order(child.birth.number(), order, namespaces);
  if (error == 0) error = volley::receive_shell_report(child.birth.number(), kBirthDeadlineMs, &report);
  if (error == 0 && report.status != 0) refuse(std::string("the VMM cannot be jailed: ") + report.message);
  if (error == 0) error = volley::send_launch_order(child.birth.number(), fds);
  if (error != 0) refuse(std::string("the VMM did not come to life: ") + std::strerror(error));
}

// Sends one command and waits for its answer: a VMM drops what an agent that is gone has asked for.
void command(const sockaddr_un& address, socklen_t length, volley_message message, const char* what,
             const int (*fds)[2] = nullptr) {
  const Descriptor agent(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), "make an agent's socket");
  const timeval patience{5, 0};
  setsockopt(agent.number(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  message.request_id = 1;
  message.time_ns = now_ns();
  iovec part{&message, sizeof message};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof *fds)] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (fds != nullptr) {
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof *fds);
    std::memcpy(CMSG_DATA(rights), fds, sizeof *fds);
  }
  if (connect(agent.number(), reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
      sendmsg(agent.number(), &header, MSG_NOSIGNAL) != sizeof message) {
    std::fprintf(stderr, "volley-run: %s: %s\n", what, std::strerror(errno));
    return;
  }
  do {
    if (recv(agent.number(), &message, sizeof message, 0) != sizeof message) {
      std::fprintf(stderr, "volley-run: %s: the VMM did not answer\n", what);
      return;
    }
  } while (message.type != VOLLEY_REPLY);
  if (message.status != 0) {
    std::fprintf(stderr, "volley-run: %s: this guest does not take it: %s\n", what, std::strerror(message.status));
    if (fds != nullptr) std::fprintf(stderr, "volley-run: %.96s\n", message.payload.text);
  } else if (fds != nullptr) {
    std::fprintf(stderr, "volley-run: a snapshot with a pause of %llu us\n",
                 static_cast<unsigned long long>(message.payload.snapshot_taken.pause_ns / 1000));
  }
}

// Becomes readable when the guest says that it has booted, so that what it has printed by then is shown at once.
// Without one where an agent would be asked questions: nobody here answers them.
std::optional<Descriptor> booted_note(const Options& options, const sockaddr_un& address, socklen_t length) {
  if (!options.vsock.empty()) return std::nullopt;
  std::optional<Descriptor> agent(std::in_place, socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0),
                                  "make an agent's socket");
  if (connect(agent->number(), reinterpret_cast<const sockaddr*>(&address), length) != 0) return std::nullopt;
  return agent;
}

void write_snapshot(const std::string& folder, const sockaddr_un& address, socklen_t length) {
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) refuse_with_errno("make " + folder);
  const Descriptor state(open((folder + "/state").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), "open state");
  const Descriptor memory(open((folder + "/memory").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
                          "open memory");
  volley_message message{};
  message.type = VOLLEY_CMD_SNAPSHOT;
  message.payload.snapshot.kvm_kind = VOLLEY_KVM_HARDWARE;
  if (getrandom(message.payload.snapshot.id, sizeof message.payload.snapshot.id, 0) < 0) {
    refuse_with_errno("get random bytes");
  }
  const int fds[2] = {state.number(), memory.number()};
  command(address, length, message, "write a snapshot", &fds);
}

// What is sent to the guest once, when its console says some words.
struct Cue {
  std::string words;  // empty = never
  volley_message message{};
  const char* what;
};

std::vector<Cue> cues_of(const Options& options) {
  std::vector<Cue> cues(3);
  cues[0].words = options.power_button_on;
  cues[0].message.type = VOLLEY_CMD_STOP;
  cues[0].what = "press the power button";
  cues[1].words = options.ctrl_alt_del_on;
  cues[1].message.type = VOLLEY_CMD_CTRL_ALT_DEL;
  cues[1].what = "press Ctrl-Alt-Del";
  cues[2].words = options.type_on;
  cues[2].message.type = VOLLEY_CMD_SERIAL_INPUT;
  cues[2].message.argument = static_cast<uint32_t>(options.type.size()) + 1;
  std::memcpy(cues[2].message.payload.bytes_in, (options.type + '\n').data(), options.type.size() + 1);
  cues[2].what = "type";
  return cues;
}

const char* name_of(uint32_t reason) {
  switch (reason) {
    case VOLLEY_EXIT_NONE:
      return "NONE";
    case VOLLEY_EXIT_POWER_OFF:
      return "POWER_OFF";
    case VOLLEY_EXIT_REBOOT:
      return "REBOOT";
    case VOLLEY_EXIT_PANIC:
      return "PANIC";
    case VOLLEY_EXIT_TRIPLE_FAULT:
      return "TRIPLE_FAULT";
    case VOLLEY_EXIT_KILLED:
      return "KILLED";
    case VOLLEY_EXIT_OUT_OF_MEMORY:
      return "OUT_OF_MEMORY";
    case VOLLEY_EXIT_JAIL_VIOLATION:
      return "JAIL_VIOLATION";
    case VOLLEY_EXIT_VMM_ERROR:
      return "VMM_ERROR";
    case VOLLEY_EXIT_REQUESTED:
      return "REQUESTED";
    default:
      return "UNKNOWN";
  }
}

std::string json_text(const char* text, size_t limit) {
  std::string quoted = "\"";
  for (size_t i = 0; i < limit && text[i] != '\0'; ++i) {
    const char c = text[i];
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c >= ' ' && c < 127 ? c : ' ';
  }
  return quoted + '"';
}

void report(const volley_stats& stats, uint32_t devices, uint32_t reason, int wait_status, uint64_t launched_ns) {
  const auto since_launch_us = [launched_ns](uint64_t time_ns) {
    return time_ns <= launched_ns ? 0ull : static_cast<unsigned long long>((time_ns - launched_ns) / 1000u);
  };
  const auto number = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      "\nvolley-run {\"exit\":\"%s\",\"detail\":%llu,\"message\":%s,\"status\":%d,\"signal\":%d,"
      "\"enteredUs\":%llu,\"vmCreatedUs\":%llu,\"memoryUs\":%llu,\"loadedUs\":%llu,\"vcpusUs\":%llu,\"runUs\":%llu,"
      "\"bootedUs\":%llu,\"exitedUs\":%llu,\"exits\":%llu,\"pio\":%llu,\"mmio\":%llu,\"hlt\":%llu,\"unknownIo\":%llu,"
      "\"serialBytes\":%llu,\"guestReport\":%llu,\"devices\":[",
      name_of(reason), number(stats.exit_detail), json_text(stats.exit_message, VOLLEY_MESSAGE_MAX).c_str(),
      WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1, WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0,
      since_launch_us(stats.entered_ns), since_launch_us(stats.vm_created_ns), since_launch_us(stats.memory_ns),
      since_launch_us(stats.loaded_ns), since_launch_us(stats.vcpus_ns), since_launch_us(stats.run_ns),
      since_launch_us(stats.booted_ns), since_launch_us(stats.exited_ns), number(stats.exits_total),
      number(stats.exits_pio), number(stats.exits_mmio), number(stats.exits_hlt), number(stats.unknown_io),
      number(stats.serial_bytes), number(stats.guest_report & 0xffffffffu));
  for (uint32_t i = 0; i < devices; ++i) {
    const volley_device_stats& device = stats.devices[i];
    std::printf(
        "%s{\"reads\":%llu,\"writes\":%llu,\"readBytes\":%llu,\"writeBytes\":%llu,\"flushes\":%llu,"
        "\"errors\":%llu,\"throttled\":%llu,\"interrupts\":%llu}",
        i == 0 ? "" : ",", number(device.reads), number(device.writes), number(device.read_bytes),
        number(device.write_bytes), number(device.flushes), number(device.errors), number(device.throttled),
        number(device.interrupts));
  }
  std::printf("]}\n");
}

int run(const Options& options) {
  const Descriptor kvm = open_file("/dev/kvm", O_RDWR);
  // A microVM that is restored brings its kernel along.
  std::optional<Descriptor> kernel, state, memory;
  if (options.restore.empty()) {
    kernel.emplace(open_file(options.kernel, O_RDONLY));
  } else {
    state.emplace(open_file(options.restore + "/state", O_RDONLY));
    memory.emplace(open_file(options.restore + "/memory", O_RDONLY));
  }
  // Without an initial ram disk the number it would have stays closed.
  std::optional<Descriptor> initrd;
  if (!options.initrd.empty()) initrd.emplace(open_file(options.initrd, O_RDONLY));
  std::optional<Descriptor> initrd_extra;
  if (!options.initrd_extra.empty()) initrd_extra.emplace(open_file(options.initrd_extra, O_RDONLY));
  std::vector<Descriptor> disks;
  std::vector<std::optional<Descriptor>> overlays;
  for (const Disk& disk : options.disks) {
    const bool is_base = !disk.overlay.empty();
    disks.push_back(open_file(disk.path, disk.read_only || is_base ? O_RDONLY : O_RDWR));
    overlays.emplace_back();
    if (is_base) {
      overlays.back().emplace(open(disk.overlay.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open " + disk.overlay);
    }
  }
  std::vector<Descriptor> taps;
  for (const std::string& name : options.taps) taps.push_back(open_tap(name));
  sockaddr_un address{};
  socklen_t address_length = 0;
  const Descriptor control = listen_for_agent(address, address_length);

  Pages pages;
  volley_config& config = pages.config();
  config.magic = VOLLEY_CONFIG_MAGIC;
  config.abi_version = VOLLEY_ABI_VERSION;
  config.boot_protocol = options.protocol;
  config.irqchip = options.irqchip;
  config.vcpus = options.vcpus;
  config.memory_bytes = options.memory_mib << 20;
  if (kernel) config.kernel_size = size_of(*kernel, options.kernel);
  if (state) config.flags = VOLLEY_FLAG_RESTORE;
  if (getrandom(config.generation_id, sizeof config.generation_id, 0) < 0) refuse_with_errno("get random bytes");
  config.initrd_size = initrd ? size_of(*initrd, options.initrd) : 0;
  config.initrd_extra_size = initrd_extra ? size_of(*initrd_extra, options.initrd_extra) : 0;
  for (size_t i = 0; i < disks.size(); ++i) {
    volley_device& device = config.devices[config.device_count++];
    device.type = VOLLEY_DEVICE_BLOCK;
    device.size = (size_of(disks[i], options.disks[i].path) + 511) / 512 * 512;
    if (overlays[i]) device.flags = VOLLEY_BLOCK_OVERLAY;
    if (options.disks[i].read_only) device.flags = VOLLEY_BLOCK_READ_ONLY;
    std::snprintf(device.serial, sizeof device.serial, "disk-%u", static_cast<unsigned>(i));
  }
  for (size_t i = 0; i < taps.size(); ++i) {
    volley_device& device = config.devices[config.device_count++];
    device.type = VOLLEY_DEVICE_NET;
    const uint8_t mac[6] = {0x02, 0, 0, 0, 0, static_cast<uint8_t>(i + 1)};
    std::memcpy(device.mac, mac, sizeof mac);
  }
  if (options.rng) config.devices[config.device_count++].type = VOLLEY_DEVICE_RNG;
  std::optional<Descriptor> vsock;
  if (!options.vsock.empty()) {
    vsock.emplace(listen_for_callers(options.vsock));
    volley_device& device = config.devices[config.device_count++];
    device.type = VOLLEY_DEVICE_VSOCK;
    device.guest_cid = 3;
  }
  if (options.balloon) {
    volley_device& device = config.devices[config.device_count++];
    device.type = VOLLEY_DEVICE_BALLOON;
    device.flags = VOLLEY_BALLOON_DEFLATE_ON_OOM | VOLLEY_BALLOON_REPORTING | VOLLEY_BALLOON_STATISTICS;
    device.stats_interval_ms = 1000;
  }
  config.cmdline_length = static_cast<uint32_t>(options.cmdline.size());
  std::memcpy(config.cmdline, options.cmdline.data(), options.cmdline.size());
  std::snprintf(config.id, sizeof config.id, "by-hand-%d", static_cast<int>(getpid()));
  const uint64_t launched_ns = now_ns();
  config.launched_ns = launched_ns;

  const Child child = start_vmm(options);
  const pid_t vmm = child.pid;
  pages.stats().pid = static_cast<uint32_t>(vmm);
  std::vector<volley::PassedFd> fds = {
      {VOLLEY_ROLE_KVM, kvm.number()}, {VOLLEY_ROLE_CONTROL, control.number()}, {VOLLEY_ROLE_PAGES, pages.number()}};
  if (kernel) fds.push_back({VOLLEY_ROLE_KERNEL, kernel->number()});
  if (state) fds.push_back({VOLLEY_ROLE_STATE, state->number()});
  if (memory) fds.push_back({VOLLEY_ROLE_MEMORY, memory->number()});
  if (initrd) fds.push_back({VOLLEY_ROLE_INITRD, initrd->number()});
  if (initrd_extra) fds.push_back({VOLLEY_ROLE_INITRD_EXTRA, initrd_extra->number()});
  if (vsock) fds.push_back({VOLLEY_ROLE_VSOCK, vsock->number()});
  for (uint32_t i = 0; i < disks.size(); ++i) {
    const auto role = static_cast<uint16_t>(VOLLEY_ROLE_DEVICE_FIRST + 2 * i);
    fds.push_back({role, disks[i].number()});
    if (overlays[i]) fds.push_back({static_cast<uint16_t>(role + 1), overlays[i]->number()});
  }
  for (uint32_t i = 0; i < taps.size(); ++i) {
    const auto index = static_cast<uint32_t>(disks.size()) + i;
    fds.push_back({static_cast<uint16_t>(VOLLEY_ROLE_DEVICE_FIRST + 2 * index), taps[i].number()});
  }
  give_birth(options, child, fds);
  std::optional<Descriptor> booting = booted_note(options, address, address_length);
  const Descriptor process(static_cast<int>(syscall(SYS_pidfd_open, vmm, 0u)), "pidfd_open");

  std::vector<Cue> cues = cues_of(options);
  bool written_already = false;
  bool late = false;
  for (;;) {
    pollfd events[2] = {{process.number(), POLLIN, 0}, {booting ? booting->number() : -1, POLLIN, 0}};
    poll(events, 2, 20);
    const bool done = events[0].revents != 0;
    if (events[1].revents != 0) booting.reset();
    pages.show_serial();
    if (done) break;
    const uint64_t age_s = (now_ns() - launched_ns) / 1'000'000'000u;
    for (Cue& cue : cues) {
      if (cue.words.empty() || !pages.has_shown(cue.words)) continue;
      cue.words.clear();
      command(address, address_length, cue.message, cue.what);
    }
    if (!written_already && !options.snapshot.empty() && pages.has_shown(options.snapshot_on)) {
      written_already = true;
      write_snapshot(options.snapshot, address, address_length);
      kill(vmm, SIGKILL);
      continue;
    }
    const bool kill_now = !options.kill_on.empty() && pages.has_shown(options.kill_on);
    late = age_s >= options.timeout_s;
    if (kill_now || late) kill(vmm, SIGKILL);
  }
  int wait_status = 0;
  while (waitpid(vmm, &wait_status, 0) < 0 && errno == EINTR) {
  }

  const volley_stats& stats = pages.stats();
  uint32_t reason = stats.exit_reason;
  const bool written = stats.state == VOLLEY_VMM_EXITED && reason != VOLLEY_EXIT_NONE;
  if (!written && WIFSIGNALED(wait_status)) {
    reason = WTERMSIG(wait_status) == SIGSYS ? VOLLEY_EXIT_JAIL_VIOLATION : VOLLEY_EXIT_KILLED;
  }
  report(stats, config.device_count, reason, wait_status, launched_ns);
  if (written) return 0;
  return late ? kTimedOut : 1;
}

}  // namespace

int main(int count, char** arguments) { return run(parse(count, arguments)); }
