// The vsock device, between a hostile guest, programs of the host that connect, and an agent that answers anything.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <utility>

#include "support/descriptors.h"
#include "support/virtio_bench.h"
#include "support/wrap.h"
#include "vsock/vsock_connection.h"
#include "vsock/vsock_packet.h"

namespace volley::fuzz {
namespace {

constexpr uint32_t kGuestCid = 3;
constexpr size_t kHostEnds = 8;
constexpr uint32_t kFirstHostPort = 1u << 30;

// The next accept4() of the device fails with this, once; 0 = it does not.
int accept_error = 0;

class VsockScript final : public DeviceScript {
 public:
  VsockScript() : listener_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    // A name of the kernel's choice.
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    demand(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address.sun_family)) == 0 &&
               listen(listener_.get(), 16) == 0,
           "no listener");
    name_bytes_ = sizeof(name_);
    demand(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&name_), &name_bytes_) == 0, "no name");
  }
  int listener() const { return listener_.get(); }

  std::vector<Piece> request(Script& script, VirtioBench& bench, uint32_t queue) override {
    if (queue != 1) {  // buffers for packets towards the guest
      const uint64_t at = bench.address(script);
      return {{at, bench.length(script), true}};
    }
    const uint8_t how = script.byte();
    VsockHeader header{};
    header.source_cid = kGuestCid;
    header.destination_cid = kVsockHostCid;
    // A few ports on each side, so that packets meet; those of connections from the host are counted up.
    const uint8_t ports = script.byte();
    header.source_port = ports & 3;
    header.destination_port = (ports & 128) != 0 ? kFirstHostPort + (ports >> 2 & 7) : ports >> 2 & 7;
    header.type = kVsockStream;
    header.op = 1 + (how & 7) % 7;
    header.buffer_bytes = (how & 8) != 0 ? script.take<uint32_t>() : 65536;
    header.forwarded_bytes = (how & 16) != 0 ? script.take<uint32_t>() : 0;
    if (header.op == static_cast<uint16_t>(VsockOp::kShutdown)) header.flags = script.byte() & 3;
    std::vector<Piece> pieces;
    uint32_t bytes = 0;
    uint64_t body = 0;
    if (header.op == static_cast<uint16_t>(VsockOp::kData)) {
      body = bench.address(script);
      bytes = bench.length(script);
      header.length = (how & 32) != 0 ? script.take<uint32_t>() : bytes;
    }
    if ((how & 64) != 0) {  // anything else may be wrong, too
      auto* const raw = reinterpret_cast<uint8_t*>(&header);
      raw[script.byte() % sizeof(header)] = script.byte();
    }
    pieces.push_back({bench.put(&header, sizeof(header)),
                      static_cast<uint32_t>(sizeof(header)) - ((how & 128) != 0 ? 1u : 0u), false});
    if (bytes != 0) pieces.push_back({body, bytes, false});
    return pieces;
  }

  void host(Script& script, VirtioBench& bench) override {
    UniqueFd& end = ends_[script.choice(kHostEnds)];
    switch (script.choice(10)) {
      case 0:
      case 1:
        return connect_to_guest(script, end);
      case 2:
      case 3:
        return answer(script, bench, end);
      case 4: {
        const auto text = script.bytes(script.byte());
        send(end.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        return;
      }
      case 5: {
        static const uint8_t zeros[65536] = {};
        send(end.get(), zeros, script.take<uint16_t>(), MSG_DONTWAIT | MSG_NOSIGNAL);
        return;
      }
      case 6: {
        static uint8_t ignored[65536];
        recv(end.get(), ignored, script.take<uint16_t>() + 1u, MSG_DONTWAIT);
        return;
      }
      case 7:
        shutdown(end.get(), static_cast<int>(script.choice(3)));
        return;
      case 8:
        end.reset();
        return;
      default: {
        const uint8_t how = script.byte();
        bench.agent().deaf = (how & 1) != 0;
        if (how > 250) shutdown(listener_.get(), SHUT_RDWR);  // the agent wants no more connections
        constexpr int kErrors[] = {0, 0, 0, EMFILE, ENOMEM, ECONNABORTED};
        accept_error = kErrors[(how >> 1) % std::size(kErrors)];
        return;
      }
    }
  }

 private:
  void connect_to_guest(Script& script, UniqueFd& end) {
    end.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (connect(end.get(), reinterpret_cast<const sockaddr*>(&name_), name_bytes_) != 0) return end.reset();
    const uint8_t how = script.byte();
    if ((how & 1) != 0) {
      char line[] = "CONNECT 0\n";
      line[8] = static_cast<char>('0' + (how >> 1 & 3));
      send(end.get(), line, sizeof(line) - 1, MSG_NOSIGNAL);
    } else {
      const auto text = script.bytes(how % 40);
      send(end.get(), text.data(), text.size(), MSG_NOSIGNAL);
    }
  }

  void answer(Script& script, VirtioBench& bench, UniqueFd& end) {
    volley_message message{};
    message.type = VOLLEY_CMD_VSOCK_ANSWER;
    std::vector<volley_message>& questions = bench.agent().questions;
    const uint8_t how = script.byte();
    if ((how & 1) != 0 || questions.empty()) {
      message.request_id = script.take<uint32_t>();
    } else {
      message.request_id = questions[(how >> 3) % questions.size()].request_id;
    }
    UniqueFd passed;
    switch (how >> 1 & 3) {
      case 0: {
        int pair[2];
        demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0, "no pair");
        // The least there is: what the guest sends soon has to wait in the device.
        const int least = 1;
        setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
        passed.reset(pair[0]);
        end.reset(pair[1]);
        break;
      }
      case 1:
        message.status = ECONNREFUSED;
        break;
      case 2:  // no socket
        passed.reset(memfd_create("no socket", MFD_CLOEXEC));
        break;
      default:
        break;  // nothing at all
    }
    bench.command(message, passed);
  }

  UniqueFd listener_;
  sockaddr_un name_{};
  socklen_t name_bytes_ = 0;
  UniqueFd ends_[kHostEnds];
};

}  // namespace

void run(Script& script) {
  const DescriptorScope descriptors(true);
  restart_time();
  accept_error = 0;
  volley_device config{};
  config.type = VOLLEY_DEVICE_VSOCK;
  config.guest_cid = kGuestCid;
  VsockScript streams;
  InheritedFds fds;
  demand(fds.add(VOLLEY_ROLE_VSOCK, streams.listener()), "no room for descriptors");
  VirtioBench bench(VOLLEY_DEVICE_VSOCK, config, fds);
  demand(bench.is_open(), "a vsock device was refused");
  bench.run(script, streams);
}

VOLLEY_WRAP(int, accept4, int fd, sockaddr* address, socklen_t* size, int flags) {
  errno = std::exchange(accept_error, 0);
  return errno == 0 ? __real_accept4(fd, address, size, flags) : -1;
}

// What waits for a program of the host is no more than the guest was given credit for.
VOLLEY_WRAP(ssize_t, sendmsg, int fd, const msghdr* message, int flags) {
  size_t bytes = 0;
  for (size_t i = 0; i < message->msg_iovlen; ++i) bytes += message->msg_iov[i].iov_len;
  demand(bytes <= kVsockBufferBytes, "a guest sent more than its credit");
  return __real_sendmsg(fd, message, flags);
}

}  // namespace volley::fuzz
