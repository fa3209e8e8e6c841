/*
 * NAT by libslirp: the guest is alone in a network of its own, and its connections become sockets of this
 * process. No rights are needed for that.
 *
 * libslirp is single-threaded and wants to be asked before each wait which descriptors matter and how long to
 * wait. Asking it in every turn of the I/O thread would cost all other devices something, so it is asked only
 * after it has done something (`settle`): its descriptors stand in an epoll set of our own, of which the I/O
 * thread watches the one descriptor, and its time-out is a timer. A guest that is silent costs nothing.
 *
 * Frames to the guest that the NIC has no room for wait in a short queue; beyond that they are lost, as on
 * any wire. Frames from the guest come with large TCP segments over IPv4 in one piece, which libslirp takes
 * as they are once the checksum is there. It is never given a frame that is shorter than its headers need or
 * longer than an IP packet can be.
 *
 * A saved machine comes back to a NAT that knows none of its connections, since their other ends are sockets
 * of a process that is gone (libslirp's own slirp_state_save keeps none of them either): the guest is told so
 * by a reset as soon as it sends. Its address and forwarded ports are as before, and what it hears first is
 * ARP.
 *
 * Threads: the I/O thread, libslirp's callbacks included.
 */
#include "net/attach.h"

#include <arpa/inet.h>
#include <errno.h>
#include <slirp/libslirp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/i18n.h"
#include "net/offload.h"
#include "vmcore/error.h"

#define MTU_DEFAULT    1500u
#define MTU_MIN        1280u /* RFC 8200 s5 */
#define MTU_MAX        65521u
#define PAD_TO         60u /* Ethernet's shortest frame without FCS: libslirp looks at ARP without asking */
#define WAITING_FRAMES 1024u
#define WAITING_BYTES  (2u << 20)
#define EVENTS_AT_ONCE 64
#define NS_PER_MS      1000000ull

typedef struct Frame {
    size_t len;
    uint8_t bytes[];
} Frame;

/* A descriptor that libslirp asked to be watched in its last answer. */
typedef struct Watched {
    int fd;
    int events;      /* SLIRP_POLL_... asked for */
    int ready;       /* ... and come */
    bool registered; /* in the epoll set, with `events` */
} Watched;

typedef struct Nat {
    VmcCable cable;
    Slirp *slirp;
    int epoll;
    GSource *watch; /* of `epoll` */
    VmcTimer *timer;
    GArray *watched; /* Watched; those from n_asked on were asked for once and not now */
    unsigned n_asked;
    GQueue waiting; /* Frame: for the NIC */
    size_t waiting_bytes;
    uint8_t *scratch; /* VMC_FRAME_MAX bytes */
    uint64_t guest_errors;
} Nat;

typedef struct NatTimer {
    Nat *nat;
    SlirpTimerId id;
    void *cb_opaque;
    VmcTimer *timer;
} NatTimer;

static void settle(Nat *nat);

/* ---- frames for the guest ---- */

static bool give(Nat *nat, const void *bytes, size_t len)
{
    static const VmcFrameInfo info = {.flags = VMC_FRAME_DATA_VALID};
    struct iovec iov = {(void *)(uintptr_t)bytes, len};

    return vmc_cable_deliver(&nat->cable, &iov, 1, &info);
}

static void give_waiting(Nat *nat)
{
    Frame *frame;

    while ((frame = g_queue_peek_head(&nat->waiting)) && give(nat, frame->bytes, frame->len)) {
        nat->waiting_bytes -= frame->len;
        g_free(g_queue_pop_head(&nat->waiting));
    }
}

static void drop_waiting(Nat *nat)
{
    g_queue_clear_full(&nat->waiting, g_free);
    nat->waiting_bytes = 0;
}

