/*
 * What cables are plugged into, with real taps, sockets and servers, and a NIC that is a list of what came.
 *
 * A tap needs root (and a network namespace of its own, so that nothing of the host is touched): without,
 * that part is skipped.
 */
#include "tests/unit/net_frames.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "net/attach.h"
#include "net/offload.h"
#include "vmcore/error.h"

#define TIMEOUT (10 * G_TIME_SPAN_SECOND)

/* ---- a NIC ---- */

typedef struct Nic {
    VmcIo *io;
    VmcCable *cable;
    GMutex lock;
    GCond cond;
    GPtrArray *frames; /* GByteArray */
    GArray *infos;     /* VmcFrameInfo */
    int room;          /* frames it takes; -1: any number */
    unsigned rooms, links;
} Nic;

static bool nic_receive(void *data, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info)
{
    Nic *nic = data;
    size_t len = vmc_iov_length(iov, n_iov);

    g_mutex_lock(&nic->lock);
    bool takes = nic->room != 0;
    if (takes) {
        GByteArray *frame = g_byte_array_new();
        g_byte_array_set_size(frame, (guint)len);
        vmc_iov_copy(iov, n_iov, 0, frame->data, len);
        g_ptr_array_add(nic->frames, frame);
        g_array_append_val(nic->infos, *info);
        nic->room -= nic->room > 0;
        g_cond_broadcast(&nic->cond);
    }
    g_mutex_unlock(&nic->lock);
    return takes;
}

static void note(Nic *nic, unsigned *count)
{
    g_mutex_lock(&nic->lock);
    ++*count;
    g_cond_broadcast(&nic->cond);
    g_mutex_unlock(&nic->lock);
}

static void nic_room(void *data)
{
    note(data, &((Nic *)data)->rooms);
}

static void nic_link_changed(void *data)
{
    note(data, &((Nic *)data)->links);
}

static const VmcNicOps nic_ops = {.receive = nic_receive, .room = nic_room, .link_changed = nic_link_changed};

static void resume(void *data)
{
    vmc_cable_resume(((Nic *)data)->cable);
}

static void let_in(Nic *nic, int frames)
{
    g_mutex_lock(&nic->lock);
    nic->room = frames;
    g_mutex_unlock(&nic->lock);
    vmc_io_call_sync(nic->io, resume, nic);
}

static Nic *nic_new(VmcIo *io, VmcCable *cable)
{
    Nic *nic = g_new0(Nic, 1);

    assert_non_null(cable);
    *nic = (Nic){.io = io, .cable = cable, .room = -1};
    g_mutex_init(&nic->lock);
    g_cond_init(&nic->cond);
    nic->frames = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    nic->infos = g_array_new(FALSE, FALSE, sizeof(VmcFrameInfo));
    vmc_cable_plug(cable, &nic_ops, nic);
    let_in(nic, -1);
    return nic;
}

static void nic_free(Nic *nic)
{
    vmc_cable_free(nic->cable);
    g_ptr_array_unref(nic->frames);
    g_array_unref(nic->infos);
    g_mutex_clear(&nic->lock);
    g_cond_clear(&nic->cond);
    g_free(nic);
}

typedef struct Send {
    Nic *nic;
    const void *frame;
    size_t len;
    const VmcFrameInfo *info;
    bool taken;
} Send;

static void do_send(void *data)
{
    Send *send = data;
    struct iovec iov[2] = {{(void *)(uintptr_t)send->frame, send->len / 2},
                           {(uint8_t *)(uintptr_t)send->frame + send->len / 2, send->len - send->len / 2}};

    send->taken = vmc_cable_send(send->nic->cable, iov, 2, send->info);
    vmc_cable_send_done(send->nic->cable);
}

static bool nic_send(Nic *nic, const void *frame, size_t len, const VmcFrameInfo *info)
{
    Send send = {.nic = nic, .frame = frame, .len = len, .info = info};

    vmc_io_call_sync(nic->io, do_send, &send);
    return send.taken;
}

/* Waits for a frame that begins as `frame` does (`len` bytes of it); returns its number, with all of it taken
 * off the list before. */
