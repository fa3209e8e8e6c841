/*
 * Files to the guest: VD_AGENT_FILE_XFER_START, _STATUS and _DATA.
 *
 * The guest is told name and size; when it says that it can take the data they follow, piece by piece, as
 * fast as it empties the port: the next piece is put into the stream when nothing else waits there. A thread
 * of the transfer's own reads the file, so that a slow disk makes nobody else wait. The guest, or the user,
 * may end it at any time; it has ended well when the guest says so after the last byte.
 *
 * The name is that of the file, without folders, and its start message is a GKeyFile.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/internal.h"
#include "base/i18n.h"

#define UNDER_WAY_MAX 8u /* each has a thread */

VmcTransfer *vmc_transfer_ref(VmcTransfer *transfer)
{
    g_atomic_ref_count_inc(&transfer->refs);
    return transfer;
}

void vmc_transfer_unref(gpointer data)
{
    VmcTransfer *transfer = data;

    if (!g_atomic_ref_count_dec(&transfer->refs))
        return;
    if (transfer->fd >= 0)
        close(transfer->fd);
    g_clear_error(&transfer->error);
    g_cond_clear(&transfer->room);
    g_free(transfer->chunk);
    g_free(transfer->name);
    g_free(transfer);
}

/* ---- ends ---- */

/* Takes `error` over; NULL: it has arrived. */
static void end(VmcTransfer *transfer, GError *error)
{
    transfer->state = VMC_TRANSFER_ENDED;
    transfer->error = error;
    transfer->stop = true;
    g_cond_signal(&transfer->room);
    transfer->tell = true;
    vmc_agent_tell(transfer->agent);
}

static GError *failure(const VmcTransfer *transfer, const char *why)
{
    /* Translators: the file, and why: “the guest takes no files”, “it was cancelled”. */
    return g_error_new(VMC_ERROR, VMC_ERROR_RESOURCE, _("The file “%s” was not sent: %s"), transfer->name,
                       why);
}

static void post_cancel(VmcTransfer *transfer)
{
    VDAgentFileXferStatusMessage status = {
        .id = GUINT32_TO_LE(transfer->id),
        .result = GUINT32_TO_LE(VD_AGENT_FILE_XFER_STATUS_CANCELLED),
    };

    vmc_agent_post(transfer->agent, VD_AGENT_FILE_XFER_STATUS, &status, sizeof(status), NULL, 0);
}

/* ---- the reader ---- */

static void *read_file(void *data)
{
    VmcTransfer *transfer = data;
    VmcAgent *agent = transfer->agent;
    uint64_t at = 0;

    g_mutex_lock(&agent->lock);
    while (!transfer->stop && at < transfer->total) {
        size_t want = MIN(transfer->total - at, (uint64_t)VMC_AGENT_FILE_CHUNK);
        if (transfer->chunk_len) {
            g_cond_wait(&transfer->room, &agent->lock);
            continue;
        }
        g_mutex_unlock(&agent->lock);
        ssize_t got = pread(transfer->fd, transfer->chunk, want, (off_t)at);
        int err = errno;
        g_mutex_lock(&agent->lock);
        if (transfer->stop || (got < 0 && err == EINTR))
            continue;
        if (got <= 0) {
            post_cancel(transfer);
            end(transfer, failure(transfer, got ? g_strerror(err) : _("it has become shorter meanwhile")));
            break;
        }
        transfer->chunk_len = (size_t)got;
        at += (uint64_t)got;
        vmc_agent_ring(agent);
    }
    transfer->thread_done = true;
    g_mutex_unlock(&agent->lock);
    vmc_transfer_unref(transfer);
    return NULL;
}

/* ---- messages ---- */

static VmcTransfer *find(VmcAgent *agent, uint32_t id)
{
    for (guint i = 0; i < agent->transfers->len; i++) {
        VmcTransfer *transfer = g_ptr_array_index(agent->transfers, i);
        if (transfer->id == id && transfer->state != VMC_TRANSFER_ENDED)
            return transfer;
    }
    return NULL;
}

