/*
 * virtio-console (VIRTIO 1.2 s5.3) with its one port, on a pair of file descriptors.
 *
 * Neither direction loses a byte or waits. Input is read from its descriptor only when the guest has a buffer
 * for it, straight into that buffer; until then it stays where it is and the sender feels it. Output that the
 * descriptor does not take stays in the guest's chain, and the queue stands still until poll says there is
 * room.
 *
 * Descriptors come from outside in any mode, and their mode is shared with whoever else has them, so
 * O_NONBLOCK is not ours to set. Reading after poll does not wait. Writing may, on a pipe or terminal with
 * little room; so those are opened a second time, without waiting, by way of /proc/self/fd; a pty's master
 * cannot be (it would be a new pty) and is written byte by byte as poll allows. Sockets have MSG_DONTWAIT,
 * and files never wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "virtio/devices.h"
#include "virtio/virtio_pci.h"

#define F_SIZE (1ull << 0)

#define QUEUE_RX 0u
#define QUEUE_TX 1u

#define RUN_BYTES   (64 * 1024u) /* output in one go, then others have their turn */
#define RUN_CHAINS  256u
#define IOV_AT_ONCE 64
#define RETRY_NS    250000000ull /* how soon to look again at a terminal nobody has open */

/* s5.3.4, little-endian. */
typedef struct __attribute__((packed)) ConsoleConfig {
    uint16_t cols, rows;
    uint32_t max_nr_ports, emerg_wr;
} ConsoleConfig;

_Static_assert(sizeof(ConsoleConfig) == 12, "as in s5.3.4");

/* How a descriptor is used without ever waiting. */
typedef enum Access {
    ACCESS_PLAIN,  /* just so: it does not wait */
    ACCESS_SOCKET, /* with MSG_DONTWAIT */
    ACCESS_POLLED, /* at most `chunk` bytes after poll said yes */
} Access;

typedef struct Console {
    VmcVirtioDevice dev;
    _Atomic uint32_t size; /* columns, and rows << 16 */

    int fd_in, fd_out;
    int own_out; /* fd_out opened anew, or -1 */
    Access in_access, out_access;
    size_t out_chunk;
    bool in_terminal, in_ended;
    VmcTimer *retry;

    /* I/O thread only. */
    GSource *in_watch, *out_watch;
    VmcVirtqElement rx, tx;
    bool tx_out; /* `tx` has been taken and not been written to its end */
} Console;

static void transmit(Console *console);
static void receive_when_possible(Console *console);

static void drop_watch(GSource **watch)
{
    if (*watch) {
        g_source_destroy(*watch);
        g_source_unref(*watch);
        *watch = NULL;
    }
}

static void add_watch(Console *console, GSource **watch, int fd, GIOCondition condition,
                      GUnixFDSourceFunc func)
{
    if (*watch)
        return;
    *watch = g_unix_fd_source_new(fd, condition);
    g_source_set_callback(*watch, G_SOURCE_FUNC(func), console, NULL);
    g_source_attach(*watch, vmc_io_context(console->dev.io));
}

/* ---- output ---- */