static GByteArray *await_frame(Nic *nic, const void *frame, size_t len, VmcFrameInfo *info)
{
    int64_t end = g_get_monotonic_time() + TIMEOUT;
    GByteArray *found = NULL;

    g_mutex_lock(&nic->lock);
    while (!found) {
        while (nic->frames->len && !found) {
            GByteArray *first = g_ptr_array_index(nic->frames, 0);
            if (first->len >= len && !memcmp(first->data, frame, len)) {
                found = g_byte_array_ref(first);
                if (info)
                    *info = g_array_index(nic->infos, VmcFrameInfo, 0);
            }
            g_ptr_array_remove_index(nic->frames, 0);
            g_array_remove_index(nic->infos, 0);
        }
        if (!found && !g_cond_wait_until(&nic->cond, &nic->lock, end))
            break;
    }
    g_mutex_unlock(&nic->lock);
    if (!found)
        fail_msg("the frame did not come");
    return found;
}

static void expect_frame(Nic *nic, const void *frame, size_t len)
{
    GByteArray *got = await_frame(nic, frame, len, NULL);

    assert_int_equal(got->len, len);
    g_byte_array_unref(got);
}

static void expect_count(Nic *nic, unsigned *count, unsigned wanted)
{
    int64_t end = g_get_monotonic_time() + TIMEOUT;

    g_mutex_lock(&nic->lock);
    while (*count < wanted)
        if (!g_cond_wait_until(&nic->cond, &nic->lock, end))
            break;
    unsigned seen = *count;
    g_mutex_unlock(&nic->lock);
    assert_true(seen >= wanted);
}

static void simple_frame(TestFrame *f, uint8_t to, uint8_t from, size_t payload)
{
    make_frame(f, false, 17, 0, false, payload);
    f->bytes[5] = to;
    f->bytes[11] = from;
    if (!to)
        memset(f->bytes, 255, 6);
}

static void expect_error(VmcCable *cable, GError *error, const char *words)
{
    assert_null(cable);
    assert_non_null(error);
    if (!strstr(error->message, words))
        fail_msg("“%s” does not say “%s”", error->message, words);
    g_error_free(error);
}

static int setup(void **state)
{
    *state = vmc_io_new(NULL);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    vmc_io_free(*state);
    return 0;
}

/* ---- sockets ---- */

static void test_descriptor(void **state)
{
    TestFrame *f = g_new0(TestFrame, 1);
    uint8_t *got = g_malloc(FRAME_MAX);
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    Nic *nic = nic_new(*state, vmc_cable_fd_new(*state, pair[1], NULL));
    simple_frame(f, 2, 1, 1000);
    assert_true(nic_send(nic, f->bytes, f->len, NULL));
    assert_int_equal(recv(pair[0], got, FRAME_MAX, 0), f->len);
    assert_memory_equal(got, f->bytes, f->len);
    let_in(nic, 0); /* waits where it is */
    assert_int_equal(send(pair[0], f->bytes, f->len, 0), f->len);
    simple_frame(f, 2, 1, 500);
    assert_int_equal(send(pair[0], f->bytes, f->len, 0), f->len);
    let_in(nic, 1);
    simple_frame(f, 2, 1, 1000);
    expect_frame(nic, f->bytes, f->len);
    let_in(nic, -1);
    simple_frame(f, 2, 1, 500);
    expect_frame(nic, f->bytes, f->len);
    /* Nobody reads: refused, and told when there is room. */
    unsigned sent = 0;
    simple_frame(f, 2, 1, 1400);
    while (sent < 20000 && nic_send(nic, f->bytes, f->len, NULL))
        sent++;
    assert_true(sent < 20000);
    assert_int_equal(nic->rooms, 0);
    for (unsigned i = 0; i < sent; i++)
        assert_int_equal(recv(pair[0], got, FRAME_MAX, MSG_DONTWAIT), f->len);
    expect_count(nic, &nic->rooms, 1);
    /* Too long for a frame, and too short. */
    assert_int_equal(send(pair[0], got, 5, 0), 5);
    memset(got, 0, FRAME_MAX);
    assert_true(vmc_cable_link(nic->cable));
    close(pair[0]);
    nic_send(nic, f->bytes, f->len, NULL);
    expect_count(nic, &nic->links, 1);
    assert_false(vmc_cable_link(nic->cable));
    close(pair[1]);
    nic_free(nic);
    g_free(got);
    g_free(f);
}

