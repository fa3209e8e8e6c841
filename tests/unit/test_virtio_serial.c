/* A virtio console with several ports as a guest uses it, and ports whose host's side is a Unix socket. */
#include "tests/unit/virtio_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/virtio_console.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/unix_socket.h"
#include "vmcore/error.h"

#define CONTROL_IN  2u
#define CONTROL_OUT 3u
#define SIZE        16u
#define ROOM        64u
#define FEATURES    (RIG_FEATURES | 1ull << VIRTIO_CONSOLE_F_SIZE | 1ull << VIRTIO_CONSOLE_F_MULTIPORT)

/* A host's side that keeps what it gets and takes no more than it is allowed to. */
typedef struct Keeper {
    VmcPort *port;
    GMutex lock;
    GCond cond;
    GString *got;
    size_t allowance;
    bool guest_open, freed;
    unsigned writable;
} Keeper;

static void keeper_opened(void *opaque, bool guest_open)
{
    Keeper *keeper = opaque;

    g_mutex_lock(&keeper->lock);
    keeper->guest_open = guest_open;
    g_cond_broadcast(&keeper->cond);
    g_mutex_unlock(&keeper->lock);
}

static size_t keeper_received(void *opaque, const void *data, size_t len)
{
    Keeper *keeper = opaque;

    g_mutex_lock(&keeper->lock);
    size_t taken = MIN(len, keeper->allowance);
    g_string_append_len(keeper->got, data, (gssize)taken);
    keeper->allowance -= taken;
    g_cond_broadcast(&keeper->cond);
    g_mutex_unlock(&keeper->lock);
    return taken;
}

static void keeper_writable(void *opaque)
{
    Keeper *keeper = opaque;

    g_mutex_lock(&keeper->lock);
    keeper->writable++;
    g_cond_broadcast(&keeper->cond);
    g_mutex_unlock(&keeper->lock);
}

static void keeper_free(void *opaque)
{
    ((Keeper *)opaque)->freed = true;
}

static const VmcPortOps keeper_ops = {
    .opened = keeper_opened,
    .received = keeper_received,
    .writable = keeper_writable,
    .free = keeper_free,
};

static void expect_kept(Keeper *keeper, const char *text)
{
    int64_t end = g_get_monotonic_time() + RIG_TIMEOUT;

    g_mutex_lock(&keeper->lock);
    while (keeper->got->len < strlen(text) && g_cond_wait_until(&keeper->cond, &keeper->lock, end))
        ;
    assert_string_equal(keeper->got->str, text);
    g_mutex_unlock(&keeper->lock);
}

static void expect_guest_open(Keeper *keeper, bool open)
{
    int64_t end = g_get_monotonic_time() + RIG_TIMEOUT;

    g_mutex_lock(&keeper->lock);
    while (keeper->guest_open != open && g_cond_wait_until(&keeper->cond, &keeper->lock, end))
        ;
    assert_int_equal(keeper->guest_open, open);
    g_mutex_unlock(&keeper->lock);
}

/* A console on a socket pair, then a port “org.test.keeper”, then a console on nothing, then a port “sock” on
 * a Unix socket. The device puts the consoles first: 0 and 1, then 2 and 3. */
enum { CONSOLE, SECOND, KEEPER, SOCKET, PORTS };

typedef struct Serial {
    Rig rig;
    Keeper keeper;
    int line; /* our end of the first console */
    int line_device;
    char *dir, *path;
    uint64_t room[2 * PORTS + 2][SIZE]; /* what was offered to the device, by queue, in order */
    unsigned offered[2 * PORTS + 2], taken[2 * PORTS + 2];
} Serial;

static unsigned rx_queue(unsigned port)
{
    return port ? 2 * port + 2 : 0;
}

static void offer(Serial *s, unsigned queue, uint32_t len)
{
    uint64_t at = rig_alloc(&s->rig, len);

    s->room[queue][s->offered[queue]++ % SIZE] = at;
    rig_add(&s->rig, &s->rig.queues[queue], &(RigBuffer){at, len}, 0, 1);
    rig_kick(&s->rig, &s->rig.queues[queue]);
}

