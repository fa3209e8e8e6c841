/* virtio-console as a guest uses it, on pipes, sockets, files and pseudo-terminals. */
#include "tests/unit/virtio_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/virtio_console.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define RX       0u
#define TX       1u
#define SIZE     16u
#define FEATURES (RIG_FEATURES | 1ull << VIRTIO_CONSOLE_F_SIZE)

typedef struct Console {
    Rig rig;
    int in, out; /* our ends: what we write to `in` the guest reads */
    int dev_in, dev_out;
} Console;

static void bring_up(Console *c)
{
    rig_bring_up(&c->rig, FEATURES, 2, SIZE);
}

static Console *console_new(int in, int dev_in, int out, int dev_out)
{
    Console *c = g_new0(Console, 1);

    *c = (Console){.in = in, .dev_in = dev_in, .out = out, .dev_out = dev_out};
    rig_init(&c->rig);
    rig_plug(&c->rig, vmc_virtio_console_new(&c->rig.host, dev_in, dev_out));
    bring_up(c);
    return c;
}

static void console_free(Console *c)
{
    int fds[] = {c->in, c->dev_in, c->out, c->dev_out};

    rig_clear(&c->rig);
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    g_free(c);
}

static Console *on_pipes(void)
{
    int in[2], out[2];

    assert_int_equal(pipe(in) | pipe(out), 0);
    return console_new(in[1], in[0], out[0], out[1]);
}

static uint64_t put(Rig *rig, const void *bytes, uint32_t len)
{
    uint64_t at = rig_alloc(rig, len);

    memcpy(rig_host(rig, at, len), bytes, len);
    return at;
}

static void print(Console *c, const char *text)
{
    Rig *rig = &c->rig;
    RigBuffer buffer = {put(rig, text, (uint32_t)strlen(text)), (uint32_t)strlen(text)};

    rig_add(rig, &rig->queues[TX], &buffer, 1, 0);
    rig_kick(rig, &rig->queues[TX]);
}

static uint64_t offer_room(Console *c, uint32_t len)
{
    uint64_t at = rig_alloc(&c->rig, len);

    rig_add(&c->rig, &c->rig.queues[RX], &(RigBuffer){at, len}, 0, 1);
    rig_kick(&c->rig, &c->rig.queues[RX]);
    return at;
}

static void expect_input(Console *c, uint64_t at, const char *text)
{
    assert_int_equal(rig_used(&c->rig, &c->rig.queues[RX]).len, strlen(text));
    assert_memory_equal(rig_host(&c->rig, at, strlen(text)), text, strlen(text));
}

static void expect_bytes(int fd, const char *text)
{
    size_t len = strlen(text), done = 0;
    char *got = g_malloc0(len + 1);

    while (done < len) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, 5000), 1);
        ssize_t n = read(fd, got + done, len - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
    assert_string_equal(got, text);
    g_free(got);
}

static void converse(Console *c)
{
    print(c, "hello ");
    print(c, "out there\n");
    expect_bytes(c->out, "hello out there\n");
    assert_int_equal(rig_used(&c->rig, &c->rig.queues[TX]).len, 0);
    assert_int_equal(rig_used(&c->rig, &c->rig.queues[TX]).len, 0);

    uint64_t at = offer_room(c, 100);
    assert_int_equal(write(c->in, "hello in there\n", 15), 15);
    expect_input(c, at, "hello in there\n");
}

static void test_pipes(void **state)
{
    Console *c = on_pipes();

    assert_int_equal(rig_config(&c->rig, PCI_DEVICE_ID, 2), 0x1043);
    converse(c);
    bring_up(c); /* reset and again, as a reboot does */
    converse(c);
    console_free(c);
}

static void test_sockets(void **state)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    Console *c = console_new(pair[0], pair[1], dup(pair[0]), dup(pair[1]));
    converse(c);
    console_free(c);
}

static int open_pty(int *slave)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    char name[64];

    assert_true(master >= 0 && !grantpt(master) && !unlockpt(master) &&
                !ptsname_r(master, name, sizeof(name)));
    *slave = open(name, O_RDWR | O_NOCTTY);
    assert_true(*slave >= 0);
    return master;
}

