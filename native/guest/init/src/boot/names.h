#pragma once

#include <string>

#include "config.h"

namespace volley {

// The text of /etc/hosts for this guest.
std::string hosts_text(const Config& config);

// The text of /etc/resolv.conf.
std::string resolver_text(const Config& config);

// Sets the host name, and writes /etc/hostname, /etc/hosts and /etc/resolv.conf: the first when a name is configured,
// the others when the image has none of its own or, for resolv.conf, when name servers are configured.
void write_names(const Config& config);

}  // namespace volley
