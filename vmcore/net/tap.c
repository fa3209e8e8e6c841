/*
 * Cables on a descriptor: taps of the host, by name, as a descriptor or from qemu-bridge-helper, and datagram
 * sockets of which each datagram is a frame (as vfkit has them).
 *
 * A tap is opened with IFF_VNET_HDR, so that the kernel takes and gives frames unfinished: each is preceded
 * by a struct virtio_net_hdr in the host's byte order. A socket knows nothing of that and gets finished
 * frames.
 *
 * The user needs no rights for any of it: a tap has an owner, and only root makes it. A name that there is
 * not is never made into one here, though root could.
 *
 * A frame that the NIC refuses stays in `frame`, the descriptor is not read any further, and its sender feels
 * it. Threads: the I/O thread.
 */
#include "net/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/i18n.h"
#include "net/offload.h"
#include "vmcore/error.h"

/* Since Linux 6.2. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define FRAMES_AT_ONCE 64u /* received in one go, then others have their turn */
#define IOV_MAX_HERE   256u
#define BUFFER_BYTES   (4 << 20)
#define HELPER         "/usr/lib/qemu/qemu-bridge-helper"
#define TAP_OFFLOADS   (VMC_OFFLOAD_CSUM | VMC_OFFLOAD_TSO4 | VMC_OFFLOAD_TSO6 | VMC_OFFLOAD_ECN)

typedef struct virtio_net_hdr Header;

typedef struct Wire {
    VmcCable cable;
    int fd;
    bool socket, header;

    GSource *in_watch, *out_watch;
    bool resumed; /* the NIC takes frames */
    bool gone;    /* the other end is not there any more */
    bool waiting; /* `frame` holds one that the NIC has refused */
    size_t len;
    VmcFrameInfo info;
    uint8_t *frame;   /* VMC_FRAME_MAX + 1 bytes: one more shows that a frame is too long */
    uint8_t *flatten; /* for frames in too many pieces; once needed */
} Wire;

static gboolean readable(gint fd, GIOCondition condition, gpointer data);

/* The tap was deleted, or whoever had the other end of the socket is gone. */
static void other_end_gone(Wire *wire)
{
    wire->gone = true;
    vmc_io_unwatch(&wire->in_watch);
    vmc_io_unwatch(&wire->out_watch);
    vmc_cable_set_link(&wire->cable, false);
}

static bool means_gone(int err)
{
    return err == EBADFD || err == ECONNREFUSED || err == ECONNRESET || err == ENOTCONN || err == EPIPE ||
           err == ENODEV;
}

/* ---- to the network ---- */

static gboolean writable(gint fd, GIOCondition condition, gpointer data)
{
    Wire *wire = data;

    vmc_io_unwatch(&wire->out_watch);
    vmc_cable_room(&wire->cable);
    return G_SOURCE_REMOVE;
}

static Header make_header(const VmcFrameInfo *info)
{
    return (Header){
        .flags = info->flags & VMC_FRAME_NEEDS_CSUM ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0,
        .gso_type = info->gso_type,
        .hdr_len = info->hdr_len,
        .gso_size = info->gso_size,
        .csum_start = info->csum_start,
        .csum_offset = info->csum_offset,
    };
}

