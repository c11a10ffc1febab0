#pragma once

namespace volley {

// Holds the programs of the guest for as long as the connection lives: VOLLEY_GUEST_HOLD.
void run_hold(int connection);

}  // namespace volley
