#include "stats/page_file.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace volley {

Status PageFile::map(int fd) {
  struct stat file;
  if (fstat(fd, &file) != 0) return Status::system_error(errno, "cannot stat the page file on descriptor %d", fd);
  if (file.st_size < static_cast<off_t>(VOLLEY_PAGES_SIZE)) {
    return Status::error("the page file on descriptor %d has %lld bytes, %u are needed", fd,
                         static_cast<long long>(file.st_size), VOLLEY_PAGES_SIZE);
  }
  return mapping_.map_shared(fd, VOLLEY_PAGES_SIZE, "the page file");
}

volley_config PageFile::read_config() const {
  volley_config config;
  memcpy(&config, mapping_.data() + VOLLEY_CONFIG_OFFSET, sizeof(config));
  return config;
}

volley_stats& PageFile::stats() const {
  return *reinterpret_cast<volley_stats*>(mapping_.data() + VOLLEY_STATS_OFFSET);
}

SerialRing PageFile::serial_ring() const {
  return SerialRing(mapping_.data() + VOLLEY_SERIAL_OFFSET, stats().serial_bytes);
}

}  // namespace volley
