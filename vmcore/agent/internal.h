/*
 * The inside of a VmcAgent: what its files share.
 *
 *   agent.c       made and freed, the port's ends, monitors, capabilities
 *   stream.c      chunks and messages, both ways
 *   clipboard.c   grabs, requests and answers
 *   clip_files.c  files on the clipboard
 *   transfer.c    files to the guest
 *   deliver.c     what the front end is told
 *
 * Threads: everything below is guarded by `lock`; functions here are called with it held. The port is written
 * to on the I/O thread only, when the bell has rung; readers of files are threads of their own, which only
 * fill in the chunk of their transfer; the front end is called on the owner's thread, without the lock.
 *
 * Nothing grows as the guest pleases. What the front end is to be told is the difference to what it was told,
 * not a queue. A message's body is kept only where its type is known and as long as that type may be, the
 * content of a clipboard only if it was asked for; and while much waits to be sent nothing is read.
 */
#pragma once

#include <spice/vd_agent.h>

#include "agent/agent.h"
#include "vmcore/error.h"

#define VMC_AGENT_BODY_MAX      4096u                /* of a message other than a clipboard's content */
#define VMC_AGENT_BACKLOG_MAX   64u                  /* messages to be sent, above which none is read */
#define VMC_AGENT_BACKLOG_BYTES (1u << 20)           /* the same in bytes */
#define VMC_AGENT_ANSWER_NS     (10 * 1000000000ull) /* for the front end */
#define VMC_AGENT_REQUEST_NS    (30 * 1000000000ull) /* for the guest */
#define VMC_AGENT_START_NS      (60 * 1000000000ull) /* for the guest to want a file */
#define VMC_AGENT_FILE_CHUNK    (32 * 1024u)

/* One direction of messages: from the guest's client port, or its server port. */
typedef struct VmcAgentReader {
    VDAgentMessage message;
    unsigned have; /* bytes of `message` */
    bool skip;     /* the body is of no use */
    uint32_t left; /* bytes of the body to come */
    GByteArray *body;
} VmcAgentReader;

typedef struct VmcAgentClip {
    /* the guest's */
    unsigned guest_types; /* what it has grabbed; 0: nothing */
    unsigned guest_serial;
    bool tell_guest;              /* the front end is to hear of guest_types */
    unsigned asked;               /* types it has been asked for */
    uint64_t ask_until;           /* ns */
    unsigned tell_data;           /* types whose answer the front end is to have, among `data` or not there */
    GBytes *data[VMC_CLIP_TYPES]; /* answers since its last grab */
    unsigned failed;              /* types for which there was no answer since its last grab */
    /* the host's */
    unsigned host_types;           /* what was grabbed */
    GBytes *offer[VMC_CLIP_TYPES]; /* what is kept of it */
    VmcExport *files;              /* what the guest was told of, or NULL */
    unsigned wanted,
        tell_wanted;     /* types the guest waits for; of these, those the front end has not heard of */
    uint64_t want_until; /* ns */
} VmcAgentClip;

typedef enum VmcTransferState {
    VMC_TRANSFER_ASKED, /* the guest has not said that it wants the file */
    VMC_TRANSFER_SENDING,
    VMC_TRANSFER_SENT, /* all of it; the guest has not said that it has it */
    VMC_TRANSFER_ENDED,
} VmcTransferState;

/* Referred to by the agent and by its reader's thread. */
typedef struct VmcTransfer {
    gatomicrefcount refs;
    VmcAgent *agent;
    unsigned id;
    char *name; /* without folders */
    int fd;
    uint64_t total, sent;
    VmcTransferState state;
    uint64_t start_until;
    GError *error; /* of the end */
    bool tell;     /* the front end is to hear of it */
    bool told_end;
    /* its reader */
    GThread *thread;
    bool thread_done;
    GCond room; /* the chunk was taken, or stop */
    bool stop;
    uint8_t *chunk;   /* VMC_AGENT_FILE_CHUNK */
    size_t chunk_len; /* 0: the reader's turn */
} VmcTransfer;

struct VmcAgent {
    GMutex lock;
    VmcClipboard policy;
    GMainContext *context;
    const VmcAgentFrontend *frontend;
    void *opaque;
    GSource *source; /* the front end will be told, or NULL */

    /* the run of a guest, or NULL */
    VmcPort *port;
    VmcIo *io;
    VmcDoorbell *bell;
    VmcTimer *timer;

