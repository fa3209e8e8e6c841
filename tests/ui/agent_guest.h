/*
 * The guest's side of a machine's agent, for the tests of what is on the host's: it speaks the vd_agent
 * protocol at the port of a real VmcAgent, as spice-vdagentd does.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glib.h>
#include <spice/vd_agent.h>
#include <string.h>

#include "agent/agent.h"

#define GUEST_CAP(name) (1u << VD_AGENT_CAP_##name)
#define GUEST_CAPS                                                                                           \
    (GUEST_CAP(MONITORS_CONFIG) | GUEST_CAP(REPLY) | GUEST_CAP(CLIPBOARD_BY_DEMAND) |                        \
     GUEST_CAP(CLIPBOARD_SELECTION) | GUEST_CAP(SPARSE_MONITORS_CONFIG) | GUEST_CAP(GUEST_LINEEND_LF))

typedef struct AgentGuest {
    VmcIo *io;
    VmcAgent *agent;
    VmcPort *port;
    GMutex lock; /* guards `got` */
    GByteArray *got;
} AgentGuest;

static size_t guest_write(void *opaque, const void *data, size_t len)
{
    AgentGuest *guest = opaque;

    g_mutex_lock(&guest->lock);
    g_byte_array_append(guest->got, data, (guint)len);
    g_mutex_unlock(&guest->lock);
    return len;
}

static size_t guest_room(void *opaque)
{
    return SIZE_MAX;
}

static void guest_resume(void *opaque)
{
}

static void guest_host_open(void *opaque, bool open)
{
}

static const VmcPortGuest guest_port = {guest_write, guest_room, guest_resume, guest_host_open, guest_resume};

typedef struct GuestCall {
    AgentGuest *guest;
    GByteArray *bytes;
} GuestCall;

static void guest_do_open(void *data)
{
    vmc_port_set_guest_open(((GuestCall *)data)->guest->port, true);
}

static void guest_do_send(void *data)
{
    GuestCall *call = data;

    assert_int_equal(vmc_port_receive(call->guest->port, call->bytes->data, call->bytes->len),
                     call->bytes->len);
}

static void guest_says(AgentGuest *guest, uint32_t type, const void *body, uint32_t len)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    VDIChunkHeader chunk = {VDP_CLIENT_PORT, (uint32_t)sizeof(VDAgentMessage) + len};
    VDAgentMessage head = {.protocol = VD_AGENT_PROTOCOL, .type = type, .size = len};

    g_byte_array_append(bytes, (void *)&chunk, sizeof(chunk));
    g_byte_array_append(bytes, (void *)&head, sizeof(head));
    g_byte_array_append(bytes, body, len);
    vmc_io_call_sync(guest->io, guest_do_send, &(GuestCall){guest, bytes});
}

#define GUEST_WORDS(guest, type, ...)                                                                        \
    guest_says(guest, type, (const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}))

/* Selection, type and bytes, as VD_AGENT_CLIPBOARD has them. */
static void guest_gives(AgentGuest *guest, uint32_t type, const void *data, size_t len)
{
    g_autoptr(GByteArray) body = g_byte_array_new();
    const uint32_t head[] = {0, type};

    g_byte_array_append(body, (const void *)head, sizeof(head));
    g_byte_array_append(body, data, (guint)len);
    guest_says(guest, VD_AGENT_CLIPBOARD, body->data, body->len);
}

static void guest_spin(unsigned ms)
{
    gint64 end = g_get_monotonic_time() + (gint64)ms * 1000;

    while (g_get_monotonic_time() < end)
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(1000);
}

/* The next message of the host's, waiting for it; NULL: none came in time. Chunks are whole messages or parts
 * of one, in order. */
static GByteArray *guest_hears(AgentGuest *guest, uint32_t *type, unsigned ms)
{
    gint64 end = g_get_monotonic_time() + (gint64)ms * 1000;
    GByteArray *body = g_byte_array_new();

    do {
        size_t at = 0;
        g_mutex_lock(&guest->lock);
        g_byte_array_set_size(body, 0);
        while (at + sizeof(VDIChunkHeader) <= guest->got->len) {
            VDIChunkHeader chunk;
            VDAgentMessage head = {0};
            memcpy(&chunk, guest->got->data + at, sizeof(chunk));
            if (at + sizeof(chunk) + chunk.size > guest->got->len)
                break;
            g_byte_array_append(body, guest->got->data + at + sizeof(chunk), chunk.size);
            at += sizeof(chunk) + chunk.size;
            memcpy(&head, body->data, sizeof(head));
            if (body->len == sizeof(head) + head.size) {
                g_byte_array_remove_range(body, 0, sizeof(head));
                g_byte_array_remove_range(guest->got, 0, (guint)at);
                g_mutex_unlock(&guest->lock);
                *type = head.type;
                return body;
            }
        }
        g_mutex_unlock(&guest->lock);
        guest_spin(2);
    } while (g_get_monotonic_time() < end);
    g_byte_array_unref(body);
    return NULL;
}

static GByteArray *guest_expects(AgentGuest *guest, uint32_t wanted)
{
    uint32_t type = 0;
    GByteArray *body = guest_hears(guest, &type, 20000);

    assert_non_null(body);
    assert_int_equal(type, wanted);
    return body;
}

static void guest_expects_bytes(AgentGuest *guest, uint32_t wanted, const void *bytes, size_t len)
{
    g_autoptr(GByteArray) body = guest_expects(guest, wanted);

    assert_int_equal(body->len, len);
    assert_memory_equal(body->data, bytes, len);
}

#define GUEST_EXPECTS_WORDS(guest, type, ...)                                                                \
    guest_expects_bytes(guest, type, (const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}))

static void guest_expects_silence(AgentGuest *guest)
{
    uint32_t type = 0;
    GByteArray *body = guest_hears(guest, &type, 300);

    if (body)
        fail_msg("the guest heard a message of type %u", type);
}

/* A guest whose agent has just come up. */
static void guest_start(AgentGuest *guest, VmcClipboard policy)
{
    memset(guest, 0, sizeof(*guest));
    g_mutex_init(&guest->lock);
    guest->got = g_byte_array_new();
    guest->io = vmc_io_new(NULL);
    guest->agent = vmc_agent_new(g_main_context_default(), policy);
    guest->port = vmc_agent_port_new(guest->agent, guest->io);
    vmc_port_attach(guest->port, &guest_port, guest);
    vmc_io_call_sync(guest->io, guest_do_open, &(GuestCall){guest, NULL});
    g_byte_array_unref(guest_expects(guest, VD_AGENT_ANNOUNCE_CAPABILITIES));
    GUEST_WORDS(guest, VD_AGENT_ANNOUNCE_CAPABILITIES, 0, GUEST_CAPS);
    guest_spin(50);
}

static void guest_end(AgentGuest *guest)
{
    vmc_port_free(guest->port);
    vmc_agent_free(guest->agent);
    vmc_io_free(guest->io);
    g_byte_array_unref(guest->got);
    g_mutex_clear(&guest->lock);
}
