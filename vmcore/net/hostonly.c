/*
 * A network between the machines of one user, by name, without the host in it.
 *
 * There is no hub that could go away. Each member listens on a socket of its own (SOCK_SEQPACKET: one message
 * is one frame) in the network's folder, $XDG_RUNTIME_DIR/espalier/net/NAME, and is connected to every other:
 * who comes connects to all whose sockets it finds. Each is the port of a switch that all of them are
 * together: it learns which addresses are behind which member and sends to that one, or to all.
 *
 * A socket gets its name only when it listens, so one that refuses belongs to a dead process and is removed.
 * Two that come at the same time may connect to each other; both then keep the connection that the one with
 * the lower name began. A member that cannot be reached now (its backlog is full) is tried again a little
 * later.
 *
 * A member that does not read holds up nobody: what it has no room for waits in a short queue and is then
 * lost, as in any switch.
 *
 * Only this user gets in: the folders are the user's alone, and the credentials of the other end of every
 * connection are looked at. Even so each message is checked as if a guest had sent it.
 *
 * Threads: the I/O thread.
 */
#include "net/attach.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/i18n.h"
#include "net/offload.h"
#include "vmcore/error.h"

#define NAME_MAX_HERE  32u
#define ID_CHARS       16u /* of a member's name: hexadecimal */
#define MEMBERS_MAX    32u
#define BACKLOG        64
#define MACS           1024u      /* a power of two */
#define WAITING_BYTES  (1u << 20) /* for one member */
#define BUFFER_BYTES   (1 << 20)
#define FRAMES_AT_ONCE 64u
#define IOV_MAX_HERE   256u
#define RETRY_NS       200000000ull

#define HELLO_MAGIC 0x314e5345u /* "ESN1" */

/* The first message each way. */
typedef struct Hello {
    uint32_t magic; /* little-endian, as all */
    char id[ID_CHARS];
} Hello;

/* Before each frame: VmcFrameInfo, little-endian. */
typedef struct FrameHeader {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset;
} FrameHeader;

_Static_assert(sizeof(Hello) == 20 && sizeof(FrameHeader) == 10, "what goes over the sockets");

typedef struct Message {
    size_t len;
    uint8_t bytes[];
} Message;

typedef struct Net Net;

typedef struct Member {
    Net *net;
    int fd;
    bool began;            /* by us */
    char id[ID_CHARS + 1]; /* empty until its hello */
    GSource *in_watch, *out_watch;
    GQueue waiting; /* Message */
    size_t waiting_bytes;
} Member;

typedef struct MacEntry {
    uint8_t mac[VMC_MAC_BYTES];
    Member *member; /* NULL: free */
} MacEntry;

struct Net {
    VmcCable cable;
    char *folder, *path; /* ours */
    char id[ID_CHARS + 1];
    int listener;
    GSource *listen_watch;
    VmcTimer *retry;
    GPtrArray *members; /* Member */
    MacEntry macs[MACS];

    bool resumed; /* the NIC takes frames */
    bool waiting; /* `buffer` holds a frame that it has refused */
    size_t len;   /* of the message in `buffer` */
    uint8_t *buffer;
    uint8_t *flatten; /* a message in one piece */
};

static gboolean member_readable(gint fd, GIOCondition condition, gpointer data);

/* ---- which address is behind which member ---- */

static MacEntry *mac_entry(Net *net, const uint8_t *mac)
{
    uint32_t low = (uint32_t)mac[2] << 24 | (uint32_t)mac[3] << 16 | (uint32_t)mac[4] << 8 | mac[5];

    return &net->macs[low * 2654435761u >> 22 & (MACS - 1)];
}

static void learn(Net *net, const uint8_t *mac, Member *member)
{
    MacEntry *entry = mac_entry(net, mac);

    if (mac[0] & 1)
        return;
    memcpy(entry->mac, mac, VMC_MAC_BYTES);
    entry->member = member;
}

