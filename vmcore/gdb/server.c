/*
 * One debugger at a time on a socket (vmcore/gdb.h).
 *
 * Everything happens on the owner's thread, from sources on its main context: who connects stops the machine,
 * and has it until he detaches or is gone; while there is one the next waits in the listener's queue. What he
 * sends is read only as far as the answers to it can be written, so he cannot have us keep more than a few
 * packets.
 */
#include <errno.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gdb/listen.h"
#include "gdb/target.h"
#include "machine/private.h"
#include "vmcore/gdb.h"

#define READ_MAX 4096u

struct VmcGdb {
    VmcMachine *machine;
    bool wait;
    bool was_let_go; /* a machine that waits for a debugger has been let go by one */
    VmcGdbListener *listener;
    GSource *listen_source;

    int client; /* or -1 */
    GSource *source;
    GIOCondition waits_for;
    VmcGdbSession *session;
    uint8_t in[READ_MAX]; /* what the session has not taken in yet */
    size_t n_in;
};

static gboolean on_client(int fd, GIOCondition condition, gpointer data);
static void watch_listener(VmcGdb *gdb);

static void drop_source(GSource **source)
{
    if (!*source)
        return;
    g_source_destroy(*source);
    g_clear_pointer(source, g_source_unref);
}

static GSource *add_source(VmcGdb *gdb, int fd, GIOCondition condition, GUnixFDSourceFunc func)
{
    GSource *source = g_unix_fd_source_new(fd, condition);

    g_source_set_callback(source, G_SOURCE_FUNC(func), gdb, NULL);
    g_source_attach(source, gdb->machine->context);
    return source;
}

/* Reads while there is nothing to be written. */
static void watch_client(VmcGdb *gdb)
{
    GIOCondition condition = vmc_gdb_session_output(gdb->session)->len ? G_IO_OUT : G_IO_IN;

    if (gdb->source && gdb->waits_for == condition)
        return;
    drop_source(&gdb->source);
    gdb->source = add_source(gdb, gdb->client, condition, on_client);
    gdb->waits_for = condition;
}

/* ---- the end of a session ---- */

/* A machine that waits for a debugger goes on waiting if this one has never let it go. */
static bool shall_go_on(const VmcGdb *gdb)
{
    if (vmc_gdb_session_end(gdb->session) == VMC_GDB_KILLED)
        return false;
    return !gdb->wait || gdb->was_let_go || vmc_gdb_session_has_run(gdb->session) ||
           vmc_gdb_session_end(gdb->session) == VMC_GDB_DETACHED;
}

static void end_session(VmcGdb *gdb)
{
    bool go_on = shall_go_on(gdb);

    gdb->was_let_go |= go_on;
    drop_source(&gdb->source);
    close(gdb->client);
    gdb->client = -1;
    gdb->n_in = 0;
    g_clear_pointer(&gdb->session, vmc_gdb_session_free);
    vmc_debug_detach(gdb->machine, go_on);
    watch_listener(gdb);
}

/* Last, as whoever hears of it may free us. */
static void kill_machine(VmcGdb *gdb)
{
    VmcMachine *machine = g_object_ref(gdb->machine);

    vmc_machine_stop(machine);
    g_object_unref(machine);
}

/* ---- bytes ---- */

