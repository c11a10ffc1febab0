# volley_static_libc: what the VMM is linked with. musl when its development files are there: a VMM then starts about 0.4 ms
# sooner (glibc asks the processor about itself 43 times before main(), and each CPUID is an exit inside a virtual
# machine), takes a fifth of the memory when it runs alone, and is position independent at hardly any cost.
# Otherwise glibc, static as well. The program is the same.
set(VOLLEY_MUSL AUTO CACHE STRING "Link the VMM with musl: AUTO (if musl-dev is installed and works), ON or OFF")
set_property(CACHE VOLLEY_MUSL PROPERTY STRINGS AUTO ON OFF)

set(MUSL_LIB /usr/lib/x86_64-linux-musl)
set(MUSL_INCLUDE /usr/include/x86_64-linux-musl)

# Only the headers of the C++ library are used, never its code. They and the compiler's own come first, musl's C headers
# next, and the system's last: those still give <linux/...>.
set(MUSL_COMPILE -fPIE -U_FORTIFY_SOURCE -nostdinc -nostdinc++
    "SHELL:-include ${CMAKE_CURRENT_LIST_DIR}/musl_compat.h")
set(late_directories)
foreach(directory IN LISTS CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES)
  if(directory MATCHES "/c\\+\\+/|/gcc/|/clang/")
    list(APPEND MUSL_COMPILE "SHELL:-isystem ${directory}")
  else()
    list(APPEND late_directories "SHELL:-idirafter ${directory}")
  endif()
endforeach()
list(APPEND MUSL_COMPILE "SHELL:-isystem ${MUSL_INCLUDE}" ${late_directories})

execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-libgcc-file-name OUTPUT_VARIABLE LIBGCC
                OUTPUT_STRIP_TRAILING_WHITESPACE)
set(HARDENED_LINK -Wl,--gc-sections -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
set(MUSL_LINK -nostdlib -static-pie ${HARDENED_LINK} ${MUSL_LIB}/rcrt1.o ${MUSL_LIB}/crti.o)

add_library(volley_static_libc INTERFACE)
set(VOLLEY_USE_MUSL OFF)
if(NOT VOLLEY_MUSL STREQUAL OFF AND NOT VOLLEY_SANITIZE)
  if(EXISTS ${MUSL_LIB}/rcrt1.o AND EXISTS ${MUSL_INCLUDE}/stdio.h)
    set(VOLLEY_USE_MUSL ON)
  elseif(VOLLEY_MUSL STREQUAL ON)
    message(FATAL_ERROR "VOLLEY_MUSL is ON but ${MUSL_LIB} holds no musl; install musl-dev")
  endif()
endif()
message(STATUS "The VMM is linked with musl: ${VOLLEY_USE_MUSL}")

if(VOLLEY_USE_MUSL)
  target_compile_options(volley_static_libc INTERFACE ${MUSL_COMPILE})
  target_link_options(volley_static_libc INTERFACE ${MUSL_LINK})
  target_link_libraries(volley_static_libc INTERFACE ${MUSL_LIB}/libc.a ${LIBGCC} ${MUSL_LIB}/crtn.o)
elseif(NOT VOLLEY_SANITIZE)
  target_link_options(volley_static_libc INTERFACE -static ${HARDENED_LINK})
endif()
