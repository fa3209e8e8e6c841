/* Starts threads with the program's signals blocked; see thread.h. */
#include "base/thread.h"

#include <signal.h>

GThread *vmc_thread_new(const char *name, GThreadFunc func, gpointer data, GError **error)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t block, old;
    GThread *thread;

    sigfillset(&block);
    for (unsigned i = 0; i < G_N_ELEMENTS(faults); i++)
        sigdelset(&block, faults[i]);
    /* The new thread inherits the mask; the caller has its own back before this returns. */
    pthread_sigmask(SIG_SETMASK, &block, &old);
    thread = g_thread_try_new(name, func, data, error);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return thread;
}
