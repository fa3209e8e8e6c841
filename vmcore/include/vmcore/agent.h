/*
 * The guest's agent, from the side of whoever shows the machine: clipboards, the sizes of monitors, files.
 *
 * A program in the guest (spice-vdagent on Linux, others elsewhere) speaks the vd_agent protocol of SPICE on
 * the port com.redhat.spice.0. A machine with a spice-agent device has one VmcAgent for as long as it lives
 * (vmc_machine_get_agent); guests, and their programs, come and go.
 *
 * Clipboards work on demand. Whoever has something says which types it has (grab); the other side asks for
 * one of them when somebody pastes (request), and gets the bytes (send). All of it is checked against the
 * policy of the configuration: what may only go one way does not go the other, whatever a guest says.
 *
 * Threads: all functions on the thread of the machine's owner, and so are those of the front end called, from
 * its main context, never from within a function of this file. None of them waits.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

G_BEGIN_DECLS

typedef struct VmcAgent VmcAgent;

/* As X11 has them; agents of other systems know the first only. */
typedef enum VmcSelection {
    VMC_SELECTION_CLIPBOARD,
    VMC_SELECTION_PRIMARY,
    VMC_SELECTION_SECONDARY,
    VMC_SELECTIONS
} VmcSelection;

typedef enum VmcClipType {
    VMC_CLIP_NONE,
    VMC_CLIP_TEXT, /* UTF-8, lines end in LF */
    VMC_CLIP_PNG,
    VMC_CLIP_BMP,
    VMC_CLIP_TIFF,
    VMC_CLIP_JPEG,
    VMC_CLIP_FILES, /* files and folders, by way of the WebDAV port: functions of their own, see below */
    VMC_CLIP_TYPES
} VmcClipType;

/* Sets of types. */
#define VMC_CLIP_BIT(type) (1u << (type))
#define VMC_CLIP_ALL       (((1u << VMC_CLIP_TYPES) - 1) & ~1u)

/* What is to become of files when they are pasted. */
typedef enum VmcFileAction { VMC_FILES_COPY, VMC_FILES_CUT } VmcFileAction;

/* How many files and folders a clipboard has at most, either way. */
#define VMC_AGENT_FILES_MAX 1024u

/* The bytes of one clipboard content are at most this many, either way. */
#define VMC_CLIP_MAX (64u << 20)

#define VMC_AGENT_MONITORS_MAX  16u
#define VMC_AGENT_TRANSFERS_MAX 32u

/* What the guest's agent can do; bits. */
typedef enum VmcAgentCaps {
    VMC_AGENT_CAN_CLIPBOARD = 1,
    VMC_AGENT_CAN_SELECTIONS = 2, /* not only the clipboard */
    VMC_AGENT_CAN_MONITORS = 4,
    VMC_AGENT_CAN_FILES = 8,
} VmcAgentCaps;

typedef struct VmcMonitor {
    int x, y;               /* pixels */
    unsigned width, height; /* pixels; 0 by 0: switched off */
} VmcMonitor;

/* What a front end wants to be told. `size` is sizeof(VmcAgentFrontend) of the header it was compiled with;
 * functions behind that, and those that are NULL, are not called. `opaque` is what was given with it. */
typedef struct VmcAgentFrontend {
    uint32_t size;
    uint32_t features; /* none yet; 0 */
    /* An agent is there and can do `caps` (VmcAgentCaps). Also told when that changes. */
    void (*connected)(void *opaque, unsigned caps);
    /* It has gone, and what it had grabbed with it. */
    void (*disconnected)(void *opaque);
    /* The guest has something of these types (bits); it has lost what was there before. */
    void (*grabbed)(void *opaque, VmcSelection selection, unsigned types);
    /* The guest has nothing any more. */
    void (*released)(void *opaque, VmcSelection selection);
    /* The guest wants what was promised with vmc_agent_grab: answer with vmc_agent_send, soon; after ten
     * seconds it is told that there is nothing. For VMC_CLIP_FILES the answer is vmc_agent_send_files. */
    void (*requested)(void *opaque, VmcSelection selection, VmcClipType type);
    /* The answer to vmc_agent_request, NULL if there is none: the guest has it not, any more, does not
     * answer, or it is too large. Nothing has looked at what is in it. `data` is good during the call. */
    void (*received)(void *opaque, VmcSelection selection, VmcClipType type, GBytes *data);
    /* The guest has taken the sizes of vmc_agent_set_monitors, or not. */
    void (*monitors_set)(void *opaque, bool good);
    /* How far a file is, bytes. `done`: it has arrived, or `error` says why it has not; the last call for
     * this id. */
    void (*file_progress)(void *opaque, unsigned id, uint64_t sent, uint64_t total, bool done,
                          const GError *error);
    /* The answer to vmc_agent_request for VMC_CLIP_FILES, in place of `received`: absolute paths, NULL-ended,
     * of files and folders that are below the folder of the WebDAV port and no links; NULL: there is no
     * answer, or it names anything else. A guest that has the same folder in another way, too, may put a link
     * in their place afterwards: do not follow any. */
    void (*files_received)(void *opaque, VmcSelection selection, VmcFileAction action,
                           const char *const *paths);
} VmcAgentFrontend;