static ssize_t send_packet(const void *bytes, size_t len, void *opaque)
{
    Nat *nat = opaque;

    if (g_queue_is_empty(&nat->waiting) && give(nat, bytes, len))
        return (ssize_t)len;
    if (nat->waiting.length < WAITING_FRAMES && nat->waiting_bytes + len <= WAITING_BYTES) {
        Frame *frame = g_malloc(sizeof(*frame) + len);
        frame->len = len;
        memcpy(frame->bytes, bytes, len);
        g_queue_push_tail(&nat->waiting, frame);
        nat->waiting_bytes += len;
    }
    return (ssize_t)len;
}

/* ---- what libslirp needs of us ---- */

/* The guest did something that makes no sense: its own loss. */
static void guest_error(const char *message, void *opaque)
{
    ((Nat *)opaque)->guest_errors++;
}

static int64_t clock_get_ns(void *opaque)
{
    return (int64_t)vmc_now_ns();
}

static void timer_fired(void *data)
{
    NatTimer *timer = data;
    Nat *nat = timer->nat;

    slirp_handle_timer(nat->slirp, timer->id, timer->cb_opaque);
    settle(nat);
}

static void *timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    NatTimer *timer = g_new0(NatTimer, 1);

    *timer = (NatTimer){.nat = opaque, .id = id, .cb_opaque = cb_opaque};
    timer->timer = vmc_timer_new(timer->nat->cable.io, timer_fired, timer);
    return timer;
}

static void timer_free(void *data, void *opaque)
{
    NatTimer *timer = data;

    vmc_timer_free(timer->timer);
    g_free(timer);
}

static void timer_mod(void *data, int64_t expire_ms, void *opaque)
{
    vmc_timer_arm(((NatTimer *)data)->timer, (uint64_t)MAX(expire_ms, 0) * NS_PER_MS);
}

static void register_poll_fd(int fd, void *opaque)
{
}

/* It is about to be closed, and its number may soon be another's. */
static void unregister_poll_fd(int fd, void *opaque)
{
    Nat *nat = opaque;

    for (unsigned i = 0; i < nat->watched->len; i++) {
        Watched *watched = &g_array_index(nat->watched, Watched, i);
        if (watched->fd != fd)
            continue;
        if (watched->registered)
            epoll_ctl(nat->epoll, EPOLL_CTL_DEL, fd, NULL);
        watched->registered = false;
        watched->fd = -1;
        watched->ready = 0;
    }
}

/* Data from the guest was passed on, and there may be room again: settle is always behind it. */
static void notify(void *opaque)
{
}

static const SlirpCb callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_get_ns,
    .timer_free = timer_free,
    .timer_mod = timer_mod,
    .register_poll_fd = register_poll_fd,
    .unregister_poll_fd = unregister_poll_fd,
    .notify = notify,
    .timer_new_opaque = timer_new,
};

/* ---- descriptors and time-outs ---- */

static uint32_t to_epoll(int events)
{
    return (events & SLIRP_POLL_IN ? EPOLLIN : 0u) | (events & SLIRP_POLL_OUT ? EPOLLOUT : 0u) |
           (events & SLIRP_POLL_PRI ? EPOLLPRI : 0u);
}

