/*
 * The agent's port: a guest that sends messages, whole, cut and wrong, and reads when it likes, while a front
 * end grabs, asks, answers, sends files and sets monitors.
 *
 * covers: vmcore/agent/agent.c vmcore/agent/stream.c vmcore/agent/clipboard.c vmcore/agent/clip_files.c
 * vmcore/agent/transfer.c vmcore/agent/deliver.c
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/internal.h"
#include "tests/fuzz/device.h"

typedef struct World {
    FuzzInput in;
    VmcIo *io;
    GMainContext *context;
    VmcAgent *agent;
    VmcPort *port;
    size_t room; /* of the guest */
    uint8_t sum;
    unsigned files;
} World;

static VmcIo *io;
static char file[64];

/* ---- the guest's side ---- */

static size_t guest_write(void *opaque, const void *data, size_t len)
{
    World *w = opaque;
    size_t taken = MIN(len, w->room);

    for (size_t i = 0; i < taken; i++)
        w->sum ^= ((const uint8_t *)data)[i];
    w->room -= taken;
    return taken;
}

static size_t guest_room(void *opaque)
{
    return ((World *)opaque)->room;
}

static void guest_resume(void *opaque)
{
}

static void guest_host_open(void *opaque, bool open)
{
}

static const VmcPortGuest guest = {guest_write, guest_room, guest_resume, guest_host_open, guest_resume};

static void settle(World *w)
{
    for (unsigned i = 0; i < 50 && (g_main_context_iteration(vmc_io_context(io), FALSE) ||
                                    g_main_context_iteration(w->context, FALSE));
         i++)
        ;
}

/* ---- the front end ---- */

static void on_requested(void *opaque, VmcSelection selection, VmcClipType type)
{
    World *w = opaque;
    uint8_t how = fuzz_u8(&w->in);
    g_autoptr(GBytes) data = how & 1 ? g_bytes_new("a\nb\r\n", 5) : NULL;

    if (how & 2)
        vmc_agent_send(w->agent, selection, type, data);
}

static void on_received(void *opaque, VmcSelection selection, VmcClipType type, GBytes *data)
{
    World *w = opaque;
    size_t len = 0;
    const uint8_t *bytes = data ? g_bytes_get_data(data, &len) : NULL;

    for (size_t i = 0; i < len; i++)
        w->sum ^= bytes[i];
    if (type == VMC_CLIP_TEXT && bytes && !g_utf8_validate_len((const char *)bytes, len, NULL))
        fuzz_finding("the front end was given as text what is none");
}

/* All of /etc is served, where there are no files but the host's. */
static void on_files(void *opaque, VmcSelection selection, VmcFileAction action, const char *const *paths)
{
    for (; paths && *paths; paths++)
        if (!g_str_has_prefix(*paths, "/etc/") || strstr(*paths, "/../"))
            abort();
}

static void on_progress(void *opaque, unsigned id, uint64_t sent, uint64_t total, bool done,
                        const GError *error)
{
    if (sent > total || (done && !error && sent != total))
        abort();
}

static const VmcAgentFrontend frontend = {
    .size = sizeof(frontend),
    .requested = on_requested,
    .received = on_received,
    .file_progress = on_progress,
    .files_received = on_files,
};

static const VmcAgentFrontend small = {.size = 16};

/* ---- steps ---- */

static void send_bytes(World *w, const uint8_t *bytes, size_t len)
{
    uint8_t *copy = g_memdup2(bytes, len); /* ending where it does */
    size_t taken = vmc_port_receive(w->port, copy, len);

    if (taken > len)
        abort();
    g_free(copy);
}

static void step_raw(World *w)
{
    uint8_t bytes[64];
    size_t len = fuzz_below(&w->in, sizeof(bytes));

    fuzz_take(&w->in, bytes, len);
    send_bytes(w, bytes, len);
}

