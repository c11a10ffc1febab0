# volley_warnings: warnings as errors, for every native target (the binding links it too).
add_library(volley_warnings INTERFACE)
target_compile_options(volley_warnings INTERFACE -Wall -Wextra -Wconversion -Wshadow -Werror)

# volley_sanitizers: empty unless VOLLEY_SANITIZE is on.
add_library(volley_sanitizers INTERFACE)
if(VOLLEY_SANITIZE)
  # Reports name functions and lines; what a debugger wants beyond that takes a fifth of the time to compile.
  set(VOLLEY_SANITIZE_FLAGS -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  if(VOLLEY_FUZZ)
    # Coverage for libFuzzer, whose main() only the fuzzers link. Little else: they are built before each short run.
    list(APPEND VOLLEY_SANITIZE_FLAGS -fsanitize=fuzzer-no-link -O1)
  endif()
  target_compile_options(volley_sanitizers INTERFACE ${VOLLEY_SANITIZE_FLAGS})
  target_link_options(volley_sanitizers INTERFACE ${VOLLEY_SANITIZE_FLAGS})
endif()

# volley_vmm_flags: the language subset of the VMM. No exceptions and no RTTI: nothing in the jail unwinds, and the
# static binary stays small.
add_library(volley_vmm_flags INTERFACE)
target_link_libraries(volley_vmm_flags INTERFACE volley_warnings volley_sanitizers)
target_compile_options(volley_vmm_flags INTERFACE -fno-exceptions -fstack-protector-strong -ffunction-sections
                                                  -fdata-sections)
if(NOT VOLLEY_SANITIZE)
  # The sanitizer wants to see type information where it checks virtual calls.
  target_compile_options(volley_vmm_flags INTERFACE -fno-rtti)
  target_compile_definitions(volley_vmm_flags INTERFACE $<$<CONFIG:Release>:_FORTIFY_SOURCE=2>)
endif()