static ssize_t write_polled(const Console *console, const struct iovec *first)
{
    struct pollfd ready = {.fd = console->fd_out, .events = POLLOUT};

    if (poll(&ready, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(console->fd_out, first->iov_base, MIN(first->iov_len, console->out_chunk));
}

/* Writes some of what is in `tx`. False: the descriptor has no room. What it refuses for another reason is
 * lost: nobody is there to read it. */
static bool write_some(Console *console, size_t *written)
{
    VmcVirtqElement *tx = &console->tx;
    struct msghdr message = {.msg_iov = tx->out, .msg_iovlen = MIN(tx->n_out, IOV_AT_ONCE)};
    ssize_t done;

    do {
        if (console->fd_out < 0)
            done = (ssize_t)tx->out_len;
        else if (console->out_access == ACCESS_SOCKET)
            done = sendmsg(console->fd_out, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        else if (console->out_access == ACCESS_POLLED)
            done = write_polled(console, tx->out);
        else
            done = writev(console->own_out >= 0 ? console->own_out : console->fd_out, tx->out,
                          MIN((int)tx->n_out, IOV_AT_ONCE));
    } while (done < 0 && errno == EINTR);
    if (done < 0 && errno == EAGAIN)
        return false;
    *written = done < 0 ? tx->out_len : (size_t)done;
    vmc_virtq_element_skip(tx, *written);
    return true;
}

static gboolean output_ready(gint fd, GIOCondition condition, gpointer data)
{
    Console *console = data;

    drop_watch(&console->out_watch);
    transmit(console);
    return G_SOURCE_REMOVE;
}

/* Takes a chain if none is being written. False: there is none. */
static bool have_output(Console *console)
{
    if (!console->tx_out)
        console->tx_out = vmc_virtio_pop(&console->dev, QUEUE_TX, &console->tx);
    return console->tx_out;
}

static void transmit(Console *console)
{
    VmcVirtioDevice *dev = &console->dev;
    size_t bytes = 0;
    unsigned chains = 0;

    if (console->out_watch || !dev->running)
        return;
    while (bytes < RUN_BYTES && chains < RUN_CHAINS && have_output(console)) {
        size_t written = 0;
        if (console->tx.n_out && !write_some(console, &written)) {
            int fd = console->own_out >= 0 ? console->own_out : console->fd_out;
            add_watch(console, &console->out_watch, fd, G_IO_OUT, output_ready);
            break;
        }
        bytes += written;
        if (console->tx.n_out)
            continue;
        vmc_virtio_push(dev, QUEUE_TX, &console->tx, 0);
        console->tx_out = false;
        chains++;
    }
    vmc_virtio_notify(dev, QUEUE_TX);
    vmc_virtqueue_set_notification(&dev->queues[QUEUE_TX], !console->out_watch);
    if (!console->out_watch && (console->tx_out || vmc_virtqueue_available(&dev->queues[QUEUE_TX])))
        vmc_virtio_kick(dev, QUEUE_TX);
}

/* ---- input ---- */

static ssize_t read_some(const Console *console, VmcVirtqElement *rx)
{
    struct msghdr message = {.msg_iov = rx->in, .msg_iovlen = MIN(rx->n_in, IOV_AT_ONCE)};

    if (console->in_access == ACCESS_SOCKET)
        return recvmsg(console->fd_in, &message, MSG_DONTWAIT);
    return readv(console->fd_in, rx->in, (int)message.msg_iovlen);
}

/* The other end is gone. A terminal's may come back, but poll does not wait for that, so it is looked at from
 * time to time; anything else has ended. */
static void input_ended(Console *console)
{
    drop_watch(&console->in_watch);
    if (console->in_terminal)
        vmc_timer_arm(console->retry, vmc_now_ns() + RETRY_NS);
    else
        console->in_ended = true;
}

/* One read for each time poll says there is something: then it does not wait. */
static gboolean input_ready(gint fd, GIOCondition condition, gpointer data)
{
    Console *console = data;
    VmcVirtioDevice *dev = &console->dev;

    if (!vmc_virtio_pop(dev, QUEUE_RX, &console->rx)) {
        drop_watch(&console->in_watch);
        receive_when_possible(console);
        return G_SOURCE_CONTINUE;
    }
    ssize_t got = console->rx.n_in ? read_some(console, &console->rx) : 0;
    if (got > 0 || !console->rx.n_in) {
        vmc_virtio_push(dev, QUEUE_RX, &console->rx, (uint32_t)got);
        vmc_virtio_notify(dev, QUEUE_RX);
        return G_SOURCE_CONTINUE;
    }
    int err = got ? errno : 0;
    vmc_virtqueue_unpop(&dev->queues[QUEUE_RX], &console->rx);
    if (err != EAGAIN && err != EINTR)
        input_ended(console);
    return G_SOURCE_CONTINUE;
}

/* Watches the input while the guest has room, and has the guest say when it has again. */
static void receive_when_possible(Console *console)
{
    VmcVirtioDevice *dev = &console->dev;
    VmcVirtqueue *vq = &dev->queues[QUEUE_RX];

    if (!dev->running || console->fd_in < 0 || console->in_ended)
        return;
    vmc_virtqueue_set_notification(vq, !vmc_virtqueue_available(vq));
    if (vmc_virtqueue_available(vq) && atomic_load(&dev->dma))
        add_watch(console, &console->in_watch, console->fd_in, G_IO_IN | G_IO_HUP | G_IO_ERR, input_ready);
}

static void retry_input(void *data)
{
    receive_when_possible(data);
}

/* ---- configuration and lifecycle ---- */

static void queue_notified(VmcVirtioDevice *dev, unsigned queue)
{
    if (queue == QUEUE_TX)
        transmit((Console *)dev);
    else
        receive_when_possible((Console *)dev);
}

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    uint32_t size = ((Console *)dev)->size;
    ConsoleConfig config = {
        .cols = GUINT16_TO_LE((uint16_t)size),
        .rows = GUINT16_TO_LE((uint16_t)(size >> 16)),
        .max_nr_ports = GUINT32_TO_LE(1),
    };

    memcpy(buf, (uint8_t *)&config + offset, len);
}

static bool reset(VmcVirtioDevice *dev)
{
    Console *console = (Console *)dev;

    drop_watch(&console->in_watch);
    drop_watch(&console->out_watch);
    vmc_timer_disarm(console->retry);
    console->tx_out = false;
    return true;
}

static void console_free(VmcVirtioDevice *dev)
{
    Console *console = (Console *)dev;

    vmc_timer_free(console->retry);
    if (console->own_out >= 0)
        close(console->own_out);
    vmc_virtq_element_clear(&console->rx);
    vmc_virtq_element_clear(&console->tx);
    g_free(console);
}

static const VmcVirtioOps console_ops = {
    .name = "virtio-console",
    .type = VMC_VIRTIO_ID_CONSOLE,
    .pci_class = 0x078000,
    .config_size = sizeof(ConsoleConfig),
    .n_queues = 2,
    .queue_sizes = {64, 64},
    .config_read = config_read,
    .queue_notified = queue_notified,
    .reset = reset,
    .free = console_free,
};

static bool is_pty_master(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(5, 2);
}

static void prepare_output(Console *console)
{
    struct stat st;
    char path[64];

    if (console->fd_out < 0 || fstat(console->fd_out, &st))
        return;
    if (S_ISSOCK(st.st_mode)) {
        console->out_access = ACCESS_SOCKET;
        return;
    }
    if (!S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode))
        return;
    if (!is_pty_master(&st)) {
        g_snprintf(path, sizeof(path), "/proc/self/fd/%d", console->fd_out);
        console->own_out = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    }
    if (console->own_out < 0) {
        console->out_access = ACCESS_POLLED;
        console->out_chunk = S_ISFIFO(st.st_mode) ? PIPE_BUF : 1;
    }
}

static void prepare_input(Console *console)
{
    struct stat st;

    if (console->fd_in < 0 || fstat(console->fd_in, &st))
        return;
    console->in_access = S_ISSOCK(st.st_mode) ? ACCESS_SOCKET : ACCESS_PLAIN;
    console->in_terminal = isatty(console->fd_in);
}

static uint32_t terminal_size(int fd_in, int fd_out)
{
    struct winsize size;

    if ((!ioctl(fd_out, TIOCGWINSZ, &size) || !ioctl(fd_in, TIOCGWINSZ, &size)) && size.ws_col && size.ws_row)
        return size.ws_col | (uint32_t)size.ws_row << 16;
    return 80 | 24u << 16;
}

VmcPciDevice *vmc_virtio_console_new(const VmcVirtioHost *host, int fd_in, int fd_out)
{
    Console *console = g_new0(Console, 1);

    vmc_virtio_device_init(&console->dev, &console_ops, host->memory, host->io);
    console->dev.offered = F_SIZE;
    console->fd_in = fd_in;
    console->fd_out = fd_out;
    console->own_out = -1;
    console->size = terminal_size(fd_in, fd_out);
    console->retry = vmc_timer_new(host->io, retry_input, console);
    prepare_input(console);
    prepare_output(console);
    return vmc_virtio_pci_new(&console->dev);
}

void vmc_virtio_console_set_size(VmcPciDevice *pci, unsigned columns, unsigned rows)
{
    Console *console = (Console *)vmc_virtio_pci_device(pci, &console_ops);

    if (!console)
        return;
    console->size = MIN(columns, 0xffffu) | MIN(rows, 0xffffu) << 16;
    vmc_virtio_config_changed(&console->dev);
}