static Member *lookup(Net *net, const uint8_t *mac)
{
    MacEntry *entry = mac_entry(net, mac);

    return !(mac[0] & 1) && !memcmp(entry->mac, mac, VMC_MAC_BYTES) ? entry->member : NULL;
}

static void forget(Net *net, const Member *member)
{
    for (unsigned i = 0; i < MACS; i++)
        if (net->macs[i].member == member)
            net->macs[i] = (MacEntry){0};
}

/* ---- members ---- */

static void member_free(gpointer data)
{
    Member *member = data;

    vmc_io_unwatch(&member->in_watch);
    vmc_io_unwatch(&member->out_watch);
    g_queue_clear_full(&member->waiting, g_free);
    close(member->fd);
    g_free(member);
}

/* It has left, or is not one of us. */
static void drop_member(Member *member)
{
    Net *net = member->net;

    forget(net, member);
    g_ptr_array_remove_fast(net->members, member);
}

static bool same_user(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) && peer.uid == getuid();
}

/* Owns `fd`. */
static void add_member(Net *net, int fd, bool began)
{
    Hello hello = {.magic = GUINT32_TO_LE(HELLO_MAGIC)};
    int bytes = BUFFER_BYTES;

    memcpy(hello.id, net->id, sizeof(hello.id));
    if (!same_user(fd) || net->members->len >= MEMBERS_MAX ||
        send(fd, &hello, sizeof(hello), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(hello)) {
        close(fd);
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    Member *member = g_new0(Member, 1);
    *member = (Member){.net = net, .fd = fd, .began = began};
    g_queue_init(&member->waiting);
    g_ptr_array_add(net->members, member);
    /* The hello is read even while the NIC takes nothing. */
    vmc_io_watch(net->cable.io, &member->in_watch, fd, G_IO_IN | G_IO_HUP, member_readable, member);
}

static gboolean listener_readable(gint fd, GIOCondition condition, gpointer data)
{
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (peer >= 0)
        add_member(data, peer, false);
    return G_SOURCE_CONTINUE;
}

/* Of two connections to one member, the one stays that the lower name began. Returns whether `member` is
 * still there. */
static bool settle_doubles(Member *member)
{
    Net *net = member->net;

    for (guint i = 0; i < net->members->len; i++) {
        Member *other = g_ptr_array_index(net->members, i);
        if (other == member || strcmp(other->id, member->id) != 0)
            continue;
        bool ours_stays = strcmp(net->id, member->id) < 0;
        Member *loser = member->began == ours_stays ? other : member;
        drop_member(loser);
        return loser != member;
    }
    return true;
}

/* The first message of a member. False: it is gone. */
static bool read_hello(Member *member)
{
    Hello hello;
    ssize_t got = recv(member->fd, &hello, sizeof(hello), MSG_DONTWAIT);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got != sizeof(hello) || hello.magic != GUINT32_TO_LE(HELLO_MAGIC)) {
        drop_member(member);
        return false;
    }
    for (unsigned i = 0; i < ID_CHARS; i++)
        member->id[i] = g_ascii_isxdigit(hello.id[i]) ? hello.id[i] : '0';
    return settle_doubles(member);
}

/* ---- to the others ---- */

static ssize_t send_message(Member *member, const struct iovec *iov, unsigned n_iov)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n_iov};
    ssize_t done;

    do
        done = sendmsg(member->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (done < 0 && errno == EINTR);
    return done;
}

static gboolean member_writable(gint fd, GIOCondition condition, gpointer data)
{
    Member *member = data;
    Message *message;

    while ((message = g_queue_peek_head(&member->waiting))) {
        struct iovec iov = {message->bytes, message->len};
        if (send_message(member, &iov, 1) < 0 && errno == EAGAIN)
            return G_SOURCE_CONTINUE;
        member->waiting_bytes -= message->len;
        g_free(g_queue_pop_head(&member->waiting));
    }
    vmc_io_unwatch(&member->out_watch);
    return G_SOURCE_REMOVE;
}

