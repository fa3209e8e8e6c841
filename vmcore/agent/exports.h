/*
 * Files that the clipboards of host and guest exchange by way of the WebDAV port: those that the host offers,
 * which the guest finds in VMC_EXPORTS_NAME/ID/ of the shared folder, and those that the guest names there.
 *
 * An export is one offer: a directory under a random name, which exists nowhere but here, with the files and
 * folders that were offered in it; nothing else is reachable through it, links and special files are not, and
 * nothing is written. It stays while it is offered, and afterwards for as long as the guest uses it, because
 * who pastes may take a while over it: until VMC_EXPORTS_GRACE_NS after the guest last asked for something of
 * it, at most VMC_EXPORTS_LAST_NS, and not when there are more than VMC_EXPORTS_MAX.
 *
 * Threads: a lock of their own; any thread. vmc_exports_add and vmc_exports_resolve wait for the disk.
 */
#pragma once

#include <gio/gio.h>

#include "vmcore/agent.h"

#define VMC_EXPORTS_NAME     ".spice-clipboard" /* as spice-gtk calls it */
#define VMC_EXPORTS_MAX      8u
#define VMC_EXPORTS_GRACE_NS (60 * 1000000000ull)
#define VMC_EXPORTS_LAST_NS  (3600 * 1000000000ull)

typedef struct VmcExports VmcExports;
typedef struct VmcExport VmcExport;

VmcExports *vmc_exports_new(void);
VmcExports *vmc_exports_ref(VmcExports *exports); /* NULL is fine */
void vmc_exports_unref(VmcExports *exports);      /* NULL is fine */

/* ---- the port's side ---- */

/* A port serves them, with this folder beside them. False with `error` if it cannot be opened. */
bool vmc_exports_serve(VmcExports *exports, const char *folder, GError **error);
void vmc_exports_unserve(VmcExports *exports);
/* The guest has the port open, or not any more. */
void vmc_exports_set_open(VmcExports *exports, bool open);

/* Paths here are below VMC_EXPORTS_NAME, without slashes at their ends; "" is that itself. */

/* Opens a file with O_PATH; a descriptor that is the caller's, or a negative errno value: -EISDIR for a
 * directory that only exports have. */
int vmc_exports_open(VmcExports *exports, const char *path);
/* The entries of such a directory, and when it was made (s since 1970); either may be NULL. False: it is
 * none, or
 * "" and nothing is exported. */
bool vmc_exports_list(VmcExports *exports, const char *path, GPtrArray *names, int64_t *made);

/* ---- the agent's side ---- */

/* Whether a port serves them at all. */
bool vmc_exports_served(VmcExports *exports);
/* Makes an export, offered until vmc_exports_end, and the content of the clipboard that says so. NULL with
 * `error`: a path is not to be had, or no guest would find it. */
VmcExport *vmc_exports_add(VmcExports *exports, VmcFileAction action, const char *const *paths, GBytes **list,
                           GError **error);
/* It is not offered any more. Takes the reference; NULL is fine. */
void vmc_exports_end(VmcExports *exports, VmcExport *export);
/* Ends what has had its time. Returns the next moment to look, ns, or UINT64_MAX. */
uint64_t vmc_exports_expire(VmcExports *exports, uint64_t now);
/* The absolute paths, NULL-ended, of what the guest has named in the content of its clipboard: files and
 * folders below the shared folder. NULL with `error` if it has named anything else. */
char **vmc_exports_resolve(VmcExports *exports, GBytes *list, VmcFileAction *action, GError **error);

/* ---- file_list.c: the content of a clipboard, VD_AGENT_CLIPBOARD_FILE_LIST ---- */

/* "copy" or "cut", and absolute paths in the WebDAV server, each ended by a NUL, or all but the last. Returns
 * them NULL-ended and without their first slash; NULL if there is no path, too many, or one that cannot be
 * meant. */
char **vmc_file_list_parse(GBytes *list, VmcFileAction *action);
/* The same way back, `names` of VMC_EXPORTS_NAME/ID. */
GBytes *vmc_file_list_make(VmcFileAction action, const char *id, const GPtrArray *names);
/* Whether it can be the name of a file for both sides: UTF-8, without control characters. */
bool vmc_file_name_valid(const char *name);