/* Makes `frontend` the one that is told, and tells it soon what there is now; NULL: nobody. Both pointers
 * stay the caller's and must live until another one is set; none of the old one's functions is called any
 * more. */
void vmc_agent_set_frontend(VmcAgent *agent, const VmcAgentFrontend *frontend, void *opaque);

/* VmcAgentCaps of the agent that is there, or 0: none is. */
unsigned vmc_agent_caps(VmcAgent *agent);

/* The host has something of these types (VMC_CLIP_BIT), which the guest may ask for. False: the policy is
 * against it, or they are VMC_CLIP_FILES and the machine has no WebDAV port; beside others, that type is left
 * out then. If no agent is there, one that comes is told. */
bool vmc_agent_grab(VmcAgent *agent, VmcSelection selection, unsigned types);
/* The same with the bytes themselves, which are kept and given to the guest whenever it asks for them, so
 * that the front end is not. NULL is no type of its own, and VMC_CLIP_FILES not one for this. */
bool vmc_agent_offer(VmcAgent *agent, VmcSelection selection, VmcClipType type, GBytes *data);
/* The host has nothing any more. */
void vmc_agent_release(VmcAgent *agent, VmcSelection selection);
/* Answers a request. NULL, and more than VMC_CLIP_MAX bytes: there is nothing. Takes a reference. */
void vmc_agent_send(VmcAgent *agent, VmcSelection selection, VmcClipType type, GBytes *data);
/* The types the guest has grabbed, 0: nothing. */
unsigned vmc_agent_guest_types(VmcAgent *agent, VmcSelection selection);
/* Asks the guest for what it has; `received` brings it within half a minute. False: it has not grabbed that,
 * or the policy is against it. Asking for what is on its way is good, and answered once. */
bool vmc_agent_request(VmcAgent *agent, VmcSelection selection, VmcClipType type);

/* ---- files on the clipboard ----
 *
 * A guest reads them where it reads the shared folder: from the WebDAV port, which the machine must have (a
 * spice-webdav device) and the guest must use (spice-webdavd). What is offered is there under a random name,
 * read-only, with all that is below folders but for links and what is neither file nor folder; a while after
 * it is not offered any more it has gone. A guest that is told to cut has no way of removing the host's
 * files.
 *
 * Agents do not say whether they know VMC_CLIP_FILES. Those that do not pass it over; their guests get files
 * by vmc_agent_send_file or a shared folder. Of spice-vdagent 0.22, one that was built without GTK takes such
 * a list, and none gives one.
 */

/* The host has these, whose absolute paths are `paths`, NULL-ended and at most VMC_AGENT_FILES_MAX; the guest
 * is given them whenever it asks, without the front end. False with `error` (VMC_ERROR): there is no WebDAV
 * port or the guest does not use it, the policy is against it, or one of them cannot be read, is a link, or
 * has the name of another; then nothing has changed. */
bool vmc_agent_offer_files(VmcAgent *agent, VmcSelection selection, VmcFileAction action,
                           const char *const *paths, GError **error);
/* Answers a request for what was promised with vmc_agent_grab, in the same way. On errors the guest is told
 * that there is nothing. */
bool vmc_agent_send_files(VmcAgent *agent, VmcSelection selection, VmcFileAction action,
                          const char *const *paths, GError **error);

/* Tells the guest what monitors it has, also one that comes later. False: too many, or a size beyond 32767.
 */
bool vmc_agent_set_monitors(VmcAgent *agent, const VmcMonitor *monitors, unsigned n);

/* Sends a file to where the guest's agent puts such (on Linux, ~/Downloads). Returns its id, from 1 on, for
 * file_progress and vmc_agent_cancel_file; 0 with `error` (VMC_ERROR): it cannot be read, there is no agent
 * that takes files, or there are too many under way. A guest whose agent does not take files is to be given a
 * shared folder. */
unsigned vmc_agent_send_file(VmcAgent *agent, const char *path, GError **error);
/* Ends a transfer; file_progress tells its end. */
void vmc_agent_cancel_file(VmcAgent *agent, unsigned id);

G_END_DECLS
