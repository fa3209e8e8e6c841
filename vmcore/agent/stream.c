/*
 * Chunks and messages of the vd_agent protocol (spice/vd_agent.h).
 *
 * The stream is a row of chunks, each with its port and length, and the chunks of one port are a row of
 * messages, each with a header of its own. There is nothing in it to find one's place by: who has sent a
 * chunk for no port or a message that ends inside a chunk is not listened to until it opens the port anew,
 * and hears of that, because the host's side closes.
 *
 * Agents refuse chunks of more than VD_AGENT_MAX_DATA_SIZE bytes, but write longer ones.
 */
#include <string.h>

#include "agent/internal.h"

/* ---- from the guest ---- */

static void give_up(VmcAgent *agent)
{
    agent->broken = true;
    vmc_port_set_host_open(agent->port, false);
}

/* How many bytes the body of a message may have; 0: it is of no use. */
static uint32_t body_max(VmcAgent *agent, uint32_t type, uint32_t size)
{
    switch (type) {
    case VD_AGENT_CLIPBOARD:
        return vmc_agent_clip_wanted(agent, size) ? size : 0;
    case VD_AGENT_ANNOUNCE_CAPABILITIES:
    case VD_AGENT_CLIPBOARD_GRAB:
    case VD_AGENT_CLIPBOARD_REQUEST:
    case VD_AGENT_CLIPBOARD_RELEASE:
    case VD_AGENT_FILE_XFER_STATUS:
    case VD_AGENT_REPLY:
        return VMC_AGENT_BODY_MAX;
    default:
        return 0;
    }
}

static bool begin_message(VmcAgent *agent, VmcAgentReader *reader)
{
    VDAgentMessage *message = &reader->message;

    if (GUINT32_FROM_LE(message->protocol) != VD_AGENT_PROTOCOL)
        return false;
    message->type = GUINT32_FROM_LE(message->type);
    reader->left = message->size = GUINT32_FROM_LE(message->size);
    reader->skip = message->size > body_max(agent, message->type, message->size);
    return true;
}

static void end_message(VmcAgent *agent, VmcAgentReader *reader)
{
    g_autoptr(GByteArray) body = g_steal_pointer(&reader->body);
    uint32_t type = reader->message.type;

    reader->have = 0;
    if (!reader->skip)
        vmc_agent_on_message(agent, type, body ? body->data : NULL, body ? body->len : 0);
    else if (type == VD_AGENT_CLIPBOARD)
        vmc_agent_clip_oversize(agent);
}

/* Some of a chunk. False: it goes on behind its message's end, or is no message. */
static bool take_chunk(VmcAgent *agent, VmcAgentReader *reader, const uint8_t *data, size_t len)
{
    while (len) {
        size_t here;

        if (reader->have < sizeof(reader->message)) {
            here = MIN(len, sizeof(reader->message) - reader->have);
            memcpy((uint8_t *)&reader->message + reader->have, data, here);
            reader->have += (unsigned)here;
            if (reader->have == sizeof(reader->message) && !begin_message(agent, reader))
                return false;
        } else {
            here = MIN(len, reader->left);
            if (!reader->skip && !reader->body)
                reader->body = g_byte_array_new();
            if (!reader->skip)
                g_byte_array_append(reader->body, data, (guint)here);
            reader->left -= (uint32_t)here;
        }
        data += here;
        len -= here;
        if (reader->have == sizeof(reader->message) && !reader->left) {
            end_message(agent, reader);
            if (len || agent->chunk_left)
                return false;
        }
    }
    return true;
}

static size_t take_header(VmcAgent *agent, const uint8_t *data, size_t len)
{
    VDIChunkHeader header;
    size_t here = MIN(len, sizeof(header) - agent->chunk_have);

    memcpy(agent->chunk_header + agent->chunk_have, data, here);
    agent->chunk_have += (unsigned)here;
    if (agent->chunk_have < sizeof(header))
        return here;
    memcpy(&header, agent->chunk_header, sizeof(header));
    agent->chunk_left = GUINT32_FROM_LE(header.size);
    uint32_t port = GUINT32_FROM_LE(header.port);
    if (port < VDP_CLIENT_PORT || port >= VDP_END_PORT)
        give_up(agent);
    else if (!agent->chunk_left)
        agent->chunk_have = 0;
    return here;
}

