/*
 * A port whose host's side is a pair of file descriptors.
 *
 * Neither direction loses a byte or waits. Input is read only when the guest has room for it; until then it
 * stays where it is and the sender feels it. Output that the descriptor does not take stays in the guest
 * until poll says there is room.
 *
 * Descriptors come from outside in any mode, and their mode is shared with whoever else has them, so
 * O_NONBLOCK is not ours to set. Reading after poll does not wait. Writing may, on a pipe or terminal with
 * little room; so those are opened a second time, without waiting, by way of /proc/self/fd; a pty's master
 * cannot be (it would be a new pty) and is written byte by byte as poll allows. Sockets have MSG_DONTWAIT,
 * and files never wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "virtio/port.h"

#define INPUT_MAX 4096u
#define RETRY_NS  250000000ull /* how soon to look again at a terminal nobody has open */

/* How a descriptor is used without ever waiting. */
typedef enum Access {
    ACCESS_PLAIN,  /* just so: it does not wait */
    ACCESS_SOCKET, /* with MSG_DONTWAIT */
    ACCESS_POLLED, /* at most `chunk` bytes after poll said yes */
} Access;

typedef struct FdPort {
    VmcPort *port;
    VmcIo *io;

    int fd_in, fd_out;
    int own_out; /* fd_out opened anew, or -1 */
    Access in_access, out_access;
    size_t out_chunk;
    bool in_terminal, in_ended;
    VmcTimer *retry;

    GSource *in_watch, *out_watch;
    /* What was read and the guest did not take, though it had room a moment before. */
    uint8_t input[INPUT_MAX];
    size_t input_at, input_len;
} FdPort;

/* ---- output ---- */