static ssize_t write_frame(Wire *wire, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info)
{
    struct iovec all[IOV_MAX_HERE + 1];
    Header header = make_header(info);
    unsigned n = 0;
    struct iovec flat;

    if (n_iov > IOV_MAX_HERE) {
        if (!wire->flatten)
            wire->flatten = g_malloc(VMC_FRAME_MAX);
        flat = (struct iovec){wire->flatten, vmc_iov_copy(iov, n_iov, 0, wire->flatten, VMC_FRAME_MAX)};
        iov = &flat;
        n_iov = 1;
    }
    if (wire->header)
        all[n++] = (struct iovec){&header, sizeof(header)};
    memcpy(&all[n], iov, n_iov * sizeof(*iov));
    n += n_iov;
    if (!wire->socket)
        return writev(wire->fd, all, (int)n);
    struct msghdr message = {.msg_iov = all, .msg_iovlen = n};
    return sendmsg(wire->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* What is refused for another reason than room is lost, as on any wire. */
static bool wire_send(VmcCable *cable, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info)
{
    Wire *wire = (Wire *)cable;
    ssize_t done;

    if (wire->gone)
        return true;
    do
        done = write_frame(wire, iov, n_iov, info);
    while (done < 0 && errno == EINTR);
    if (done >= 0)
        return true;
    if (errno == EAGAIN) {
        vmc_io_watch(wire->cable.io, &wire->out_watch, wire->fd, G_IO_OUT | G_IO_ERR | G_IO_HUP, writable,
                     wire);
        return false;
    }
    if (means_gone(errno))
        other_end_gone(wire);
    return true;
}

/* ---- from the network ---- */

/* Reads one frame. False: there is none, or no more ever. */
static bool read_frame(Wire *wire)
{
    Header header = {0};
    struct iovec all[2] = {{&header, sizeof(header)}, {wire->frame, VMC_FRAME_MAX + 1}};
    struct iovec *iov = wire->header ? all : all + 1;
    int n_iov = wire->header ? 2 : 1;
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)n_iov};
    ssize_t got;

    do
        got = wire->socket ? recvmsg(wire->fd, &message, MSG_DONTWAIT) : readv(wire->fd, iov, n_iov);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        if (means_gone(errno))
            other_end_gone(wire);
        return false;
    }
    size_t before = wire->header ? sizeof(header) : 0;
    wire->len = (size_t)got > before ? (size_t)got - before : 0;
    wire->info = (VmcFrameInfo){
        .flags = header.flags & (VMC_FRAME_NEEDS_CSUM | VMC_FRAME_DATA_VALID),
        .gso_type = header.gso_type,
        .hdr_len = header.hdr_len,
        .gso_size = header.gso_size,
        .csum_start = header.csum_start,
        .csum_offset = header.csum_offset,
    };
    return true;
}

static bool give_frame(Wire *wire)
{
    struct iovec iov = {wire->frame, wire->len};

    return vmc_cable_deliver(&wire->cable, &iov, 1, &wire->info);
}

static gboolean readable(gint fd, GIOCondition condition, gpointer data)
{
    Wire *wire = data;

    for (unsigned i = 0; i < FRAMES_AT_ONCE && wire->resumed && read_frame(wire); i++) {
        wire->waiting = !give_frame(wire);
        if (wire->waiting)
            wire->resumed = false;
    }
    vmc_cable_deliver_done(&wire->cable);
    if (wire->resumed && !wire->gone && condition & (G_IO_HUP | G_IO_ERR) && !(condition & G_IO_IN))
        other_end_gone(wire);
    if (!wire->resumed)
        vmc_io_unwatch(&wire->in_watch);
    return G_SOURCE_CONTINUE;
}

static void wire_resume(VmcCable *cable)
{
    Wire *wire = (Wire *)cable;

    wire->resumed = true;
    if (wire->waiting) {
        wire->waiting = !give_frame(wire);
        wire->resumed = !wire->waiting;
        vmc_cable_deliver_done(cable);
    }
    if (wire->resumed && !wire->gone)
        vmc_io_watch(wire->cable.io, &wire->in_watch, wire->fd, G_IO_IN | G_IO_HUP | G_IO_ERR, readable,
                     wire);
}

static void wire_stop(VmcCable *cable)
{
    Wire *wire = (Wire *)cable;

    wire->resumed = wire->waiting = false;
    vmc_io_unwatch(&wire->in_watch);
}

static void wire_set_offloads(VmcCable *cable, uint32_t offloads)
{
    static const struct {
        uint32_t offload;
        unsigned tun;
    } names[] = {
        {VMC_OFFLOAD_CSUM, TUN_F_CSUM},   {VMC_OFFLOAD_TSO4, TUN_F_TSO4}, {VMC_OFFLOAD_TSO6, TUN_F_TSO6},
        {VMC_OFFLOAD_ECN, TUN_F_TSO_ECN}, {VMC_OFFLOAD_USO4, TUN_F_USO4}, {VMC_OFFLOAD_USO6, TUN_F_USO6},
    };
    Wire *wire = (Wire *)cable;
    unsigned long flags = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
        if (offloads & names[i].offload)
            flags |= names[i].tun;
    /* USO goes only both ways at once. If it is refused, what still comes is finished by the cable. */
    if (wire->header)
        ioctl(wire->fd, TUNSETOFFLOAD, flags);
}

/* ---- lifecycle ---- */

static void wire_free(VmcCable *cable)
{
    Wire *wire = (Wire *)cable;

    vmc_io_unwatch(&wire->in_watch);
    vmc_io_unwatch(&wire->out_watch);
    close(wire->fd);
    g_free(wire->frame);
    g_free(wire->flatten);
    vmc_cable_clear(cable);
    g_free(wire);
}

