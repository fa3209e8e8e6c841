/* The 16550A with real pipes behind it. */
#include "tests/unit/pc_rig.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pc/uart.h"

#define COM1 0x3f8
enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

typedef struct Bench {
    Rig rig;
    VmcUart *uart;
    int to_guest, from_guest; /* our ends */
    int in, out;              /* the guest's */
} Bench;

static void make_uart(Bench *b)
{
    VmcUartParams params = {b->rig.pio, b->rig.io, b->rig.clock, COM1, rig_wire(&b->rig), b->in, b->out};
    GError *error = NULL;
    b->uart = vmc_uart_new(&params, &error);
    assert_null(error);
    assert_non_null(b->uart);
}

static int setup(void **state)
{
    Bench *b = g_new0(Bench, 1);
    int in[2], out[2];
    rig_up(&b->rig);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    b->in = in[0];
    b->to_guest = in[1];
    b->from_guest = out[0];
    b->out = out[1];
    make_uart(b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    Bench *b = *state;
    vmc_uart_free(b->uart);
    close(b->in);
    close(b->out);
    if (b->to_guest >= 0)
        close(b->to_guest);
    if (b->from_guest >= 0)
        close(b->from_guest);
    rig_down(&b->rig);
    g_free(b);
    return 0;
}

static uint8_t rd(Bench *b, unsigned reg)
{
    return in8(&b->rig, COM1 + reg);
}

static void wr(Bench *b, unsigned reg, uint8_t value)
{
    out8(&b->rig, COM1 + reg, value);
}

/* FIFOs with trigger level 14, DTR, RTS, OUT2. */
static void open_port(Bench *b)
{
    wr(b, IIR, 0xc7);
    wr(b, MCR, 0x0b);
}

static void sends_what_is_written(void **state)
{
    Bench *b = *state;
    static const char text[] = "hello, world";
    char got[sizeof text] = "";
    for (const char *p = text; *p; p++) {
        assert_int_equal(rd(b, LSR) & 0x60, 0x60);
        wr(b, DATA, *p);
    }
    for (size_t n = 0; n < strlen(text);) {
        ssize_t r = read(b->from_guest, got + n, sizeof got - n);
        assert_true(r > 0);
        n += r;
    }
    assert_string_equal(got, text);
}

static void is_recognised_as_16550a(void **state)
{
    Bench *b = *state;
    wr(b, IER, 0xff);
    assert_int_equal(rd(b, IER), 0x0f);
    wr(b, IER, 0);
    assert_int_equal(rd(b, IER), 0);
    wr(b, SCR, 0x5a);
    assert_int_equal(rd(b, SCR), 0x5a);
    assert_int_equal(rd(b, IIR), 0x01);
    wr(b, IIR, 0x01);
    assert_int_equal(rd(b, IIR), 0xc1);
    wr(b, LCR, 0x83);
    wr(b, DATA, 0x01);
    wr(b, IER, 0x02);
    assert_int_equal(rd(b, DATA) | rd(b, IER) << 8, 0x201);
    wr(b, LCR, 0x03);
    assert_int_equal(rd(b, IER), 0);
    assert_int_equal(rd(b, MSR) & 0xf0, 0xb0);
}

static void loopback_brings_bytes_and_lines_back(void **state)
{
    Bench *b = *state;
    wr(b, MCR, 0x1a);
    assert_int_equal(rd(b, MSR) & 0xf0, 0x90);
    wr(b, DATA, 'x');
    assert_int_equal(rd(b, LSR) & 0x01, 0x01);
    assert_int_equal(rd(b, DATA), 'x');
    wr(b, DATA, 'y');
    wr(b, DATA, 'z'); /* no FIFO: one too many */
    assert_int_equal(rd(b, LSR) & 0x02, 0x02);
    assert_int_equal(rd(b, LSR) & 0x02, 0);
}

static void receives_and_interrupts_after_a_time(void **state)
{
    Bench *b = *state;
    open_port(b);
    wr(b, IER, 0x01);
    assert_int_equal(write(b->to_guest, "abc", 3), 3);
    RIG_UNTIL(b->rig.level);
    assert_int_equal(rd(b, IIR), 0xcc); /* three bytes are below the trigger level: time-out */
    assert_int_equal(rd(b, DATA), 'a');
    assert_int_equal(rd(b, DATA), 'b');
    assert_int_equal(rd(b, LSR) & 1, 1);
    assert_int_equal(rd(b, DATA), 'c');
    assert_int_equal(rd(b, LSR) & 1, 0);
    assert_false(b->rig.level);
    assert_int_equal(write(b->to_guest, "0123456789abcdef", 16), 16);
    RIG_UNTIL(b->rig.level);
    assert_int_equal(rd(b, IIR), 0xc4); /* trigger level */
}

/* Far more than the FIFO holds, read slowly: all of it arrives in order. */
static void never_loses_a_byte_of_input(void **state)
{
    Bench *b = *state;
    enum { N = 5000 };
    uint8_t bytes[N];
    for (unsigned i = 0; i < N; i++)
        bytes[i] = i * 7 + (i >> 8);
    assert_int_equal(write(b->to_guest, bytes, N), N);
    g_usleep(2000);
    assert_int_equal(rd(b, LSR) & 1, 0); /* RTS is off: it waits */
    open_port(b);
    for (unsigned i = 0; i < N; i++) {
        gint64 until = g_get_monotonic_time() + 2 * G_TIME_SPAN_SECOND;
        while (!(rd(b, LSR) & 1))
            assert_true(g_get_monotonic_time() < until);
        assert_int_equal(rd(b, LSR) & 0x02, 0); /* no overrun */
        assert_int_equal(rd(b, DATA), bytes[i]);
        if (i % 500 == 0) { /* drops RTS for a moment */
            wr(b, MCR, 0x09);
            wr(b, MCR, 0x0b);
        }
    }
}

/* UEFI firmware's way: it polls and raises nothing. Who has raised RTS once is held off without it. */
static void receives_without_rts_from_who_never_used_it(void **state)
{
    Bench *b = *state;
    assert_int_equal(write(b->to_guest, "a", 1), 1);
    for (unsigned i = 0; i < 100; i++) { /* output with a look at the transmitter each is no polling */
        assert_int_equal(rd(b, LSR) & 1, 0);
        wr(b, DATA, '.');
    }
    RIG_UNTIL(rd(b, LSR) & 1);
    assert_int_equal(rd(b, DATA), 'a');
    wr(b, MCR, 0x03);
    wr(b, MCR, 0x01);
    assert_int_equal(write(b->to_guest, "b", 1), 1);
    g_usleep(20000);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(rd(b, LSR) & 1, 0);
    wr(b, MCR, 0x03);
    RIG_UNTIL(rd(b, LSR) & 1);
    assert_int_equal(rd(b, DATA), 'b');
}

/* Nobody reads: the guest gets "not ready" after a while and can go on when somebody does. Nothing is lost.
 */
static void slow_reader_holds_the_guest_off(void **state)
{
    Bench *b = *state;
    open_port(b);
    unsigned sent = 0, idle = 0;
    while (idle < 200 && sent < 1 << 20) {
        if (rd(b, LSR) & 0x20) {
            wr(b, DATA, sent++ * 13);
            idle = 0;
        } else {
            idle++;
            g_usleep(500);
        }
    }
    assert_true(sent >= 65536 && sent < 1 << 20);
    wr(b, IER, 0x02); /* not empty: no interrupt yet */
    assert_false(b->rig.level);
    uint8_t buffer[4096];
    unsigned got = 0;
    while (got < sent) {
        ssize_t n = read(b->from_guest, buffer, sizeof buffer);
        assert_true(n > 0);
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal(buffer[i], (uint8_t)((got + i) * 13));
        got += n;
    }
    RIG_UNTIL(b->rig.level);
    assert_int_equal(rd(b, IIR), 0xc2);
    assert_int_equal(rd(b, LSR) & 0x60, 0x60);
}

static void transmitter_interrupt_comes_and_goes(void **state)
{
    Bench *b = *state;
    open_port(b);
    wr(b, IER, 0x02);
    assert_true(b->rig.level);
    assert_int_equal(rd(b, IIR), 0xc2);
    assert_false(b->rig.level); /* reading IIR acknowledges */
    wr(b, IER, 0);
    wr(b, IER, 0x02);
    assert_int_equal(rd(b, IIR), 0xc2);
    wr(b, DATA, 'a');
    assert_true(b->rig.level);
    wr(b, MCR, 0x03); /* without OUT2 it does not get out */
    assert_false(b->rig.level);
}

static void reader_that_goes_away_harms_nobody(void **state)
{
    Bench *b = *state;
    close(b->from_guest);
    b->from_guest = -1;
    for (unsigned i = 0; i < 200000; i++)
        wr(b, DATA, i);
    RIG_UNTIL(rd(b, LSR) & 0x20);
    close(b->to_guest);
    b->to_guest = -1;
    open_port(b);
    g_usleep(2000);
    assert_int_equal(rd(b, LSR) & 1, 0);
}

static void output_is_flushed_at_the_end(void **state)
{
    Bench *b = *state;
    for (unsigned i = 0; i < 1000; i++)
        wr(b, DATA, 'q');
    vmc_uart_free(b->uart);
    b->uart = NULL;
    char buffer[2048];
    assert_int_equal(read(b->from_guest, buffer, sizeof buffer), 1000);
}

static void sockets_and_none_at_all(void **state)
{
    Bench *b = *state;
    int pair[2];
    char c = 0;
    vmc_uart_free(b->uart);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    int in = b->in, out = b->out;
    b->in = b->out = pair[0];
    make_uart(b);
    open_port(b);
    wr(b, DATA, 's');
    assert_int_equal(read(pair[1], &c, 1), 1);
    assert_int_equal(c, 's');
    assert_int_equal(write(pair[1], "t", 1), 1);
    RIG_UNTIL(rd(b, LSR) & 1);
    assert_int_equal(rd(b, DATA), 't');
    close(pair[1]);
    wr(b, DATA, 'u');
    vmc_uart_free(b->uart);
    close(pair[0]);
    b->in = b->out = -1;
    make_uart(b);
    for (unsigned i = 0; i < 100000; i++)
        wr(b, DATA, 'v');
    assert_int_equal(rd(b, LSR) & 0x20, 0x20);
    vmc_uart_free(b->uart);
    b->in = in;
    b->out = out;
    make_uart(b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(sends_what_is_written),
        T(is_recognised_as_16550a),
        T(loopback_brings_bytes_and_lines_back),
        T(receives_and_interrupts_after_a_time),
        T(never_loses_a_byte_of_input),
        T(receives_without_rts_from_who_never_used_it),
        T(slow_reader_holds_the_guest_off),
        T(transmitter_interrupt_comes_and_goes),
        T(reader_that_goes_away_harms_nobody),
        T(output_is_flushed_at_the_end),
        T(sockets_and_none_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