static void test_bad_descriptors(void **state)
{
    GError *error = NULL;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), stream = socket(AF_UNIX, SOCK_STREAM, 0);

    VmcCable *cable = vmc_cable_fd_new(*state, 9999, &error);
    expect_error(cable, error, "9999");
    error = NULL;
    cable = vmc_cable_fd_new(*state, null, &error);
    expect_error(cable, error, "neither a tap");
    error = NULL;
    cable = vmc_cable_fd_new(*state, stream, &error);
    expect_error(cable, error, "datagram socket");
    close(null);
    close(stream);
}

/* As gvproxy does it: it learns whom to answer from the first datagram. */
static void test_unix_socket(void **state)
{
    char *folder = g_dir_make_tmp("vmcore-net-XXXXXX", NULL),
         *path = g_build_filename(folder, "net.sock", NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX}, from;
    TestFrame *f = g_new0(TestFrame, 1);
    uint8_t *got = g_malloc(FRAME_MAX);
    socklen_t size = sizeof(from);
    GError *error = NULL;

    VmcCable *cable = vmc_cable_unix_new(*state, path, &error);
    expect_error(cable, error, path);
    int server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    assert_int_equal(bind(server, (struct sockaddr *)&address, sizeof(address)), 0);
    Nic *nic = nic_new(*state, vmc_cable_unix_new(*state, path, NULL));
    assert_int_equal(recvfrom(server, got, FRAME_MAX, 0, (struct sockaddr *)&from, &size), 4);
    assert_memory_equal(got, "VFKT", 4);
    simple_frame(f, 2, 1, 300);
    nic_send(nic, f->bytes, f->len, NULL);
    assert_int_equal(recv(server, got, FRAME_MAX, 0), f->len);
    assert_int_equal(sendto(server, f->bytes, f->len, 0, (struct sockaddr *)&from, size), f->len);
    expect_frame(nic, f->bytes, f->len);
    nic_free(nic);
    close(server);
    unlink(path);
    error = NULL;
    char *longer = g_strdup_printf("/tmp/%0200d", 1);
    cable = vmc_cable_unix_new(*state, longer, &error);
    expect_error(cable, error, "107");
    rmdir(folder);
    g_free(longer);
    g_free(path);
    g_free(folder);
    g_free(got);
    g_free(f);
}

/* ---- host-only ---- */

static char *runtime;

static int host_only_setup(void **state)
{
    runtime = g_dir_make_tmp("vmcore-run-XXXXXX", NULL);
    g_setenv("XDG_RUNTIME_DIR", runtime, TRUE);
    return setup(state);
}

static int host_only_teardown(void **state)
{
    char *command = g_strdup_printf("rm -rf '%s'", runtime);
    int status = system(command);

    g_free(command);
    g_free(runtime);
    teardown(state);
    return status;
}

static unsigned sockets_in(const char *name)
{
    char *folder = g_build_filename(runtime, "espalier", "net", name, NULL);
    GDir *dir = g_dir_open(folder, 0, NULL);
    unsigned n = 0;

    while (dir && g_dir_read_name(dir))
        n++;
    if (dir)
        g_dir_close(dir);
    g_free(folder);
    return n;
}

/* Sends until it arrives: members become known to each other a moment after they came. */
static void reaches(Nic *from, Nic *to, const TestFrame *f)
{
    for (int64_t end = g_get_monotonic_time() + TIMEOUT; g_get_monotonic_time() < end; g_usleep(2000)) {
        nic_send(from, f->bytes, f->len, NULL);
        g_mutex_lock(&to->lock);
        bool came = to->frames->len > 0;
        g_mutex_unlock(&to->lock);
        if (came) {
            expect_frame(to, f->bytes, f->len);
            return;
        }
    }
    fail_msg("nothing came");
}

