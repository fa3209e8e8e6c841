/* The agent's port as a guest's agent uses it: a fake one speaks the protocol at the guest's side of a port.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <spice/vd_agent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "vmcore/error.h"

#define TIMEOUT   (20 * G_TIME_SPAN_SECOND)
#define CAP(name) (1u << VD_AGENT_CAP_##name)
#define LINUX_CAPS                                                                                           \
    (CAP(MONITORS_CONFIG) | CAP(REPLY) | CAP(CLIPBOARD_BY_DEMAND) | CAP(CLIPBOARD_SELECTION) |               \
     CAP(SPARSE_MONITORS_CONFIG) | CAP(GUEST_LINEEND_LF) | CAP(MAX_CLIPBOARD) | CAP(CLIPBOARD_GRAB_SERIAL))

static const char png[] = "\x89PNG\r\n\x1a\nrest";

/* A machine's agent, the guest's side of its port, and a front end that writes down what it is told. */
typedef struct Bench {
    VmcIo *io;
    GMainContext *context;
    VmcAgent *agent;
    VmcPort *port;
    GMutex lock; /* guards what the guest has got */
    GByteArray *got;
    size_t allowance; /* how much more the guest takes */
    bool host_open, resumed;
    GString *told;
    GBytes *data; /* of the last `received` */
} Bench;

/* ---- the guest's side ---- */

static size_t guest_write(void *opaque, const void *data, size_t len)
{
    Bench *b = opaque;

    g_mutex_lock(&b->lock);
    len = MIN(len, b->allowance);
    b->allowance -= len;
    g_byte_array_append(b->got, data, (guint)len);
    g_mutex_unlock(&b->lock);
    return len;
}

static size_t guest_room(void *opaque)
{
    return ((Bench *)opaque)->allowance;
}

static void guest_resume(void *opaque)
{
    ((Bench *)opaque)->resumed = true;
}

static void guest_host_open(void *opaque, bool open)
{
    ((Bench *)opaque)->host_open = open;
}

static void guest_resized(void *opaque)
{
}

static const VmcPortGuest guest = {guest_write, guest_room, guest_resume, guest_host_open, guest_resized};

typedef struct Call {
    Bench *b;
    const void *data;
    size_t len, taken;
    bool open;
} Call;

static void do_open(void *data)
{
    Call *call = data;

    vmc_port_set_guest_open(call->b->port, call->open);
}

static void do_receive(void *data)
{
    Call *call = data;

    call->taken = vmc_port_receive(call->b->port, call->data, call->len);
}

static void do_writable(void *data)
{
    vmc_port_writable(((Call *)data)->b->port);
}

static void guest_open(Bench *b, bool open)
{
    vmc_io_call_sync(b->io, do_open, &(Call){.b = b, .open = open});
}

static size_t guest_sends(Bench *b, const void *data, size_t len)
{
    Call call = {.b = b, .data = data, .len = len};

    vmc_io_call_sync(b->io, do_receive, &call);
    return call.taken;
}

/* A message, in one chunk as vdagentd writes it. */
static void message(Bench *b, uint32_t type, const void *body, uint32_t len)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    VDIChunkHeader chunk = {VDP_CLIENT_PORT, (uint32_t)sizeof(VDAgentMessage) + len};
    VDAgentMessage head = {.protocol = VD_AGENT_PROTOCOL, .type = type, .size = len};

    g_byte_array_append(bytes, (void *)&chunk, sizeof(chunk));
    g_byte_array_append(bytes, (void *)&head, sizeof(head));
    g_byte_array_append(bytes, body, len);
    assert_int_equal(guest_sends(b, bytes->data, bytes->len), bytes->len);
}

static void words(Bench *b, uint32_t type, unsigned n, const uint32_t *values)
{
    message(b, type, values, 4 * n);
}

#define WORDS(b, type, ...)                                                                                  \
    words(b, type, sizeof((uint32_t[]){__VA_ARGS__}) / 4, (const uint32_t[]){__VA_ARGS__})

/* Takes the next whole message off what the guest got, waiting for it; its chunks are as agents want them.
 * NULL: none came. */
static GByteArray *next_message(Bench *b, uint32_t *type, int64_t timeout)
{
    int64_t end = g_get_monotonic_time() + timeout;
    GByteArray *body = g_byte_array_new();

    for (;;) {
        g_mutex_lock(&b->lock);
        size_t at = 0;
        VDAgentMessage head = {0};
        g_byte_array_set_size(body, 0);
        while (at + sizeof(VDIChunkHeader) <= b->got->len) {
            VDIChunkHeader chunk;
            memcpy(&chunk, b->got->data + at, sizeof(chunk));
            assert_int_equal(chunk.port, VDP_CLIENT_PORT);
            assert_in_range(chunk.size, 1, VD_AGENT_MAX_DATA_SIZE);
            if (at + sizeof(chunk) + chunk.size > b->got->len)
                break;
            g_byte_array_append(body, b->got->data + at + sizeof(chunk), chunk.size);
            at += sizeof(chunk) + chunk.size;
            memcpy(&head, body->data, sizeof(head));
            if (body->len == sizeof(head) + head.size) {
                g_byte_array_remove_range(body, 0, sizeof(head));
                g_byte_array_remove_range(b->got, 0, (guint)at);
                g_mutex_unlock(&b->lock);
                *type = head.type;
                return body;
            }
        }
        g_mutex_unlock(&b->lock);
        if (g_get_monotonic_time() > end)
            break;
        g_main_context_iteration(b->context, FALSE);
        g_usleep(500);
    }
    g_byte_array_unref(body);
    return NULL;
}

