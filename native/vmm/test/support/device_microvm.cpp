#include "support/device_microvm.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "support/check.h"
#include "support/snapshot_files.h"

namespace volley::test {

TemporaryFile::TemporaryFile(uint64_t bytes) : size_(bytes) {
  char path[] = "/tmp/volley-disk-XXXXXX";
  fd_.reset(mkostemp(path, O_CLOEXEC));
  if (!fd_.is_open() || ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) {
    perror("make a temporary file");
    abort();
  }
  unlink(path);
}

std::vector<uint8_t> TemporaryFile::read(uint64_t offset, size_t bytes) const {
  std::vector<uint8_t> content(bytes);
  const ssize_t got = pread(fd_.get(), content.data(), bytes, static_cast<off_t>(offset));
  content.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return content;
}

uint64_t TemporaryFile::allocated() const {
  struct stat status {};
  fstat(fd_.get(), &status);
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

uint64_t disk_pattern(uint64_t seed, uint64_t at) {
  // mixed() of guest/canary/src/devices/random.h
  uint64_t value = seed + at + 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

volley_limiter operations_limit(uint64_t count, uint64_t milliseconds) {
  volley_limiter limit{};
  limit.operations = {.size = count, .burst = 0, .refill_ms = milliseconds};
  return limit;
}

volley_limiter bytes_limit(uint64_t count, uint64_t milliseconds) {
  volley_limiter limit{};
  limit.bytes = {.size = count, .burst = 0, .refill_ms = milliseconds};
  return limit;
}

uint32_t DeviceMicrovm::add(uint32_t type) {
  volley_device device{};
  device.type = type;
  devices_.push_back(device);
  return static_cast<uint32_t>(devices_.size() - 1);
}

uint32_t DeviceMicrovm::disk(const TemporaryFile& file, uint32_t flags, const volley_limiter& limit) {
  const uint32_t index = add(VOLLEY_DEVICE_BLOCK);
  devices_[index].size = file.size();
  devices_[index].flags = flags;
  devices_[index].limits[0] = limit;
  descriptors_.push_back({static_cast<uint16_t>(VOLLEY_ROLE_DEVICE_FIRST + 2 * index), file.fd()});
  return index;
}

uint32_t DeviceMicrovm::overlay_disk(const TemporaryFile& base, const TemporaryFile& overlay) {
  const uint32_t index = disk(base, VOLLEY_BLOCK_OVERLAY);
  descriptors_.push_back({static_cast<uint16_t>(VOLLEY_ROLE_DEVICE_FIRST + 2 * index + 1), overlay.fd()});
  return index;
}

uint32_t DeviceMicrovm::net(int tap, const volley_limiter& to_guest, const volley_limiter& from_guest) {
  const uint32_t index = add(VOLLEY_DEVICE_NET);
  const uint8_t mac[6] = {0x02, 0x56, 0x4c, 0, 0, static_cast<uint8_t>(index + 1)};
  std::copy(mac, mac + 6, devices_[index].mac);
  devices_[index].limits[0] = to_guest;
  devices_[index].limits[1] = from_guest;
  descriptors_.push_back({static_cast<uint16_t>(VOLLEY_ROLE_DEVICE_FIRST + 2 * index), tap});
  return index;
}

uint32_t DeviceMicrovm::vsock(int listener) {
  const uint32_t index = add(VOLLEY_DEVICE_VSOCK);
  devices_[index].guest_cid = 3;
  descriptors_.push_back({VOLLEY_ROLE_VSOCK, listener});
  return index;
}

uint32_t DeviceMicrovm::balloon(uint32_t flags, uint64_t bytes, uint32_t interval_ms) {
  const uint32_t index = add(VOLLEY_DEVICE_BALLOON);
  devices_[index].flags = flags;
  devices_[index].size = bytes;
  devices_[index].stats_interval_ms = interval_ms;
  return index;
}

uint32_t DeviceMicrovm::rng(const volley_limiter& limit) {
  const uint32_t index = add(VOLLEY_DEVICE_RNG);
  devices_[index].limits[0] = limit;
  return index;
}

void DeviceMicrovm::start(const std::string& cmdline) {
  options_.kernel_path = VOLLEY_CANARY_DEVICES_PATH;
  options_.cmdline = "quiet " + cmdline;
  launch();
}

void DeviceMicrovm::restore(const SnapshotFiles& files) {
  files.restore_by(options_);
  descriptors_.insert(descriptors_.end(), options_.descriptors.begin(), options_.descriptors.end());
  launch();
}

void DeviceMicrovm::launch() {
  options_.descriptors = descriptors_;
  const auto more = options_.mutate;
  options_.mutate = [this, more](volley_config& config) {
    config.device_count = static_cast<uint32_t>(devices_.size());
    for (size_t i = 0; i < std::min<size_t>(devices_.size(), VOLLEY_MAX_DEVICES); ++i) config.devices[i] = devices_[i];
    if (more) more(config);
  };
  vmm_ = std::make_unique<VmmProcess>(options_);
}

std::string DeviceMicrovm::await_line(const std::string& start, uint64_t timeout_ms) {
  const std::string wanted = "canary: " + start;
  const uint64_t deadline = VmmProcess::now_ns() + timeout_ms * 1'000'000;
  for (;;) {
    const bool ended = vmm_->state() == VOLLEY_VMM_EXITED;
    const std::string text = vmm_->serial();
    const size_t at = text.find(wanted);
    const size_t end = at == std::string::npos ? at : text.find('\n', at);
    if (end != std::string::npos) return text.substr(at + 8, end - at - 8);
    if (ended || VmmProcess::now_ns() > deadline) {
      fprintf(stderr, "no line \"%s\" in: %s%s\n", wanted.c_str(), text.c_str(),
              ended ? vmm_->stats().exit_message : "");
      return {};
    }
    usleep(1000);
  }
}

std::string DeviceMicrovm::result(const std::string& word, uint64_t number, uint64_t timeout_ms) {
  return await_line(word + " " + std::to_string(number) + " ", timeout_ms);
}

void DeviceMicrovm::stop() {
  CHECK_EQ(vmm_->command(VOLLEY_CMD_PING), 0);
  CHECK_EQ(vmm_->command(VOLLEY_CMD_STOP), 0);
  const std::optional<ProcessEnd> end = vmm_->await_end();
  CHECK(end.has_value() && end->exited && end->code == 0);
  CHECK_EQ(vmm_->stats().exit_reason, static_cast<uint32_t>(VOLLEY_EXIT_POWER_OFF));
}

std::optional<uint64_t> number_in(const std::string& line, const std::string& key) {
  const size_t at = line.find(" " + key + "=");
  if (at == std::string::npos) return std::nullopt;
  return strtoull(line.c_str() + at + key.size() + 2, nullptr, 10);
}

}  // namespace volley::test