static void forget_frames(Nic *nic)
{
    g_mutex_lock(&nic->lock);
    g_ptr_array_set_size(nic->frames, 0);
    g_array_set_size(nic->infos, 0);
    g_mutex_unlock(&nic->lock);
}

static void test_host_only(void **state)
{
    TestFrame *f = g_new0(TestFrame, 1);
    VmcFrameInfo info;
    Nic *nics[3];

    for (unsigned i = 0; i < 3; i++)
        nics[i] = nic_new(*state, vmc_cable_host_only_new(*state, "lab", NULL));
    Nic *other = nic_new(*state, vmc_cable_host_only_new(*state, "elsewhere", NULL));
    assert_int_equal(sockets_in("lab"), 3);
    for (uint8_t i = 0; i < 3; i++) {
        simple_frame(f, 0, (uint8_t)(i + 1), 100u + i); /* to all */
        reaches(nics[i], nics[(i + 1) % 3], f);
        reaches(nics[i], nics[(i + 2) % 3], f);
    }
    for (unsigned i = 0; i < 3; i++)
        forget_frames(nics[i]);
    /* By now each knows where the others are: to one only, and large segments as they are. */
    make_frame(f, false, 6, 0, false, 50000);
    f->bytes[5] = 2;
    leave_sum(f, 6);
    VmcFrameInfo large = {.flags = VMC_FRAME_NEEDS_CSUM,
                          .gso_type = VMC_GSO_TCPV4,
                          .gso_size = 1400,
                          .csum_start = (uint16_t)f->transport,
                          .csum_offset = 16};
    vmc_cable_set_offloads(nics[1]->cable, VMC_OFFLOAD_ALL);
    nic_send(nics[0], f->bytes, f->len, &large);
    GByteArray *got = await_frame(nics[1], f->bytes, f->len, &info);
    assert_int_equal(info.gso_size, 1400);
    g_byte_array_unref(got);
    assert_int_equal(nics[2]->frames->len, 0);
    /* To one that does not take them, in pieces. */
    f->bytes[5] = 3;
    nic_send(nics[0], f->bytes, f->len, &large);
    for (size_t offset = 0; offset < 50000; offset += 1400) {
        got = await_frame(nics[2], f->bytes, 14, &info);
        assert_int_equal(info.gso_type, 0);
        assert_int_equal(transport_sum(got->data, got->len, f->ip, f->transport, 6), 0xffff);
        assert_memory_equal(got->data + f->payload, f->bytes + f->payload + offset, got->len - f->payload);
        g_byte_array_unref(got);
    }
    /* One goes; the others go on, and one who comes later meets them. */
    nic_free(nics[0]);
    simple_frame(f, 3, 2, 77);
    reaches(nics[1], nics[2], f);
    nics[0] = nic_new(*state, vmc_cable_host_only_new(*state, "lab", NULL));
    simple_frame(f, 0, 1, 99);
    reaches(nics[0], nics[1], f);
    reaches(nics[0], nics[2], f);
    assert_int_equal(other->frames->len, 0);
    for (unsigned i = 0; i < 3; i++)
        nic_free(nics[i]);
    nic_free(other);
    assert_int_equal(sockets_in("lab"), 0);
    g_free(f);
}