static GByteArray *expect(Bench *b, uint32_t type)
{
    uint32_t got = 0;
    GByteArray *body = next_message(b, &got, TIMEOUT);

    assert_non_null(body);
    assert_int_equal(got, type);
    return body;
}

static void expect_bytes(Bench *b, uint32_t type, const void *bytes, size_t len)
{
    g_autoptr(GByteArray) body = expect(b, type);

    assert_int_equal(body->len, len);
    assert_memory_equal(body->data, bytes, len);
}

#define EXPECT_WORDS(b, type, ...)                                                                           \
    expect_bytes(b, type, (const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}))

static void expect_silence(Bench *b)
{
    uint32_t type;

    assert_null(next_message(b, &type, 30 * G_TIME_SPAN_MILLISECOND));
}

/* ---- the front end ---- */

static void on_connected(void *opaque, unsigned caps)
{
    g_string_append_printf(((Bench *)opaque)->told, "connected %u\n", caps);
}

static void on_disconnected(void *opaque)
{
    g_string_append(((Bench *)opaque)->told, "disconnected\n");
}

static void on_grabbed(void *opaque, VmcSelection selection, unsigned types)
{
    g_string_append_printf(((Bench *)opaque)->told, "grabbed %u %#x\n", selection, types);
}

static void on_released(void *opaque, VmcSelection selection)
{
    g_string_append_printf(((Bench *)opaque)->told, "released %u\n", selection);
}

static void on_requested(void *opaque, VmcSelection selection, VmcClipType type)
{
    g_string_append_printf(((Bench *)opaque)->told, "requested %u %u\n", selection, type);
}

static void on_received(void *opaque, VmcSelection selection, VmcClipType type, GBytes *data)
{
    Bench *b = opaque;

    g_clear_pointer(&b->data, g_bytes_unref);
    b->data = data ? g_bytes_ref(data) : NULL;
    g_string_append_printf(b->told, "received %u %u %zd\n", selection, type,
                           data ? (ssize_t)g_bytes_get_size(data) : -1);
}

static void on_monitors(void *opaque, bool good)
{
    g_string_append_printf(((Bench *)opaque)->told, "monitors %d\n", good);
}

static void on_progress(void *opaque, unsigned id, uint64_t sent, uint64_t total, bool done,
                        const GError *error)
{
    if (done)
        g_string_append_printf(((Bench *)opaque)->told, "file %u %s\n", id,
                               error ? error->message : "arrived");
}

static void on_files(void *opaque, VmcSelection selection, VmcFileAction action, const char *const *paths)
{
    GString *told = ((Bench *)opaque)->told;

    g_string_append_printf(told, "files %u %s", selection, action == VMC_FILES_CUT ? "cut" : "copy");
    for (; paths && *paths; paths++) {
        g_autofree char *name = g_path_get_basename(*paths);
        g_string_append_printf(told, " %s", name);
    }
    g_string_append(told, paths ? "\n" : " none\n");
}

static const VmcAgentFrontend frontend = {
    .size = sizeof(frontend),
    .connected = on_connected,
    .disconnected = on_disconnected,
    .grabbed = on_grabbed,
    .released = on_released,
    .requested = on_requested,
    .received = on_received,
    .monitors_set = on_monitors,
    .file_progress = on_progress,
    .files_received = on_files,
};

/* What the front end has been told since the last time. */
static void expect_told(Bench *b, const char *what)
{
    int64_t end = g_get_monotonic_time() + TIMEOUT;

    while (b->told->len < strlen(what) && g_get_monotonic_time() < end)
        if (!g_main_context_iteration(b->context, FALSE))
            g_usleep(500);
    while (g_main_context_iteration(b->context, FALSE))
        ;
    assert_string_equal(b->told->str, what);
    g_string_truncate(b->told, 0);
}

/* ---- together ---- */

static Bench *bench_new(VmcClipboard policy)
{
    Bench *b = g_new0(Bench, 1);

    g_mutex_init(&b->lock);
    b->io = vmc_io_new(NULL);
    b->context = g_main_context_new();
    b->got = g_byte_array_new();
    b->told = g_string_new("");
    b->allowance = SIZE_MAX;
    b->agent = vmc_agent_new(b->context, policy);
    b->port = vmc_agent_port_new(b->agent, b->io);
    assert_true(vmc_port_host_open(b->port));
    vmc_port_attach(b->port, &guest, b);
    vmc_agent_set_frontend(b->agent, &frontend, b);
    return b;
}

static void bench_free(Bench *b)
{
    vmc_port_free(b->port);
    vmc_agent_free(b->agent);
    vmc_io_free(b->io);
    g_main_context_unref(b->context);
    g_byte_array_unref(b->got);
    g_string_free(b->told, TRUE);
    g_clear_pointer(&b->data, g_bytes_unref);
    g_mutex_clear(&b->lock);
    g_free(b);
}