static void send_bytes(Serial *s, unsigned queue, const void *bytes, uint32_t len)
{
    uint64_t at = rig_alloc(&s->rig, len);

    memcpy(rig_host(&s->rig, at, len), bytes, len);
    rig_add(&s->rig, &s->rig.queues[queue], &(RigBuffer){at, len}, 1, 0);
    rig_kick(&s->rig, &s->rig.queues[queue]);
}

static void print(Serial *s, unsigned port, const char *text)
{
    send_bytes(s, rx_queue(port) + 1, text, (uint32_t)strlen(text));
}

/* The bytes of the next buffer that comes back. */
static void *expect_buffer(Serial *s, unsigned queue, uint32_t *len)
{
    *len = rig_used(&s->rig, &s->rig.queues[queue]).len;
    assert_true(s->taken[queue] < s->offered[queue]);
    return rig_host(&s->rig, s->room[queue][s->taken[queue]++ % SIZE], ROOM);
}

static void expect_text(Serial *s, unsigned port, const char *text)
{
    uint32_t len;
    const char *got = expect_buffer(s, rx_queue(port), &len);

    assert_int_equal(len, strlen(text));
    assert_memory_equal(got, text, len);
}

static void control(Serial *s, uint32_t id, uint16_t event, uint16_t value)
{
    struct virtio_console_control message = {.id = id, .event = event, .value = value};

    send_bytes(s, CONTROL_OUT, &message, sizeof(message));
    rig_used(&s->rig, &s->rig.queues[CONTROL_OUT]);
}

/* The next control message is this one; returns what follows it. */
static const void *expect_control(Serial *s, uint32_t id, uint16_t event, uint16_t value, uint32_t more)
{
    uint32_t len;
    const struct virtio_console_control *got = expect_buffer(s, CONTROL_IN, &len);

    assert_int_equal(len, sizeof(*got) + more);
    assert_int_equal(got->event, event);
    assert_int_equal(got->id, id);
    assert_int_equal(got->value, value);
    offer(s, CONTROL_IN, ROOM);
    return got + 1;
}

static void expect_no_control(Serial *s)
{
    struct vring_used_elem elem;

    assert_false(rig_wait_used(&s->rig, &s->rig.queues[CONTROL_IN], &elem, 30000));
}

static void bring_up(Serial *s, uint64_t features)
{
    rig_bring_up(&s->rig, features, 2 * PORTS + 2, SIZE);
    memset(s->offered, 0, sizeof(s->offered));
    memset(s->taken, 0, sizeof(s->taken));
    for (unsigned i = 0; i < 8; i++)
        offer(s, CONTROL_IN, ROOM);
}

static Serial *serial_new(uint64_t features)
{
    Serial *s = g_new0(Serial, 1);
    VmcPort *socket;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    s->line = pair[0];
    s->line_device = pair[1];
    rig_init(&s->rig);
    g_mutex_init(&s->keeper.lock);
    g_cond_init(&s->keeper.cond);
    s->keeper.got = g_string_new("");
    s->keeper.allowance = SIZE_MAX;
    s->keeper.port = vmc_port_new(s->rig.io, &keeper_ops, &s->keeper);
    s->dir = g_dir_make_tmp("vmcore-serial-XXXXXX", NULL);
    s->path = g_build_filename(s->dir, "sock", NULL);
    socket = vmc_port_socket_new(s->rig.io, s->path, NULL);
    assert_non_null(socket);
    VmcConsolePort ports[PORTS] = {
        {.port = vmc_port_fd_new(s->rig.io, pair[1], pair[1]), .console = true},
        {.port = s->keeper.port, .name = "org.test.keeper"},
        {.port = vmc_port_fd_new(s->rig.io, -1, -1), .console = true},
        {.port = socket, .name = "sock"},
    };
    rig_plug(&s->rig, vmc_virtio_serial_new(&s->rig.host, ports, PORTS));
    bring_up(s, features);
    return s;
}

