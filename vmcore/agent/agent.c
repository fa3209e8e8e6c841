/*
 * A VmcAgent: its port, what agents can do, the sizes of monitors. internal.h says how it is divided.
 *
 * An agent in the guest is there when it has opened the port and answered our announcement. It announces
 * itself anew when it is started again, or when another user's has become the active one; a guest that resets
 * or unloads its driver closes the port.
 */
#include "agent/internal.h"

#include <string.h>

#define SIDE_MAX 32767u

/* ---- messages ---- */

static void announce(VmcAgent *agent, bool request)
{
    static const unsigned always[] = {
        VD_AGENT_CAP_MONITORS_CONFIG, VD_AGENT_CAP_REPLY, VD_AGENT_CAP_SPARSE_MONITORS_CONFIG,
        VD_AGENT_CAP_MONITORS_CONFIG_POSITION, VD_AGENT_CAP_FILE_XFER_DETAILED_ERRORS};
    static const unsigned clipboards[] = {
        VD_AGENT_CAP_CLIPBOARD_BY_DEMAND, VD_AGENT_CAP_CLIPBOARD_SELECTION, VD_AGENT_CAP_MAX_CLIPBOARD,
        VD_AGENT_CAP_CLIPBOARD_NO_RELEASE_ON_REGRAB, VD_AGENT_CAP_CLIPBOARD_GRAB_SERIAL};
    uint32_t words[2] = {GUINT32_TO_LE(request), 0};

    for (unsigned i = 0; i < G_N_ELEMENTS(always); i++)
        words[1] |= 1u << always[i];
    for (unsigned i = 0; i < G_N_ELEMENTS(clipboards) && agent->policy != VMC_CLIPBOARD_OFF; i++)
        words[1] |= 1u << clipboards[i];
    words[1] = GUINT32_TO_LE(words[1]);
    vmc_agent_post(agent, VD_AGENT_ANNOUNCE_CAPABILITIES, words, sizeof(words), NULL, 0);
}

/* Without VD_AGENT_CAP_SPARSE_MONITORS_CONFIG those that are off are left out. */
static void post_monitors(VmcAgent *agent)
{
    VDAgentMonConfig screens[VMC_AGENT_MONITORS_MAX];
    VDAgentMonitorsConfig config = {.flags = GUINT32_TO_LE(VD_AGENT_CONFIG_MONITORS_FLAG_USE_POS)};
    bool sparse = vmc_agent_guest_can(agent, VD_AGENT_CAP_SPARSE_MONITORS_CONFIG);
    unsigned n = 0;

    if (!agent->n_monitors || !vmc_agent_guest_can(agent, VD_AGENT_CAP_MONITORS_CONFIG))
        return;
    for (unsigned i = 0; i < agent->n_monitors; i++) {
        const VmcMonitor *monitor = &agent->monitors[i];
        if (!monitor->width && !sparse)
            continue;
        screens[n++] = (VDAgentMonConfig){
            .height = GUINT32_TO_LE(monitor->height),
            .width = GUINT32_TO_LE(monitor->width),
            .depth = GUINT32_TO_LE(32),
            .x = GINT32_TO_LE(monitor->x),
            .y = GINT32_TO_LE(monitor->y),
        };
    }
    config.num_of_monitors = GUINT32_TO_LE(n);
    vmc_agent_post(agent, VD_AGENT_MONITORS_CONFIG, &config, sizeof(config), screens, n * sizeof(screens[0]));
}

static void on_capabilities(VmcAgent *agent, const uint8_t *body, size_t len)
{
    VDAgentAnnounceCapabilities head;
    uint32_t caps = 0;
    int32_t max = GINT32_TO_LE((int32_t)VMC_CLIP_MAX);

    if (len < sizeof(head))
        return;
    memcpy(&head, body, sizeof(head));
    memcpy(&caps, body + sizeof(head), MIN(len - sizeof(head), sizeof(caps)));
    if (head.request)
        announce(agent, false);
    caps = GUINT32_FROM_LE(caps);
    agent->tell_caps = agent->connected && caps != agent->guest_caps;
    if (agent->connected && !head.request && !agent->tell_caps)
        return; /* it has said so before */
    vmc_agent_clip_gone(agent);
    agent->connected = true;
    agent->guest_caps = caps;
    if (vmc_agent_guest_can(agent, VD_AGENT_CAP_MAX_CLIPBOARD) && agent->policy != VMC_CLIPBOARD_OFF)
        vmc_agent_post(agent, VD_AGENT_MAX_CLIPBOARD, &max, sizeof(max), NULL, 0);
    vmc_agent_clip_connected(agent);
    post_monitors(agent);
    vmc_agent_tell(agent);
}