/* The guest's agent starts and says what it can do. */
static void start_agent(Bench *b, uint32_t caps)
{
    guest_open(b, true);
    g_autoptr(GByteArray) ours = expect(b, VD_AGENT_ANNOUNCE_CAPABILITIES);
    assert_int_equal(ours->len, 8);
    assert_int_equal(ours->data[0], 1);
    WORDS(b, VD_AGENT_ANNOUNCE_CAPABILITIES, 0, caps);
    if (caps & CAP(MAX_CLIPBOARD))
        EXPECT_WORDS(b, VD_AGENT_MAX_CLIPBOARD, VMC_CLIP_MAX);
}

static Bench *linux_guest(VmcClipboard policy)
{
    Bench *b = bench_new(policy);

    guest_open(b, true);
    g_byte_array_unref(expect(b, VD_AGENT_ANNOUNCE_CAPABILITIES));
    WORDS(b, VD_AGENT_ANNOUNCE_CAPABILITIES, 0, LINUX_CAPS);
    if (policy != VMC_CLIPBOARD_OFF) {
        EXPECT_WORDS(b, VD_AGENT_MAX_CLIPBOARD, VMC_CLIP_MAX);
        expect_told(b, "connected 15\n");
    } else {
        expect_told(b, "connected 12\n");
    }
    return b;
}

static GBytes *text(const char *string)
{
    return g_bytes_new(string, strlen(string));
}

/* ---- coming and going ---- */

static void test_front_end_hears_agents_come_and_go(void **state)
{
    Bench *b = bench_new(VMC_CLIPBOARD_BOTH);

    start_agent(b, CAP(CLIPBOARD_BY_DEMAND) | CAP(FILE_XFER_DISABLED));
    expect_told(b, "connected 1\n");
    assert_int_equal(vmc_agent_caps(b->agent), 1);
    guest_open(b, false);
    expect_told(b, "disconnected\n");
    start_agent(b, LINUX_CAPS);
    expect_told(b, "connected 15\n");
    WORDS(b, VD_AGENT_ANNOUNCE_CAPABILITIES, 1, CAP(REPLY)); /* another one takes over, and asks */
    g_autoptr(GByteArray) answer = expect(b, VD_AGENT_ANNOUNCE_CAPABILITIES);
    assert_int_equal(answer->data[0], 0);
    expect_told(b, "disconnected\nconnected 8\n");
    bench_free(b);
}

static void test_next_guest_of_the_machine_is_another_agent(void **state)
{
    Bench *b = linux_guest(VMC_CLIPBOARD_BOTH);
    g_autoptr(GBytes) hello = text("hello");

    vmc_agent_offer(b->agent, 0, VMC_CLIP_TEXT, hello);
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 0, VMC_CLIP_TEXT);
    vmc_port_free(b->port);
    expect_told(b, "disconnected\n");
    b->port = vmc_agent_port_new(b->agent, b->io);
    vmc_port_attach(b->port, &guest, b);
    start_agent(b, LINUX_CAPS);
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 0, VMC_CLIP_TEXT); /* it hears what there is */
    bench_free(b);
}

static void test_nonsense_closes_the_port_until_it_is_opened_anew(void **state)
{
    static const uint32_t no_port[2] = {7, 20}, version[7] = {VDP_CLIENT_PORT, 20, 2};
    uint32_t behind[10] = {VDP_CLIENT_PORT, 32, VD_AGENT_PROTOCOL, VD_AGENT_REPLY, 0, 0, 8};
    struct {
        const void *bytes;
        size_t len;
    } cases[] = {{no_port, 8}, {version, 28}, {behind, 40}};

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        Bench *b = linux_guest(VMC_CLIPBOARD_BOTH);
        assert_int_equal(guest_sends(b, cases[i].bytes, cases[i].len), cases[i].len);
        assert_false(b->host_open);
        expect_told(b, "disconnected\n");
        WORDS(b, VD_AGENT_ANNOUNCE_CAPABILITIES, 1, LINUX_CAPS);
        expect_silence(b);
        guest_open(b, false);
        start_agent(b, LINUX_CAPS);
        assert_true(b->host_open);
        expect_told(b, "connected 15\n");
        bench_free(b);
    }
}

/* ---- clipboards ---- */

static void test_guest_gets_what_the_host_has(void **state)
{
    Bench *b = linux_guest(VMC_CLIPBOARD_BOTH);
    g_autoptr(GBytes) hello = text("Grüße");

    assert_true(vmc_agent_grab(b->agent, VMC_SELECTION_PRIMARY,
                               VMC_CLIP_BIT(VMC_CLIP_TEXT) | VMC_CLIP_BIT(VMC_CLIP_PNG)));
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 1, 0, VMC_CLIP_TEXT, VMC_CLIP_PNG);
    WORDS(b, VD_AGENT_CLIPBOARD_REQUEST, 1, VMC_CLIP_TEXT);
    WORDS(b, VD_AGENT_CLIPBOARD_REQUEST, 1, VMC_CLIP_TEXT);
    expect_told(b, "requested 1 1\n");
    vmc_agent_send(b->agent, VMC_SELECTION_PRIMARY, VMC_CLIP_TEXT, hello);
    expect_bytes(b, VD_AGENT_CLIPBOARD, "\1\0\0\0\1\0\0\0Grüße", 15);
    vmc_agent_send(b->agent, VMC_SELECTION_PRIMARY, VMC_CLIP_TEXT, hello); /* not asked for */
    WORDS(b, VD_AGENT_CLIPBOARD_REQUEST, 1, VMC_CLIP_JPEG);
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD, 1, VMC_CLIP_NONE);
    WORDS(b, VD_AGENT_CLIPBOARD_REQUEST, 1, VMC_CLIP_PNG);
    expect_told(b, "requested 1 2\n");
    vmc_agent_send(b->agent, VMC_SELECTION_PRIMARY, VMC_CLIP_PNG, NULL);
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD, 1, VMC_CLIP_NONE);
    vmc_agent_release(b->agent, VMC_SELECTION_PRIMARY);
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD_RELEASE, 1);
    bench_free(b);
}

