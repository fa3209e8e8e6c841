/*
 * Descriptors, one ring, two sources on the I/O thread.
 *
 * A write must not block the I/O thread either, and O_NONBLOCK cannot be set on a descriptor that a shell
 * shares with us. Sockets are asked not to wait per call; pipes and terminals are opened once more through
 * /proc, which gives a file description of our own; what cannot be opened again is written in pieces that fit
 * when poll says so.
 */
#include "pc/serial_line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/i18n.h"
#include "vmcore/error.h"

#define RING_SIZE     65536u
#define PIECE         4096u
#define PIECES_A_TURN 16
#define LAST_WORDS_MS 200

typedef enum OutputKind {
    OUTPUT_SOCKET,
    OUTPUT_NONBLOCKING, /* our own description */
    OUTPUT_FILE,        /* never waits */
    OUTPUT_POLLED,      /* poll first, small pieces */
} OutputKind;

struct VmcSerialLine {
    VmcIo *io;
    const VmcSerialLineOps *ops;
    void *opaque;
    VmcDoorbell *bell;

    int fd_in;
    GSource *source_in; /* I/O thread */
    bool input_ended;   /* I/O thread */
    uint8_t kept[256];  /* I/O thread: read, but not taken after all */
    size_t n_kept;
    _Atomic bool held_back; /* no room: vmc_serial_line_room must ring */

    int fd_out, fd_own; /* fd_own: to be closed by us, or -1 */
    OutputKind kind;
    GSource *source_out; /* I/O thread: waiting for the reader */

    GMutex lock;
    uint8_t *ring;
    size_t head, used;
    bool bell_rung; /* the I/O thread knows that there is output */
    bool wanted;    /* somebody found too little space */
    bool dead;      /* nobody reads any more: output vanishes */
};

static void choose_output(VmcSerialLine *line)
{
    struct stat st;
    line->kind = OUTPUT_POLLED;
    if (fstat(line->fd_out, &st) < 0)
        return;
    if (S_ISSOCK(st.st_mode)) {
        line->kind = OUTPUT_SOCKET;
        return;
    }
    unsigned pty_number;
    bool terminal = isatty(line->fd_out);
    /* Opening the master side of a pseudo terminal again makes another one. */
    bool master = terminal && ioctl(line->fd_out, TIOCGPTN, &pty_number) == 0;
    if (!S_ISFIFO(st.st_mode) && !terminal) {
        line->kind = OUTPUT_FILE;
        return;
    }
    if (master)
        return;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", line->fd_out);
    line->fd_own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (line->fd_own >= 0) {
        line->fd_out = line->fd_own;
        line->kind = OUTPUT_NONBLOCKING;
    }
}