static const char *reason(uint32_t result)
{
    switch (result) {
    case VD_AGENT_FILE_XFER_STATUS_CANCELLED:
        return _("the guest has ended it");
    case VD_AGENT_FILE_XFER_STATUS_NOT_ENOUGH_SPACE:
        return _("the guest's disk is full");
    case VD_AGENT_FILE_XFER_STATUS_SESSION_LOCKED:
        return _("the guest's screen is locked; unlock it and try again");
    case VD_AGENT_FILE_XFER_STATUS_VDAGENT_NOT_CONNECTED:
        return _("nobody is logged in in the guest; log in and try again");
    case VD_AGENT_FILE_XFER_STATUS_DISABLED:
        return _("the guest takes no files; use a shared folder");
    default:
        return _("the guest could not write it");
    }
}

static void start(VmcTransfer *transfer)
{
    transfer->state = VMC_TRANSFER_SENDING;
    vmc_agent_ring(transfer->agent); /* nothing is read of an empty file */
    transfer->thread = g_thread_try_new("agent-file", read_file, vmc_transfer_ref(transfer), NULL);
    if (!transfer->thread) {
        vmc_transfer_unref(transfer);
        post_cancel(transfer);
        end(transfer, failure(transfer, _("no thread can be started")));
    }
}

void vmc_agent_transfer_status(VmcAgent *agent, const uint8_t *body, size_t len)
{
    VDAgentFileXferStatusMessage status;

    if (len < sizeof(status))
        return;
    memcpy(&status, body, sizeof(status));
    VmcTransfer *transfer = find(agent, GUINT32_FROM_LE(status.id));
    uint32_t result = GUINT32_FROM_LE(status.result);
    if (!transfer)
        return;
    if (result == VD_AGENT_FILE_XFER_STATUS_CAN_SEND_DATA) {
        if (transfer->state == VMC_TRANSFER_ASKED)
            start(transfer);
    } else if (result == VD_AGENT_FILE_XFER_STATUS_SUCCESS && transfer->sent == transfer->total) {
        end(transfer, NULL);
    } else {
        end(transfer, failure(transfer, reason(result)));
    }
}

static void post_data(VmcTransfer *transfer)
{
    VDAgentFileXferDataMessage data = {
        .id = GUINT32_TO_LE(transfer->id),
        .size = GUINT64_TO_LE(transfer->chunk_len),
    };

    vmc_agent_post(transfer->agent, VD_AGENT_FILE_XFER_DATA, &data, sizeof(data), transfer->chunk,
                   transfer->chunk_len);
    transfer->sent += transfer->chunk_len;
    transfer->chunk_len = 0;
    if (transfer->sent == transfer->total)
        transfer->state = VMC_TRANSFER_SENT;
    g_cond_signal(&transfer->room);
    transfer->tell = true;
    vmc_agent_tell(transfer->agent);
}

bool vmc_agent_transfer_next(VmcAgent *agent)
{
    guint n = agent->transfers->len;

    for (guint i = 0; i < n; i++) {
        VmcTransfer *transfer = g_ptr_array_index(agent->transfers, (agent->next_turn + i) % n);
        if (transfer->state != VMC_TRANSFER_SENDING || (!transfer->chunk_len && transfer->total))
            continue;
        agent->next_turn = (agent->next_turn + i + 1) % n;
        post_data(transfer); /* of an empty file, too: agents wait for it */
        return !g_queue_is_empty(&agent->out);
    }
    return false;
}

void vmc_agent_transfers_gone(VmcAgent *agent)
{
    for (guint i = 0; i < agent->transfers->len; i++) {
        VmcTransfer *transfer = g_ptr_array_index(agent->transfers, i);
        if (transfer->state != VMC_TRANSFER_ENDED)
            end(transfer, failure(transfer, _("the guest's agent has gone")));
    }
}

uint64_t vmc_agent_transfers_expire(VmcAgent *agent, uint64_t now)
{
    uint64_t next = UINT64_MAX;

    for (guint i = 0; i < agent->transfers->len; i++) {
        VmcTransfer *transfer = g_ptr_array_index(agent->transfers, i);
        if (transfer->state != VMC_TRANSFER_ASKED)
            continue;
        if (transfer->start_until > now) {
            next = MIN(next, transfer->start_until);
            continue;
        }
        post_cancel(transfer);
        end(transfer, failure(transfer, _("the guest's agent does not answer")));
    }
    return next;
}

void vmc_agent_transfers_clear(VmcAgent *agent)
{
    g_mutex_lock(&agent->lock);
    vmc_agent_transfers_gone(agent);
    g_mutex_unlock(&agent->lock);
    for (guint i = 0; i < agent->transfers->len; i++) {
        VmcTransfer *transfer = g_ptr_array_index(agent->transfers, i);
        if (transfer->thread)
            g_thread_join(transfer->thread);
    }
    g_ptr_array_set_size(agent->transfers, 0);
}