static void test_host_gets_what_the_guest_has(void **state)
{
    Bench *b = linux_guest(VMC_CLIPBOARD_BOTH);
    char image[8 + sizeof(png) - 1] = "\0\0\0\0\2\0\0";

    assert_false(vmc_agent_request(b->agent, 0, VMC_CLIP_TEXT));
    WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 0, VMC_CLIP_TEXT, VMC_CLIP_PNG, 99);
    expect_told(b, "grabbed 0 0x6\n");
    message(b, VD_AGENT_CLIPBOARD, "\0\0\0\0\1\0\0\0unasked", 15);
    assert_false(vmc_agent_request(b->agent, 0, VMC_CLIP_JPEG));
    assert_true(vmc_agent_request(b->agent, 0, VMC_CLIP_TEXT));
    assert_true(vmc_agent_request(b->agent, 0, VMC_CLIP_TEXT));
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD_REQUEST, 0, VMC_CLIP_TEXT);
    expect_silence(b);
    message(b, VD_AGENT_CLIPBOARD, "\0\0\0\0\1\0\0\0text\0", 13);
    expect_told(b, "received 0 1 4\n");
    assert_memory_equal(g_bytes_get_data(b->data, NULL), "text", 4);
    assert_true(vmc_agent_request(b->agent, 0, VMC_CLIP_PNG));
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD_REQUEST, 0, VMC_CLIP_PNG);
    memcpy(image + 8, png, sizeof(png) - 1);
    message(b, VD_AGENT_CLIPBOARD, image, sizeof(image));
    expect_told(b, "received 0 2 12\n");
    message(b, VD_AGENT_CLIPBOARD_RELEASE, "\0\0\0\0", 4);
    expect_told(b, "released 0\n");
    bench_free(b);
}

static void test_content_is_what_it_is_said_to_be(void **state)
{
    Bench *b = linux_guest(VMC_CLIPBOARD_BOTH);

    WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 0, VMC_CLIP_TEXT, VMC_CLIP_PNG);
    expect_told(b, "grabbed 0 0x6\n");
    assert_true(vmc_agent_request(b->agent, 0, VMC_CLIP_PNG));
    message(b, VD_AGENT_CLIPBOARD, "\0\0\0\0\2\0\0\0\x89PNX\r\n\x1a\n", 16);
    expect_told(b, "received 0 2 -1\n");
    assert_true(vmc_agent_request(b->agent, 0, VMC_CLIP_TEXT));
    message(b, VD_AGENT_CLIPBOARD, "\0\0\0\0\1\0\0\0\xff\xfe", 10);
    expect_told(b, "received 0 1 -1\n");
    assert_true(vmc_agent_request(b->agent, 0, VMC_CLIP_TEXT));
    WORDS(b, VD_AGENT_CLIPBOARD, 0, VMC_CLIP_NONE);
    expect_told(b, "received 0 1 -1\n");
    bench_free(b);
}

static void test_too_large_a_content_is_passed_over(void **state)
{
    Bench *b = linux_guest(VMC_CLIPBOARD_BOTH);
    VDAgentMessage head = {.protocol = 1, .type = VD_AGENT_CLIPBOARD, .size = VMC_CLIP_MAX + 9};
    uint32_t chunk[2] = {VDP_CLIENT_PORT, sizeof(head)};
    g_autofree uint8_t *zeros = g_malloc0(1 << 20);

    WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 0, VMC_CLIP_TEXT);
    expect_told(b, "grabbed 0 0x2\n");
    assert_true(vmc_agent_request(b->agent, 0, VMC_CLIP_TEXT));
    g_byte_array_unref(expect(b, VD_AGENT_CLIPBOARD_REQUEST));
    guest_sends(b, chunk, 8);
    guest_sends(b, &head, sizeof(head));
    chunk[1] = head.size;
    guest_sends(b, chunk, 8);
    for (uint32_t left = head.size, here; left; left -= here) {
        here = MIN(left, 1u << 20);
        guest_sends(b, zeros, here);
    }
    expect_told(b, "received 0 1 -1\n");
    assert_true(vmc_agent_request(b->agent, 0, VMC_CLIP_TEXT)); /* and all is well */
    g_byte_array_unref(expect(b, VD_AGENT_CLIPBOARD_REQUEST));
    message(b, VD_AGENT_CLIPBOARD, "\0\0\0\0\1\0\0\0x", 9);
    expect_told(b, "received 0 1 1\n");
    bench_free(b);
}