static void on_reply(VmcAgent *agent, const uint8_t *body, size_t len)
{
    VDAgentReply reply;

    if (len < sizeof(reply))
        return;
    memcpy(&reply, body, sizeof(reply));
    if (GUINT32_FROM_LE(reply.type) != VD_AGENT_MONITORS_CONFIG || !agent->n_monitors)
        return;
    agent->monitors_good = GUINT32_FROM_LE(reply.error) == VD_AGENT_SUCCESS;
    agent->tell_monitors = true;
    vmc_agent_tell(agent);
}

void vmc_agent_on_message(VmcAgent *agent, uint32_t type, const uint8_t *body, size_t len)
{
    switch (type) {
    case VD_AGENT_ANNOUNCE_CAPABILITIES:
        on_capabilities(agent, body, len);
        break;
    case VD_AGENT_REPLY:
        on_reply(agent, body, len);
        break;
    case VD_AGENT_FILE_XFER_STATUS:
        vmc_agent_transfer_status(agent, body, len);
        break;
    default:
        vmc_agent_clip_message(agent, type, body, len);
        break;
    }
}

/* ---- the port ---- */

static void gone(VmcAgent *agent)
{
    vmc_agent_stream_reset(agent);
    vmc_agent_clip_gone(agent);
    vmc_agent_transfers_gone(agent);
    agent->connected = false;
    agent->guest_caps = 0;
    vmc_agent_tell(agent);
}

static void opened(void *opaque, bool guest_open)
{
    VmcAgent *agent = opaque;

    g_mutex_lock(&agent->lock);
    gone(agent);
    agent->broken = false;
    if (guest_open) {
        vmc_port_set_host_open(agent->port, true);
        announce(agent, true);
    }
    g_mutex_unlock(&agent->lock);
}

static size_t received(void *opaque, const void *data, size_t len)
{
    VmcAgent *agent = opaque;

    g_mutex_lock(&agent->lock);
    size_t taken = vmc_agent_take_in(agent, data, len);
    if (agent->broken)
        gone(agent);
    g_mutex_unlock(&agent->lock);
    return taken;
}

static void writable(void *opaque)
{
    VmcAgent *agent = opaque;

    g_mutex_lock(&agent->lock);
    vmc_agent_flush(agent);
    g_mutex_unlock(&agent->lock);
}

/* The bell or the timer; on the I/O thread. */
static void work(void *data)
{
    VmcAgent *agent = data;
    uint64_t now = vmc_now_ns();

    g_mutex_lock(&agent->lock);
    uint64_t clips = vmc_agent_clip_expire(agent, now);
    uint64_t next = MIN(clips, vmc_agent_transfers_expire(agent, now));
    next = MIN(next, vmc_exports_expire(agent->exports, now));
    if (next != UINT64_MAX)
        vmc_timer_arm(agent->timer, next);
    else
        vmc_timer_disarm(agent->timer);
    vmc_agent_flush(agent);
    g_mutex_unlock(&agent->lock);
}

void vmc_agent_ring(VmcAgent *agent)
{
    if (agent->bell)
        vmc_doorbell_ring(agent->bell);
}

static void port_free(void *opaque)
{
    VmcAgent *agent = opaque;

    g_mutex_lock(&agent->lock);
    VmcDoorbell *bell = g_steal_pointer(&agent->bell);
    VmcTimer *timer = g_steal_pointer(&agent->timer);
    gone(agent);
    agent->port = NULL;
    agent->io = NULL;
    g_mutex_unlock(&agent->lock);
    vmc_doorbell_free(bell);
    vmc_timer_free(timer);
}

