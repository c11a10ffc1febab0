#pragma once

namespace volley {

// The life of PID 1 in a guest: boots, serves, runs the program, powers off. Never returns.
[[noreturn]] void run_guest();

}  // namespace volley
