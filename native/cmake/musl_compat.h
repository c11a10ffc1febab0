/* The C++ library's headers were configured for glibc. These are the names they mention that musl does not have; nothing
   here is ever called. */
#ifndef VOLLEY_MUSL_COMPAT_H
#define VOLLEY_MUSL_COMPAT_H

#define __GLIBC_PREREQ(major, minor) 0

#include <locale.h>
#include <pthread.h>

typedef locale_t __locale_t;

#ifdef __cplusplus
extern "C" {
#endif
int pthread_cond_clockwait(pthread_cond_t*, pthread_mutex_t*, clockid_t, const struct timespec*);
int pthread_mutex_clocklock(pthread_mutex_t*, clockid_t, const struct timespec*);
#ifdef __cplusplus
}
#endif

#endif