static void serial_free(Serial *s)
{
    rig_clear(&s->rig);
    assert_true(s->keeper.freed);
    assert_false(s->keeper.guest_open);
    assert_int_equal(g_access(s->path, F_OK), -1);
    close(s->line);
    close(s->line_device);
    g_rmdir(s->dir);
    g_free(s->dir);
    g_free(s->path);
    g_string_free(s->keeper.got, TRUE);
    g_free(s);
}

/* A driver's way through s5.3.6.2 up to where each port is known to it. */
static void introduce(Serial *s)
{
    control(s, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
    for (unsigned i = 0; i < PORTS; i++)
        expect_control(s, i, VIRTIO_CONSOLE_PORT_ADD, 0, 0);
    for (unsigned i = 0; i < PORTS; i++) {
        control(s, i, VIRTIO_CONSOLE_PORT_READY, 1);
        if (i <= SECOND) {
            expect_control(s, i, VIRTIO_CONSOLE_CONSOLE_PORT, 1, 0);
            const uint16_t *size = expect_control(s, i, VIRTIO_CONSOLE_RESIZE, 0, 4);
            assert_int_equal(size[0], 80);
            assert_int_equal(size[1], 24);
            expect_control(s, i, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
        } else {
            const char *name = i == KEEPER ? "org.test.keeper" : "sock";
            const void *got = expect_control(s, i, VIRTIO_CONSOLE_PORT_NAME, 1, (uint32_t)strlen(name));
            assert_memory_equal(got, name, strlen(name));
        }
    }
    expect_no_control(s);
}

static void set_host_open(void *data)
{
    vmc_port_set_host_open(data, true);
}

static void set_host_closed(void *data)
{
    vmc_port_set_host_open(data, false);
}

static void host_opens(Serial *s, bool open)
{
    vmc_io_call_sync(s->rig.io, open ? set_host_open : set_host_closed, s->keeper.port);
}

static void test_ports_are_introduced(void **state)
{
    Serial *s = serial_new(FEATURES);

    assert_int_equal(vmc_bus_read(s->rig.mmio, s->rig.device + 4, 4), PORTS);
    introduce(s);
    /* And once more after a reset. */
    bring_up(s, FEATURES);
    introduce(s);
    serial_free(s);
}

static void test_each_port_has_its_own_bytes(void **state)
{
    Serial *s = serial_new(FEATURES);
    char got[32];

    introduce(s);
    control(s, CONSOLE, VIRTIO_CONSOLE_PORT_OPEN, 1);
    control(s, KEEPER, VIRTIO_CONSOLE_PORT_OPEN, 1);
    expect_guest_open(&s->keeper, true);
    host_opens(s, true);
    expect_control(s, KEEPER, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
    print(s, KEEPER, "for the keeper");
    print(s, CONSOLE, "for the line");
    print(s, SECOND, "for nobody");
    expect_kept(&s->keeper, "for the keeper");
    assert_int_equal(recv(s->line, got, 12, MSG_WAITALL), 12);
    assert_memory_equal(got, "for the line", 12);
    offer(s, rx_queue(CONSOLE), ROOM);
    assert_int_equal(send(s->line, "typed", 5, 0), 5);
    expect_text(s, CONSOLE, "typed");
    control(s, KEEPER, VIRTIO_CONSOLE_PORT_OPEN, 0);
    expect_guest_open(&s->keeper, false);
    serial_free(s);
}

typedef struct Write {
    VmcPort *port;
    const char *text;
    size_t taken, room;
} Write;

static void write_to_port(void *data)
{
    Write *w = data;

    w->room = vmc_port_room(w->port);
    w->taken = vmc_port_write(w->port, w->text, strlen(w->text));
}

static Write keeper_writes(Serial *s, const char *text)
{
    Write w = {.port = s->keeper.port, .text = text};

    vmc_io_call_sync(s->rig.io, write_to_port, &w);
    return w;
}

static void test_a_closed_or_full_port_takes_nothing(void **state)
{
    Serial *s = serial_new(FEATURES);

    introduce(s);
    host_opens(s, true);
    expect_control(s, KEEPER, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
    offer(s, rx_queue(KEEPER), 4);
    Write w = keeper_writes(s, "early");
    assert_int_equal(w.room, 0);
    assert_int_equal(w.taken, 0);
    control(s, KEEPER, VIRTIO_CONSOLE_PORT_OPEN, 1);
    expect_guest_open(&s->keeper, true);
    w = keeper_writes(s, "too long");
    assert_int_equal(w.room, 4);
    assert_int_equal(w.taken, 4);
    expect_text(s, KEEPER, "too ");
    assert_int_equal(keeper_writes(s, "x").taken, 0);

    g_mutex_lock(&s->keeper.lock);
    unsigned before = s->keeper.writable;
    g_mutex_unlock(&s->keeper.lock);
    offer(s, rx_queue(KEEPER), ROOM);
    g_mutex_lock(&s->keeper.lock);
    int64_t end = g_get_monotonic_time() + RIG_TIMEOUT;
    while (s->keeper.writable == before && g_cond_wait_until(&s->keeper.cond, &s->keeper.lock, end))
        ;
    assert_true(s->keeper.writable > before);
    g_mutex_unlock(&s->keeper.lock);
    assert_int_equal(keeper_writes(s, "long").taken, 4);
    expect_text(s, KEEPER, "long");
    serial_free(s);
}

static void resume_keeper(void *data)
{
    vmc_port_resume(((Serial *)data)->keeper.port);
}

static void test_the_host_takes_as_much_as_it_can(void **state)
{
    Serial *s = serial_new(FEATURES);
    struct vring_used_elem elem;
    RigQueue *tx = &s->rig.queues[rx_queue(KEEPER) + 1];

    introduce(s);
    host_opens(s, true);
    expect_control(s, KEEPER, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
    s->keeper.allowance = 5;
    print(s, KEEPER, "0123456789");
    print(s, KEEPER, "abc");
    expect_kept(&s->keeper, "01234");
    assert_false(rig_wait_used(&s->rig, tx, &elem, 30000));
    g_mutex_lock(&s->keeper.lock);
    s->keeper.allowance = SIZE_MAX;
    g_mutex_unlock(&s->keeper.lock);
    vmc_io_call_sync(s->rig.io, resume_keeper, s);
    expect_kept(&s->keeper, "0123456789abc");
    rig_used(&s->rig, tx);
    rig_used(&s->rig, tx);

    /* What is refused when the host's side closes goes nowhere, and the queue goes on. */
    s->keeper.allowance = 0;
    print(s, KEEPER, "lost");
    assert_false(rig_wait_used(&s->rig, tx, &elem, 30000));
    host_opens(s, false);
    expect_control(s, KEEPER, VIRTIO_CONSOLE_PORT_OPEN, 0, 0);
    rig_used(&s->rig, tx);
    expect_kept(&s->keeper, "0123456789abc");
    serial_free(s);
}

static void test_sizes_go_to_their_console(void **state)
{
    Serial *s = serial_new(FEATURES);

    introduce(s);
    vmc_virtio_console_set_size(s->rig.dev, SECOND, 100, 50);
    const uint16_t *size = expect_control(s, SECOND, VIRTIO_CONSOLE_RESIZE, 0, 4);
    assert_int_equal(size[0], 100);
    assert_int_equal(size[1], 50);
    vmc_virtio_console_set_size(s->rig.dev, CONSOLE, 1 << 20, 7);
    size = expect_control(s, CONSOLE, VIRTIO_CONSOLE_RESIZE, 0, 4);
    assert_int_equal(size[0], 65535);
    assert_int_equal(size[1], 7);
    assert_int_equal(vmc_bus_read(s->rig.mmio, s->rig.device, 4), 65535 | 7 << 16);
    vmc_virtio_console_set_size(s->rig.dev, KEEPER, 1, 1); /* is no console */
    vmc_virtio_console_set_size(s->rig.dev, 99, 1, 1);
    expect_no_control(s);
    serial_free(s);
}

static void test_without_multiport_there_is_the_first_console(void **state)
{
    Serial *s = serial_new(FEATURES & ~(1ull << VIRTIO_CONSOLE_F_MULTIPORT));
    char got[8];

    print(s, CONSOLE, "plain");
    assert_int_equal(recv(s->line, got, 5, MSG_WAITALL), 5);
    assert_memory_equal(got, "plain", 5);
    offer(s, rx_queue(CONSOLE), ROOM);
    assert_int_equal(send(s->line, "typed", 5, 0), 5);
    expect_text(s, CONSOLE, "typed");
    control(s, KEEPER, VIRTIO_CONSOLE_PORT_OPEN, 1);
    assert_false(s->keeper.guest_open);
    expect_no_control(s);
    serial_free(s);
}

static void test_emergency_writes_need_no_driver(void **state)
{
    Serial *s = serial_new(FEATURES);
    uint64_t register_at = s->rig.device + offsetof(struct virtio_console_config, emerg_wr);
    char got[8];

    rig_reset(&s->rig);
    vmc_bus_write(s->rig.mmio, register_at, 4, 'S');
    vmc_bus_write(s->rig.mmio, register_at, 1, 'O');
    vmc_bus_write(s->rig.mmio, register_at, 4, 'S');
    vmc_bus_write(s->rig.mmio, register_at - 4, 4, 'x'); /* another register */
    assert_int_equal(recv(s->line, got, 3, MSG_WAITALL), 3);
    assert_memory_equal(got, "SOS", 3);
    serial_free(s);
}

static void test_nonsense_on_the_control_queue(void **state)
{
    Serial *s = serial_new(FEATURES);

    control(s, 4000000000u, VIRTIO_CONSOLE_PORT_OPEN, 1);
    control(s, PORTS, VIRTIO_CONSOLE_PORT_READY, 1);
    control(s, 0, 77, 1);
    send_bytes(s, CONTROL_OUT, "short", 5);
    rig_used(&s->rig, &s->rig.queues[CONTROL_OUT]);
    expect_no_control(s);
    /* One that keeps asking and hardly listens gets no more than there is to say. */
    for (unsigned i = 0; i < 100; i++)
        control(s, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
    unsigned said = 0;
    for (struct vring_used_elem elem; rig_wait_used(&s->rig, &s->rig.queues[CONTROL_IN], &elem, 30000);)
        said++;
    assert_int_equal(said, 8); /* as many as there were buffers */

    bring_up(s, FEATURES);
    introduce(s);
    serial_free(s);
}

/* ---- the socket ---- */

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void expect_line(int fd, const char *text)
{
    char got[64];

    struct pollfd ready = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 5000), 1);
    assert_int_equal(recv(fd, got, strlen(text), MSG_WAITALL), strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

static void test_clients_of_a_socket_come_and_go(void **state)
{
    Serial *s = serial_new(FEATURES);

    introduce(s);
    int first = connect_to(s->path);
    expect_control(s, SOCKET, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
    assert_int_equal(send(first, "waits", 5, 0), 5); /* for the guest to open the port */
    offer(s, rx_queue(SOCKET), ROOM);
    control(s, SOCKET, VIRTIO_CONSOLE_PORT_OPEN, 1);
    expect_text(s, SOCKET, "waits");
    print(s, SOCKET, "hello");
    expect_line(first, "hello");

    /* The second has to wait for its turn, and the guest sees one go and the other come. */
    int second = connect_to(s->path);
    assert_int_equal(send(second, "mine", 4, 0), 4);
    offer(s, rx_queue(SOCKET), ROOM);
    expect_no_control(s);
    assert_int_equal(send(first, "last", 4, 0), 4);
    assert_int_equal(shutdown(first, SHUT_WR), 0); /* may still listen */
    expect_text(s, SOCKET, "last");
    print(s, SOCKET, "answer");
    expect_line(first, "answer");
    offer(s, rx_queue(SOCKET), ROOM);
    close(first);
    expect_control(s, SOCKET, VIRTIO_CONSOLE_PORT_OPEN, 0, 0);
    expect_control(s, SOCKET, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
    expect_text(s, SOCKET, "mine");
    print(s, SOCKET, "welcome");
    expect_line(second, "welcome");

    /* One that goes while the guest has closed the port is noticed, too. */
    control(s, SOCKET, VIRTIO_CONSOLE_PORT_OPEN, 0);
    close(second);
    expect_control(s, SOCKET, VIRTIO_CONSOLE_PORT_OPEN, 0, 0);
    print(s, SOCKET, "to nobody");
    serial_free(s);
}

static void test_a_client_that_does_not_read_is_waited_for(void **state)
{
    Serial *s = serial_new(FEATURES);
    struct vring_used_elem elem;
    RigQueue *tx = &s->rig.queues[rx_queue(SOCKET) + 1];
    size_t total = 2 << 20;
    char *bytes = g_malloc(total), *got = g_malloc(total);

    introduce(s);
    for (size_t i = 0; i < total; i++)
        bytes[i] = (char)(i * 7 >> 5);
    int client = connect_to(s->path);
    expect_control(s, SOCKET, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
    send_bytes(s, tx->index, bytes, (uint32_t)total);
    assert_false(rig_wait_used(&s->rig, tx, &elem, 50000));
    assert_int_equal(recv(client, got, total, MSG_WAITALL), total);
    assert_memory_equal(got, bytes, total);
    rig_used(&s->rig, tx);

    /* And gone while it is waited for. */
    send_bytes(s, tx->index, bytes, (uint32_t)total);
    assert_false(rig_wait_used(&s->rig, tx, &elem, 50000));
    close(client);
    expect_control(s, SOCKET, VIRTIO_CONSOLE_PORT_OPEN, 0, 0);
    rig_used(&s->rig, tx);
    g_free(bytes);
    g_free(got);
    serial_free(s);
}

static void test_names_of_sockets(void **state)
{
    char *dir = g_dir_make_tmp("vmcore-unix-XXXXXX", NULL), *path = g_build_filename(dir, "s", NULL);
    GError *error = NULL;
    struct stat st;

    mode_t mask = umask(0);
    VmcUnixListener *listener = vmc_unix_listener_new(path, 1, &error);
    umask(mask);
    assert_non_null(listener);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* Somebody listens there. */
    assert_null(vmc_unix_listener_new(path, 1, &error));
    assert_non_null(strstr(error->message, path));
    g_clear_error(&error);
    /* A name that somebody else has put there meanwhile is left alone. */
    assert_int_equal(g_unlink(path), 0);
    assert_true(g_file_set_contents(path, "mine", -1, NULL));
    vmc_unix_listener_free(listener);
    assert_int_equal(g_access(path, F_OK), 0);
    /* What is no socket is not removed. */
    assert_null(vmc_unix_listener_new(path, 1, &error));
    assert_non_null(strstr(error->message, path));
    g_clear_error(&error);
    assert_int_equal(g_access(path, F_OK), 0);
    assert_int_equal(g_unlink(path), 0);
    /* A dead one is. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    assert_int_equal(g_access(path, F_OK), 0);
    listener = vmc_unix_listener_new(path, 1, &error);
    assert_non_null(listener);
    vmc_unix_listener_free(listener);
    assert_int_equal(g_access(path, F_OK), -1);

    g_autofree char *long_name = g_strnfill(108, 'x');
    assert_null(vmc_unix_listener_new(long_name, 1, &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_CONFIG));
    g_clear_error(&error);
    g_rmdir(dir);
    g_free(dir);
    g_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ports_are_introduced),
        cmocka_unit_test(test_each_port_has_its_own_bytes),
        cmocka_unit_test(test_a_closed_or_full_port_takes_nothing),
        cmocka_unit_test(test_the_host_takes_as_much_as_it_can),
        cmocka_unit_test(test_sizes_go_to_their_console),
        cmocka_unit_test(test_without_multiport_there_is_the_first_console),
        cmocka_unit_test(test_emergency_writes_need_no_driver),
        cmocka_unit_test(test_nonsense_on_the_control_queue),
        cmocka_unit_test(test_clients_of_a_socket_come_and_go),
        cmocka_unit_test(test_a_client_that_does_not_read_is_waited_for),
        cmocka_unit_test(test_names_of_sockets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