/* A process that is killed leaves its socket behind, which disturbs nobody. */
static void test_host_only_after_a_crash(void **state)
{
    TestFrame *f = g_new0(TestFrame, 1);
    int pipes[2];
    char byte;

    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (!child) {
        VmcIo *io = vmc_io_new(NULL);
        if (io && vmc_cable_host_only_new(io, "lab", NULL) && write(pipes[1], "", 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    Nic *one = nic_new(*state, vmc_cable_host_only_new(*state, "lab", NULL));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(sockets_in("lab"), 2);
    Nic *two = nic_new(*state, vmc_cable_host_only_new(*state, "lab", NULL));
    assert_int_equal(sockets_in("lab"), 2);
    simple_frame(f, 0, 1, 50);
    reaches(one, two, f);
    simple_frame(f, 0, 2, 51);
    reaches(two, one, f);
    nic_free(one);
    nic_free(two);
    close(pipes[0]);
    close(pipes[1]);
    g_free(f);
}

/* A member that reads nothing does not hold up the others. */
static void test_host_only_with_one_asleep(void **state)
{
    TestFrame *f = g_new0(TestFrame, 1);
    Nic *nics[3];

    for (unsigned i = 0; i < 3; i++)
        nics[i] = nic_new(*state, vmc_cable_host_only_new(*state, "lab", NULL));
    simple_frame(f, 0, 1, 60);
    reaches(nics[0], nics[1], f);
    reaches(nics[0], nics[2], f);
    let_in(nics[2], 0);
    for (unsigned i = 0; i < 3000; i++) {
        simple_frame(f, 0, 1, 1400);
        assert_true(nic_send(nics[0], f->bytes, f->len, NULL));
    }
    simple_frame(f, 0, 1, 61);
    reaches(nics[0], nics[1], f);
    forget_frames(nics[2]);
    let_in(nics[2], -1);
    simple_frame(f, 0, 1, 62);
    for (unsigned i = 0; i < 3; i++)
        nic_free(nics[i]);
    g_free(f);
}

static void test_host_only_refuses_strangers(void **state)
{
    static const char *const wrong[] = {
        "", ".", "..", "a/b", "../../etc", "a b", "123456789012345678901234567890123"};
    char *folder = g_build_filename(runtime, "espalier", "net", "lab", NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        GError *error = NULL;
        VmcCable *cable = vmc_cable_host_only_new(*state, wrong[i], &error);
        expect_error(cable, error, "host-only");
    }
    /* A folder that others can write to may have been laid out for us. */
    assert_int_equal(g_mkdir_with_parents(folder, 0700), 0);
    assert_int_equal(g_chmod(folder, 0777), 0);
    GError *error = NULL;
    VmcCable *cable = vmc_cable_host_only_new(*state, "lab", &error);
    expect_error(cable, error, "0700");
    assert_int_equal(g_chmod(folder, 0700), 0);

    /* Somebody who does not introduce himself, or talks nonsense, is shown the door. */
    Nic *nic = nic_new(*state, vmc_cable_host_only_new(*state, "lab", NULL));
    GDir *dir = g_dir_open(folder, 0, NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", folder, g_dir_read_name(dir));
    for (unsigned i = 0; i < 3; i++) {
        static const char hello[20] = "ESN10123456789abcdef", *const words[] = {"hello?", hello, hello};
        static const size_t lens[] = {6, 20, 20};
        char bytes[70000] = "";
        int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), 20);
        assert_int_equal(send(fd, words[i], lens[i], 0), lens[i]);
        if (i)
            send(fd, bytes, i == 1 ? 5 : 66000, MSG_NOSIGNAL);
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, 10000), 1);
        assert_true(recv(fd, bytes, sizeof(bytes), 0) <= 0);
        close(fd);
    }
    assert_int_equal(nic->frames->len, 0);
    nic_free(nic);
    g_dir_close(dir);
    g_free(folder);
}

/* ---- NAT ---- */

static void test_forwards_are_parsed(void **state)
{
    static const char *const wrong[] = {"",
                                        "80-80",
                                        "tcp:80",
                                        "tcp:0-80",
                                        "tcp:80-0",
                                        "tcp:70000-80",
                                        "tcp:a:80-80",
                                        "sctp:80-80",
                                        "tcp:80-80x",
                                        "tcp:1.2.3:80-1",
                                        "tcp:[::1:80-80",
                                        "tcp:[::1]:80-80",
                                        "tcp:80-[fec0::1]:80",
                                        "tcp:[::1]:80-[::]:80"};
    VmcNatForward forward;

    assert_true(vmc_nat_forward_parse("tcp:8080-80", &forward, NULL));
    assert_false(forward.udp);
    assert_int_equal(forward.host.in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    assert_int_equal(ntohs(forward.host.in.sin_port), 8080);
    assert_int_equal(forward.guest.in.sin_addr.s_addr, htonl(0x0a00020f));
    assert_int_equal(ntohs(forward.guest.in.sin_port), 80);
    assert_true(vmc_nat_forward_parse("udp:0.0.0.0:53-10.0.2.9:5353", &forward, NULL));
    assert_true(forward.udp);
    assert_int_equal(forward.host.in.sin_addr.s_addr, 0);
    assert_int_equal(forward.guest.in.sin_addr.s_addr, htonl(0x0a000209));
    assert_true(vmc_nat_forward_parse("tcp:[::1]:2222-[fec0::15]:22", &forward, NULL));
    assert_int_equal(forward.host.any.sa_family, AF_INET6);
    assert_int_equal(ntohs(forward.guest.in6.sin6_port), 22);
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        GError *error = NULL;
        if (vmc_nat_forward_parse(wrong[i], &forward, &error))
            fail_msg("“%s” was taken for a forward", wrong[i]);
        assert_non_null(strstr(error->message, wrong[i]));
        g_error_free(error);
    }
}