/* That a member has gone is noticed where it is read. */
static void send_to(Member *member, const struct iovec *iov, unsigned n_iov, size_t len)
{
    if (g_queue_is_empty(&member->waiting) && (send_message(member, iov, n_iov) >= 0 || errno != EAGAIN))
        return;
    if (member->waiting_bytes + len > WAITING_BYTES)
        return;
    Message *message = g_malloc(sizeof(*message) + len);
    message->len = vmc_iov_copy(iov, n_iov, 0, message->bytes, len);
    g_queue_push_tail(&member->waiting, message);
    member->waiting_bytes += len;
    vmc_io_watch(member->net->cable.io, &member->out_watch, member->fd, G_IO_OUT, member_writable, member);
}

static FrameHeader make_header(const VmcFrameInfo *info)
{
    return (FrameHeader){
        .flags = info->flags,
        .gso_type = info->gso_type,
        .hdr_len = GUINT16_TO_LE(info->hdr_len),
        .gso_size = GUINT16_TO_LE(info->gso_size),
        .csum_start = GUINT16_TO_LE(info->csum_start),
        .csum_offset = GUINT16_TO_LE(info->csum_offset),
    };
}

static bool net_send(VmcCable *cable, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info)
{
    Net *net = (Net *)cable;
    struct iovec all[IOV_MAX_HERE + 1];
    FrameHeader header = make_header(info);
    uint8_t to[VMC_MAC_BYTES];
    unsigned n;

    vmc_iov_copy(iov, n_iov, 0, to, sizeof(to));
    all[0] = (struct iovec){&header, sizeof(header)};
    if (n_iov > IOV_MAX_HERE) {
        all[1] = (struct iovec){net->flatten, vmc_iov_copy(iov, n_iov, 0, net->flatten, VMC_FRAME_MAX)};
        n = 2;
    } else {
        memcpy(&all[1], iov, n_iov * sizeof(*iov));
        n = n_iov + 1;
    }
    size_t len = vmc_iov_length(all, n);
    Member *only = lookup(net, to);
    if (only) {
        send_to(only, all, n, len);
        return true;
    }
    for (guint i = 0; i < net->members->len; i++)
        send_to(g_ptr_array_index(net->members, i), all, n, len);
    return true;
}

/* ---- from the others ---- */

/* Gives the message in `buffer` to the NIC. */
static bool give_message(Net *net)
{
    FrameHeader header;

    memcpy(&header, net->buffer, sizeof(header));
    VmcFrameInfo info = {
        .flags = header.flags & VMC_FRAME_NEEDS_CSUM,
        .gso_type = header.gso_type,
        .hdr_len = GUINT16_FROM_LE(header.hdr_len),
        .gso_size = GUINT16_FROM_LE(header.gso_size),
        .csum_start = GUINT16_FROM_LE(header.csum_start),
        .csum_offset = GUINT16_FROM_LE(header.csum_offset),
    };
    struct iovec iov = {net->buffer + sizeof(header), net->len - sizeof(header)};
    return vmc_cable_deliver(&net->cable, &iov, 1, &info);
}

/* Stops reading from all, or goes on; those of whom nothing is known yet are read all the same. */
static void set_resumed(Net *net, bool resumed)
{
    net->resumed = resumed;
    for (guint i = 0; i < net->members->len; i++) {
        Member *member = g_ptr_array_index(net->members, i);
        if (resumed || !*member->id)
            vmc_io_watch(net->cable.io, &member->in_watch, member->fd, G_IO_IN | G_IO_HUP, member_readable,
                         member);
        else
            vmc_io_unwatch(&member->in_watch);
    }
}

typedef enum Got { GOT_FRAME, GOT_NOTHING, GOT_END } Got;

