/*
 * A machine with a debugger: real machines with kernels of a few instructions, and a client that speaks GDB's
 * protocol to them over a real socket. On both engines of the software CPU and, where there is one that
 * works, on KVM.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "gdb/registers.h"
#include "machine/private.h"
#include "tests/unit/tiny_kernel.h"
#include "vmcore/vmcore.h"

#define SECONDS_MAX 20

/* Registers by their numbers in the protocol. */
enum { RAX = 0, RCX = 2, RSP = 7, RIP = 16, CS = 18 };

#define COUNTER 0x60000

static VmcCpuKind cpu_kind = VMC_CPU_SOFT;
static VmcCpuEngine engine;

typedef struct Rig {
    char *dir, *path;
    VmcMachine *machine;
    VmcGdb *gdb;
    int reason; /* of the machine's stop, or -1 */
    int fd;
    GString *in; /* what came and was not looked at */
    bool no_ack;
    bool closed;
} Rig;

static int set_up(void **state)
{
    Rig *rig = g_new0(Rig, 1);

    rig->dir = tiny_dir();
    rig->path = g_build_filename(rig->dir, "gdb", NULL);
    rig->reason = -1;
    rig->fd = -1;
    rig->in = g_string_new(NULL);
    *state = rig;
    return 0;
}

static void hang_up(Rig *rig)
{
    if (rig->fd >= 0)
        close(rig->fd);
    rig->fd = -1;
    rig->no_ack = rig->closed = false;
    g_string_truncate(rig->in, 0);
}

static int tear_down(void **state)
{
    Rig *rig = *state;

    hang_up(rig);
    vmc_gdb_free(rig->gdb);
    g_clear_object(&rig->machine);
    g_string_free(rig->in, TRUE);
    g_free(rig->path);
    tiny_dir_remove(rig->dir);
    g_free(rig);
    return 0;
}

static void on_stopped(VmcMachine *machine, int reason, gpointer data)
{
    ((Rig *)data)->reason = reason;
}

/* A machine with this kernel and `cpus` CPUs that listens for a debugger, started. */
static void start(Rig *rig, const TinyCode *code, unsigned cpus, bool wait)
{
    VmcConfig *config = vmc_config_new();
    g_autofree char *address = g_strconcat("unix:", rig->path, NULL);
    GError *error = NULL;

    config->cpus = cpus;
    config->memory = 16ull << 20;
    config->cpu = cpu_kind;
    config->soft.engine = engine;
    config->boot.kind = VMC_BOOT_LINUX;
    config->boot.kernel = tiny_kernel(rig->dir, "kernel", code);
    rig->machine = vmc_machine_new(config, &error);
    vmc_config_free(config);
    g_signal_connect(rig->machine, "stopped", G_CALLBACK(on_stopped), rig);
    rig->gdb = vmc_gdb_new(rig->machine, address, wait, &error);
    if (!rig->gdb || !vmc_machine_start(rig->machine, &error))
        fail_msg("%s", error->message);
}

/* ---- the client ---- */

static void connect_client(Rig *rig)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    hang_up(rig);
    g_strlcpy(address.sun_path, rig->path, sizeof address.sun_path);
    rig->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(rig->fd, (struct sockaddr *)&address, sizeof address), 0);
}

/* Lets the main loop run for a moment and takes in what has come. */
static void pump(Rig *rig)
{
    struct pollfd poll_fd = {rig->fd, POLLIN, 0};
    char bytes[4096];

    while (g_main_context_iteration(NULL, FALSE))
        ;
    if (rig->fd < 0 || rig->closed || poll(&poll_fd, 1, 1) <= 0)
        return;
    ssize_t n = recv(rig->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0)
        g_string_append_len(rig->in, bytes, n);
    else if (n == 0 || errno != EAGAIN)
        rig->closed = true;
}

