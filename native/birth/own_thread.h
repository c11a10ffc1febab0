#ifndef VOLLEY_BIRTH_OWN_THREAD_H
#define VOLLEY_BIRTH_OWN_THREAD_H

#include <pthread.h>
#include <signal.h>

namespace volley {

// Runs `work` on a thread of its own and waits for it: what the thread enters, it leaves by ending. Signals are blocked
// in it, they are the main thread's business. 0, or the errno when no thread could be made; then nothing was run.
template <typename Work>
int on_own_thread(Work& work) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const auto run = [](void* what) -> void* {
    (*static_cast<Work*>(what))();
    return nullptr;
  };
  const int error = pthread_create(&thread, nullptr, run, &work);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error == 0) pthread_join(thread, nullptr);
  return error;
}

}  // namespace volley

#endif