static uint16_t free_port(int family, int type)
{
    struct sockaddr_in6 address = {.sin6_family = (sa_family_t)family};
    socklen_t size = sizeof(address);
    int fd = socket(family, type, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin6_port); /* at the same place in both families */
}

static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 0, 0, 1};

/* The guest says where it is. */
static void say_where(Nic *nic)
{
    uint8_t arp[42] = {0};

    memset(arp, 255, 6);
    memcpy(arp + 6, guest_mac, 6);
    memcpy(arp + 12, "\x08\x06\0\1\10\0\6\4\0\1", 10);
    memcpy(arp + 22, guest_mac, 6);
    memcpy(arp + 28, "\12\0\2\17", 4);
    memcpy(arp + 38, "\12\0\2\2", 4);
    nic_send(nic, arp, sizeof(arp), NULL);
}

static GByteArray *await_protocol(Nic *nic, uint8_t protocol)
{
    for (;;) {
        GByteArray *got = await_frame(nic, guest_mac, 6, NULL);
        if (got->len >= 46 && get16(got->data + 12) == 0x0800 && got->data[23] == protocol)
            return got;
        g_byte_array_unref(got);
    }
}

/* A datagram and a connection to the host's ports come out at the guest's; a port that is taken is said to be
 * so. */
static void test_nat_forward(void **state)
{
    char *udp = g_strdup_printf("udp:%u-7", free_port(AF_INET, SOCK_DGRAM));
    char *tcp = g_strdup_printf("tcp:%u-7777", free_port(AF_INET, SOCK_STREAM));
    VmcNatForward forwards[2];
    GError *error = NULL;

    assert_true(vmc_nat_forward_parse(udp, &forwards[0], NULL));
    assert_true(vmc_nat_forward_parse(tcp, &forwards[1], NULL));
    VmcNatParams params = {.forwards = forwards, .n_forwards = 2};
    Nic *nic = nic_new(*state, vmc_cable_nat_new(*state, &params, NULL));
    VmcCable *second = vmc_cable_nat_new(*state, &params, &error);
    expect_error(second, error, "UDP port");

    say_where(nic);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(sendto(fd, "ping", 4, 0, &forwards[0].host.any, sizeof(forwards[0].host.in)), 4);
    GByteArray *got = await_protocol(nic, 17);
    assert_int_equal(get16(got->data + 36), 7);
    assert_memory_equal(got->data + 42, "ping", 4);
    g_byte_array_unref(got);
    close(fd);

    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, &forwards[1].host.any, sizeof(forwards[1].host.in)), 0);
    got = await_protocol(nic, 6);
    assert_int_equal(get16(got->data + 36), 7777);
    assert_int_equal(got->data[47], 2); /* SYN */
    g_byte_array_unref(got);
    close(fd);
    nic_free(nic);
    g_free(udp);
    g_free(tcp);
}