#define UNTIL(rig, condition)                                                                                \
    do {                                                                                                     \
        gint64 until_ = g_get_monotonic_time() + SECONDS_MAX * G_USEC_PER_SEC;                               \
        while (!(condition)) {                                                                               \
            pump(rig);                                                                                       \
            if (g_get_monotonic_time() > until_)                                                             \
                fail_msg("not within %d s: %s; there is “%s”", SECONDS_MAX, #condition, (rig)->in->str);     \
        }                                                                                                    \
    } while (0)

static void put_bytes(Rig *rig, const void *bytes, size_t n)
{
    assert_int_equal(send(rig->fd, bytes, n, MSG_NOSIGNAL), n);
}

static void put_packet(Rig *rig, const char *content)
{
    uint8_t sum = 0;

    for (const char *c = content; *c; c++)
        sum = (uint8_t)(sum + (uint8_t)*c);
    g_autofree char *packet = g_strdup_printf("$%s#%02x", content, sum);
    put_bytes(rig, packet, strlen(packet));
}

static void expect_char(Rig *rig, char c)
{
    UNTIL(rig, rig->in->len >= 1);
    assert_int_equal(rig->in->str[0], c);
    g_string_erase(rig->in, 0, 1);
}

/* The content of the packet that comes next; its checksum has to be right. Acknowledged. */
static char *get_packet(Rig *rig)
{
    uint8_t sum = 0;
    const char *hash;

    UNTIL(rig, (hash = strchr(rig->in->str, '#')) && rig->in->len >= (size_t)(hash - rig->in->str) + 3);
    assert_int_equal(rig->in->str[0], '$');
    for (const char *c = rig->in->str + 1; c < hash; c++)
        sum = (uint8_t)(sum + (uint8_t)*c);
    g_autofree char *said = g_strndup(hash + 1, 2);
    assert_int_equal(strtoul(said, NULL, 16), sum);
    char *content = g_strndup(rig->in->str + 1, (gsize)(hash - rig->in->str - 1));
    g_string_erase(rig->in, 0, hash - rig->in->str + 3);
    if (!rig->no_ack)
        put_bytes(rig, "+", 1);
    return content;
}

static char *ask(Rig *rig, const char *content)
{
    put_packet(rig, content);
    if (!rig->no_ack)
        expect_char(rig, '+');
    return get_packet(rig);
}

static void answers(Rig *rig, const char *content, const char *wanted)
{
    g_autofree char *reply = ask(rig, content);

    if (strcmp(reply, wanted) != 0)
        fail_msg("“%s” should be answered with “%s”, not “%s”", content, wanted, reply);
}

/* Lets the CPUs go; `stopped` says when they have stopped. */
static void let_go(Rig *rig, const char *content)
{
    put_packet(rig, content);
    if (!rig->no_ack)
        expect_char(rig, '+');
}

static void stopped(Rig *rig, const char *wanted)
{
    g_autofree char *reply = get_packet(rig);

    if (strcmp(reply, wanted) != 0)
        fail_msg("CPUs should have stopped with “%s”, not “%s”", wanted, reply);
}

/* Connected, past the usual first words, without acknowledgements. */
static void attach(Rig *rig)
{
    connect_client(rig);
    g_autofree char *features = ask(rig, "qSupported:multiprocess+;swbreak+;hwbreak+;vContSupported+");
    assert_non_null(strstr(features, "PacketSize=4000"));
    answers(rig, "QStartNoAckMode", "OK");
    rig->no_ack = true;
    answers(rig, "?", "T05thread:1;");
}

static uint64_t reg(Rig *rig, unsigned number)
{
    g_autofree char *question = g_strdup_printf("p%x", number);
    g_autofree char *reply = ask(rig, question);
    uint64_t value = 0;

    assert_true(strlen(reply) >= 8);
    for (size_t i = strlen(reply); i >= 2; i -= 2) {
        char byte[3] = {reply[i - 2], reply[i - 1], 0};
        value = value << 8 | strtoul(byte, NULL, 16);
    }
    return value;
}

static void set_reg(Rig *rig, unsigned number, uint64_t value)
{
    g_autofree char *question =
        g_strdup_printf("P%x=%016" G_GINT64_MODIFIER "x", number, GUINT64_SWAP_LE_BE(value));

    answers(rig, question, "OK");
}

static uint64_t counter(Rig *rig)
{
    uint64_t value = 0;

    assert_true(vmc_memory_read(rig->machine->guest->memory, COUNTER, &value, 8));
    return value;
}

/* "Z0,ADDRESS,1" and the like. */
static void point(Rig *rig, const char *what, uint64_t address, unsigned length)
{
    g_autofree char *content = g_strdup_printf("%s,%" G_GINT64_MODIFIER "x,%x", what, address, length);

    answers(rig, content, "OK");
}

/* Some KVM hosts are emulated by a processor that has none (tests/guest/kvm-host). */
static void need_breakpoints(void)
{
    if (cpu_kind == VMC_CPU_KVM && g_strcmp0(g_getenv("ESPALIER_KVM_BREAKPOINTS"), "no") == 0)
        skip();
}

/* ---- cases ---- */

static void test_a_machine_that_waits_has_not_run(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    tiny_count(&code);
    start(rig, &code, 1, true);
    g_usleep(30000);
    assert_int_equal(counter(rig), 0);
    assert_int_equal(vmc_machine_get_start_latency_ns(rig->machine), 0);
    attach(rig);
    assert_int_equal(vmc_machine_get_state(rig->machine), VMC_MACHINE_RUNNING);
    uint64_t rip = reg(rig, RIP);
    g_autofree char *question = g_strdup_printf("m%" G_GINT64_MODIFIER "x,a", rip);
    answers(rig, question, "48ff042500000600ebf6"); /* the kernel itself */
    /* Gone without a word, and it waits still. */
    hang_up(rig);
    for (unsigned i = 0; i < 30; i++)
        pump(rig);
    assert_int_equal(counter(rig), 0);
    attach(rig);
    assert_int_equal(reg(rig, RIP), rip);
    let_go(rig, "c");
    UNTIL(rig, counter(rig) > 10);
    /* Now that it has run, it goes on without him. */
    hang_up(rig);
    for (unsigned i = 0; i < 30; i++)
        pump(rig);
    uint64_t before = counter(rig);
    UNTIL(rig, counter(rig) > before);
}

static void test_registers_and_memory_are_read_and_written(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    tiny_count(&code);
    start(rig, &code, 1, true);
    attach(rig);
    set_reg(rig, RCX, 0x1122334455667788);
    assert_int_equal(reg(rig, RCX), 0x1122334455667788);
    g_autofree char *all = ask(rig, "g");
    unsigned bytes = 0;
    for (unsigned i = 0; i < vmc_gdb_register_count(); i++)
        bytes += vmc_gdb_register_size(i);
    assert_int_equal(strlen(all), 2 * bytes);
    assert_true(g_str_has_prefix(all + 32, "8877665544332211"));
    g_autofree char *write_all = g_strconcat("G", all, NULL);
    write_all[1 + 32] = '9';
    answers(rig, write_all, "OK");
    assert_int_equal(reg(rig, RCX), 0x1122334455667798);

    answers(rig, "M50000,4:deadbeef", "OK");
    answers(rig, "m50000,6", "deadbeef0000");
    put_bytes(rig, "$X50004,3:}\x03\0}\x5d#44", 18); /* '#', a zero, '}' */
    g_autofree char *reply = get_packet(rig);
    assert_string_equal(reply, "OK");
    answers(rig, "m50004,4", "23007d00");
    answers(rig, "X50004,0:", "OK");
    /* Across a page, up to the end of memory, and behind it. */
    answers(rig, "M50ffe,4:01020304", "OK");
    answers(rig, "m50ffe,4", "01020304");
    answers(rig, "mfffffe,4", "0000");
    answers(rig, "m1000000,4", "E0e");
    answers(rig, "Mfffffe,4:01020304", "E0e");
    answers(rig, "m8000000000000000,4", "E0e");
    answers(rig, "mffffffffffffffff,4", "E0e");
}

static void test_what_makes_no_sense_is_an_error(void **state)
{
    static const char *const nonsense[] = {"m",
                                           "m,",
                                           "m0",
                                           "m0,",
                                           "m0,4x",
                                           "mg,4",
                                           "m12345678901234567,1",
                                           "M50000,4:00",
                                           "M50000,4:00112233aa",
                                           "M50000,ffffffffffffffff:00",
                                           "M50000,4",
                                           "X50000,4:a",
                                           "X50000,",
                                           "p",
                                           "p1000",
                                           "pffffffffffffffff",
                                           "P0",
                                           "P0=",
                                           "P0=00",
                                           "P0=zz00000000000000",
                                           "P1000=00",
                                           "G00",
                                           "Gzz",
                                           "H",
                                           "Hx1",
                                           "Hg3",
                                           "Hgffffffffffffffff",
                                           "Hg-2",
                                           "T0x",
                                           "T3",
                                           "T",
                                           "Z",
                                           "Z0",
                                           "Z5,0,1",
                                           "Z0,1",
                                           "Z2,1000,0",
                                           "Z2,fffffffffffffff0,20",
                                           "z9,0,0",
                                           "Z0,1000,1;X1,0",
                                           "vCont",
                                           "vCont;",
                                           "vCont;x",
                                           "vCont;c:3",
                                           "vCont;c:",
                                           "vCont;C",
                                           "vCont;c;",
                                           "vCont;c:1x",
                                           "sx",
                                           "cx",
                                           "C",
                                           "Cx",
                                           "S05x",
                                           "qXfer:features:read:target.xml:",
                                           "qXfer:features:read:target.xml:0",
                                           "qThreadExtraInfo,",
                                           "qThreadExtraInfo,9"};
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    tiny_count(&code);
    start(rig, &code, 2, true);
    attach(rig);
    for (unsigned i = 0; i < G_N_ELEMENTS(nonsense); i++) {
        g_autofree char *reply = ask(rig, nonsense[i]);

        if (reply[0] != 'E' || strlen(reply) != 3)
            fail_msg("“%s” should be an error, not “%s”", nonsense[i], reply);
    }
    static const char *const unknown[] = {
        "!",   "R00", "vMustReplyEmpty", "vRun;", "qSymbol::", "QNonStop:1", "q", "", "%",
        "qC1", "b",   "vFile:open:2f"};
    for (unsigned i = 0; i < G_N_ELEMENTS(unknown); i++)
        answers(rig, unknown[i], "");
    answers(rig, "P12=00000000", "E01"); /* a segment register */
    answers(rig, "?", "T05thread:1;");
    assert_int_equal(counter(rig), 0); /* none of it ran anything */
}

static void test_breakpoints_stop_before_the_instruction(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    need_breakpoints();
    tiny_count(&code); /* an instruction of 8 bytes, and a jump to it */
    start(rig, &code, 1, true);
    attach(rig);
    uint64_t rip = reg(rig, RIP);
    point(rig, "Z0", rip + 8, 1);
    point(rig, "Z0", rip + 8, 1); /* once more is the same one */
    let_go(rig, "vCont;c");
    stopped(rig, "T05swbreak:;thread:1;");
    assert_int_equal(reg(rig, RIP), rip + 8);
    assert_int_equal(counter(rig), 1);
    g_autofree char *question = g_strdup_printf("m%" G_GINT64_MODIFIER "x,a", rip);
    answers(rig, question, "48ff042500000600ebf6"); /* nobody has changed it */
    /* As a debugger goes on from one. */
    point(rig, "z0", rip + 8, 1);
    let_go(rig, "vCont;s:1");
    stopped(rig, "T05thread:1;");
    assert_int_equal(reg(rig, RIP), rip);
    point(rig, "Z1", rip + 8, 1);
    let_go(rig, "c");
    stopped(rig, "T05hwbreak:;thread:1;");
    assert_int_equal(counter(rig), 2);
    /* Without stepping over it first it is met again at once. */
    let_go(rig, "c");
    stopped(rig, "T05hwbreak:;thread:1;");
    assert_int_equal(counter(rig), 2);
    point(rig, "z1", rip + 8, 1);
    let_go(rig, "c");
    UNTIL(rig, counter(rig) > 1000);
    put_bytes(rig, "\x03", 1);
    stopped(rig, "T02thread:1;");
    uint64_t now = counter(rig);
    g_usleep(30000);
    assert_int_equal(counter(rig), now);
    /* Into code that has run often, and out of it again. */
    point(rig, "Z0", rip + 8, 1);
    now += reg(rig, RIP) == rip ? 1 : 0;
    let_go(rig, "c");
    stopped(rig, "T05swbreak:;thread:1;");
    assert_int_equal(reg(rig, RIP), rip + 8);
    assert_int_equal(counter(rig), now);
    point(rig, "z0", rip + 8, 1);
    let_go(rig, "c");
    UNTIL(rig, counter(rig) > now + 1000);
}

/* Most of them somewhere else, but at the same place within a page: none may be missed, none may stop. */
static void test_many_breakpoints(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    need_breakpoints();
    tiny_count(&code);
    start(rig, &code, 1, true);
    attach(rig);
    uint64_t rip = reg(rig, RIP);
    for (unsigned i = 1; i < VMC_DEBUG_BREAKPOINTS; i++)
        point(rig, "Z0", rip + 0x1000 * i + (i & 1) * 8, 1);
    let_go(rig, "c");
    UNTIL(rig, counter(rig) > 100);
    put_bytes(rig, "\x03", 1);
    stopped(rig, "T02thread:1;");
    point(rig, "Z0", rip + 8, 1);
    answers(rig, "Z0,1,1", "E1c"); /* no room for another */
    uint64_t now = counter(rig) + (reg(rig, RIP) == rip ? 1 : 0);
    let_go(rig, "c");
    stopped(rig, "T05swbreak:;thread:1;");
    assert_int_equal(counter(rig), now);
}

static void test_a_step_is_one_instruction(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    TINY(&code, 0xb8, 7, 0, 0, 0);             /* mov $7, %eax */
    TINY(&code, 0x48, 0x89, 0xc1);             /* mov %rax, %rcx */
    TINY(&code, 0xe4, 0x61);                   /* in $0x61, %al */
    TINY(&code, 0xbf, 0x00, 0x00, 0x06, 0x00); /* mov $0x60000, %edi */
    TINY(&code, 0xf3, 0xaa);                   /* rep stosb, seven times */
    tiny_power_off(&code);
    start(rig, &code, 1, true);
    attach(rig);
    uint64_t rip = reg(rig, RIP);
    static const unsigned at[] = {5, 8, 10, 15};
    for (unsigned i = 0; i < G_N_ELEMENTS(at); i++) {
        let_go(rig, i % 2 ? "s" : "vCont;s:1;c");
        stopped(rig, "T05thread:1;");
        assert_int_equal(reg(rig, RIP), rip + at[i]);
    }
    /* A repeated one takes as many steps as it likes, and gets on with each. */
    for (uint64_t left = 7, now; reg(rig, RIP) == rip + 15; left = now) {
        let_go(rig, "s");
        stopped(rig, "T05thread:1;");
        now = reg(rig, RCX);
        assert_true(now < left);
    }
    assert_int_equal(reg(rig, RIP), rip + 17);
    assert_int_equal(reg(rig, RCX), 0);
    uint64_t elsewhere = rip + 5;
    g_autofree char *content = g_strdup_printf("s%" G_GINT64_MODIFIER "x", elsewhere);
    let_go(rig, content);
    stopped(rig, "T05thread:1;");
    assert_int_equal(reg(rig, RIP), rip + 8);
}

static void test_watchpoints_stop_behind_the_access(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    need_breakpoints();
    TINY(&code, 0x8b, 0x04, 0x25, 0x04, 0x00, 0x06, 0x00); /* 0: mov 0x60004, %eax */
    TINY(&code, 0xff, 0x04, 0x25, 0x00, 0x00, 0x06, 0x00); /* 7: incl 0x60000 */
    TINY(&code, 0x89, 0x04, 0x25, 0x08, 0x00, 0x06, 0x00); /* 14: mov %eax, 0x60008 */
    TINY(&code, 0xeb, 0xe9);                               /* 21: jmp to 0 */
    start(rig, &code, 1, true);
    attach(rig);
    uint64_t rip = reg(rig, RIP);
    point(rig, "Z2", 0x60000, 8);
    let_go(rig, "c");
    stopped(rig, "T05watch:60000;thread:1;");
    assert_int_equal(reg(rig, RIP), rip + 14);
    assert_int_equal(counter(rig) & 0xffffffff, 1);
    let_go(rig, "c"); /* round the loop */
    stopped(rig, "T05watch:60000;thread:1;");
    assert_int_equal(counter(rig) & 0xffffffff, 2);
    point(rig, "z2", 0x60000, 8);
    point(rig, "Z4", 0x60008, 4);
    let_go(rig, "c");
    stopped(rig, "T05awatch:60008;thread:1;");
    assert_int_equal(reg(rig, RIP), rip + 21);
    point(rig, "z4", 0x60008, 4);
    point(rig, "Z3", 0x60004, 4);
    let_go(rig, "c");
    stopped(rig, "T05rwatch:60004;thread:1;");
    assert_int_equal(reg(rig, RIP), rip + 7);
    point(rig, "z3", 0x60004, 4);
    uint32_t before = (uint32_t)counter(rig);
    let_go(rig, "c");
    UNTIL(rig, (uint32_t)counter(rig) > before + 100); /* at full speed again */
}

/* The others wait in reset for a SIPI that never comes. */
static void test_each_cpu_is_a_thread(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    tiny_count(&code);
    start(rig, &code, 3, true);
    attach(rig);
    answers(rig, "qfThreadInfo", "m1,2,3");
    answers(rig, "qsThreadInfo", "l");
    answers(rig, "qC", "QC1");
    answers(rig, "qAttached", "1");
    answers(rig, "T3", "OK");
    answers(rig, "T4", "E16");
    answers(rig, "qThreadExtraInfo,2", "4350552031205b6e6f7420737461727465645d"); /* CPU 1 [not started] */
    uint64_t rip = reg(rig, RIP);
    answers(rig, "Hg2", "OK");
    assert_true(reg(rig, RIP) != rip);
    set_reg(rig, RAX, 0x2222);
    answers(rig, "Hg1", "OK");
    assert_int_equal(reg(rig, RIP), rip);
    assert_true(reg(rig, RAX) != 0x2222);
    /* Only one goes on: the first stays where it is. */
    let_go(rig, "vCont;c:2");
    for (unsigned i = 0; i < 20; i++)
        pump(rig);
    assert_int_equal(counter(rig), 0);
    put_bytes(rig, "\x03", 1);
    stopped(rig, "T02thread:1;");
    let_go(rig, "vCont;s:1");
    stopped(rig, "T05thread:1;");
    assert_int_equal(counter(rig), 1);
    let_go(rig, "vCont;c:1");
    UNTIL(rig, counter(rig) > 100);
    put_bytes(rig, "\x03", 1);
    stopped(rig, "T02thread:1;");
}

static void test_packets_are_acknowledged_and_repeated(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    tiny_count(&code);
    start(rig, &code, 1, true);
    connect_client(rig);
    put_bytes(rig, "+", 1); /* as GDB begins */
    put_bytes(rig, "$?#00", 5);
    expect_char(rig, '-');
    answers(rig, "?", "T05thread:1;");
    put_bytes(rig, "-", 1);
    stopped(rig, "T05thread:1;");      /* once more */
    put_bytes(rig, "$?#3f$qC#b4", 11); /* two at once */
    expect_char(rig, '+');
    stopped(rig, "T05thread:1;");
    expect_char(rig, '+');
    g_autofree char *second = get_packet(rig);
    assert_string_equal(second, "QC1");
    answers(rig, "QStartNoAckMode", "OK");
    rig->no_ack = true;
    put_bytes(rig, "-", 1); /* means nothing any more */
    answers(rig, "qC", "QC1");
}

static void test_the_description_comes_in_pieces(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    g_autofree char *whole = vmc_gdb_registers_describe();
    g_autoptr(GString) got = g_string_new(NULL);
    bool last = false;

    tiny_count(&code);
    start(rig, &code, 1, true);
    attach(rig);
    while (!last && got->len <= strlen(whole)) {
        g_autofree char *question =
            g_strdup_printf("qXfer:features:read:target.xml:%zx,ffffffffff", got->len);
        g_autofree char *piece = ask(rig, question);

        last = piece[0] == 'l';
        assert_true(last || piece[0] == 'm');
        g_string_append(got, piece + 1);
    }
    assert_string_equal(got->str, whole);
    answers(rig, "qXfer:features:read:target.xml:ffffffffffffffff,1", "l");
    answers(rig, "qXfer:features:read:other.xml:0,1", "E00");
}

static void test_what_no_debugger_sends_is_hung_up_on(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    tiny_count(&code);
    start(rig, &code, 1, false);
    UNTIL(rig, counter(rig) > 0);
    connect_client(rig);
    put_bytes(rig, "POST / HTTP/1.1\r\n\r\n$M60000,1:00#57", 34);
    UNTIL(rig, rig->closed);
    assert_int_equal(rig->in->len, 0);
    hang_up(rig);
    uint64_t before = counter(rig);
    UNTIL(rig, counter(rig) > before);
}

/* Sends far more than is read; nothing of it is kept but what fits into the sockets. */
static void test_a_client_that_does_not_read_waits(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    size_t sent = 0;

    tiny_count(&code);
    start(rig, &code, 1, true);
    attach(rig);
    for (unsigned idle = 0; idle < 50;) {
        ssize_t n = send(rig->fd, "$m0,2000#8b", 11, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0)
            sent += (size_t)n;
        idle = n > 0 ? 0 : idle + 1;
        while (g_main_context_iteration(NULL, FALSE))
            ;
        assert_true(sent < 8u << 20);
    }
    /* And it can be stopped with all that in between. */
    vmc_machine_stop(rig->machine);
    assert_int_equal(rig->reason, VMC_STOP_REQUESTED);
}

static void test_the_guests_end_is_told(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    tiny_power_off(&code);
    start(rig, &code, 1, true);
    attach(rig);
    let_go(rig, "c");
    stopped(rig, "W00");
    UNTIL(rig, rig->closed && rig->reason >= 0);
    assert_int_equal(rig->reason, VMC_STOP_GUEST_POWER_OFF);
    /* There is nothing to debug now. */
    connect_client(rig);
    UNTIL(rig, rig->closed);
    /* But when it is started again it waits again. */
    assert_true(vmc_machine_start(rig->machine, NULL));
    attach(rig);
    answers(rig, "D", "OK");
    UNTIL(rig, rig->closed && vmc_machine_get_state(rig->machine) == VMC_MACHINE_STOPPED);
}

static void test_kill_ends_the_machine(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    tiny_count(&code);
    start(rig, &code, 1, false);
    attach(rig);
    put_packet(rig, "k");
    UNTIL(rig, rig->reason >= 0);
    assert_int_equal(rig->reason, VMC_STOP_REQUESTED);
    UNTIL(rig, rig->closed);
}

static void test_detaching_leaves_nothing_behind(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    tiny_count(&code);
    start(rig, &code, 1, false);
    attach(rig);
    uint64_t rip = reg(rig, RIP) & ~0xfull;
    for (unsigned i = 0; i < 16; i++) /* wherever it is in its loop */
        point(rig, "Z0", rip + i, 1);
    point(rig, "Z2", COUNTER, 8);
    uint64_t before = counter(rig);
    answers(rig, "D", "OK");
    UNTIL(rig, rig->closed);
    UNTIL(rig, counter(rig) > before + 1000);
    attach(rig); /* the next one finds none of that */
    before = counter(rig);
    let_go(rig, "c");
    UNTIL(rig, counter(rig) > before + 1000);
}

static void test_a_pause_and_a_debugger_do_not_undo_each_other(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    tiny_count(&code);
    start(rig, &code, 1, false);
    attach(rig);
    assert_true(vmc_machine_pause(rig->machine, NULL));
    uint64_t before = counter(rig);
    let_go(rig, "c"); /* lets go, but the machine is paused */
    g_usleep(30000);
    pump(rig);
    assert_int_equal(counter(rig), before);
    assert_true(vmc_machine_resume(rig->machine, NULL));
    UNTIL(rig, counter(rig) > before);
    put_bytes(rig, "\x03", 1);
    stopped(rig, "T02thread:1;");
    assert_true(vmc_machine_pause(rig->machine, NULL));
    assert_true(vmc_machine_resume(rig->machine, NULL));
    before = counter(rig);
    g_usleep(30000);
    assert_int_equal(counter(rig), before);
    let_go(rig, "c");
    UNTIL(rig, counter(rig) > before);
}

static void test_a_reset_of_the_guest_keeps_breakpoints(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    need_breakpoints();
    tiny_reset(&code);
    start(rig, &code, 1, true);
    attach(rig);
    uint64_t rip = reg(rig, RIP);
    point(rig, "Z1", rip + 4, 1);
    for (unsigned i = 0; i < 3; i++) {
        let_go(rig, "c");
        stopped(rig, "T05hwbreak:;thread:1;");
        assert_int_equal(reg(rig, RIP), rip + 4);
        let_go(rig, "vCont;s:1");
        stopped(rig, "T05hwbreak:;thread:1;"); /* still there */
        point(rig, "z1", rip + 4, 1);
        let_go(rig, "vCont;s:1");
        stopped(rig, "T05thread:1;");
        point(rig, "Z1", rip + 4, 1);
    }
}

/* The guest steps itself and has an INT3 of its own: it gets both, in spite of the debugger's. */
static void test_the_guests_own_debugging_is_its_own(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    need_breakpoints();
    /* An IDT at 0x61000: 1 and 3 both to the handler at +0x100, which counts at 0x60000. */
    TINY(&code, 0x48, 0xc7, 0xc4, 0x00, 0x00, 0x07, 0x00); /* mov $0x70000, %rsp */
    TINY(&code, 0x48, 0x8d, 0x05, 0x00, 0x00, 0x00, 0x00); /* 7: lea handler(%rip), %rax */
    size_t lea = code.n;
    for (unsigned vector = 1; vector <= 3; vector += 2) {
        uint8_t at = (uint8_t)(vector * 16);
        TINY(&code, 0x66, 0x89, 0x04, 0x25, at, 0x10, 0x06, 0x00);                /* mov %ax, gate */
        TINY(&code, 0x66, 0x8c, 0x0c, 0x25, (uint8_t)(at + 2), 0x10, 0x06, 0x00); /* mov %cs, gate + 2 */
        TINY(&code, 0x66, 0xc7, 0x04, 0x25, (uint8_t)(at + 4), 0x10, 0x06, 0x00, 0x00,
             0x8e);                                            /* movw $0x8e00, gate + 4 */
        TINY(&code, 0x48, 0x89, 0xc3, 0x48, 0xc1, 0xeb, 0x10); /* mov %rax, %rbx; shr $16 */
        TINY(&code, 0x66, 0x89, 0x1c, 0x25, (uint8_t)(at + 6), 0x10, 0x06, 0x00); /* mov %bx, gate + 6 */
    }
    TINY(&code, 0x66, 0xc7, 0x04, 0x25, 0x00, 0x20, 0x06, 0x00, 0xff, 0x0f); /* movw $0xfff, 0x62000 */
    TINY(&code, 0x48, 0xc7, 0x04, 0x25, 0x02, 0x20, 0x06, 0x00, 0x00, 0x10, 0x06,
         0x00);                                                  /* movq $0x61000, 0x62002 */
    TINY(&code, 0x0f, 0x01, 0x1c, 0x25, 0x00, 0x20, 0x06, 0x00); /* lidt 0x62000 */
    size_t int3 = code.n;
    TINY(&code, 0xcc);                                                 /* int3: 1 */
    TINY(&code, 0x9c, 0x81, 0x0c, 0x24, 0x00, 0x01, 0x00, 0x00, 0x9d); /* pushf; orl $TF, (%rsp); popf */
    TINY(&code, 0x90, 0x90);                                           /* traps: 2, 3 */
    TINY(&code, 0x9c, 0x81, 0x24, 0x24, 0xff, 0xfe, 0xff, 0xff, 0x9d); /* without TF: 4, 5, 6 */
    size_t done = code.n;
    TINY(&code, 0x90, 0xeb, 0xfe); /* nop; jmp to itself */
    size_t handler = code.n;
    TINY(&code, 0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x06, 0x00, 0x48, 0xcf); /* incq counter; iretq */
    tiny_put(code.bytes, (unsigned)lea - 4, handler - lea, 4);
    start(rig, &code, 1, true);
    attach(rig);
    uint64_t rip = reg(rig, RIP);
    point(rig, "Z0", rip + int3 + 10, 1); /* at a nop that traps */
    point(rig, "Z0", rip + done, 1);
    let_go(rig, "c");
    stopped(rig, "T05swbreak:;thread:1;");
    assert_int_equal(reg(rig, RIP), rip + int3 + 10);
    assert_int_equal(counter(rig), 1);
    point(rig, "z0", rip + int3 + 10, 1);
    let_go(rig, "c");
    stopped(rig, "T05swbreak:;thread:1;");
    assert_int_equal(reg(rig, RIP), rip + done);
    assert_int_equal(counter(rig), 6);
}

static void test_a_port_of_this_computer(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    GError *error = NULL;

    tiny_count(&code);
    start(rig, &code, 1, false);
    vmc_gdb_free(rig->gdb);
    /* One that was free a moment ago. */
    int probe = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(probe, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(probe, (struct sockaddr *)&address, &size), 0);
    close(probe);
    g_autofree char *text = g_strdup_printf("tcp:%u", ntohs(address.sin_port));
    rig->gdb = vmc_gdb_new(rig->machine, text, false, &error);
    if (!rig->gdb)
        fail_msg("%s", error->message);
    assert_true(g_str_has_prefix(vmc_gdb_target(rig->gdb), "localhost:"));
    rig->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(rig->fd, (struct sockaddr *)&address, size), 0);
    answers(rig, "?", "T05thread:1;");
    /* Two cannot listen at one place. */
    assert_null(vmc_gdb_new(rig->machine, text, false, &error));
    assert_non_null(strstr(error->message, text));
    g_clear_error(&error);
}