static void test_policy_holds_against_the_guest(void **state)
{
    g_autoptr(GBytes) hello = text("hello");
    Bench *b = linux_guest(VMC_CLIPBOARD_TO_GUEST);

    WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 0, VMC_CLIP_TEXT);
    expect_silence(b);
    expect_told(b, "");
    assert_false(vmc_agent_request(b->agent, 0, VMC_CLIP_TEXT));
    assert_true(vmc_agent_offer(b->agent, 0, VMC_CLIP_TEXT, hello));
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 1, VMC_CLIP_TEXT);
    bench_free(b);
    b = linux_guest(VMC_CLIPBOARD_TO_HOST);
    assert_false(vmc_agent_offer(b->agent, 0, VMC_CLIP_TEXT, hello));
    assert_false(vmc_agent_grab(b->agent, 0, VMC_CLIP_ALL));
    WORDS(b, VD_AGENT_CLIPBOARD_REQUEST, 0, VMC_CLIP_TEXT);
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD, 0, VMC_CLIP_NONE);
    WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 0, VMC_CLIP_TEXT);
    expect_told(b, "grabbed 0 0x2\n");
    bench_free(b);
    b = linux_guest(VMC_CLIPBOARD_OFF);
    WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 0, VMC_CLIP_TEXT);
    expect_told(b, "");
    assert_false(vmc_agent_offer(b->agent, 0, VMC_CLIP_TEXT, hello));
    bench_free(b);
}

static void test_of_grabs_that_cross_the_hosts_wins(void **state)
{
    Bench *b = linux_guest(VMC_CLIPBOARD_BOTH);

    assert_true(vmc_agent_grab(b->agent, 0, VMC_CLIP_BIT(VMC_CLIP_TEXT)));
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 0, VMC_CLIP_TEXT);
    WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 0, VMC_CLIP_PNG); /* it had not seen ours */
    expect_silence(b);
    expect_told(b, "");
    WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 1, VMC_CLIP_PNG);
    expect_told(b, "grabbed 0 0x4\n");
    bench_free(b);
}

static void test_lines_end_as_the_guest_has_it(void **state)
{
    Bench *b = bench_new(VMC_CLIPBOARD_BOTH);
    g_autoptr(GBytes) lines = text("a\nb\r\n");

    start_agent(b, CAP(CLIPBOARD_BY_DEMAND) | CAP(GUEST_LINEEND_CRLF)); /* as on Windows: one selection */
    expect_told(b, "connected 9\n");
    assert_true(vmc_agent_offer(b->agent, 0, VMC_CLIP_TEXT, lines));
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD_GRAB, VMC_CLIP_TEXT);
    vmc_agent_grab(b->agent, VMC_SELECTION_PRIMARY, VMC_CLIP_BIT(VMC_CLIP_TEXT));
    WORDS(b, VD_AGENT_CLIPBOARD_REQUEST, VMC_CLIP_TEXT);
    expect_bytes(b, VD_AGENT_CLIPBOARD, "\1\0\0\0a\r\nb\r\n", 10);
    WORDS(b, VD_AGENT_CLIPBOARD_GRAB, VMC_CLIP_TEXT);
    expect_told(b, "grabbed 0 0x2\n");
    assert_true(vmc_agent_request(b->agent, 0, VMC_CLIP_TEXT));
    message(b, VD_AGENT_CLIPBOARD, "\1\0\0\0c\r\nd", 8);
    expect_told(b, "received 0 1 3\n");
    assert_memory_equal(g_bytes_get_data(b->data, NULL), "c\nd", 3);
    bench_free(b);
}

static void test_one_without_a_front_end_can_ask_again(void **state)
{
    Bench *b = linux_guest(VMC_CLIPBOARD_BOTH);
    g_autoptr(GError) error = NULL;

    vmc_agent_set_frontend(b->agent, NULL, NULL);
    assert_null(vmc_agent_peek(b->agent, 0, VMC_CLIP_TEXT, &error));
    assert_string_equal(error->message, "The guest's clipboard has no text");
    g_clear_error(&error);
    WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 0, VMC_CLIP_TEXT);
    assert_null(vmc_agent_peek(b->agent, 0, VMC_CLIP_TEXT, &error));
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD_REQUEST, 0, VMC_CLIP_TEXT);
    message(b, VD_AGENT_CLIPBOARD, "\0\0\0\0\1\0\0\0x", 9);
    g_autoptr(GBytes) got = vmc_agent_peek(b->agent, 0, VMC_CLIP_TEXT, NULL);
    assert_int_equal(g_bytes_get_size(got), 1);
    bench_free(b);
}

static void test_who_does_not_read_is_not_listened_to(void **state)
{
    Bench *b = linux_guest(VMC_CLIPBOARD_BOTH);
    uint32_t ask[9] = {VDP_CLIENT_PORT, 28, VD_AGENT_PROTOCOL, VD_AGENT_CLIPBOARD_REQUEST, 0, 0, 8, 0, 1};
    g_autofree uint8_t *big = g_malloc0(1 << 20);
    g_autoptr(GBytes) data = g_bytes_new(big, 1 << 20);
    unsigned n = 0;

    vmc_agent_offer(b->agent, 0, VMC_CLIP_TEXT, data);
    g_byte_array_unref(expect(b, VD_AGENT_CLIPBOARD_GRAB));
    b->allowance = 100;
    while (n < 1000 && guest_sends(b, ask, sizeof(ask)) == sizeof(ask))
        n++;
    assert_in_range(n, 1, 3);
    b->resumed = false;
    b->allowance = SIZE_MAX;
    vmc_io_call_sync(b->io, do_writable, &(Call){.b = b});
    for (unsigned i = 0; i < n; i++) {
        g_autoptr(GByteArray) body = expect(b, VD_AGENT_CLIPBOARD);
        assert_int_equal(body->len, 8 + (1 << 20));
    }
    assert_true(b->resumed);
    bench_free(b);
}