/* A guest that sends rubbish at the network harms nobody. */
static void test_nat_survives_rubbish(void **state)
{
    TestFrame *f = g_new0(TestFrame, 1);
    VmcNatParams params = {.mtu = 9000};
    Nic *nic = nic_new(*state, vmc_cable_nat_new(*state, &params, NULL));
    GRand *rand = g_rand_new_with_seed(4);

    assert_int_equal(nic->cable->mtu, 9000);
    for (unsigned i = 0; i < 3000; i++) {
        make_frame(f, i & 1, i % 3 ? 17 : 6, 0, i & 8, (size_t)g_rand_int_range(rand, 0, 2000));
        for (unsigned spoiled = 0; spoiled < 3; spoiled++)
            f->bytes[g_rand_int_range(rand, 0, 90)] = (uint8_t)g_rand_int(rand);
        if (i % 7 == 0)
            put16(f->bytes + 12, 0x0806);
        nic_send(nic, f->bytes, i % 5 ? f->len : (size_t)g_rand_int_range(rand, 0, 70), NULL);
    }
    make_frame(f, false, 17, 0, false, FRAME_MAX - 14 - 28);
    nic_send(nic, f->bytes, FRAME_MAX, NULL);
    g_rand_free(rand);
    nic_free(nic);
    g_free(f);
}

/* A guest that is silent costs nothing. */
static void test_nat_idles(void **state)
{
    Nic *nic = nic_new(*state, vmc_cable_nat_new(*state, NULL, NULL));
    struct rusage before, after;

    g_usleep(50000);
    getrusage(RUSAGE_SELF, &before);
    g_usleep(400000);
    getrusage(RUSAGE_SELF, &after);
    long used = (after.ru_utime.tv_usec - before.ru_utime.tv_usec) +
                (after.ru_stime.tv_usec - before.ru_stime.tv_usec) +
                1000000 * ((after.ru_utime.tv_sec - before.ru_utime.tv_sec) +
                           (after.ru_stime.tv_sec - before.ru_stime.tv_sec));
    assert_true(used < 20000); /* µs of 400,000 */
    nic_free(nic);
}

/* ---- taps ---- */

static bool run(const char *command)
{
    return system(command) == 0;
}

/* A namespace of its own for this process from here on. */
static bool own_network(void)
{
    static int done = -1;

    if (done < 0)
        done = geteuid() == 0 && !access("/dev/net/tun", R_OK | W_OK) && !unshare(CLONE_NEWNET) &&
               run("ip tuntap add dev vmctap0 mode tap 2>/dev/null && ip addr add 10.9.0.1/24 dev vmctap0 && "
                   "ip link set vmctap0 mtu 1400 up && ip tuntap add dev vmctap1 mode tap multi_queue");
    return done;
}

static void needs_a_network(void)
{
    if (!own_network()) {
        print_message("needs root, /dev/net/tun, iproute2 and a network namespace\n");
        skip();
    }
}

/* A packet socket on the tap's side of the host. */
static int packets(const char *interface)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(0x0003),
                                  .sll_ifindex = (int)if_nametoindex(interface)};
    int fd = socket(AF_PACKET, SOCK_RAW, htons(0x0003));

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void test_tap(void **state)
{
    uint8_t *got = g_malloc(FRAME_MAX);
    TestFrame *f = g_new0(TestFrame, 1);
    GError *error = NULL;
    ssize_t len;

    needs_a_network();
    Nic *nic = nic_new(*state, vmc_cable_tap_new(*state, "vmctap0", NULL));
    assert_int_equal(nic->cable->mtu, 1400);
    assert_true(nic->cable->takes & VMC_OFFLOAD_TSO4);
    int host = packets("vmctap0");
    /* A large segment stays one on this wire: the kernel takes it as it is. */
    make_frame(f, false, 6, 0, false, 20000);
    leave_sum(f, 6);
    VmcFrameInfo info = {.flags = VMC_FRAME_NEEDS_CSUM,
                         .gso_type = VMC_GSO_TCPV4,
                         .gso_size = 1300,
                         .hdr_len = (uint16_t)f->payload,
                         .csum_start = (uint16_t)f->transport,
                         .csum_offset = 16};
    nic_send(nic, f->bytes, f->len, &info);
    do {
        struct pollfd ready = {.fd = host, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, 10000), 1);
        len = recv(host, got, FRAME_MAX, 0);
    } while (len > 0 && memcmp(got, f->bytes, 12) != 0);
    assert_int_equal(len, f->len);
    /* And the other way. */
    simple_frame(f, 7, 8, 200);
    assert_int_equal(send(host, f->bytes, f->len, 0), f->len);
    expect_frame(nic, f->bytes, f->len);
    vmc_cable_set_offloads(nic->cable, VMC_OFFLOAD_CSUM | VMC_OFFLOAD_TSO4);
    close(host);

    VmcCable *second = vmc_cable_tap_new(*state, "vmctap0", &error);
    expect_error(second, error, "in use");
    error = NULL;
    second = vmc_cable_tap_new(*state, "lo", &error);
    expect_error(second, error, "not a tap");
    second = vmc_cable_tap_new(*state, "vmctap1", NULL);
    assert_non_null(second);
    vmc_cable_free(second);
    /* It is deleted under us. */
    assert_true(run("ip link del vmctap0"));
    expect_count(nic, &nic->links, 1);
    assert_false(vmc_cable_link(nic->cable));
    nic_send(nic, f->bytes, f->len, NULL);
    nic_free(nic);
    g_free(got);
    g_free(f);
}

