/*
 * A port whose host's side is a Unix socket that other programs connect to, one at a time.
 *
 * While there is a client nobody is accepted: the next one stands in the listener's queue until the line is
 * free, as with a serial line that somebody else has open. The guest sees the host's side open and close.
 *
 * A client's bytes wait in its socket until the guest has the port open and room for them. One that has only
 * ended its own sending stays; it has gone when it has closed the socket. If it goes before the guest has
 * opened the port, what it sent goes with it.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/unix_socket.h"
#include "virtio/port.h"

#define INPUT_MAX 4096u
#define BACKLOG   8
#define RETRY_NS  100000000ull /* how soon to look for clients again when there was no descriptor left */

typedef struct SocketPort {
    VmcPort *port;
    VmcIo *io;
    VmcUnixListener *listener;
    int client; /* or -1 */
    GSource *listen_watch;
    GSource *in_watch, *out_watch, *end_watch; /* of the client: bytes, room, that it has gone */
    VmcTimer *retry;
    uint8_t input[INPUT_MAX]; /* what was read and the guest has not taken */
    size_t input_at, input_len;
    bool in_ended; /* it will not send any more */
} SocketPort;

static gboolean client_waits(gint fd, GIOCondition condition, gpointer data);
static void watch_client(SocketPort *sp);

static void watch_listener(SocketPort *sp)
{
    vmc_io_watch(sp->io, &sp->listen_watch, vmc_unix_listener_fd(sp->listener), G_IO_IN, client_waits, sp);
}

static void hang_up(SocketPort *sp)
{
    vmc_io_unwatch(&sp->in_watch);
    vmc_io_unwatch(&sp->out_watch);
    vmc_io_unwatch(&sp->end_watch);
    close(sp->client);
    sp->client = -1;
    watch_listener(sp);
    vmc_port_set_host_open(sp->port, false);
}

/* ---- from the guest ---- */

static gboolean output_ready(gint fd, GIOCondition condition, gpointer data)
{
    SocketPort *sp = data;

    vmc_io_unwatch(&sp->out_watch);
    vmc_port_resume(sp->port);
    return G_SOURCE_REMOVE;
}

static size_t received(void *opaque, const void *data, size_t len)
{
    SocketPort *sp = opaque;
    size_t done = 0;

    while (done < len && !sp->out_watch && sp->client >= 0) {
        ssize_t n = send(sp->client, (const uint8_t *)data + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0)
            done += (size_t)n;
        else if (errno == EAGAIN)
            vmc_io_watch(sp->io, &sp->out_watch, sp->client, G_IO_OUT, output_ready, sp);
        else if (errno != EINTR)
            hang_up(sp);
    }
    return sp->client >= 0 ? done : len;
}

/* ---- to the guest ---- */

static void send_input(SocketPort *sp)
{
    size_t taken = vmc_port_write(sp->port, sp->input + sp->input_at, sp->input_len);

    sp->input_at += taken;
    sp->input_len -= taken;
}

/* One read for each time poll says there is something, so that others have their turn. */
static gboolean input_ready(gint fd, GIOCondition condition, gpointer data)
{
    SocketPort *sp = data;
    size_t room = sp->input_len ? 0 : MIN(vmc_port_room(sp->port), sizeof(sp->input));

    if (!room) {
        vmc_io_unwatch(&sp->in_watch); /* `writable` sets it again */
        return G_SOURCE_REMOVE;
    }
    ssize_t got = recv(fd, sp->input, room, MSG_DONTWAIT);
    if (got > 0) {
        sp->input_at = 0;
        sp->input_len = (size_t)got;
        send_input(sp);
    } else if (!got && !(condition & (G_IO_HUP | G_IO_ERR))) {
        sp->in_ended = true;
        watch_client(sp);
    } else if (!got || (errno != EAGAIN && errno != EINTR)) {
        hang_up(sp);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean client_gone(gint fd, GIOCondition condition, gpointer data)
{
    hang_up(data);
    return G_SOURCE_REMOVE;
}

/* Bytes are looked for while the guest may take some, and the client's end while it may not. */
static void watch_client(SocketPort *sp)
{
    if (sp->client < 0)
        return;
    if (sp->in_ended || !vmc_port_guest_open(sp->port)) {
        vmc_io_unwatch(&sp->in_watch);
        vmc_io_watch(sp->io, &sp->end_watch, sp->client, G_IO_HUP | G_IO_ERR, client_gone, sp);
    } else {
        vmc_io_unwatch(&sp->end_watch);
        if (!sp->input_len)
            vmc_io_watch(sp->io, &sp->in_watch, sp->client, G_IO_IN | G_IO_HUP | G_IO_ERR, input_ready, sp);
    }
}

static void writable(void *opaque)
{
    SocketPort *sp = opaque;

    if (sp->input_len)
        send_input(sp);
    watch_client(sp);
}

static void opened(void *opaque, bool guest_open)
{
    SocketPort *sp = opaque;

    if (!guest_open)
        sp->input_len = 0; /* it was for whoever had it open */
    watch_client(sp);
}

/* ---- clients ---- */

static gboolean client_waits(gint fd, GIOCondition condition, gpointer data)
{
    SocketPort *sp = data;
    int client = vmc_unix_listener_accept(sp->listener);

    if (client < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            vmc_io_unwatch(&sp->listen_watch);
            vmc_timer_arm(sp->retry, vmc_now_ns() + RETRY_NS);
        }
        return G_SOURCE_CONTINUE;
    }
    vmc_io_unwatch(&sp->listen_watch);
    sp->client = client;
    sp->in_ended = false;
    sp->input_len = 0;
    vmc_port_set_host_open(sp->port, true);
    watch_client(sp);
    return G_SOURCE_REMOVE;
}

static void retry_listening(void *data)
{
    SocketPort *sp = data;

    if (sp->client < 0)
        watch_listener(sp);
}

/* ---- lifecycle ---- */

static void socket_port_free(void *opaque)
{
    SocketPort *sp = opaque;

    vmc_io_unwatch(&sp->listen_watch);
    vmc_io_unwatch(&sp->in_watch);
    vmc_io_unwatch(&sp->out_watch);
    vmc_io_unwatch(&sp->end_watch);
    vmc_timer_free(sp->retry);
    if (sp->client >= 0)
        close(sp->client);
    vmc_unix_listener_free(sp->listener);
    g_free(sp);
}

static const VmcPortOps socket_port_ops = {
    .opened = opened,
    .received = received,
    .writable = writable,
    .free = socket_port_free,
};

static void begin(void *data)
{
    watch_listener(data);
}

VmcPort *vmc_port_socket_new(VmcIo *io, const char *path, GError **error)
{
    VmcUnixListener *listener = vmc_unix_listener_new(path, BACKLOG, error);

    if (!listener)
        return NULL;
    SocketPort *sp = g_new0(SocketPort, 1);
    sp->io = io;
    sp->listener = listener;
    sp->client = -1;
    sp->retry = vmc_timer_new(io, retry_listening, sp);
    sp->port = vmc_port_new(io, &socket_port_ops, sp);
    vmc_io_call_sync(io, begin, sp);
    return sp->port;
}
