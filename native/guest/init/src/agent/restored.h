#pragma once

#include <string_view>

namespace volley {

// Makes this guest, which went on from a snapshot, the one that it is to be: VOLLEY_GUEST_RESTORED.
void run_restored(int connection, std::string_view body);

}  // namespace volley