/* ---- monitors ---- */

static void test_guest_is_told_its_monitors(void **state)
{
    Bench *b = linux_guest(VMC_CLIPBOARD_BOTH);
    VmcMonitor two[2] = {{.width = 1280, .height = 800}, {.x = 1280, .width = 640, .height = 480}};

    assert_true(vmc_agent_set_monitors(b->agent, two, 2));
    EXPECT_WORDS(b, VD_AGENT_MONITORS_CONFIG, 2, VD_AGENT_CONFIG_MONITORS_FLAG_USE_POS, 800, 1280, 32, 0, 0,
                 480, 640, 32, 1280, 0);
    WORDS(b, VD_AGENT_REPLY, VD_AGENT_MONITORS_CONFIG, VD_AGENT_SUCCESS);
    expect_told(b, "monitors 1\n");
    two[1].width = 40000;
    assert_false(vmc_agent_set_monitors(b->agent, two, 2));
    assert_false(vmc_agent_set_monitors(b->agent, two, 0));
    guest_open(b, false);
    start_agent(b, LINUX_CAPS); /* the next one hears of it, too */
    g_byte_array_unref(expect(b, VD_AGENT_MONITORS_CONFIG));
    bench_free(b);
}

/* ---- files ---- */

static char *make_file(const char *dir, const char *name, size_t len)
{
    char *path = g_build_filename(dir, name, NULL);
    g_autofree char *bytes = g_malloc(len + 1);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    assert_true(g_file_set_contents(path, bytes, (gssize)len, NULL));
    return path;
}

/* The guest is told of the file; returns its id. */
static uint32_t expect_start(Bench *b, const char *name, uint64_t size)
{
    g_autoptr(GByteArray) start = expect(b, VD_AGENT_FILE_XFER_START);
    g_autoptr(GKeyFile) keys = g_key_file_new();
    uint32_t id;

    memcpy(&id, start->data, 4);
    assert_true(g_key_file_load_from_data(keys, (char *)start->data + 4, start->len - 5, 0, NULL));
    g_autofree char *got = g_key_file_get_string(keys, "vdagent-file-xfer", "name", NULL);
    assert_string_equal(got, name);
    assert_int_equal(g_key_file_get_uint64(keys, "vdagent-file-xfer", "size", NULL), size);
    return id;
}

static void expect_data(Bench *b, uint32_t id, size_t len)
{
    for (size_t at = 0; at < len;) {
        g_autoptr(GByteArray) data = expect(b, VD_AGENT_FILE_XFER_DATA);
        VDAgentFileXferDataMessage head;
        memcpy(&head, data->data, sizeof(head));
        assert_int_equal(head.id, id);
        assert_int_equal(head.size, data->len - sizeof(head));
        for (size_t i = 0; i < head.size; i++, at++)
            assert_int_equal((char)(at * 7 + at / 251), (char)data->data[sizeof(head) + i]);
    }
}

static void test_files_arrive_or_say_why_not(void **state)
{
    Bench *b = linux_guest(VMC_CLIPBOARD_OFF);
    g_autofree char *dir = g_dir_make_tmp("vmcore-agent-XXXXXX", NULL);
    g_autofree char *large = make_file(dir, "large one.bin", 300000), *empty = make_file(dir, "empty", 0);
    g_autofree char *fifo = g_build_filename(dir, "fifo", NULL);
    g_autoptr(GError) error = NULL;

    assert_int_equal(vmc_agent_send_file(b->agent, large, NULL), 1);
    assert_int_equal(expect_start(b, "large one.bin", 300000), 1);
    expect_silence(b);
    WORDS(b, VD_AGENT_FILE_XFER_STATUS, 1, VD_AGENT_FILE_XFER_STATUS_CAN_SEND_DATA);
    expect_data(b, 1, 300000);
    WORDS(b, VD_AGENT_FILE_XFER_STATUS, 1, VD_AGENT_FILE_XFER_STATUS_SUCCESS);
    expect_told(b, "file 1 arrived\n");

    assert_int_equal(vmc_agent_send_file(b->agent, empty, NULL), 2);
    expect_start(b, "empty", 0);
    WORDS(b, VD_AGENT_FILE_XFER_STATUS, 2, VD_AGENT_FILE_XFER_STATUS_CAN_SEND_DATA);
    g_byte_array_unref(expect(b, VD_AGENT_FILE_XFER_DATA));
    WORDS(b, VD_AGENT_FILE_XFER_STATUS, 2, VD_AGENT_FILE_XFER_STATUS_SUCCESS);
    expect_told(b, "file 2 arrived\n");

    assert_int_equal(vmc_agent_send_file(b->agent, large, NULL), 3);
    expect_start(b, "large one.bin", 300000);
    WORDS(b, VD_AGENT_FILE_XFER_STATUS, 3, VD_AGENT_FILE_XFER_STATUS_SUCCESS); /* too early to be true */
    expect_told(b, "file 3 The file “large one.bin” was not sent: the guest could not write it\n");

    assert_int_equal(vmc_agent_send_file(b->agent, large, NULL), 4);
    expect_start(b, "large one.bin", 300000);
    vmc_agent_cancel_file(b->agent, 4);
    EXPECT_WORDS(b, VD_AGENT_FILE_XFER_STATUS, 4, VD_AGENT_FILE_XFER_STATUS_CANCELLED);
    expect_told(b, "file 4 The file “large one.bin” was not sent: it was cancelled\n");

    assert_int_equal(vmc_agent_send_file(b->agent, large, NULL), 5);
    expect_start(b, "large one.bin", 300000);
    b->allowance = 50000;
    WORDS(b, VD_AGENT_FILE_XFER_STATUS, 5, VD_AGENT_FILE_XFER_STATUS_CAN_SEND_DATA);
    guest_open(b, false);
    expect_told(b,
                "disconnected\nfile 5 The file “large one.bin” was not sent: the guest's agent has gone\n");

    assert_int_equal(vmc_agent_send_file(b->agent, large, &error), 0);
    assert_non_null(strstr(error->message, "use a shared folder"));
    g_clear_error(&error);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(vmc_agent_send_file(b->agent, fifo, &error), 0);
    assert_non_null(strstr(error->message, "is not a file"));
    bench_free(b);
    g_unlink(fifo);
    g_unlink(large);
    g_unlink(empty);
    g_rmdir(dir);
}

