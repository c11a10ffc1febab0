#ifndef VOLLEY_BINDING_OPEN_TAP_H
#define VOLLEY_BINDING_OPEN_TAP_H

#include <string>

#include "base/unique_fd.h"
#include "result.h"

namespace volley {

/// Opens the persistent tap of this name in the network namespace at a path; ENODEV when it is not there. One queue,
/// with a virtio-net header, non-blocking, close-on-exec. Needs CAP_NET_ADMIN there.
Result<UniqueFd> OpenTap(const std::string& name, const std::string& namespace_path);

}  // namespace volley

#endif