/* ---- what the owner does ---- */

/* Opens a file that can be sent, -1 with `error` if it is none. */
static int open_file(const char *path, uint64_t *size, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd < 0) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("The file “%s” cannot be opened: %s"), path,
                    g_strerror(errno));
        return -1;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("“%s” is not a file; only files can be sent, one at a time"), path);
        close(fd);
        return -1;
    }
    *size = (uint64_t)st.st_size;
    return fd;
}

static void post_start(VmcTransfer *transfer)
{
    static const char group[] = "vdagent-file-xfer";
    g_autoptr(GKeyFile) keys = g_key_file_new();
    uint32_t id = GUINT32_TO_LE(transfer->id);
    gsize len;

    g_key_file_set_string(keys, group, "name", transfer->name);
    g_key_file_set_uint64(keys, group, "size", transfer->total);
    g_autofree char *text = g_key_file_to_data(keys, &len, NULL);
    vmc_agent_post(transfer->agent, VD_AGENT_FILE_XFER_START, &id, sizeof(id), text, len + 1);
}

/* Makes room in the list. False: all of it are under way. */
static bool make_room(VmcAgent *agent)
{
    unsigned under_way = 0;

    for (guint i = 0; i < agent->transfers->len; i++)
        under_way += ((VmcTransfer *)g_ptr_array_index(agent->transfers, i))->state != VMC_TRANSFER_ENDED;
    for (guint i = 0; agent->transfers->len >= VMC_AGENT_TRANSFERS_MAX && i < agent->transfers->len; i++) {
        VmcTransfer *transfer = g_ptr_array_index(agent->transfers, i);
        if (!transfer->told_end || (transfer->thread && !transfer->thread_done))
            continue;
        if (transfer->thread)
            g_thread_unref(transfer->thread);
        g_ptr_array_remove_index(agent->transfers, i--);
    }
    return under_way < UNDER_WAY_MAX && agent->transfers->len < VMC_AGENT_TRANSFERS_MAX;
}

/* Why no file can be sent now, or NULL. */
static const char *refusal(VmcAgent *agent)
{
    if (!agent->connected)
        return _("the guest has no agent running; install spice-vdagent there, or use a shared folder");
    if (vmc_agent_guest_can(agent, VD_AGENT_CAP_FILE_XFER_DISABLED))
        return _("the guest takes no files; use a shared folder");
    if (!make_room(agent))
        return _("too many others are under way; wait for one to end");
    return NULL;
}

static unsigned begin(VmcAgent *agent, const char *path, int fd, uint64_t total)
{
    VmcTransfer *transfer = g_new0(VmcTransfer, 1);

    g_atomic_ref_count_init(&transfer->refs);
    g_cond_init(&transfer->room);
    transfer->agent = agent;
    transfer->id = ++agent->last_id ? agent->last_id : ++agent->last_id;
    transfer->name = g_path_get_basename(path);
    transfer->fd = fd;
    transfer->total = total;
    transfer->chunk = g_malloc(VMC_AGENT_FILE_CHUNK);
    transfer->start_until = vmc_now_ns() + VMC_AGENT_START_NS;
    transfer->tell = true;
    g_ptr_array_add(agent->transfers, transfer);
    post_start(transfer);
    vmc_agent_tell(agent);
    return transfer->id;
}

unsigned vmc_agent_send_file(VmcAgent *agent, const char *path, GError **error)
{
    uint64_t total = 0;
    int fd = open_file(path, &total, error);
    unsigned id = 0;

    if (fd < 0)
        return 0;
    g_mutex_lock(&agent->lock);
    const char *why = refusal(agent);
    if (why)
        g_set_error(error, VMC_ERROR, VMC_ERROR_STATE, _("The file “%s” cannot be sent: %s"), path, why);
    else
        id = begin(agent, path, fd, total);
    g_mutex_unlock(&agent->lock);
    if (!id)
        close(fd);
    return id;
}

void vmc_agent_cancel_file(VmcAgent *agent, unsigned id)
{
    g_mutex_lock(&agent->lock);
    VmcTransfer *transfer = find(agent, id);
    if (transfer) {
        post_cancel(transfer);
        end(transfer, failure(transfer, _("it was cancelled")));
    }
    g_mutex_unlock(&agent->lock);
}
