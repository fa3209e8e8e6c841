/*
 * A machine in the making: a hidden folder ".creating-NAME-XXXXXX" in the library, on its way to become a
 * bundle.
 *
 *   creation.plist   what is wanted (creation.h), from the first moment on
 *   download*        what comes from the net, whole or in part
 *   disk.qcow2 ...   the machine's files as they get done
 *
 * The library never shows it as a machine. It stays until the machine is there or somebody discards it,
 * however often the making is cancelled, fails, or the program ends. A lock says that somebody works on it.
 *
 * Threads: one at a time per EspDraft; different ones do not disturb each other.
 */
#pragma once

#include "app/bundle.h"
#include "app/create/creation.h"

G_BEGIN_DECLS

typedef struct EspDraft EspDraft;

/* Makes the folder (and the library's, when missing) and keeps the creation in it. */
EspDraft *esp_draft_new(const char *library_dir, const EspCreation *creation, GError **error);
/* One that there is; ESP_BUNDLE_ERROR_BUSY while another process works on it. If its name has been taken by a
 * machine meanwhile it gets another one, like it. */
EspDraft *esp_draft_open(const char *path, GError **error);
void esp_draft_free(EspDraft *draft);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EspDraft, esp_draft_free)

const char *esp_draft_get_path(EspDraft *draft);
const char *esp_draft_get_library_dir(EspDraft *draft);
const EspCreation *esp_draft_get_creation(EspDraft *draft);
/* Another creation in the place of the first, such as with a name that is free. */
bool esp_draft_set_creation(EspDraft *draft, const EspCreation *creation, GError **error);
/* A file in the folder; free with g_free. */
char *esp_draft_file(EspDraft *draft, const char *name);
/* The folder as a bundle that is not published yet; the draft's. */
EspBundle *esp_draft_get_bundle(EspDraft *draft);

/* The bundle is published: the folder is a machine's now, and what was needed for the making only goes. */
void esp_draft_published(EspDraft *draft);
/* Removes the folder with all that is in it, and frees the draft. */
bool esp_draft_discard(EspDraft *draft, GError **error);

/* What waits to be continued in a library. */
typedef struct EspDraftInfo {
    char *path;
    EspCreation creation;
    gint64 time;   /* when it was begun or changed last, seconds since the Epoch */
    guint64 bytes; /* that it takes on the disk */
    bool busy;     /* another process works on it */
} EspDraftInfo;

/* An array of EspDraftInfo that frees what is in it, the newest first. What cannot be read is left out. */
GPtrArray *esp_drafts_list(const char *library_dir);

G_END_DECLS