/* Writes what there is. False: nobody is there any more. */
static bool flush(VmcGdb *gdb)
{
    GByteArray *out = vmc_gdb_session_output(gdb->session);

    while (out->len) {
        ssize_t n = send(gdb->client, out->data, out->len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        g_byte_array_remove_range(out, 0, (guint)n);
    }
    return true;
}

/* Reads what the session has room for. False: nobody is there any more. */
static bool fill(VmcGdb *gdb)
{
    ssize_t n;

    if (gdb->n_in)
        return true;
    do
        n = recv(gdb->client, gdb->in, sizeof gdb->in, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        gdb->n_in = (size_t)n;
    return n > 0 || (n < 0 && errno == EAGAIN);
}

static void take_in(VmcGdb *gdb)
{
    size_t n = vmc_gdb_session_input(gdb->session, gdb->in, gdb->n_in);

    memmove(gdb->in, gdb->in + n, gdb->n_in - n);
    gdb->n_in -= n;
}

/* Written as far as it can be at once: what is left at an end is lost with who does not read it. */
static gboolean on_client(int fd, GIOCondition condition, gpointer data)
{
    VmcGdb *gdb = data;
    bool there = flush(gdb);

    if (there && !vmc_gdb_session_output(gdb->session)->len) {
        there = fill(gdb);
        do {
            take_in(gdb);
            there = there && flush(gdb);
        } while (there && gdb->n_in && !vmc_gdb_session_output(gdb->session)->len);
    }
    VmcGdbEnd end = vmc_gdb_session_end(gdb->session);
    if (!there || end != VMC_GDB_GOES_ON)
        end_session(gdb);
    else
        watch_client(gdb);
    if (end == VMC_GDB_KILLED)
        kill_machine(gdb);
    return G_SOURCE_CONTINUE;
}

/* ---- the machine ---- */

static void on_cpu_stopped(void *opaque)
{
    VmcGdb *gdb = opaque;
    VmcDebugStop stop;

    if (!vmc_debug_stop(gdb->machine, &stop))
        return;
    vmc_gdb_session_stopped(gdb->session, &stop);
    flush(gdb); /* if nobody is there, the next read says so */
    watch_client(gdb);
}

static const VmcDebuggerOps debugger_ops = {.stopped = on_cpu_stopped};

/* The machine's guest is gone, and who debugs it with it. */
static void on_machine_stopped(VmcMachine *machine, int reason, gpointer data)
{
    VmcGdb *gdb = data;

    gdb->was_let_go = false;
    if (!gdb->session)
        return;
    vmc_gdb_session_exited(gdb->session, reason == VMC_STOP_ERROR);
    flush(gdb);
    end_session(gdb);
    gdb->was_let_go = false;
}

/* ---- clients ---- */

/* While the machine is not running there is nothing to debug: who comes is sent away. */
static gboolean on_new_client(int fd, GIOCondition condition, gpointer data)
{
    VmcGdb *gdb = data;
    int client = vmc_gdb_listener_accept(gdb->listener);
    VmcDebugStop stop;

    if (client < 0)
        return G_SOURCE_CONTINUE;
    if (!vmc_debug_stop(gdb->machine, &stop)) {
        close(client);
        return G_SOURCE_CONTINUE;
    }
    drop_source(&gdb->listen_source);
    gdb->client = client;
    gdb->session = vmc_gdb_session_new(&vmc_gdb_machine_target, gdb->machine);
    vmc_debug_attach(gdb->machine, &debugger_ops, gdb, gdb->wait);
    watch_client(gdb);
    return G_SOURCE_CONTINUE;
}

static void watch_listener(VmcGdb *gdb)
{
    gdb->listen_source = add_source(gdb, vmc_gdb_listener_fd(gdb->listener), G_IO_IN, on_new_client);
}

VmcGdb *vmc_gdb_new(VmcMachine *machine, const char *address, bool wait, GError **error)
{
    VmcGdbListener *listener = vmc_gdb_listener_new(address, error);

    if (!listener)
        return NULL;
    VmcGdb *gdb = g_new0(VmcGdb, 1);
    gdb->machine = machine;
    gdb->wait = wait;
    gdb->listener = listener;
    gdb->client = -1;
    vmc_debug_attach(machine, NULL, NULL, wait);
    g_signal_connect(machine, "stopped", G_CALLBACK(on_machine_stopped), gdb);
    watch_listener(gdb);
    return gdb;
}

void vmc_gdb_free(VmcGdb *gdb)
{
    if (!gdb)
        return;
    g_signal_handlers_disconnect_by_data(gdb->machine, gdb);
    if (gdb->session) {
        vmc_gdb_session_exited(gdb->session, false);
        flush(gdb);
        end_session(gdb);
    }
    drop_source(&gdb->listen_source);
    vmc_gdb_listener_free(gdb->listener);
    vmc_debug_attach(gdb->machine, NULL, NULL, false);
    g_free(gdb);
}

const char *vmc_gdb_target(const VmcGdb *gdb)
{
    return vmc_gdb_listener_target(gdb->listener);
}