static void make_raw(int fd, unsigned short columns, unsigned short rows)
{
    struct winsize size = {.ws_col = columns, .ws_row = rows};
    struct termios mode;

    assert_int_equal(tcgetattr(fd, &mode), 0);
    cfmakeraw(&mode);
    assert_int_equal(tcsetattr(fd, TCSANOW, &mode), 0);
    assert_int_equal(ioctl(fd, TIOCSWINSZ, &size), 0);
}

/* Our end of a terminal is the master, then the slave. */
static void test_terminals(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        int slave, master = open_pty(&slave);
        make_raw(slave, 132, 43);
        Console *c = i ? console_new(slave, master, dup(slave), dup(master))
                       : console_new(master, slave, dup(master), dup(slave));
        assert_int_equal(
            vmc_bus_read(c->rig.mmio, c->rig.device + offsetof(struct virtio_console_config, cols), 2), 132);
        assert_int_equal(
            vmc_bus_read(c->rig.mmio, c->rig.device + offsetof(struct virtio_console_config, rows), 2), 43);
        converse(c);
        console_free(c);
    }
}

static void test_file_and_nothing(void **state)
{
    char *path, *text;
    int fd = g_file_open_tmp("vmcore-console-XXXXXX", &path, NULL);
    Console *c = console_new(-1, -1, -1, fd);

    print(c, "to a file\n");
    rig_used(&c->rig, &c->rig.queues[TX]);
    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    assert_string_equal(text, "to a file\n");
    offer_room(c, 10);
    console_free(c);
    g_remove(path);
    g_free(text);
    g_free(path);

    c = console_new(-1, -1, -1, -1);
    print(c, "to nobody\n");
    rig_used(&c->rig, &c->rig.queues[TX]);
    console_free(c);
}

static void test_size(void **state)
{
    Console *c = on_pipes();
    uint64_t config = c->rig.device;

    assert_int_equal(vmc_bus_read(c->rig.mmio, config, 4), 80 | 24 << 16);
    uint64_t generation = rig_read(&c->rig, RIG_COMMON(config_generation), 1);
    vmc_virtio_console_set_size(c->rig.dev, 0, 100, 50);
    assert_int_equal(vmc_bus_read(c->rig.mmio, config, 4), 100 | 50 << 16);
    assert_int_not_equal(rig_read(&c->rig, RIG_COMMON(config_generation), 1), generation);
    assert_int_equal(c->rig.interrupts[0], 1);
    console_free(c);
}

/* Input stays with its sender until the guest has room, and none of it is lost. */
static void test_input_waits_for_room(void **state)
{
    Console *c = on_pipes();
    struct vring_used_elem elem;

    assert_int_equal(write(c->in, "abcdefghij", 10), 10);
    assert_false(rig_wait_used(&c->rig, &c->rig.queues[RX], &elem, 30000));
    int waiting;
    assert_int_equal(ioctl(c->dev_in, FIONREAD, &waiting), 0);
    assert_int_equal(waiting, 10);
    uint64_t one = offer_room(c, 4);
    expect_input(c, one, "abcd");
    uint64_t two = offer_room(c, 4), three = offer_room(c, 4);
    expect_input(c, two, "efgh");
    expect_input(c, three, "ij");
    console_free(c);
}

static void test_end_of_input(void **state)
{
    Console *c = on_pipes();
    struct vring_used_elem elem;

    uint64_t at = offer_room(c, 16);
    assert_int_equal(write(c->in, "last", 4), 4);
    close(c->in);
    c->in = -1;
    expect_input(c, at, "last");
    offer_room(c, 16);
    assert_false(rig_wait_used(&c->rig, &c->rig.queues[RX], &elem, 30000)); /* an end is not a message */
    print(c, "still here");
    expect_bytes(c->out, "still here");
    console_free(c);
}

static void note_ran(void *data)
{
    *(bool *)data = true;
}

/* Output to somebody who does not read: the queue stands still, the I/O thread does not, nothing is lost. The
 * pipe is in blocking mode, as a shell's are. */