static void test_no_such_tap(void **state)
{
    static const char *const names[] = {"", "vmcnone", "vmc%d", "a-name-that-is-too-long-for-it"};

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        GError *error = NULL;
        VmcCable *cable = vmc_cable_tap_new(*state, names[i], &error);
        expect_error(cable, error, "sudo ip tuntap add");
    }
}

/* A helper as qemu-bridge-helper is: it gets a tap and sends its descriptor. */
static const char helper_script[] =
    "#!/usr/bin/python3\n"
    "import array, fcntl, os, socket, struct, sys\n"
    "bridge = [a for a in sys.argv if a.startswith('--br=')][0][5:]\n"
    "if bridge != 'vmcbr0': sys.exit('access denied by acl file')\n"
    "assert '--use-vnet' in sys.argv and '--fd=3' in sys.argv\n"
    "tap = os.open('/dev/net/tun', os.O_RDWR)\n"
    "fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH22x', b'vmctap%d', 0x5002))\n"
    "s = socket.socket(fileno=3)\n"
    "s.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [tap]))])\n";

static void test_bridge(void **state)
{
    char *path = g_build_filename(g_get_tmp_dir(), "vmcore-bridge-helper", NULL);
    GError *error = NULL;

    VmcCable *cable = vmc_cable_bridge_new(*state, "vmcnobr", NULL, &error);
    expect_error(cable, error, "vmcnobr");
    needs_a_network();
    assert_true(run("ip link add vmcbr0 type bridge && ip link add vmcbr1 type bridge"));
    error = NULL;
    cable = vmc_cable_bridge_new(*state, "vmcbr0", "/nonexistent/helper", &error);
    expect_error(cable, error, "master vmcbr0");
    assert_true(g_file_set_contents(path, helper_script, -1, NULL));
    assert_int_equal(g_chmod(path, 0700), 0);
    error = NULL;
    cable = vmc_cable_bridge_new(*state, "vmcbr1", path, &error);
    expect_error(cable, error, "access denied");
    cable = vmc_cable_bridge_new(*state, "vmcbr0", path, &error);
    assert_non_null(cable);
    assert_true(cable->takes & VMC_OFFLOAD_TSO6);
    vmc_cable_free(cable);
    g_remove(path);
    g_free(path);
}

int main(void)
{
#define HOST_ONLY(test) cmocka_unit_test_setup_teardown(test, host_only_setup, host_only_teardown)
#define CASE(test)      cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_descriptor),
        CASE(test_bad_descriptors),
        CASE(test_unix_socket),
        HOST_ONLY(test_host_only),
        HOST_ONLY(test_host_only_after_a_crash),
        HOST_ONLY(test_host_only_with_one_asleep),
        HOST_ONLY(test_host_only_refuses_strangers),
        CASE(test_forwards_are_parsed),
        CASE(test_nat_forward),
        CASE(test_nat_survives_rubbish),
        CASE(test_nat_idles),
        CASE(test_no_such_tap),
        CASE(test_tap),
        CASE(test_bridge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