static const VmcPortOps port_ops = {
    .begins_anew = true,
    .opened = opened,
    .received = received,
    .writable = writable,
    .free = port_free,
};

VmcPort *vmc_agent_port_new(VmcAgent *agent, VmcIo *io)
{
    VmcPort *port = vmc_port_new(io, &port_ops, agent);

    g_mutex_lock(&agent->lock);
    agent->io = io;
    agent->port = port;
    agent->bell = vmc_doorbell_new(io, work, agent);
    agent->timer = vmc_timer_new(io, work, agent);
    vmc_port_set_host_open(port, true); /* agents take a port without a host's side for broken */
    g_mutex_unlock(&agent->lock);
    return port;
}

/* ---- monitors ---- */

bool vmc_agent_set_monitors(VmcAgent *agent, const VmcMonitor *monitors, unsigned n)
{
    if (!n || n > VMC_AGENT_MONITORS_MAX)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (monitors[i].width > SIDE_MAX || monitors[i].height > SIDE_MAX ||
            !monitors[i].width != !monitors[i].height)
            return false;
    g_mutex_lock(&agent->lock);
    memcpy(agent->monitors, monitors, n * sizeof(monitors[0]));
    agent->n_monitors = n;
    agent->tell_monitors = false;
    post_monitors(agent);
    g_mutex_unlock(&agent->lock);
    return true;
}

/* ---- lifecycle, and a look at it ---- */

VmcAgent *vmc_agent_new(GMainContext *context, VmcClipboard policy)
{
    VmcAgent *agent = g_new0(VmcAgent, 1);

    g_mutex_init(&agent->lock);
    agent->policy = policy;
    agent->context = g_main_context_ref(context);
    agent->exports = vmc_exports_new();
    agent->transfers = g_ptr_array_new_with_free_func(vmc_transfer_unref);
    g_queue_init(&agent->out);
    return agent;
}

void vmc_agent_free(VmcAgent *agent)
{
    if (!agent)
        return;
    vmc_agent_transfers_clear(agent);
    if (agent->source) {
        g_source_destroy(agent->source);
        g_source_unref(agent->source);
    }
    for (unsigned i = 0; i < VMC_SELECTIONS; i++)
        vmc_agent_clip_clear(agent, &agent->clips[i]);
    vmc_exports_unref(agent->exports);
    vmc_agent_stream_reset(agent);
    g_ptr_array_unref(agent->transfers);
    g_main_context_unref(agent->context);
    g_mutex_clear(&agent->lock);
    g_free(agent);
}

static void describe_transfer(const VmcTransfer *transfer, GString *text)
{
    g_string_append_printf(text, "file %u %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " ", transfer->id,
                           transfer->sent, transfer->total);
    if (transfer->state != VMC_TRANSFER_ENDED)
        g_string_append(text, "under way");
    else
        g_string_append(text, transfer->error ? transfer->error->message : "arrived");
    g_string_append_printf(text, " “%s”\n", transfer->name);
}

void vmc_agent_describe(VmcAgent *agent, GString *text)
{
    unsigned caps = vmc_agent_caps(agent);

    g_mutex_lock(&agent->lock);
    if (!agent->connected)
        g_string_append(text,
                        "agent absent: without it the host's clipboard and files do not reach the guest; "
                        "install spice-vdagent there, or share a folder\n");
    else
        g_string_append_printf(
            text, "agent present%s%s%s\n", caps & VMC_AGENT_CAN_CLIPBOARD ? " clipboard" : "",
            caps & VMC_AGENT_CAN_MONITORS ? " monitors" : "", caps & VMC_AGENT_CAN_FILES ? " files" : "");
    g_string_append_printf(text, "guest clipboard types %#x\n", agent->clips[0].guest_types);
    for (guint i = 0; i < agent->transfers->len; i++)
        describe_transfer(g_ptr_array_index(agent->transfers, i), text);
    g_mutex_unlock(&agent->lock);
}
