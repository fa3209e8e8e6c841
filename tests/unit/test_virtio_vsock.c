/* virtio-vsock as a guest uses it, with real Unix sockets at the other end. */
#include "tests/unit/virtio_rig.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/unix_socket.h"

#define RX           0u
#define TX           1u
#define EVENT        2u
#define SIZE         64u
#define ROOM         4096u
#define CID          3u
#define HOST         2u
#define LISTEN_PORT  5u            /* the guest connects to it */
#define CONNECT_PORT 6u            /* the guest listens at it */
#define CREDIT       (256 * 1024u) /* what our guest has room for */

typedef struct virtio_vsock_hdr Header;

typedef struct Vsock {
    Rig rig;
    char *dir, *service, *door; /* the socket the guest gets to, and the one by which the guest is got to */
    VmcUnixListener *listener;
    uint64_t room[SIZE];
    unsigned offered, taken;
    uint32_t forwarded; /* what our guest has taken in on the latest connection */
    uint64_t buffer;    /* what the guest sends is put here */
} Vsock;

static void offer(Vsock *v, uint32_t len)
{
    uint64_t at = rig_alloc(&v->rig, len);

    v->room[v->offered++ % SIZE] = at;
    rig_add(&v->rig, &v->rig.queues[RX], &(RigBuffer){at, len}, 0, 1);
    rig_kick(&v->rig, &v->rig.queues[RX]);
}

static void bring_up(Vsock *v)
{
    rig_bring_up(&v->rig, RIG_FEATURES, 3, SIZE);
    v->offered = v->taken = 0;
    for (unsigned i = 0; i < SIZE / 2; i++)
        offer(v, ROOM);
}

static int setup(void **state)
{
    Vsock *v = g_new0(Vsock, 1);

    v->dir = g_dir_make_tmp("vmcore-vsock-XXXXXX", NULL);
    v->service = g_build_filename(v->dir, "service", NULL);
    v->door = g_build_filename(v->dir, "door", NULL);
    v->listener = vmc_unix_listener_new(v->service, 16, NULL);
    assert_non_null(v->listener);
    rig_init(&v->rig);
    v->buffer = rig_alloc(&v->rig, 1 << 20);
    VmcVsockPort ports[] = {{LISTEN_PORT, v->service, false}, {CONNECT_PORT, v->door, true}};
    rig_plug(&v->rig, vmc_virtio_vsock_new(&v->rig.host, 0, ports, 2, NULL));
    bring_up(v);
    *state = v;
    return 0;
}

static int teardown(void **state)
{
    Vsock *v = *state;

    rig_clear(&v->rig);
    vmc_unix_listener_free(v->listener);
    assert_int_equal(g_rmdir(v->dir), 0); /* both sockets have gone */
    g_free(v->dir);
    g_free(v->service);
    g_free(v->door);
    g_free(v);
    return 0;
}

/* ---- the guest's side ---- */

static Header header(uint32_t guest_port, uint32_t host_port, uint16_t op)
{
    return (Header){.src_cid = CID,
                    .dst_cid = HOST,
                    .src_port = guest_port,
                    .dst_port = host_port,
                    .type = VIRTIO_VSOCK_TYPE_STREAM,
                    .op = op,
                    .buf_alloc = CREDIT};
}

static void send_header(Vsock *v, Header h, const void *body, uint32_t len)
{
    Rig *rig = &v->rig;

    h.fwd_cnt = v->forwarded;
    memcpy(rig_host(rig, v->buffer, sizeof(h)), &h, sizeof(h));
    if (len)
        memcpy(rig_host(rig, v->buffer + 64, len), body, len);
    rig_add(rig, &rig->queues[TX], (RigBuffer[]){{v->buffer, sizeof(h)}, {v->buffer + 64, len}}, len ? 2 : 1,
            0);
    rig_kick(rig, &rig->queues[TX]);
    rig_used(rig, &rig->queues[TX]);
}

static void send_op(Vsock *v, uint32_t guest_port, uint32_t host_port, uint16_t op, uint32_t flags)
{
    Header h = header(guest_port, host_port, op);

    h.flags = flags;
    send_header(v, h, NULL, 0);
}

