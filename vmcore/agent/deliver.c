/*
 * What the front end is told, on the owner's thread. There is no queue: each round finds one thing that
 * differs from what was told and tells it, without the lock, until there is none. Of what comes and goes
 * faster than it is told only the last is.
 */
#include <stddef.h>

#include "agent/internal.h"

#define ROUNDS_MAX 64u /* then others of the main loop have their turn */

#define HAS(frontend, function)                                                                              \
    ((frontend)->size >= offsetof(VmcAgentFrontend, function) + sizeof((frontend)->function) &&              \
     (frontend)->function)

static unsigned first_bit(unsigned bits)
{
    return (unsigned)__builtin_ctz(bits);
}

static unsigned caps_of(const VmcAgent *agent)
{
    unsigned caps = 0;

    if (!agent->connected)
        return 0;
    if (vmc_agent_guest_can(agent, VD_AGENT_CAP_CLIPBOARD_BY_DEMAND) && agent->policy != VMC_CLIPBOARD_OFF)
        caps |= VMC_AGENT_CAN_CLIPBOARD;
    if (caps && vmc_agent_guest_can(agent, VD_AGENT_CAP_CLIPBOARD_SELECTION))
        caps |= VMC_AGENT_CAN_SELECTIONS;
    if (vmc_agent_guest_can(agent, VD_AGENT_CAP_MONITORS_CONFIG))
        caps |= VMC_AGENT_CAN_MONITORS;
    if (!vmc_agent_guest_can(agent, VD_AGENT_CAP_FILE_XFER_DISABLED))
        caps |= VMC_AGENT_CAN_FILES;
    return caps;
}

unsigned vmc_agent_caps(VmcAgent *agent)
{
    g_mutex_lock(&agent->lock);
    unsigned caps = caps_of(agent);
    g_mutex_unlock(&agent->lock);
    return caps;
}

/* Each of these tells one thing if there is one. The lock is held before and after, not while telling. */

static bool tell_connection(VmcAgent *agent, const VmcAgentFrontend *frontend, void *opaque)
{
    bool gone = agent->told_connected && (!agent->connected || agent->tell_caps);
    bool come = !gone && agent->connected && !agent->told_connected;
    unsigned caps = caps_of(agent);

    if (!gone && !come)
        return false;
    agent->told_connected = come;
    agent->tell_caps = false;
    g_mutex_unlock(&agent->lock);
    if (gone && HAS(frontend, disconnected))
        frontend->disconnected(opaque);
    if (come && HAS(frontend, connected))
        frontend->connected(opaque, caps);
    g_mutex_lock(&agent->lock);
    return true;
}

static bool tell_grab(VmcAgent *agent, unsigned selection, const VmcAgentFrontend *frontend, void *opaque)
{
    VmcAgentClip *clip = &agent->clips[selection];
    unsigned types = clip->guest_types;

    if (!clip->tell_guest)
        return false;
    clip->tell_guest = false;
    g_mutex_unlock(&agent->lock);
    if (types && HAS(frontend, grabbed))
        frontend->grabbed(opaque, selection, types);
    else if (!types && HAS(frontend, released))
        frontend->released(opaque, selection);
    g_mutex_lock(&agent->lock);
    return true;
}

static bool tell_wanted(VmcAgent *agent, unsigned selection, const VmcAgentFrontend *frontend, void *opaque)
{
    VmcAgentClip *clip = &agent->clips[selection];

    if (!clip->tell_wanted)
        return false;
    unsigned type = first_bit(clip->tell_wanted);
    clip->tell_wanted &= ~VMC_CLIP_BIT(type);
    g_mutex_unlock(&agent->lock);
    if (HAS(frontend, requested))
        frontend->requested(opaque, selection, type);
    else
        vmc_agent_send(agent, selection, type, NULL);
    g_mutex_lock(&agent->lock);
    return true;
}

static void give_files(VmcAgent *agent, unsigned selection, GBytes *data, const VmcAgentFrontend *frontend,
                       void *opaque)
{
    VmcFileAction action = VMC_FILES_COPY;
    g_auto(GStrv) paths = data ? vmc_exports_resolve(agent->exports, data, &action, NULL) : NULL;

    if (HAS(frontend, files_received))
        frontend->files_received(opaque, selection, action, (const char *const *)paths);
}