static bool is_full(const VmcAgent *agent)
{
    return agent->out.length >= VMC_AGENT_BACKLOG_MAX || agent->out_bytes > VMC_AGENT_BACKLOG_BYTES;
}

size_t vmc_agent_take_in(VmcAgent *agent, const uint8_t *data, size_t len)
{
    size_t done = 0;

    while (done < len && !agent->broken && !is_full(agent)) {
        if (agent->chunk_have < sizeof(VDIChunkHeader)) {
            done += take_header(agent, data + done, len - done);
            continue;
        }
        VDIChunkHeader header;
        size_t here = MIN(len - done, agent->chunk_left);
        memcpy(&header, agent->chunk_header, sizeof(header));
        agent->chunk_left -= (uint32_t)here;
        if (!agent->chunk_left)
            agent->chunk_have = 0;
        if (!take_chunk(agent, &agent->readers[GUINT32_FROM_LE(header.port)], data + done, here))
            give_up(agent);
        done += here;
    }
    agent->waiting = done < len && !agent->broken;
    return agent->waiting ? done : len;
}

/* ---- to the guest ---- */

void vmc_agent_post(VmcAgent *agent, uint32_t type, const void *head, size_t head_len, const void *body,
                    size_t body_len)
{
    VDAgentMessage message = {.protocol = GUINT32_TO_LE(VD_AGENT_PROTOCOL), .type = GUINT32_TO_LE(type)};
    size_t size = head_len + body_len;

    if (!agent->port || agent->broken || !vmc_port_guest_open(agent->port))
        return;
    message.size = GUINT32_TO_LE((uint32_t)size);
    uint8_t *bytes = g_malloc(sizeof(message) + size);
    memcpy(bytes, &message, sizeof(message));
    if (head_len)
        memcpy(bytes + sizeof(message), head, head_len);
    if (body_len)
        memcpy(bytes + sizeof(message) + head_len, body, body_len);
    g_queue_push_tail(&agent->out, g_bytes_new_take(bytes, sizeof(message) + size));
    agent->out_bytes += sizeof(message) + size;
    vmc_agent_ring(agent);
}

/* Puts the next chunk on the stage. False: there is nothing to send. */
static bool stage_chunk(VmcAgent *agent)
{
    VDIChunkHeader header = {.port = GUINT32_TO_LE(VDP_CLIENT_PORT)};
    size_t len;

    if (g_queue_is_empty(&agent->out) && !vmc_agent_transfer_next(agent))
        return false;
    const uint8_t *bytes = g_bytes_get_data(g_queue_peek_head(&agent->out), &len);
    size_t here = MIN(len - agent->out_at, (size_t)VD_AGENT_MAX_DATA_SIZE);
    header.size = GUINT32_TO_LE((uint32_t)here);
    memcpy(agent->stage, &header, sizeof(header));
    memcpy(agent->stage + sizeof(header), bytes + agent->out_at, here);
    agent->stage_at = 0;
    agent->stage_len = sizeof(header) + here;
    agent->out_at += here;
    if (agent->out_at == len) {
        agent->out_bytes -= len;
        g_bytes_unref(g_queue_pop_head(&agent->out));
        agent->out_at = 0;
    }
    return true;
}

void vmc_agent_flush(VmcAgent *agent)
{
    if (agent->broken)
        return;
    while (agent->stage_at < agent->stage_len || stage_chunk(agent)) {
        size_t taken =
            vmc_port_write(agent->port, agent->stage + agent->stage_at, agent->stage_len - agent->stage_at);
        if (!taken)
            break;
        agent->stage_at += taken;
    }
    if (agent->waiting && !is_full(agent)) {
        agent->waiting = false;
        vmc_port_resume(agent->port);
    }
}

void vmc_agent_stream_reset(VmcAgent *agent)
{
    agent->chunk_have = 0;
    agent->chunk_left = 0;
    agent->waiting = false;
    for (unsigned i = 0; i < G_N_ELEMENTS(agent->readers); i++) {
        VmcAgentReader *reader = &agent->readers[i];
        g_clear_pointer(&reader->body, g_byte_array_unref);
        reader->have = 0;
    }
    g_queue_clear_full(&agent->out, (GDestroyNotify)g_bytes_unref);
    agent->out_bytes = agent->out_at = agent->stage_at = agent->stage_len = 0;
}