static void output_waits(Console *c, size_t total)
{
    Rig *rig = &c->rig;
    struct vring_used_elem elem;
    uint64_t at = rig_alloc(rig, total);
    uint8_t *bytes = rig_host(rig, at, total), *got = g_malloc(total);
    bool ran = false;

    for (size_t i = 0; i < total; i++)
        bytes[i] = (uint8_t)(i * 31 >> 3);
    rig_add(rig, &rig->queues[TX], &(RigBuffer){at, (uint32_t)total}, 1, 0);
    rig_kick(rig, &rig->queues[TX]);
    assert_false(rig_wait_used(rig, &rig->queues[TX], &elem, 50000));
    vmc_io_call_sync(rig->io, note_ran, &ran);
    assert_true(ran);
    for (size_t done = 0; done < total;) {
        struct pollfd ready = {.fd = c->out, .events = POLLIN};
        if (poll(&ready, 1, 5000) != 1)
            fail_msg("nothing more after %zu of %zu bytes", done, total);
        ssize_t n = read(c->out, got + done, total - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
    assert_memory_equal(got, bytes, total);
    rig_used(rig, &rig->queues[TX]);
    g_free(got);
    assert_int_equal(fcntl(c->dev_out, F_GETFL) & O_NONBLOCK, 0);
}

static void test_output_waits(void **state)
{
    Console *c = on_pipes();
    output_waits(c, 3 << 20);
    console_free(c);

    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    c = console_new(-1, -1, pair[0], pair[1]);
    output_waits(c, 3 << 20);
    console_free(c);

    for (unsigned i = 0; i < 2; i++) {
        int slave, master = open_pty(&slave);
        make_raw(slave, 80, 24);
        c = console_new(-1, -1, i ? slave : master, i ? master : slave);
        output_waits(c, 200000);
        console_free(c);
    }
}

/* Reset and end while output is stuck. */
static void test_reset_with_output_stuck(void **state)
{
    Console *c = on_pipes();
    Rig *rig = &c->rig;
    struct vring_used_elem elem;

    for (unsigned i = 0; i < 2; i++) {
        uint64_t at = rig_alloc(rig, 1 << 20);
        rig_add(rig, &rig->queues[TX], &(RigBuffer){at, 1 << 20}, 1, 0);
        rig_kick(rig, &rig->queues[TX]);
        assert_false(rig_wait_used(rig, &rig->queues[TX], &elem, 20000));
        if (i == 0)
            bring_up(c);
    }
    console_free(c);
}

/* Whoever read has gone: the guest's words are dropped, and no SIGPIPE ends the program. */
static void test_reader_gone(void **state)
{
    Console *c = on_pipes();

    close(c->out);
    c->out = -1;
    for (unsigned i = 0; i < 3; i++) {
        print(c, "hello?");
        rig_used(&c->rig, &c->rig.queues[TX]);
    }
    console_free(c);
}

static void test_bad_buffers(void **state)
{
    Console *c = on_pipes();
    Rig *rig = &c->rig;

    /* Read-only room for input and writable output: nothing to do with either, both come back. */
    uint64_t at = rig_alloc(rig, 16);
    rig_add(rig, &rig->queues[RX], &(RigBuffer){at, 16}, 1, 0);
    rig_add(rig, &rig->queues[TX], &(RigBuffer){at, 16}, 0, 1);
    rig_kick(rig, &rig->queues[RX]);
    rig_kick(rig, &rig->queues[TX]);
    assert_int_equal(write(c->in, "x", 1), 1);
    assert_int_equal(rig_used(rig, &rig->queues[RX]).len, 0);
    assert_int_equal(rig_used(rig, &rig->queues[TX]).len, 0);
    uint64_t room = offer_room(c, 5);
    expect_input(c, room, "x");

    rig_add(rig, &rig->queues[RX], &(RigBuffer){RIG_HOLE, 16}, 0, 1);
    rig_kick(rig, &rig->queues[RX]);
    assert_int_equal(write(c->in, "y", 1), 1);
    rig_expect_needs_reset(rig);
    bring_up(c);
    room = offer_room(c, 5);
    expect_input(c, room, "y");
    console_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipes),
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_terminals),
        cmocka_unit_test(test_file_and_nothing),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_input_waits_for_room),
        cmocka_unit_test(test_end_of_input),
        cmocka_unit_test(test_output_waits),
        cmocka_unit_test(test_reset_with_output_stuck),
        cmocka_unit_test(test_reader_gone),
        cmocka_unit_test(test_bad_buffers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