/* ---- files on the clipboard ---- */

/* A guest in whose machine a WebDAV port serves `dir`, and that uses it. */
static Bench *webdav_guest(VmcClipboard policy, const char *dir)
{
    Bench *b = linux_guest(policy);

    assert_true(vmc_exports_serve(vmc_agent_exports(b->agent), dir, NULL));
    vmc_exports_set_open(vmc_agent_exports(b->agent), true);
    return b;
}

/* The guest asks and is told of one file of that name; returns its path. */
static char *expect_list(Bench *b, const char *action, const char *name)
{
    WORDS(b, VD_AGENT_CLIPBOARD_REQUEST, 0, VMC_CLIP_FILES);
    g_autoptr(GByteArray) body = expect(b, VD_AGENT_CLIPBOARD);
    const char *list = (char *)body->data + 8, *path = list + strlen(action) + 1;

    assert_memory_equal(body->data, "\0\0\0\0\6\0\0\0", 8);
    assert_string_equal(list, action);
    assert_int_equal(body->len, 8 + strlen(action) + 1 + strlen(path) + 1);
    assert_true(g_str_has_prefix(path, "/.spice-clipboard/"));
    assert_true(g_str_has_suffix(path, name));
    return g_strdup(path);
}

/* Whether the guest finds what it was told of. */
static bool is_exported(Bench *b, const char *path)
{
    int fd = vmc_exports_open(vmc_agent_exports(b->agent), path + strlen("/.spice-clipboard/"));

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void test_guest_is_told_of_files_and_finds_them(void **state)
{
    g_autofree char *dir = g_dir_make_tmp("vmcore-agent-XXXXXX", NULL);
    g_autofree char *one = make_file(dir, "one.txt", 5), *two = make_file(dir, "two.txt", 5);
    const char *const first[] = {one, NULL}, *const second[] = {two, NULL};
    Bench *b = webdav_guest(VMC_CLIPBOARD_BOTH, dir);
    uint64_t later = vmc_now_ns() + 2 * VMC_EXPORTS_GRACE_NS;

    assert_true(vmc_agent_offer_files(b->agent, 0, VMC_FILES_CUT, first, NULL));
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 0, VMC_CLIP_FILES);
    g_autofree char *there = expect_list(b, "cut", "/one.txt");
    vmc_exports_expire(vmc_agent_exports(b->agent), later);
    assert_true(is_exported(b, there));
    assert_true(vmc_agent_grab(b->agent, 0, VMC_CLIP_BIT(VMC_CLIP_FILES))); /* takes its place, on demand */
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 1, VMC_CLIP_FILES);
    assert_true(is_exported(b, there)); /* for a while */
    vmc_exports_expire(vmc_agent_exports(b->agent), later);
    assert_false(is_exported(b, there));
    WORDS(b, VD_AGENT_CLIPBOARD_REQUEST, 0, VMC_CLIP_FILES);
    expect_told(b, "requested 0 6\n");
    assert_true(vmc_agent_send_files(b->agent, 0, VMC_FILES_COPY, second, NULL));
    g_autoptr(GByteArray) answer = expect(b, VD_AGENT_CLIPBOARD);
    g_autofree char *demanded = g_strdup((char *)answer->data + 8 + strlen("copy") + 1);
    assert_true(g_str_has_suffix(demanded, "/two.txt"));
    assert_true(is_exported(b, demanded));
    WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 2, VMC_CLIP_TEXT); /* the guest has something else now */
    expect_told(b, "grabbed 0 0x2\n");
    vmc_exports_expire(vmc_agent_exports(b->agent), later);
    assert_false(is_exported(b, demanded));
    bench_free(b);
    g_unlink(one);
    g_unlink(two);
    g_rmdir(dir);
}