static int from_epoll(uint32_t events)
{
    return (events & EPOLLIN ? SLIRP_POLL_IN : 0) | (events & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
           (events & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (events & EPOLLERR ? SLIRP_POLL_ERR : 0) |
           (events & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

static void unwatch(Nat *nat, Watched *watched)
{
    if (watched->registered)
        epoll_ctl(nat->epoll, EPOLL_CTL_DEL, watched->fd, NULL);
    watched->registered = false;
}

/* libslirp wants `fd` watched; the answer is how it will ask about it. Mostly it is the same as last time at
 * this place. */
static int add_poll(int fd, int events, void *opaque)
{
    Nat *nat = opaque;
    unsigned at = nat->n_asked++;

    if (at == nat->watched->len)
        g_array_append_val(nat->watched, ((Watched){.fd = -1}));
    Watched *watched = &g_array_index(nat->watched, Watched, at);
    if (watched->fd != fd || watched->events != events) {
        unwatch(nat, watched);
        *watched = (Watched){.fd = fd, .events = events};
    }
    return (int)at;
}

/* Registers what is new, after everything that is not asked for any more has gone: the places of two
 * descriptors may have changed. */
static void register_watched(Nat *nat)
{
    for (unsigned i = 0; i < nat->n_asked; i++) {
        Watched *watched = &g_array_index(nat->watched, Watched, i);
        struct epoll_event event = {.events = to_epoll(watched->events), .data.u32 = i};
        if (!watched->registered && watched->fd >= 0)
            watched->registered =
                !epoll_ctl(nat->epoll, EPOLL_CTL_ADD, watched->fd, &event) ||
                (errno == EEXIST && !epoll_ctl(nat->epoll, EPOLL_CTL_MOD, watched->fd, &event));
    }
}

/* To be called whenever libslirp may have changed its mind: asks what it waits for now. */
static void settle(Nat *nat)
{
    uint32_t timeout = UINT32_MAX;

    nat->n_asked = 0;
    slirp_pollfds_fill(nat->slirp, &timeout, add_poll, nat);
    for (unsigned i = nat->n_asked; i < nat->watched->len; i++)
        unwatch(nat, &g_array_index(nat->watched, Watched, i));
    g_array_set_size(nat->watched, nat->n_asked);
    register_watched(nat);
    if (timeout == UINT32_MAX)
        vmc_timer_disarm(nat->timer);
    else
        vmc_timer_arm(nat->timer, vmc_now_ns() + timeout * NS_PER_MS);
    vmc_cable_deliver_done(&nat->cable);
}

static int get_revents(int index, void *opaque)
{
    Nat *nat = opaque;

    return index >= 0 && (unsigned)index < nat->watched->len
               ? g_array_index(nat->watched, Watched, index).ready
               : 0;
}

/* Descriptors are ready, or it is time. */
static void poll_now(Nat *nat)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int n = epoll_wait(nat->epoll, events, EVENTS_AT_ONCE, 0);

    for (int i = 0; i < n; i++)
        if (events[i].data.u32 < nat->watched->len)
            g_array_index(nat->watched, Watched, events[i].data.u32).ready = from_epoll(events[i].events);
    slirp_pollfds_poll(nat->slirp, 0, get_revents, nat);
    for (unsigned i = 0; i < nat->watched->len; i++)
        g_array_index(nat->watched, Watched, i).ready = 0;
    settle(nat);
}

static gboolean epoll_ready(gint fd, GIOCondition condition, gpointer data)
{
    poll_now(data);
    return G_SOURCE_CONTINUE;
}

static void time_is_up(void *data)
{
    poll_now(data);
}

/* ---- the cable ---- */

static bool nat_send(VmcCable *cable, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info)
{
    Nat *nat = (Nat *)cable;
    size_t len = vmc_iov_copy(iov, n_iov, 0, nat->scratch, VMC_FRAME_MAX);

    vmc_offload_checksum(nat->scratch, len, info);
    if (len < PAD_TO) {
        memset(nat->scratch + len, 0, PAD_TO - len);
        len = PAD_TO;
    }
    if (len <= VMC_FRAME_MIN + 65535)
        slirp_input(nat->slirp, nat->scratch, (int)len);
    return true;
}

static void nat_send_done(VmcCable *cable)
{
    settle((Nat *)cable);
}

static void nat_resume(VmcCable *cable)
{
    give_waiting((Nat *)cable);
    vmc_cable_deliver_done(cable);
}

static void nat_stop(VmcCable *cable)
{
    drop_waiting((Nat *)cable);
}

static void nat_free(VmcCable *cable)
{
    Nat *nat = (Nat *)cable;

    if (nat->slirp)
        slirp_cleanup(nat->slirp);
    vmc_io_unwatch(&nat->watch);
    vmc_timer_free(nat->timer);
    if (nat->epoll >= 0)
        close(nat->epoll);
    g_array_free(nat->watched, TRUE);
    drop_waiting(nat);
    g_free(nat->scratch);
    vmc_cable_clear(cable);
    g_free(nat);
}

static const VmcCableOps nat_ops = {
    .name = "nat",
    .send = nat_send,
    .send_done = nat_send_done,
    .resume = nat_resume,
    .stop = nat_stop,
    .free = nat_free,
};

/* ---- making one ---- */

static struct in_addr in4(const char *text)
{
    struct in_addr address;

    inet_pton(AF_INET, text, &address);
    return address;
}

static struct in6_addr in6(const char *text)
{
    struct in6_addr address;

    inet_pton(AF_INET6, text, &address);
    return address;
}

typedef struct Making {
    Nat *nat;
    const VmcNatParams *params;
    GError **error;
    bool good;
} Making;

static bool make_slirp(Nat *nat, const VmcNatParams *params)
{
    SlirpConfig config = {
        .version = 4,
        .in_enabled = true,
        .vnetwork = in4(VMC_NAT_NETWORK),
        .vnetmask = in4(VMC_NAT_NETMASK),
        .vhost = in4(VMC_NAT_HOST),
        .vdhcp_start = in4(VMC_NAT_GUEST),
        .vnameserver = in4(VMC_NAT_DNS),
        .in6_enabled = true,
        .vprefix_addr6 = in6(VMC_NAT_PREFIX6),
        .vprefix_len = 64,
        .vhost6 = in6(VMC_NAT_HOST6),
        .vnameserver6 = in6(VMC_NAT_DNS6),
        .tftp_path = params->tftp_path,
        .bootfile = params->boot_file,
        .if_mtu = nat->cable.mtu,
        .if_mru = nat->cable.mtu,
    };

    nat->slirp = slirp_new(&config, &callbacks, nat);
    return nat->slirp != NULL;
}

static char *describe(const VmcNatForward *forward)
{
    char host[INET6_ADDRSTRLEN] = "";
    bool six = forward->host.any.sa_family == AF_INET6;

    inet_ntop(forward->host.any.sa_family,
              six ? (const void *)&forward->host.in6.sin6_addr : (const void *)&forward->host.in.sin_addr,
              host, sizeof(host));
    return g_strdup_printf("%s port %u of %s", forward->udp ? "UDP" : "TCP",
                           ntohs(six ? forward->host.in6.sin6_port : forward->host.in.sin_port), host);
}

static bool add_forward(Nat *nat, const VmcNatForward *forward, GError **error)
{
    socklen_t size =
        forward->host.any.sa_family == AF_INET6 ? sizeof(forward->host.in6) : sizeof(forward->host.in);
    int flags = (forward->udp ? SLIRP_HOSTFWD_UDP : 0) | SLIRP_HOSTFWD_V6ONLY;

    if (!slirp_add_hostxfwd(nat->slirp, &forward->host.any, size, &forward->guest.any, size, flags))
        return true;
    int err = errno;
    char *what = describe(forward);
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("Cannot forward %s to the guest: %s"), what,
                g_strerror(err));
    g_free(what);
    return false;
}

/* On the I/O thread: libslirp has timers from the start. */
static void make(void *data)
{
    Making *making = data;
    Nat *nat = making->nat;
    const VmcNatParams *params = making->params;

    if (!make_slirp(nat, params)) {
        g_set_error(making->error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("libslirp cannot make a network for the guest"));
        return;
    }
    for (unsigned i = 0; i < params->n_forwards; i++)
        if (!add_forward(nat, &params->forwards[i], making->error))
            return;
    vmc_io_watch(nat->cable.io, &nat->watch, nat->epoll, G_IO_IN, epoll_ready, nat);
    settle(nat);
    making->good = true;
}

VmcCable *vmc_cable_nat_new(VmcIo *io, const VmcNatParams *params, GError **error)
{
    static const VmcNatParams defaults = {0};
    Nat *nat = g_new0(Nat, 1);
    Making making = {.nat = nat, .params = params ? params : &defaults, .error = error};

    vmc_cable_init(&nat->cable, &nat_ops, io);
    nat->cable.takes = VMC_OFFLOAD_CSUM | VMC_OFFLOAD_TSO4 | VMC_OFFLOAD_ECN;
    nat->cable.gives = VMC_OFFLOAD_CSUM;
    nat->cable.mtu =
        (uint16_t)(making.params->mtu ? CLAMP(making.params->mtu, MTU_MIN, MTU_MAX) : MTU_DEFAULT);
    nat->watched = g_array_new(FALSE, FALSE, sizeof(Watched));
    nat->scratch = g_malloc(VMC_FRAME_MAX);
    nat->timer = vmc_timer_new(io, time_is_up, nat);
    g_queue_init(&nat->waiting);
    nat->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (nat->epoll < 0)
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("Cannot make a NAT for the guest: %s"),
                    g_strerror(errno));
    else
        vmc_io_call_sync(io, make, &making);
    if (making.good)
        return &nat->cable;
    vmc_cable_free(&nat->cable);
    return NULL;
}

/* ---- forwards as text ---- */

static bool parse_port(const char *text, uint16_t *port)
{
    guint64 value;

    if (!g_ascii_string_to_unsigned(text, 10, 1, 65535, &value, NULL))
        return false;
    *port = (uint16_t)value;
    return true;
}

/* "[ADDR:]PORT" into a socket address; `fallback` is for the one without ADDR. */
static bool parse_end(const char *text, const char *fallback, struct sockaddr *any)
{
    const char *colon = strrchr(text, ':');
    char *address = colon ? g_strndup(text, (gsize)(colon - text)) : g_strdup(fallback);
    size_t len = strlen(address);
    uint16_t port;
    bool good = parse_port(colon ? colon + 1 : text, &port);

    if (good && len > 2 && address[0] == '[' && address[len - 1] == ']') {
        struct sockaddr_in6 *six = (struct sockaddr_in6 *)any;
        address[len - 1] = '\0';
        *six = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        good = inet_pton(AF_INET6, address + 1, &six->sin6_addr) == 1;
    } else if (good) {
        struct sockaddr_in *four = (struct sockaddr_in *)any;
        *four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        good = inet_pton(AF_INET, address, &four->sin_addr) == 1;
    }
    g_free(address);
    return good;
}

bool vmc_nat_forward_parse(const char *text, VmcNatForward *forward, GError **error)
{
    const char *rest = text + 4, *dash;
    bool tcp = g_str_has_prefix(text, "tcp:"), good = tcp || g_str_has_prefix(text, "udp:");

    *forward = (VmcNatForward){.udp = !tcp};
    dash = good ? strchr(rest, '-') : NULL;
    if (dash) {
        char *host = g_strndup(rest, (gsize)(dash - rest));
        good = parse_end(host, "127.0.0.1", &forward->host.any) &&
               parse_end(dash + 1, VMC_NAT_GUEST, &forward->guest.any);
        g_free(host);
    }
    if (!good || !dash) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("“%s” is not a port forward; one looks like “tcp:8080-80” or "
                      "“udp:127.0.0.1:5353-10.0.2.15:53”"),
                    text);
        return false;
    }
    if (forward->host.any.sa_family != forward->guest.any.sa_family ||
        (forward->guest.any.sa_family == AF_INET6 &&
         IN6_IS_ADDR_UNSPECIFIED(&forward->guest.in6.sin6_addr))) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("The port forward “%s” has to name an IPv6 address of the guest for an IPv6 address of "
                      "the host, "
                      "and none for an IPv4 one"),
                    text);
        return false;
    }
    return true;
}