static ssize_t write_polled(const FdPort *fp, const void *data, size_t len)
{
    struct pollfd ready = {.fd = fp->fd_out, .events = POLLOUT};

    if (poll(&ready, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(fp->fd_out, data, MIN(len, fp->out_chunk));
}

static ssize_t write_some(const FdPort *fp, const void *data, size_t len)
{
    switch (fp->out_access) {
    case ACCESS_SOCKET:
        return send(fp->fd_out, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    case ACCESS_POLLED:
        return write_polled(fp, data, len);
    default:
        return write(fp->own_out >= 0 ? fp->own_out : fp->fd_out, data, len);
    }
}

static gboolean output_ready(gint fd, GIOCondition condition, gpointer data)
{
    FdPort *fp = data;

    vmc_io_unwatch(&fp->out_watch);
    vmc_port_resume(fp->port);
    return G_SOURCE_REMOVE;
}

/* What the descriptor refuses for another reason than being full is lost: nobody is there to read it. */
static size_t received(void *opaque, const void *data, size_t len)
{
    FdPort *fp = opaque;
    size_t done = 0;

    if (fp->fd_out < 0)
        return len;
    while (done < len && !fp->out_watch) {
        ssize_t n = write_some(fp, (const uint8_t *)data + done, len - done);
        if (n >= 0)
            done += (size_t)n;
        else if (errno == EAGAIN)
            vmc_io_watch(fp->io, &fp->out_watch, fp->own_out >= 0 ? fp->own_out : fp->fd_out, G_IO_OUT,
                         output_ready, fp);
        else if (errno != EINTR)
            return len;
    }
    return done;
}

/* ---- input ---- */

/* The other end is gone. A terminal's may come back, but poll does not wait for that, so it is looked at from
 * time to time; anything else has ended. */
static void input_ended(FdPort *fp)
{
    vmc_io_unwatch(&fp->in_watch);
    if (fp->in_terminal)
        vmc_timer_arm(fp->retry, vmc_now_ns() + RETRY_NS);
    else
        fp->in_ended = true;
}

static void send_input(FdPort *fp)
{
    size_t taken = vmc_port_write(fp->port, fp->input + fp->input_at, fp->input_len);

    fp->input_at += taken;
    fp->input_len -= taken;
}

/* One read for each time poll says there is something: then it does not wait. */
static gboolean input_ready(gint fd, GIOCondition condition, gpointer data)
{
    FdPort *fp = data;
    size_t room = fp->input_len ? 0 : MIN(vmc_port_room(fp->port), sizeof(fp->input));

    if (!room) {
        vmc_io_unwatch(&fp->in_watch);
        return G_SOURCE_REMOVE;
    }
    ssize_t got =
        fp->in_access == ACCESS_SOCKET ? recv(fd, fp->input, room, MSG_DONTWAIT) : read(fd, fp->input, room);
    if (got > 0) {
        fp->input_at = 0;
        fp->input_len = (size_t)got;
        send_input(fp);
    } else if (!got || (errno != EAGAIN && errno != EINTR)) {
        input_ended(fp);
    }
    return G_SOURCE_CONTINUE;
}

static void writable(void *opaque)
{
    FdPort *fp = opaque;

    if (fp->input_len)
        send_input(fp);
    if (fp->fd_in >= 0 && !fp->in_ended && !fp->input_len)
        vmc_io_watch(fp->io, &fp->in_watch, fp->fd_in, G_IO_IN | G_IO_HUP | G_IO_ERR, input_ready, fp);
}

static void retry_input(void *data)
{
    FdPort *fp = data;

    if (vmc_port_room(fp->port))
        writable(fp);
}

static void opened(void *opaque, bool guest_open)
{
    FdPort *fp = opaque;

    if (guest_open)
        return;
    vmc_io_unwatch(&fp->in_watch);
    vmc_timer_disarm(fp->retry);
}

/* ---- lifecycle ---- */

static void fd_port_free(void *opaque)
{
    FdPort *fp = opaque;

    vmc_io_unwatch(&fp->in_watch);
    vmc_io_unwatch(&fp->out_watch);
    vmc_timer_free(fp->retry);
    if (fp->own_out >= 0)
        close(fp->own_out);
    g_free(fp);
}

static const VmcPortOps fd_port_ops = {
    .opened = opened,
    .received = received,
    .writable = writable,
    .free = fd_port_free,
};

static bool is_pty_master(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(5, 2);
}

static void prepare_output(FdPort *fp)
{
    struct stat st;
    char path[64];

    if (fp->fd_out < 0 || fstat(fp->fd_out, &st))
        return;
    if (S_ISSOCK(st.st_mode)) {
        fp->out_access = ACCESS_SOCKET;
        return;
    }
    if (!S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode))
        return;
    if (!is_pty_master(&st)) {
        g_snprintf(path, sizeof(path), "/proc/self/fd/%d", fp->fd_out);
        fp->own_out = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    }
    if (fp->own_out < 0) {
        fp->out_access = ACCESS_POLLED;
        fp->out_chunk = S_ISFIFO(st.st_mode) ? PIPE_BUF : 1;
    }
}

static void prepare_input(FdPort *fp)
{
    struct stat st;

    if (fp->fd_in < 0 || fstat(fp->fd_in, &st))
        return;
    fp->in_access = S_ISSOCK(st.st_mode) ? ACCESS_SOCKET : ACCESS_PLAIN;
    fp->in_terminal = isatty(fp->fd_in);
}

static void take_size(FdPort *fp)
{
    struct winsize size;

    if ((!ioctl(fp->fd_out, TIOCGWINSZ, &size) || !ioctl(fp->fd_in, TIOCGWINSZ, &size)) && size.ws_col &&
        size.ws_row)
        vmc_port_set_size(fp->port, size.ws_col, size.ws_row);
}

VmcPort *vmc_port_fd_new(VmcIo *io, int fd_in, int fd_out)
{
    FdPort *fp = g_new0(FdPort, 1);

    fp->io = io;
    fp->fd_in = fd_in;
    fp->fd_out = fd_out;
    fp->own_out = -1;
    fp->retry = vmc_timer_new(io, retry_input, fp);
    prepare_input(fp);
    prepare_output(fp);
    fp->port = vmc_port_new(io, &fd_port_ops, fp);
    take_size(fp);
    vmc_port_set_host_open(fp->port, true);
    return fp->port;
}