static void test_the_socket_is_its_users_alone_and_goes_away(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    struct stat st;

    tiny_count(&code);
    start(rig, &code, 1, false);
    assert_int_equal(stat(rig->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    g_clear_pointer(&rig->gdb, vmc_gdb_free);
    assert_int_equal(stat(rig->path, &st), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    TEST(test_a_machine_that_waits_has_not_run),
    TEST(test_registers_and_memory_are_read_and_written),
    TEST(test_what_makes_no_sense_is_an_error),
    TEST(test_breakpoints_stop_before_the_instruction),
    TEST(test_many_breakpoints),
    TEST(test_a_step_is_one_instruction),
    TEST(test_watchpoints_stop_behind_the_access),
    TEST(test_each_cpu_is_a_thread),
    TEST(test_packets_are_acknowledged_and_repeated),
    TEST(test_the_description_comes_in_pieces),
    TEST(test_what_no_debugger_sends_is_hung_up_on),
    TEST(test_a_client_that_does_not_read_waits),
    TEST(test_the_guests_end_is_told),
    TEST(test_kill_ends_the_machine),
    TEST(test_detaching_leaves_nothing_behind),
    TEST(test_a_pause_and_a_debugger_do_not_undo_each_other),
    TEST(test_a_reset_of_the_guest_keeps_breakpoints),
    TEST(test_the_guests_own_debugging_is_its_own),
    TEST(test_a_port_of_this_computer),
    TEST(test_the_socket_is_its_users_alone_and_goes_away),
};

/* Why KVM is left out, or NULL. ESPALIER_KVM=real: it is a real one on a slow processor
 * (tests/guest/kvm-host). */
static char *why_no_kvm(void)
{
    char *reason = NULL;

    if (access("/dev/kvm", R_OK | W_OK) != 0)
        return g_strdup("there is no /dev/kvm that may be used");
    if (g_strcmp0(g_getenv("ESPALIER_KVM"), "real") != 0 && !vmc_cpu_kvm_probe(&reason))
        return reason;
    g_free(reason);
    return NULL;
}

int main(int argc, char **argv)
{
    g_autofree char *no_kvm = why_no_kvm();
    int failed = 0;

    if (argc < 2 || strcmp(argv[1], "soft") == 0) {
        engine = VMC_ENGINE_INTERPRETER;
        failed += cmocka_run_group_tests_name("debugger, interpreter", tests, NULL, NULL);
        engine = VMC_ENGINE_TRANSLATOR;
        failed += cmocka_run_group_tests_name("debugger, translator", tests, NULL, NULL);
        engine = VMC_ENGINE_DEFAULT;
    }
    if (no_kvm) {
        printf("skip debugger on KVM: %s\n", no_kvm);
    } else if (argc < 2 || strcmp(argv[1], "kvm") == 0) {
        cpu_kind = VMC_CPU_KVM;
        failed += cmocka_run_group_tests_name("debugger, KVM", tests, NULL, NULL);
    }
    return failed;
}