static const VmcCableOps wire_ops = {
    .name = "wire",
    .send = wire_send,
    .resume = wire_resume,
    .stop = wire_stop,
    .set_offloads = wire_set_offloads,
    .free = wire_free,
};

static Wire *wire_new(VmcIo *io, int fd)
{
    Wire *wire = g_new0(Wire, 1);

    vmc_cable_init(&wire->cable, &wire_ops, io);
    wire->fd = fd;
    wire->frame = g_malloc(VMC_FRAME_MAX + 1);
    return wire;
}

/* ---- sockets ---- */

static VmcCable *socket_cable(VmcIo *io, int fd)
{
    Wire *wire = wire_new(io, fd);
    int bytes = BUFFER_BYTES;

    /* As much of it as the host allows. */
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    wire->socket = true;
    return &wire->cable;
}

/* The other end has to be able to answer, so this one has an address: an abstract one that the kernel
 * chooses, of which nothing is left behind. "VFKT" is how vfkit introduces itself; for others it is a frame
 * too short to be one. */
VmcCable *vmc_cable_unix_new(VmcIo *io, const char *path, GError **error)
{
    struct sockaddr_un there = {.sun_family = AF_UNIX}, here = {.sun_family = AF_UNIX};

    if (!*path || strlen(path) >= sizeof(there.sun_path)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("The path of a network socket has to have 1 to %zu bytes, which “%s” has not"),
                    sizeof(there.sun_path) - 1, path);
        return NULL;
    }
    g_strlcpy(there.sun_path, path, sizeof(there.sun_path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(sa_family_t)) ||
        connect(fd, (struct sockaddr *)&there, sizeof(there)) ||
        send(fd, "VFKT", 4, MSG_DONTWAIT | MSG_NOSIGNAL) != 4) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("Cannot connect a network card to the socket “%s”, on which a program such as gvproxy "
                      "should be "
                      "listening: %s"),
                    path, g_strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    return socket_cable(io, fd);
}

/* ---- taps ---- */

static uint16_t interface_mtu(const char *name)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), mtu = 0;

    g_strlcpy(request.ifr_name, name, sizeof(request.ifr_name));
    if (fd >= 0 && !ioctl(fd, SIOCGIFMTU, &request))
        mtu = request.ifr_mtu;
    if (fd >= 0)
        close(fd);
    return mtu >= 68 && mtu <= 65535 ? (uint16_t)mtu : 0;
}

/* A cable on the descriptor of a tap that is attached to its interface. */
static VmcCable *tap_cable(VmcIo *io, int fd, const struct ifreq *interface)
{
    Wire *wire = wire_new(io, fd);
    int size = sizeof(Header);

    wire->header = interface->ifr_flags & IFF_VNET_HDR && !ioctl(fd, TUNSETVNETHDRSZ, &size);
    if (wire->header) {
        bool uso = !ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6);
        wire->cable.takes = wire->cable.gives =
            TAP_OFFLOADS | (uso ? VMC_OFFLOAD_USO4 | VMC_OFFLOAD_USO6 : 0);
        ioctl(fd, TUNSETOFFLOAD, 0);
    }
    wire->cable.mtu = interface_mtu(interface->ifr_name);
    return &wire->cable;
}

static void how_to_make_a_tap(GError **error, const char *name)
{
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                _("There is no tap “%s”; to make one that you may use, type: sudo ip tuntap add dev %s mode "
                  "tap user %s "
                  "&& sudo ip link set %s up"),
                name, name, g_get_user_name(), name);
}

static void tap_refused(GError **error, const char *name, int err)
{
    if (err == EPERM)
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_RESOURCE,
            _("The tap “%s” belongs to somebody else; to make it yours, type: sudo ip tuntap del dev %s mode "
              "tap && sudo ip tuntap add dev %s mode tap user %s && sudo ip link set %s up"),
            name, name, name, g_get_user_name(), name);
    else if (err == EBUSY)
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("The tap “%s” is in use, perhaps by another machine; each needs one of its own"), name);
    else if (err == EINVAL)
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("The network interface “%s” is not a tap"), name);
    else
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("Cannot use the tap “%s”: %s"), name,
                    g_strerror(err));
}