static Got read_message(Member *member)
{
    Net *net = member->net;
    ssize_t got = recv(member->fd, net->buffer, sizeof(FrameHeader) + VMC_FRAME_MAX + 1, MSG_DONTWAIT);

    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? GOT_NOTHING : GOT_END;
    if ((size_t)got < sizeof(FrameHeader) + VMC_FRAME_MIN ||
        (size_t)got > sizeof(FrameHeader) + VMC_FRAME_MAX)
        return GOT_END;
    net->len = (size_t)got;
    learn(net, net->buffer + sizeof(FrameHeader) + VMC_MAC_BYTES, member);
    return GOT_FRAME;
}

static gboolean member_readable(gint fd, GIOCondition condition, gpointer data)
{
    Member *member = data;
    Net *net = member->net;
    Got got = GOT_FRAME;

    if (!*member->id) {
        if (read_hello(member) && *member->id && !net->resumed)
            vmc_io_unwatch(&member->in_watch);
        return G_SOURCE_CONTINUE;
    }
    for (unsigned i = 0; i < FRAMES_AT_ONCE && got == GOT_FRAME && !net->waiting; i++) {
        got = read_message(member);
        net->waiting = got == GOT_FRAME && !give_message(net);
    }
    vmc_cable_deliver_done(&net->cable);
    if (net->waiting)
        set_resumed(net, false);
    if (got == GOT_END)
        drop_member(member);
    return G_SOURCE_CONTINUE;
}

static void net_resume(VmcCable *cable)
{
    Net *net = (Net *)cable;

    if (net->waiting) {
        net->waiting = !give_message(net);
        vmc_cable_deliver_done(cable);
    }
    if (net->resumed == net->waiting)
        set_resumed(net, !net->waiting);
}

/* Goes on reading: what comes before resume is refused and dropped by the cable, so nothing old is there
 * then. */
static void net_stop(VmcCable *cable)
{
    Net *net = (Net *)cable;

    net->waiting = false;
    set_resumed(net, false);
}

/* ---- coming and going ---- */

static bool connect_to(Net *net, const char *id)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char *path = g_strdup_printf("%s/%s", net->folder, id);
    bool again = false;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) < sizeof(address.sun_path)) {
        if (!connect(fd, (struct sockaddr *)&address, sizeof(address))) {
            add_member(net, fd, true);
            fd = -1;
        } else if (errno == ECONNREFUSED) {
            unlink(path); /* dead: it was listening before it had this name */
        } else {
            again = errno == EAGAIN;
        }
    }
    if (fd >= 0)
        close(fd);
    g_free(path);
    return again;
}

static bool is_id(const char *name)
{
    return strlen(name) == ID_CHARS && strspn(name, "0123456789abcdef") == ID_CHARS;
}

static bool known(const Net *net, const char *id)
{
    for (guint i = 0; i < net->members->len; i++)
        if (!strcmp(((const Member *)g_ptr_array_index(net->members, i))->id, id))
            return true;
    return !strcmp(net->id, id);
}

static void look_for_others(Net *net)
{
    GDir *folder = g_dir_open(net->folder, 0, NULL);
    const char *name;
    bool again = false;

    while (folder && (name = g_dir_read_name(folder)))
        if (is_id(name) && !known(net, name))
            again |= connect_to(net, name);
    if (folder)
        g_dir_close(folder);
    if (again)
        vmc_timer_arm(net->retry, vmc_now_ns() + RETRY_NS);
}

static void retry(void *data)
{
    look_for_others(data);
}

static void join(void *data)
{
    Net *net = data;

    vmc_io_watch(net->cable.io, &net->listen_watch, net->listener, G_IO_IN, listener_readable, net);
    look_for_others(net);
}

static void net_free(VmcCable *cable)
{
    Net *net = (Net *)cable;

    if (net->path)
        unlink(net->path);
    vmc_io_unwatch(&net->listen_watch);
    vmc_timer_free(net->retry);
    g_ptr_array_free(net->members, TRUE);
    if (net->listener >= 0)
        close(net->listener);
    g_free(net->folder);
    g_free(net->path);
    g_free(net->buffer);
    g_free(net->flatten);
    vmc_cable_clear(cable);
    g_free(net);
}