static void send_data(Vsock *v, uint32_t guest_port, uint32_t host_port, const void *data, uint32_t len)
{
    Header h = header(guest_port, host_port, VIRTIO_VSOCK_OP_RW);

    h.len = len;
    send_header(v, h, data, len);
}

/* The next packet from the host; `body` may be NULL. */
static Header receive(Vsock *v, uint8_t *body)
{
    uint32_t len = rig_used(&v->rig, &v->rig.queues[RX]).len;
    const uint8_t *at = rig_host(&v->rig, v->room[v->taken++ % SIZE], ROOM);
    Header h;

    memcpy(&h, at, sizeof(h));
    assert_int_equal(len, sizeof(h) + h.len);
    assert_int_equal(h.src_cid, HOST);
    assert_int_equal(h.dst_cid, CID);
    if (body)
        memcpy(body, at + sizeof(h), h.len);
    offer(v, ROOM);
    return h;
}

static Header expect(Vsock *v, uint32_t guest_port, uint16_t op)
{
    Header h = receive(v, NULL);

    assert_int_equal(h.op, op);
    assert_int_equal(h.dst_port, guest_port);
    return h;
}

static void expect_data(Vsock *v, uint32_t guest_port, const char *text)
{
    uint8_t body[ROOM];
    Header h = receive(v, body);

    assert_int_equal(h.op, VIRTIO_VSOCK_OP_RW);
    assert_int_equal(h.dst_port, guest_port);
    assert_int_equal(h.len, strlen(text));
    assert_memory_equal(body, text, h.len);
    v->forwarded += h.len;
}

static void expect_silence(Vsock *v)
{
    struct vring_used_elem elem;

    assert_false(rig_wait_used(&v->rig, &v->rig.queues[RX], &elem, 30000));
}

/* ---- the host's side ---- */

static int accept_client(Vsock *v)
{
    struct pollfd ready = {.fd = vmc_unix_listener_fd(v->listener), .events = POLLIN};

    assert_int_equal(poll(&ready, 1, 5000), 1);
    return vmc_unix_listener_accept(v->listener);
}

static void expect_bytes(int fd, const char *text)
{
    char got[256] = {0};

    for (size_t done = 0; done < strlen(text);) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, 5000), 1);
        ssize_t n = read(fd, got + done, strlen(text) - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
    assert_string_equal(got, text);
}

static void expect_end(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    char byte;

    assert_int_equal(poll(&ready, 1, 5000), 1);
    assert_true(read(fd, &byte, 1) <= 0);
}

/* A connection of the guest's port 1000 to the service; the service's descriptor. */
static int connect_out(Vsock *v, uint32_t guest_port)
{
    v->forwarded = 0;
    send_op(v, guest_port, LISTEN_PORT, VIRTIO_VSOCK_OP_REQUEST, 0);
    expect(v, guest_port, VIRTIO_VSOCK_OP_RESPONSE);
    return accept_client(v);
}

/* A connection of a client to the guest's port; the client's descriptor, and the port it comes from. */
static int connect_in(Vsock *v, uint32_t *host_port)
{
    int client = vmc_unix_connect(v->door);

    assert_true(client >= 0);
    Header h = expect(v, CONNECT_PORT, VIRTIO_VSOCK_OP_REQUEST);
    *host_port = h.src_port;
    v->forwarded = 0;
    send_op(v, CONNECT_PORT, h.src_port, VIRTIO_VSOCK_OP_RESPONSE, 0);
    return client;
}

/* ---- the cases ---- */