/* As write(2), but -1/EAGAIN instead of waiting. */
static ssize_t write_some(VmcSerialLine *line, const uint8_t *bytes, size_t n)
{
    switch (line->kind) {
    case OUTPUT_SOCKET:
        return send(line->fd_out, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    case OUTPUT_NONBLOCKING:
    case OUTPUT_FILE:
        return write(line->fd_out, bytes, n);
    case OUTPUT_POLLED:
        break;
    }
    struct pollfd p = {.fd = line->fd_out, .events = POLLOUT};
    if (poll(&p, 1, 0) <= 0 || !(p.revents & (POLLOUT | POLLERR | POLLHUP | POLLNVAL))) {
        errno = EAGAIN;
        return -1;
    }
    return write(line->fd_out, bytes, MIN(n, 256));
}

static size_t peek_ring(VmcSerialLine *line, uint8_t *piece)
{
    g_mutex_lock(&line->lock);
    size_t n = MIN(line->used, PIECE), first = MIN(n, RING_SIZE - line->head);
    memcpy(piece, line->ring + line->head, first);
    memcpy(piece + first, line->ring, n - first);
    if (!n)
        line->bell_rung = false;
    g_mutex_unlock(&line->lock);
    return n;
}

static void consume_ring(VmcSerialLine *line, size_t n)
{
    g_mutex_lock(&line->lock);
    line->head = (line->head + n) % RING_SIZE;
    line->used -= n;
    bool tell = line->wanted;
    line->wanted = false;
    g_mutex_unlock(&line->lock);
    if (tell)
        line->ops->drained(line->opaque);
}

static void give_up_output(VmcSerialLine *line)
{
    g_mutex_lock(&line->lock);
    line->dead = true;
    size_t n = line->used;
    g_mutex_unlock(&line->lock);
    consume_ring(line, n);
}

typedef enum Drained { DRAIN_EMPTY, DRAIN_WAIT, DRAIN_MORE } Drained;

static Drained drain_turn(VmcSerialLine *line)
{
    uint8_t piece[PIECE];
    for (unsigned i = 0; i < PIECES_A_TURN; i++) {
        size_t n = peek_ring(line, piece);
        if (!n)
            return DRAIN_EMPTY;
        ssize_t written = write_some(line, piece, n);
        if (written > 0) {
            consume_ring(line, written);
        } else if (written < 0 && errno == EINTR) {
            continue;
        } else if (written == 0 || errno == EAGAIN) {
            return DRAIN_WAIT;
        } else {
            give_up_output(line);
            return DRAIN_EMPTY;
        }
    }
    return DRAIN_MORE;
}

static gboolean output_ready(int fd, GIOCondition condition, gpointer data);

static void drain(VmcSerialLine *line)
{
    switch (drain_turn(line)) {
    case DRAIN_EMPTY:
        vmc_io_unwatch(&line->source_out);
        break;
    case DRAIN_MORE:
        vmc_doorbell_ring(line->bell);
        break;
    case DRAIN_WAIT:
        vmc_io_watch(line->io, &line->source_out, line->fd_out, G_IO_OUT | G_IO_ERR | G_IO_HUP, output_ready,
                     line);
        break;
    }
}

static gboolean output_ready(int fd, GIOCondition condition, gpointer data)
{
    drain(data);
    return G_SOURCE_CONTINUE; /* drain has destroyed the source if it is not wanted any more */
}

static void listen_if_room(VmcSerialLine *line);

/* How much may be read; 0 after having made sure that the device will ring when that changes. */
static size_t input_room(VmcSerialLine *line)
{
    size_t room = line->ops->room(line->opaque);
    if (room)
        return room;
    atomic_store(&line->held_back, true);
    room = line->ops->room(line->opaque);
    if (room)
        atomic_store(&line->held_back, false);
    return room;
}

/* The device may have changed its mind since it was asked for room. */
static void hand_over(VmcSerialLine *line)
{
    size_t taken = line->ops->received(line->opaque, line->kept, line->n_kept);
    line->n_kept -= taken;
    memmove(line->kept, line->kept + taken, line->n_kept);
}

static gboolean input_ready(int fd, GIOCondition condition, gpointer data)
{
    VmcSerialLine *line = data;
    size_t room = line->n_kept ? 0 : input_room(line);
    if (room) {
        ssize_t n = read(fd, line->kept, MIN(room, sizeof line->kept));
        if (n > 0) {
            line->n_kept = n;
            hand_over(line);
            return G_SOURCE_CONTINUE;
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return G_SOURCE_CONTINUE;
        line->input_ended = true;
    }
    vmc_io_unwatch(&line->source_in);
    if (!line->input_ended)
        listen_if_room(line);
    return G_SOURCE_REMOVE;
}

static void listen_if_room(VmcSerialLine *line)
{
    while (line->n_kept && input_room(line))
        hand_over(line);
    if (line->fd_in < 0 || line->source_in || line->input_ended || line->n_kept || !input_room(line))
        return;
    vmc_io_watch(line->io, &line->source_in, line->fd_in, G_IO_IN | G_IO_ERR | G_IO_HUP, input_ready, line);
}

static void bell_rang(void *data)
{
    VmcSerialLine *line = data;
    listen_if_room(line);
    if (!line->source_out)
        drain(line);
}

void vmc_serial_line_room(VmcSerialLine *line)
{
    if (atomic_load(&line->held_back) && atomic_exchange(&line->held_back, false))
        vmc_doorbell_ring(line->bell);
}

void vmc_serial_line_write(VmcSerialLine *line, uint8_t byte)
{
    bool ring = false;
    g_mutex_lock(&line->lock);
    if (line->fd_out >= 0 && !line->dead && line->used < RING_SIZE) {
        line->ring[(line->head + line->used) % RING_SIZE] = byte;
        line->used++;
        ring = !line->bell_rung;
        line->bell_rung = true;
    }
    g_mutex_unlock(&line->lock);
    if (ring)
        vmc_doorbell_ring(line->bell);
}

bool vmc_serial_line_space(VmcSerialLine *line, size_t wanted)
{
    g_mutex_lock(&line->lock);
    bool space = RING_SIZE - line->used >= wanted;
    if (!space)
        line->wanted = true;
    g_mutex_unlock(&line->lock);
    return space;
}

VmcSerialLine *vmc_serial_line_new(VmcIo *io, int fd_in, int fd_out, const VmcSerialLineOps *ops,
                                   void *opaque, GError **error)
{
    VmcSerialLine *line = g_new0(VmcSerialLine, 1);
    line->io = io;
    line->ops = ops;
    line->opaque = opaque;
    line->fd_in = fd_in;
    line->fd_out = fd_out;
    line->fd_own = -1;
    g_mutex_init(&line->lock);
    line->ring = g_malloc(RING_SIZE);
    line->bell = vmc_doorbell_new(io, bell_rang, line);
    if (!line->bell) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("cannot make an event descriptor for a serial line: %s"), g_strerror(errno));
        vmc_serial_line_free(line);
        return NULL;
    }
    if (fd_out >= 0)
        choose_output(line);
    vmc_doorbell_ring(line->bell); /* begin to listen */
    return line;
}

/* I/O thread. */
static void close_line(void *data)
{
    VmcSerialLine *line = data;
    vmc_io_unwatch(&line->source_in);
    vmc_io_unwatch(&line->source_out);
    uint64_t until = vmc_now_ns() + LAST_WORDS_MS * 1000000ull;
    Drained drained;
    while (line->fd_out >= 0 && (drained = drain_turn(line)) != DRAIN_EMPTY && vmc_now_ns() < until) {
        struct pollfd p = {.fd = line->fd_out, .events = POLLOUT};
        if (drained == DRAIN_WAIT)
            poll(&p, 1, 20);
    }
}

void vmc_serial_line_free(VmcSerialLine *line)
{
    if (!line)
        return;
    if (line->bell) {
        vmc_io_call_sync(line->io, close_line, line);
        vmc_doorbell_free(line->bell);
    }
    if (line->fd_own >= 0)
        close(line->fd_own);
    g_mutex_clear(&line->lock);
    g_free(line->ring);
    g_free(line);
}

void vmc_serial_line_save(VmcSerialLine *line, VmcStateWriter *w)
{
    vmc_state_put_blob(w, line->kept, line->n_kept);
}

void vmc_serial_line_load(VmcSerialLine *line, VmcStateReader *r)
{
    size_t n;
    const uint8_t *bytes = vmc_state_get_blob(r, sizeof line->kept, &n);

    if (!vmc_state_ok(r))
        return;
    memcpy(line->kept, bytes, n);
    line->n_kept = n;
    vmc_doorbell_ring(line->bell);
}
