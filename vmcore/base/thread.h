/*
 * Threads of a library inside somebody else's program: signals sent to the process are that program's, so
 * every thread of ours starts with all of them blocked but the faults it may cause itself.
 */
#pragma once

#include <glib.h>

/* As g_thread_try_new. */
GThread *vmc_thread_new(const char *name, GThreadFunc func, gpointer data, GError **error);