VmcCable *vmc_cable_tap_new(VmcIo *io, const char *name, GError **error)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};

    if (!*name || strlen(name) >= IFNAMSIZ || strchr(name, '%') || !if_nametoindex(name)) {
        how_to_make_a_tap(error, name);
        return NULL;
    }
    g_strlcpy(request.ifr_name, name, sizeof(request.ifr_name));
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("Cannot open “/dev/net/tun”, which taps need (the kernel's module “tun”): %s"),
                    g_strerror(errno));
        return NULL;
    }
    int err = ioctl(fd, TUNSETIFF, &request) ? errno : 0;
    if (err == EINVAL) {
        /* One that was made for several queues is opened as such, or not at all. One of them is all we need.
         */
        request.ifr_flags |= IFF_MULTI_QUEUE;
        err = ioctl(fd, TUNSETIFF, &request) ? errno : 0;
    }
    if (err) {
        tap_refused(error, name, err);
        close(fd);
        return NULL;
    }
    return tap_cable(io, fd, &request);
}

VmcCable *vmc_cable_fd_new(VmcIo *io, int fd, GError **error)
{
    struct ifreq request = {0};
    int type = 0, own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    socklen_t size = sizeof(type);

    if (own < 0) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("There is no open descriptor %d to be used as a network card's cable"), fd);
        return NULL;
    }
    if (!ioctl(own, TUNGETIFF, &request) && request.ifr_flags & IFF_TAP && request.ifr_flags & IFF_NO_PI) {
        fcntl(own, F_SETFL, fcntl(own, F_GETFL) | O_NONBLOCK);
        return tap_cable(io, own, &request);
    }
    if (!getsockopt(own, SOL_SOCKET, SO_TYPE, &type, &size) && (type == SOCK_DGRAM || type == SOCK_SEQPACKET))
        return socket_cable(io, own);
    close(own);
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                _("Descriptor %d is neither a tap (without packet information) nor a datagram socket"), fd);
    return NULL;
}

/* ---- qemu-bridge-helper ---- */

static void how_to_bridge(GError **error, const char *bridge, const char *why)
{
    const char *user = g_get_user_name();

    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                _("Cannot get a tap of the bridge “%s” from qemu-bridge-helper (%s); to make one yourself, "
                  "type: sudo "
                  "ip "
                  "tuntap add dev tap-%s mode tap user %s && sudo ip link set tap-%s master %s up, and use "
                  "tap=tap-%s"),
                bridge, why, user, user, user, bridge, user);
}

/* The helper sends the tap's descriptor on the socket that it is started with. */
static int receive_fd(int from)
{
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    int fd = -1;

    if (recvmsg(from, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != 1)
        return -1;
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS &&
        part->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(part), sizeof(fd));
    return fd;
}

/* Runs it to its end, which comes at once. Returns the tap, or -1 with what it said. */
static int run_helper(const char *helper, const char *bridge, char **said)
{
    char *bridge_arg = g_strdup_printf("--br=%s", bridge);
    char *argv[] = {(char *)(uintptr_t)helper, "--use-vnet", "--fd=3", bridge_arg, NULL};
    GError *error = NULL;
    int pair[2], status = 0, fd = -1;
    int targets[] = {3};

    *said = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        *said = g_strdup(g_strerror(errno));
    } else {
        GSubprocessLauncher *launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDERR_PIPE);
        g_subprocess_launcher_take_fd(launcher, pair[1], targets[0]);
        GSubprocess *process = g_subprocess_launcher_spawnv(launcher, (const char *const *)argv, &error);
        g_object_unref(launcher); /* closes pair[1] here */
        if (process && g_subprocess_communicate_utf8(process, NULL, NULL, NULL, said, &error)) {
            status = g_subprocess_get_if_exited(process) ? g_subprocess_get_exit_status(process) : -1;
            fd = status == 0 ? receive_fd(pair[0]) : -1;
        }
        g_clear_object(&process);
        close(pair[0]);
    }
    if (error)
        *said = g_strdup(error->message);
    g_clear_error(&error);
    g_free(bridge_arg);
    return fd;
}

VmcCable *vmc_cable_bridge_new(VmcIo *io, const char *bridge, const char *helper, GError **error)
{
    char *said = NULL;

    if (!*bridge || strlen(bridge) >= IFNAMSIZ || !if_nametoindex(bridge)) {
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_CONFIG,
            _("There is no bridge “%s” on this host; “ip link show type bridge” lists those there are"),
            bridge);
        return NULL;
    }
    int tap = run_helper(helper ? helper : HELPER, bridge, &said);
    if (tap < 0) {
        how_to_bridge(error, bridge, said && *g_strstrip(said) ? said : _("it gave none"));
        g_free(said);
        return NULL;
    }
    VmcCable *cable = vmc_cable_fd_new(io, tap, error);
    close(tap);
    g_free(said);
    return cable;
}