    bool connected, told_connected, tell_caps; /* capabilities have come */
    uint32_t guest_caps;                       /* 1 << VD_AGENT_CAP_... */
    bool broken;                               /* it has sent nonsense; until it opens the port anew */

    /* from the guest */
    uint8_t chunk_header[sizeof(VDIChunkHeader)];
    unsigned chunk_have;
    uint32_t chunk_left;
    VmcAgentReader readers[VDP_END_PORT];
    bool waiting; /* `received` has not taken all */

    /* to the guest */
    GQueue out;       /* of GBytes: messages */
    size_t out_bytes; /* of all of them */
    size_t out_at;    /* in the first */
    uint8_t stage[sizeof(VDIChunkHeader) + VD_AGENT_MAX_DATA_SIZE];
    size_t stage_at, stage_len;

    VmcAgentClip clips[VMC_SELECTIONS];
    VmcExports *exports;
    GPtrArray *transfers; /* of VmcTransfer; those that have ended until there are too many */
    unsigned last_id, next_turn;

    VmcMonitor monitors[VMC_AGENT_MONITORS_MAX];
    unsigned n_monitors; /* 0: not said */
    bool tell_monitors, monitors_good;
};

/* ---- stream.c ---- */

/* Takes in what the guest sends; returns how much of it. */
size_t vmc_agent_take_in(VmcAgent *agent, const uint8_t *data, size_t len);
/* Appends a message of two parts; either may be empty. */
void vmc_agent_post(VmcAgent *agent, uint32_t type, const void *head, size_t head_len, const void *body,
                    size_t body_len);
/* Writes what the guest has room for. On the I/O thread. */
void vmc_agent_flush(VmcAgent *agent);
/* Forgets what is under way, both ways. */
void vmc_agent_stream_reset(VmcAgent *agent);

/* ---- agent.c ---- */

static inline bool vmc_agent_guest_can(const VmcAgent *agent, unsigned cap)
{
    return agent->connected && agent->guest_caps & 1u << cap;
}

/* A message is there, its body of a length that its type may have. */
void vmc_agent_on_message(VmcAgent *agent, uint32_t type, const uint8_t *body, size_t len);
/* The bell: vmc_agent_flush and the timer are seen to on the I/O thread. */
void vmc_agent_ring(VmcAgent *agent);

/* ---- clipboard.c ---- */

/* Whether the body of such a message is to be kept. `skip` of too large an answer counts as none. */
bool vmc_agent_clip_wanted(VmcAgent *agent, uint32_t len);
void vmc_agent_clip_message(VmcAgent *agent, uint32_t type, const uint8_t *body, size_t len);
/* Too much of it: what was asked for will not come. */
void vmc_agent_clip_oversize(VmcAgent *agent);
/* Tells an agent that has come what the host has. */
void vmc_agent_clip_connected(VmcAgent *agent);
void vmc_agent_clip_gone(VmcAgent *agent);
/* What waits for too long is ended. Returns the next moment to look, ns, or UINT64_MAX. */
uint64_t vmc_agent_clip_expire(VmcAgent *agent, uint64_t now);
void vmc_agent_clip_clear(VmcAgent *agent, VmcAgentClip *clip);
/* Whether the policy lets contents through to the guest. */
bool vmc_agent_clip_to_guest(const VmcAgent *agent);
/* The host has this, and nothing else any more. Takes `files` over, NULL if it has none. */
void vmc_agent_clip_offer(VmcAgent *agent, VmcSelection selection, VmcClipType type, GBytes *data,
                          VmcExport *files);
/* The answer to a request; NULL: there is nothing. False: the guest does not wait for one. */
bool vmc_agent_clip_answer(VmcAgent *agent, VmcSelection selection, VmcClipType type, GBytes *data);

/* ---- transfer.c ---- */

void vmc_agent_transfer_status(VmcAgent *agent, const uint8_t *body, size_t len);
/* Posts the next piece of a file. False: there is none. */
bool vmc_agent_transfer_next(VmcAgent *agent);
void vmc_agent_transfers_gone(VmcAgent *agent);
uint64_t vmc_agent_transfers_expire(VmcAgent *agent, uint64_t now);
VmcTransfer *vmc_transfer_ref(VmcTransfer *transfer);
void vmc_transfer_unref(gpointer transfer);
/* Ends readers and waits for them. Without the lock. */
void vmc_agent_transfers_clear(VmcAgent *agent);

/* ---- deliver.c ---- */

/* Something the front end is to hear has changed. */
void vmc_agent_tell(VmcAgent *agent);