static const VmcCableOps net_ops = {
    .name = "host-only",
    .send = net_send,
    .resume = net_resume,
    .stop = net_stop,
    .free = net_free,
};

bool vmc_host_only_check_name(const char *name, GError **error)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(name);

    if (len && len <= NAME_MAX_HERE && strspn(name, allowed) == len && name[0] != '.')
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                _("“%s” cannot be the name of a host-only network; it takes 1 to %u letters, digits, “-”, "
                  "“_” and “.”, "
                  "and does not begin with “.”"),
                name, NAME_MAX_HERE);
    return false;
}

/* Every folder on the way that is only for us is made for the user alone, and it has to be the user's alone:
 * in /tmp, somebody else may have made it before. */
static bool make_folder(const char *path, GError **error)
{
    struct stat st;

    if (g_mkdir_with_parents(path, 0700) || lstat(path, &st)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("Cannot make the folder “%s” for host-only networks: %s"), path, g_strerror(errno));
        return false;
    }
    if (S_ISDIR(st.st_mode) && st.st_uid == getuid() && !(st.st_mode & 077))
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                _("The folder “%s” for host-only networks has to belong to you alone (mode 0700); remove it"),
                path);
    return false;
}

static char *find_folder(const char *name, GError **error)
{
    const char *run = g_getenv("XDG_RUNTIME_DIR");
    char *base = run && g_path_is_absolute(run) && g_file_test(run, G_FILE_TEST_IS_DIR)
                     ? g_build_filename(run, "espalier", NULL)
                     : g_strdup_printf("/tmp/espalier-%u", (unsigned)getuid());
    char *net = g_build_filename(base, "net", NULL), *folder = g_build_filename(net, name, NULL);
    bool good = make_folder(base, error) && make_folder(net, error) && make_folder(folder, error);

    g_free(base);
    g_free(net);
    if (!good)
        g_clear_pointer(&folder, g_free);
    return folder;
}

/* Under a name that nobody looks at until it listens. */
static bool listen_in(Net *net, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char *early = g_strdup_printf("%s/.%s", net->folder, net->id);
    bool fits = g_strlcpy(address.sun_path, early, sizeof(address.sun_path)) < sizeof(address.sun_path);

    net->path = g_strdup_printf("%s/%s", net->folder, net->id);
    net->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    errno = fits ? errno : ENAMETOOLONG;
    bool good = fits && net->listener >= 0 &&
                !bind(net->listener, (struct sockaddr *)&address, sizeof(address)) &&
                !listen(net->listener, BACKLOG) && !rename(early, net->path);
    if (!good)
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("Cannot join the host-only network in “%s”: %s"),
                    net->folder, g_strerror(errno));
    g_free(early);
    return good;
}

/* The kernel's random numbers: GLib's go on the same in a process and its forked child. */
static void make_id(Net *net)
{
    uint64_t number;

    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        number = (uint64_t)g_random_int() << 32 | (uint32_t)getpid();
    g_snprintf(net->id, sizeof(net->id), "%016" G_GINT64_MODIFIER "x", number);
}

VmcCable *vmc_cable_host_only_new(VmcIo *io, const char *name, GError **error)
{
    if (!vmc_host_only_check_name(name, error))
        return NULL;
    Net *net = g_new0(Net, 1);
    vmc_cable_init(&net->cable, &net_ops, io);
    net->cable.takes = net->cable.gives = VMC_OFFLOAD_ALL;
    net->listener = -1;
    net->members = g_ptr_array_new_with_free_func(member_free);
    net->retry = vmc_timer_new(io, retry, net);
    net->buffer = g_malloc(sizeof(FrameHeader) + VMC_FRAME_MAX + 1);
    net->flatten = g_malloc(VMC_FRAME_MAX);
    make_id(net);
    net->folder = find_folder(name, error);
    if (!net->folder || !listen_in(net, error)) {
        vmc_cable_free(&net->cable);
        return NULL;
    }
    vmc_io_call_sync(io, join, net);
    return &net->cable;
}