static void test_front_end_is_told_of_the_guests_files(void **state)
{
    g_autofree char *dir = g_dir_make_tmp("vmcore-agent-XXXXXX", NULL), *one = make_file(dir, "one.txt", 5);
    Bench *b = webdav_guest(VMC_CLIPBOARD_BOTH, dir);
    VmcFileAction action;

    WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 0, VMC_CLIP_FILES);
    expect_told(b, "grabbed 0 0x40\n");
    assert_true(vmc_agent_request(b->agent, 0, VMC_CLIP_FILES));
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD_REQUEST, 0, VMC_CLIP_FILES);
    message(b, VD_AGENT_CLIPBOARD, "\0\0\0\0\6\0\0\0cut\0/one.txt", 20);
    expect_told(b, "files 0 cut one.txt\n");
    g_auto(GStrv) paths = vmc_agent_peek_files(b->agent, 0, &action, NULL);
    assert_string_equal(paths[0], one);
    static const char *const bad[] = {"cut%/two.txt", "cut%/../one.txt", "cut%", "/one.txt",
                                      "nothing%/one.txt"};
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *body = g_strconcat("....%...", bad[i], NULL);
        size_t len = strlen(body);
        memcpy(body, "\0\0\0\0\6\0\0\0", 8);
        if (strchr(body + 8, '%'))
            *strchr(body + 8, '%') = 0;
        assert_true(vmc_agent_request(b->agent, 0, VMC_CLIP_FILES));
        message(b, VD_AGENT_CLIPBOARD, body, (uint32_t)len);
        expect_told(b, "files 0 copy none\n");
    }
    bench_free(b);
    g_unlink(one);
    g_rmdir(dir);
}

static void test_files_need_a_port_and_leave(void **state)
{
    g_autofree char *dir = g_dir_make_tmp("vmcore-agent-XXXXXX", NULL), *one = make_file(dir, "one.txt", 5);
    const char *const paths[] = {one, NULL};
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) hello = text("hello");
    Bench *b = linux_guest(VMC_CLIPBOARD_BOTH);
    VmcFileAction action;

    assert_false(vmc_agent_offer_files(b->agent, 0, VMC_FILES_COPY, paths, &error));
    assert_non_null(strstr(error->message, "no WebDAV port"));
    g_clear_error(&error);
    assert_null(vmc_agent_peek_files(b->agent, 0, &action, &error));
    assert_non_null(strstr(error->message, "no WebDAV port"));
    g_clear_error(&error);
    assert_false(vmc_agent_grab(b->agent, 0, VMC_CLIP_BIT(VMC_CLIP_FILES)));
    assert_true(vmc_agent_grab(b->agent, 0, VMC_CLIP_BIT(VMC_CLIP_FILES) | VMC_CLIP_BIT(VMC_CLIP_TEXT)));
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 0, VMC_CLIP_TEXT);
    WORDS(b, VD_AGENT_CLIPBOARD_GRAB, 0, 1, VMC_CLIP_FILES); /* nor from the guest */
    expect_told(b, "released 0\n");
    bench_free(b);

    b = webdav_guest(VMC_CLIPBOARD_TO_HOST, dir);
    assert_false(vmc_agent_offer_files(b->agent, 0, VMC_FILES_COPY, paths, &error));
    assert_non_null(strstr(error->message, "does not allow"));
    bench_free(b);

    b = webdav_guest(VMC_CLIPBOARD_BOTH, dir);
    assert_false(vmc_agent_offer(b->agent, 0, VMC_CLIP_FILES, hello)); /* not as mere bytes */
    assert_true(vmc_agent_grab(b->agent, 0, VMC_CLIP_BIT(VMC_CLIP_FILES)));
    g_byte_array_unref(expect(b, VD_AGENT_CLIPBOARD_GRAB));
    WORDS(b, VD_AGENT_CLIPBOARD_REQUEST, 0, VMC_CLIP_FILES);
    expect_told(b, "requested 0 6\n");
    assert_false(vmc_agent_send_files(b->agent, 0, VMC_FILES_COPY, (const char *[]){"/none", NULL}, NULL));
    EXPECT_WORDS(b, VD_AGENT_CLIPBOARD, 0, VMC_CLIP_NONE);
    assert_true(vmc_agent_send_files(b->agent, 0, VMC_FILES_COPY, paths, NULL)); /* nobody has asked */
    expect_silence(b);
    bench_free(b);
    g_unlink(one);
    g_rmdir(dir);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_front_end_hears_agents_come_and_go),
        cmocka_unit_test(test_next_guest_of_the_machine_is_another_agent),
        cmocka_unit_test(test_nonsense_closes_the_port_until_it_is_opened_anew),
        cmocka_unit_test(test_guest_gets_what_the_host_has),
        cmocka_unit_test(test_host_gets_what_the_guest_has),
        cmocka_unit_test(test_content_is_what_it_is_said_to_be),
        cmocka_unit_test(test_too_large_a_content_is_passed_over),
        cmocka_unit_test(test_policy_holds_against_the_guest),
        cmocka_unit_test(test_of_grabs_that_cross_the_hosts_wins),
        cmocka_unit_test(test_lines_end_as_the_guest_has_it),
        cmocka_unit_test(test_one_without_a_front_end_can_ask_again),
        cmocka_unit_test(test_who_does_not_read_is_not_listened_to),
        cmocka_unit_test(test_guest_is_told_its_monitors),
        cmocka_unit_test(test_files_arrive_or_say_why_not),
        cmocka_unit_test(test_guest_is_told_of_files_and_finds_them),
        cmocka_unit_test(test_front_end_is_told_of_the_guests_files),
        cmocka_unit_test(test_files_need_a_port_and_leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