static void test_address_and_socket(void **state)
{
    Vsock *v = *state;
    struct stat st;

    assert_int_equal(vmc_bus_read(v->rig.mmio, v->rig.device, 8), CID);
    assert_int_equal(stat(v->door, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_the_guest_connects(void **state)
{
    Vsock *v = *state;
    int fd = connect_out(v, 1000);

    send_data(v, 1000, LISTEN_PORT, "hello host", 10);
    expect_bytes(fd, "hello host");
    assert_int_equal(write(fd, "hello guest", 11), 11);
    expect_data(v, 1000, "hello guest");
    /* The guest has said all and goes on listening. */
    send_op(v, 1000, LISTEN_PORT, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND);
    expect_end(fd);
    assert_int_equal(write(fd, "late", 4), 4);
    expect_data(v, 1000, "late");
    close(fd);
    Header h = expect(v, 1000, VIRTIO_VSOCK_OP_SHUTDOWN);
    assert_int_equal(h.flags, VIRTIO_VSOCK_SHUTDOWN_SEND | VIRTIO_VSOCK_SHUTDOWN_RCV);
    send_op(v, 1000, LISTEN_PORT, VIRTIO_VSOCK_OP_RST, 0);
    expect_silence(v);
    /* The port is free again. */
    close(connect_out(v, 1000));
}

static void test_a_client_connects(void **state)
{
    Vsock *v = *state;
    uint32_t port, second_port;
    int client = vmc_unix_connect(v->door);

    assert_true(client >= 0);
    assert_int_equal(write(client, "early", 5), 5); /* before the guest has answered */
    Header h = expect(v, CONNECT_PORT, VIRTIO_VSOCK_OP_REQUEST);
    port = h.src_port;
    send_op(v, CONNECT_PORT, port, VIRTIO_VSOCK_OP_RESPONSE, 0);
    expect_data(v, CONNECT_PORT, "early");
    send_data(v, CONNECT_PORT, port, "answer", 6);
    expect_bytes(client, "answer");
    /* The client has said all and goes on listening. */
    assert_int_equal(shutdown(client, SHUT_WR), 0);
    h = expect(v, CONNECT_PORT, VIRTIO_VSOCK_OP_SHUTDOWN);
    assert_int_equal(h.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
    send_data(v, CONNECT_PORT, port, "more", 4);
    expect_bytes(client, "more");
    int second = connect_in(v, &second_port);
    assert_int_not_equal(second_port, port);
    send_op(v, CONNECT_PORT, port, VIRTIO_VSOCK_OP_SHUTDOWN, 3);
    expect(v, CONNECT_PORT, VIRTIO_VSOCK_OP_RST);
    expect_end(client);
    close(client);
    send_data(v, CONNECT_PORT, second_port, "still here", 10);
    expect_bytes(second, "still here");
    close(second);
}

static void test_what_leads_nowhere_is_reset(void **state)
{
    Vsock *v = *state;

    send_op(v, 1000, 77, VIRTIO_VSOCK_OP_REQUEST, 0);
    expect(v, 1000, VIRTIO_VSOCK_OP_RST);
    send_op(v, 1000, CONNECT_PORT, VIRTIO_VSOCK_OP_REQUEST, 0); /* that way only from the host */
    expect(v, 1000, VIRTIO_VSOCK_OP_RST);
    send_data(v, 1000, LISTEN_PORT, "x", 1);
    expect(v, 1000, VIRTIO_VSOCK_OP_RST);
    send_op(v, 1000, LISTEN_PORT, VIRTIO_VSOCK_OP_RST, 0);
    Header h = header(1000, LISTEN_PORT, VIRTIO_VSOCK_OP_REQUEST);
    h.src_cid = 4; /* somebody else's */
    send_header(v, h, NULL, 0);
    expect_silence(v);
    h = header(1000, LISTEN_PORT, VIRTIO_VSOCK_OP_REQUEST);
    h.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
    send_header(v, h, NULL, 0);
    expect(v, 1000, VIRTIO_VSOCK_OP_RST);
    /* Nobody listens on the socket any more. */
    vmc_unix_listener_free(v->listener);
    v->listener = NULL;
    send_op(v, 1000, LISTEN_PORT, VIRTIO_VSOCK_OP_REQUEST, 0);
    expect(v, 1000, VIRTIO_VSOCK_OP_RST);
}

static void test_packets_against_the_rules(void **state)
{
    Vsock *v = *state;
    uint32_t port;

    /* More bytes than there are. */
    int fd = connect_out(v, 1000);
    Header h = header(1000, LISTEN_PORT, VIRTIO_VSOCK_OP_RW);
    h.len = 100;
    send_header(v, h, "short", 5);
    expect(v, 1000, VIRTIO_VSOCK_OP_RST);
    send_op(v, 1000, LISTEN_PORT, VIRTIO_VSOCK_OP_RST, 0);
    expect_end(fd);
    close(fd);
    /* A second request, a word nobody knows, an answer that was not asked for. */
    static const uint16_t ops[] = {VIRTIO_VSOCK_OP_REQUEST, 99, VIRTIO_VSOCK_OP_RESPONSE};
    for (unsigned i = 0; i < G_N_ELEMENTS(ops); i++) {
        fd = connect_out(v, 1000);
        send_op(v, 1000, LISTEN_PORT, ops[i], 0);
        expect(v, 1000, VIRTIO_VSOCK_OP_RST);
        expect_end(fd);
        close(fd);
    }
    /* Bytes after having said that there are no more. */
    fd = connect_out(v, 1000);
    send_op(v, 1000, LISTEN_PORT, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND);
    send_data(v, 1000, LISTEN_PORT, "x", 1);
    expect(v, 1000, VIRTIO_VSOCK_OP_RST);
    close(fd);
    /* Bytes before the answer. */
    int client = vmc_unix_connect(v->door);
    port = expect(v, CONNECT_PORT, VIRTIO_VSOCK_OP_REQUEST).src_port;
    send_data(v, CONNECT_PORT, port, "x", 1);
    expect(v, CONNECT_PORT, VIRTIO_VSOCK_OP_RST);
    expect_end(client);
    close(client);
    /* No header at all. */
    rig_add(&v->rig, &v->rig.queues[TX], &(RigBuffer){v->buffer, 43}, 1, 0);
    rig_add(&v->rig, &v->rig.queues[TX], &(RigBuffer){v->buffer, 64}, 0, 1);
    rig_kick(&v->rig, &v->rig.queues[TX]);
    rig_used(&v->rig, &v->rig.queues[TX]);
    rig_used(&v->rig, &v->rig.queues[TX]);
    expect_silence(v);
    close(connect_out(v, 1001));
}

/* A service that does not read: the guest may send as much ahead as we said, no byte more, and hears when
 * there is room again. Nothing is lost, not even when the guest ends meanwhile. */
static void test_credit_of_the_guest(void **state)
{
    Vsock *v = *state;
    int fd = connect_out(v, 1000), small = 4096;
    g_autofree uint8_t *bytes = g_malloc(1 << 20), *got = g_malloc(1 << 20);
    uint32_t sent = 0, total = 0, budget = 0, forwarded = 0;

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    for (unsigned i = 0; i < 1 << 20; i++)
        bytes[i] = (uint8_t)(i * 13 >> 4);
    send_op(v, 1000, LISTEN_PORT, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
    Header h = expect(v, 1000, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    budget = h.buf_alloc;
    assert_in_range(budget, 64 * 1024, 1 << 20);
    /* As long as the socket takes some, credit comes back. */
    for (;;) {
        struct vring_used_elem elem;
        while (sent - forwarded < budget) {
            uint32_t n = MIN(16384, budget - (sent - forwarded));
            send_data(v, 1000, LISTEN_PORT, bytes + sent, n);
            sent += n;
            assert_true(sent < 1 << 20);
        }
        if (!rig_wait_used(&v->rig, &v->rig.queues[RX], &elem, 50000))
            break;
        memcpy(&h, rig_host(&v->rig, v->room[v->taken++ % SIZE], ROOM), sizeof(h));
        assert_int_equal(h.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
        forwarded = h.fwd_cnt;
    }
    /* The guest closes, does not wait, and forgets. What it has sent arrives. */
    send_op(v, 1000, LISTEN_PORT, VIRTIO_VSOCK_OP_SHUTDOWN, 3);
    send_op(v, 1000, LISTEN_PORT, VIRTIO_VSOCK_OP_RST, 0);
    int again = connect_out(v, 1000); /* from the same port */
    close(again);
    while (total < sent) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, 5000), 1);
        ssize_t n = read(fd, got + total, sent - total);
        assert_true(n > 0);
        total += (uint32_t)n;
    }
    assert_memory_equal(got, bytes, sent);
    expect_end(fd);
    close(fd);
}

static void test_more_than_the_credit_is_refused(void **state)
{
    Vsock *v = *state;
    int fd = connect_out(v, 1000);
    g_autofree uint8_t *bytes = g_malloc0(512 * 1024);

    Header h = header(1000, LISTEN_PORT, VIRTIO_VSOCK_OP_RW);
    h.len = 512 * 1024;
    send_header(v, h, bytes, h.len);
    expect(v, 1000, VIRTIO_VSOCK_OP_RST);
    expect_end(fd);
    close(fd);
}

/* A guest that has little room gets little, and is asked when it has more. */
static void test_credit_of_the_host(void **state)
{
    Vsock *v = *state;
    uint32_t port;
    int client = vmc_unix_connect(v->door);

    port = expect(v, CONNECT_PORT, VIRTIO_VSOCK_OP_REQUEST).src_port;
    Header h = header(CONNECT_PORT, port, VIRTIO_VSOCK_OP_RESPONSE);
    h.buf_alloc = 6;
    send_header(v, h, NULL, 0);
    assert_int_equal(write(client, "0123456789", 10), 10);
    expect_data(v, CONNECT_PORT, "012345");
    expect(v, CONNECT_PORT, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
    expect_silence(v);
    h = header(CONNECT_PORT, port, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    h.buf_alloc = 6;
    send_header(v, h, NULL, 0);
    expect_data(v, CONNECT_PORT, "6789");
    /* A guest that claims to have had more than it was sent gets nothing. */
    v->forwarded += 1000;
    h = header(CONNECT_PORT, port, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    send_header(v, h, NULL, 0);
    assert_int_equal(write(client, "x", 1), 1);
    expect(v, CONNECT_PORT, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
    expect_silence(v);
    close(client);
}

/* A guest without receive buffers: answers wait, and at last its packets do. Nothing is lost. */
static void test_no_room_to_answer(void **state)
{
    Vsock *v = *state;
    Rig *rig = &v->rig;
    RigQueue *tx;
    unsigned answered = 0, n = 0;

    rig_bring_up(rig, RIG_FEATURES, 3, SIZE);
    v->offered = v->taken = 0;
    tx = &rig->queues[TX];
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 40; i++) {
            struct vring_used_elem elem;
            uint64_t at = v->buffer + 64ull * n;
            Header h = header(1000 + n, 77, VIRTIO_VSOCK_OP_REQUEST);
            memcpy(rig_host(rig, at, sizeof(h)), &h, sizeof(h));
            rig_add(rig, tx, &(RigBuffer){at, sizeof(h)}, 1, 0);
            rig_kick(rig, tx);
            n++;
            while (answered < n && rig_wait_used(rig, tx, &elem, answered < 60 ? 1000000 : 2000))
                answered++;
        }
    assert_int_equal(answered, 64);
    for (unsigned i = 0; i < SIZE / 2; i++)
        offer(v, ROOM);
    for (unsigned i = 0; i < n; i++)
        expect(v, 1000 + i, VIRTIO_VSOCK_OP_RST);
    while (answered < n) {
        rig_used(rig, tx);
        answered++;
    }
    expect_silence(v);
}

static void test_buffers_that_are_too_short(void **state)
{
    Vsock *v = *state;
    Rig *rig = &v->rig;

    rig_bring_up(rig, RIG_FEATURES, 3, SIZE);
    v->offered = v->taken = 0;
    offer(v, 43);
    offer(v, 1);
    send_op(v, 1000, 77, VIRTIO_VSOCK_OP_REQUEST, 0);
    assert_int_equal(rig_used(rig, &rig->queues[RX]).len, 0);
    assert_int_equal(rig_used(rig, &rig->queues[RX]).len, 0);
    v->taken = 2;
    offer(v, ROOM);
    expect(v, 1000, VIRTIO_VSOCK_OP_RST);
}

static void test_many_connections(void **state)
{
    Vsock *v = *state;
    int fds[100];

    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++)
        fds[i] = connect_out(v, 2000 + i);
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        char text[16];
        g_snprintf(text, sizeof(text), "number %u", i);
        send_data(v, 2000 + i, LISTEN_PORT, text, (uint32_t)strlen(text));
        expect_bytes(fds[i], text);
    }
    /* A reset of the device ends them all. */
    bring_up(v);
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        expect_end(fds[i]);
        close(fds[i]);
    }
    expect_silence(v);
    close(connect_out(v, 2000));
}

static void test_there_is_a_limit(void **state)
{
    Vsock *v = *state;
    int fds[512];
    unsigned n = 0;

    for (unsigned port = 2000;; port++) {
        send_op(v, port, LISTEN_PORT, VIRTIO_VSOCK_OP_REQUEST, 0);
        Header h = receive(v, NULL);
        if (h.op == VIRTIO_VSOCK_OP_RST)
            break;
        assert_int_equal(h.op, VIRTIO_VSOCK_OP_RESPONSE);
        assert_true(n < G_N_ELEMENTS(fds));
        fds[n++] = accept_client(v);
    }
    assert_in_range(n, 100, G_N_ELEMENTS(fds));
    while (n)
        close(fds[--n]);
}

static void test_without_a_driver(void **state)
{
    Vsock *v = *state;

    rig_reset(&v->rig);
    int client = vmc_unix_connect(v->door);
    assert_true(client >= 0);
    expect_end(client);
    close(client);
    /* The transport is reset while there are connections: they end, and the guest is told. */
    bring_up(v);
    int fd = connect_out(v, 1000);
    uint64_t at = rig_alloc(&v->rig, 4);
    rig_add(&v->rig, &v->rig.queues[EVENT], &(RigBuffer){at, 4}, 0, 1);
    vmc_virtio_vsock_reset_transport(v->rig.dev);
    assert_int_equal(rig_used(&v->rig, &v->rig.queues[EVENT]).len, 4);
    assert_int_equal(*(uint32_t *)rig_host(&v->rig, at, 4), VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
    expect_end(fd);
    close(fd);
}

static void barrier(void *data)
{
}

/* While the device may not use memory it writes none, not even that it wants to be notified; what waited
 * comes when it may again. */
static void test_without_bus_mastering(void **state)
{
    Vsock *v = *state;
    Rig *rig = &v->rig;
    uint64_t used = rig->queues[RX].used;
    uint8_t before[6 + 8 * SIZE];

    rig_set_config(rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    memset(rig_host(rig, used + 4 + 8 * SIZE, 2), 0xee, 2); /* where notifications are asked for */
    memcpy(before, rig_host(rig, used, sizeof(before)), sizeof(before));
    int client = vmc_unix_connect(v->door);
    for (unsigned i = 0; i < 20; i++) { /* the client is a source of the thread's, in no order with a call */
        vmc_io_call_sync(rig->io, barrier, NULL);
        g_usleep(1000);
    }
    assert_memory_equal(rig_host(rig, used, sizeof(before)), before, sizeof(before));
    rig_set_config(rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    expect(v, CONNECT_PORT, VIRTIO_VSOCK_OP_REQUEST);
    close(client);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_address_and_socket),
        CASE(test_the_guest_connects),
        CASE(test_a_client_connects),
        CASE(test_what_leads_nowhere_is_reset),
        CASE(test_packets_against_the_rules),
        CASE(test_credit_of_the_guest),
        CASE(test_more_than_the_credit_is_refused),
        CASE(test_credit_of_the_host),
        CASE(test_no_room_to_answer),
        CASE(test_buffers_that_are_too_short),
        CASE(test_many_connections),
        CASE(test_there_is_a_limit),
        CASE(test_without_a_driver),
        CASE(test_without_bus_mastering),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