/* A message as an agent would send it, cut into two chunks, sometimes with a length that is wrong. */
static void step_message(World *w)
{
    static const uint8_t types[] = {VD_AGENT_ANNOUNCE_CAPABILITIES,
                                    VD_AGENT_CLIPBOARD_GRAB,
                                    VD_AGENT_CLIPBOARD_REQUEST,
                                    VD_AGENT_CLIPBOARD,
                                    VD_AGENT_CLIPBOARD_RELEASE,
                                    VD_AGENT_FILE_XFER_STATUS,
                                    VD_AGENT_REPLY,
                                    VD_AGENT_MONITORS_CONFIG};
    uint8_t how = fuzz_u8(&w->in), body[96] = {0}, all[256];
    size_t len = fuzz_below(&w->in, sizeof(body)), at = 0, total;
    VDAgentMessage message = {.protocol = VD_AGENT_PROTOCOL, .type = types[how % 8]};

    fuzz_take(&w->in, body, len);
    if (how & 8) /* a selection, and small numbers, as most have them */
        for (size_t i = 0; i < len; i++)
            body[i] = i % 4 ? 0 : body[i] % 8;
    message.size = how & 16 ? fuzz_u32(&w->in) : (uint32_t)len;
    total = sizeof(message) + len;
    uint8_t whole[sizeof(message) + sizeof(body)];
    memcpy(whole, &message, sizeof(message));
    memcpy(whole + sizeof(message), body, len);
    size_t cut = how & 32 ? fuzz_below(&w->in, (uint32_t)total + 1) : 0;
    size_t parts[2] = {cut, total - cut}, from = 0;
    for (unsigned i = 0; i < 2; i++) {
        VDIChunkHeader chunk = {.port = how & 64 ? VDP_SERVER_PORT : VDP_CLIENT_PORT,
                                .size = (uint32_t)parts[i]};
        if (!parts[i])
            continue;
        memcpy(all + at, &chunk, sizeof(chunk));
        memcpy(all + at + sizeof(chunk), whole + from, parts[i]);
        at += sizeof(chunk) + parts[i];
        from += parts[i];
    }
    send_bytes(w, all, at);
    if (how & 128)
        settle(w);
}

static void step_open(World *w)
{
    bool open = fuzz_u8(&w->in) & 3;

    vmc_port_set_guest_open(w->port, open);
}

static void step_read(World *w)
{
    w->room = fuzz_u16(&w->in);
    vmc_port_writable(w->port);
    settle(w);
}

static void host_files(World *w, VmcSelection selection, bool answer)
{
    static const char *const paths[] = {"/etc/passwd", NULL};

    if ((unsigned)selection >= VMC_SELECTIONS)
        return;
    if (answer)
        vmc_agent_send_files(w->agent, selection, VMC_FILES_COPY, paths, NULL);
    else
        vmc_agent_offer_files(w->agent, selection, VMC_FILES_CUT, paths, NULL);
}

static void step_host_clip(World *w)
{
    uint8_t how = fuzz_u8(&w->in);
    VmcSelection selection = how % 4;
    VmcClipType type = (how >> 2) % 8;
    g_autoptr(GBytes) data = g_bytes_new("a\nb\r\n", 5);
    GBytes *seen = NULL;
    VmcFileAction action;

    switch (fuzz_below(&w->in, 6)) {
    case 0:
        vmc_agent_grab(w->agent, selection, fuzz_u8(&w->in));
        break;
    case 1:
        vmc_agent_offer(w->agent, selection, type, data);
        if (type == VMC_CLIP_FILES)
            host_files(w, selection, false);
        break;
    case 2:
        vmc_agent_release(w->agent, selection);
        break;
    case 3:
        if (type == VMC_CLIP_FILES)
            host_files(w, selection, true);
        vmc_agent_send(w->agent, selection, type, data);
        break;
    case 4:
        if (vmc_agent_request(w->agent, selection, type) &&
            !(vmc_agent_guest_types(w->agent, selection) & VMC_CLIP_BIT(type)))
            abort();
        break;
    default:
        if ((unsigned)selection < VMC_SELECTIONS && type > VMC_CLIP_NONE && type < VMC_CLIP_TYPES)
            seen = vmc_agent_peek(w->agent, selection, type, NULL);
        if (type == VMC_CLIP_FILES && (unsigned)selection < VMC_SELECTIONS)
            g_strfreev(vmc_agent_peek_files(w->agent, selection, &action, NULL));
        g_bytes_unref(seen ? seen : g_bytes_new(NULL, 0));
        break;
    }
}