static bool tell_data(VmcAgent *agent, unsigned selection, const VmcAgentFrontend *frontend, void *opaque)
{
    VmcAgentClip *clip = &agent->clips[selection];

    if (!clip->tell_data)
        return false;
    unsigned type = first_bit(clip->tell_data);
    g_autoptr(GBytes) data = clip->data[type] ? g_bytes_ref(clip->data[type]) : NULL;
    clip->tell_data &= ~VMC_CLIP_BIT(type);
    g_mutex_unlock(&agent->lock);
    if (type == VMC_CLIP_FILES)
        give_files(agent, selection, data, frontend, opaque);
    else if (HAS(frontend, received))
        frontend->received(opaque, selection, type, data);
    g_mutex_lock(&agent->lock);
    return true;
}

static bool tell_clips(VmcAgent *agent, const VmcAgentFrontend *frontend, void *opaque)
{
    for (unsigned i = 0; i < VMC_SELECTIONS; i++)
        if (tell_data(agent, i, frontend, opaque) || tell_grab(agent, i, frontend, opaque) ||
            tell_wanted(agent, i, frontend, opaque))
            return true;
    return false;
}

static bool tell_monitors(VmcAgent *agent, const VmcAgentFrontend *frontend, void *opaque)
{
    bool good = agent->monitors_good;

    if (!agent->tell_monitors)
        return false;
    agent->tell_monitors = false;
    g_mutex_unlock(&agent->lock);
    if (HAS(frontend, monitors_set))
        frontend->monitors_set(opaque, good);
    g_mutex_lock(&agent->lock);
    return true;
}

static void tell_transfer(VmcAgent *agent, VmcTransfer *transfer, const VmcAgentFrontend *frontend,
                          void *opaque)
{
    bool done = transfer->state == VMC_TRANSFER_ENDED;
    uint64_t sent = transfer->sent;

    transfer->tell = false;
    transfer->told_end = done;
    vmc_transfer_ref(transfer);
    g_mutex_unlock(&agent->lock);
    if (HAS(frontend, file_progress))
        frontend->file_progress(opaque, transfer->id, sent, transfer->total, done,
                                done ? transfer->error : NULL);
    g_mutex_lock(&agent->lock);
    vmc_transfer_unref(transfer);
}

static bool tell_transfers(VmcAgent *agent, const VmcAgentFrontend *frontend, void *opaque)
{
    for (guint i = 0; i < agent->transfers->len; i++) {
        VmcTransfer *transfer = g_ptr_array_index(agent->transfers, i);
        if (transfer->tell) {
            tell_transfer(agent, transfer, frontend, opaque);
            return true;
        }
    }
    return false;
}

static gboolean deliver(gpointer data)
{
    VmcAgent *agent = data;
    static const VmcAgentFrontend nobody = {.size = sizeof(nobody)};

    g_mutex_lock(&agent->lock);
    for (unsigned rounds = 0; rounds < ROUNDS_MAX; rounds++) {
        const VmcAgentFrontend *frontend = agent->frontend ? agent->frontend : &nobody;
        void *opaque = agent->opaque;
        if (!tell_connection(agent, frontend, opaque) && !tell_clips(agent, frontend, opaque) &&
            !tell_monitors(agent, frontend, opaque) && !tell_transfers(agent, frontend, opaque)) {
            g_clear_pointer(&agent->source, g_source_unref);
            break;
        }
    }
    bool more = agent->source;
    g_mutex_unlock(&agent->lock);
    return more;
}

void vmc_agent_tell(VmcAgent *agent)
{
    if (agent->source)
        return;
    agent->source = g_idle_source_new();
    g_source_set_priority(agent->source, G_PRIORITY_DEFAULT);
    g_source_set_callback(agent->source, deliver, agent, NULL);
    g_source_attach(agent->source, agent->context);
}

void vmc_agent_set_frontend(VmcAgent *agent, const VmcAgentFrontend *frontend, void *opaque)
{
    g_mutex_lock(&agent->lock);
    agent->frontend = frontend;
    agent->opaque = opaque;
    agent->told_connected = false;
    for (unsigned i = 0; i < VMC_SELECTIONS; i++) {
        agent->clips[i].tell_guest |= agent->clips[i].guest_types != 0;
        agent->clips[i].tell_wanted = agent->clips[i].wanted;
    }
    vmc_agent_tell(agent);
    g_mutex_unlock(&agent->lock);
}