static void step_file(World *w)
{
    uint8_t how = fuzz_u8(&w->in);

    if (how & 1)
        vmc_agent_cancel_file(w->agent, how >> 4);
    else if (w->files++ < 4)
        vmc_agent_send_file(w->agent, how & 2 ? file : "/dev/null", NULL);
}

static void step_monitors(World *w)
{
    VmcMonitor monitors[20];
    uint8_t how = fuzz_u8(&w->in);

    memset(monitors, 0, sizeof(monitors));
    for (unsigned i = 0; i < 3; i++)
        monitors[i].width = monitors[i].height = fuzz_u8(&w->in);
    vmc_agent_set_monitors(w->agent, monitors, how % 20);
}

static void step_front_end(World *w)
{
    uint8_t how = fuzz_u8(&w->in);

    vmc_agent_set_frontend(w->agent, how & 1 ? &frontend : how & 2 ? &small : NULL, w);
}

static void step_look(World *w)
{
    g_autoptr(GString) text = g_string_new("");

    vmc_agent_describe(w->agent, text);
    settle(w);
}

/* The run of one guest ends, another begins. */
static void step_restart(World *w)
{
    vmc_port_free(w->port);
    w->port = vmc_agent_port_new(w->agent, io);
    vmc_port_attach(w->port, &guest, w);
}

/* Time goes by, as far as it does for what waits. */
static void step_later(World *w)
{
    uint64_t now = vmc_now_ns() + VMC_AGENT_ANSWER_NS * (1 + fuzz_u8(&w->in) % 8);

    g_mutex_lock(&w->agent->lock);
    vmc_agent_clip_expire(w->agent, now);
    vmc_agent_transfers_expire(w->agent, now);
    g_mutex_unlock(&w->agent->lock);
}

static void (*const steps[])(World *w) = {step_message, step_message,  step_message,   step_raw,
                                          step_open,    step_read,     step_host_clip, step_host_clip,
                                          step_file,    step_monitors, step_front_end, step_look,
                                          step_restart, step_later,    step_message,   step_message};

static void run(void *data)
{
    World *w = data;

    w->context = g_main_context_new();
    w->agent = vmc_agent_new(w->context, fuzz_u8(&w->in) % 8 < 5 ? VMC_CLIPBOARD_BOTH : fuzz_u8(&w->in) % 4);
    w->port = vmc_agent_port_new(w->agent, io);
    vmc_port_attach(w->port, &guest, w);
    vmc_agent_set_frontend(w->agent, &frontend, w);
    if (!vmc_exports_serve(vmc_agent_exports(w->agent), "/etc", NULL))
        abort();
    vmc_exports_set_open(vmc_agent_exports(w->agent), true);
    w->room = 1 << 20;
    vmc_port_set_guest_open(w->port, true);
    for (unsigned n = 0; fuzz_more(&w->in) && n < 200; n++)
        steps[fuzz_u8(&w->in) % G_N_ELEMENTS(steps)](w);
    settle(w);
    vmc_port_free(w->port);
    vmc_agent_free(w->agent);
    g_main_context_unref(w->context);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    World w = {.in = {data, size, 0}};

    if (!io) {
        int fd = memfd_create("fuzz-agent", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, 40000))
            abort();
        snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);
        io = vmc_io_new(NULL);
    }
    vmc_io_call_sync(io, run, &w);
    return 0;
}
