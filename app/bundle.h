/*
 * A bundle: the folder in which one virtual machine lives, `NAME.espalier/`.
 *
 *   config.plist    what the machine is (bundle_config.c knows its keys)
 *   lock            held with an open-file-description lock by the process that runs the machine; its text is
 *                   "PID STATE\n", so that others can tell who runs it and how it is
 *   disk*.img, console.log, serial.log, screenshot.png
 *
 * Paths inside config.plist are relative to the bundle where they can be, so a bundle may be moved.
 * A bundle is written completely or not at all: a new one is filled in a hidden folder beside its place and
 * then renamed; config.plist goes through a temporary file, fsync and rename. Keys we do not know are kept.
 *
 * Threads: one at a time per EspBundle.
 */
#pragma once

#include <gio/gio.h>
#include <vmcore/config.h>

#include "app/machine_info.h"

G_BEGIN_DECLS

#define ESP_BUNDLE_SUFFIX   ".espalier"
#define ESP_BUNDLE_NAME_MAX 80

/* Files of a bundle that more than one place knows of. */
#define ESP_BUNDLE_CONFIG      "config.plist"
#define ESP_BUNDLE_LOCK        "lock"
#define ESP_BUNDLE_IDENTITY    "identity.plist"
#define ESP_BUNDLE_SAVED_STATE "saved-state"
#define ESP_BUNDLE_SNAPSHOTS   "snapshots"

/* In the lock file of a machine that does not run, but is being copied or the like. */
#define ESP_BUNDLE_STATE_HELD "held"

#define ESP_BUNDLE_ERROR (esp_bundle_error_quark())
GQuark esp_bundle_error_quark(void);

typedef enum EspBundleError {
    ESP_BUNDLE_ERROR_FORMAT, /* config.plist is not what it should be */
    ESP_BUNDLE_ERROR_FILE,   /* the file system refused */
    ESP_BUNDLE_ERROR_BUSY,   /* another process runs this machine */
    ESP_BUNDLE_ERROR_EXISTS, /* something of that name is there already */
} EspBundleError;

typedef struct EspBundle EspBundle;

/* Reads an existing bundle. The path may be relative; it is made absolute. */
EspBundle *esp_bundle_open(const char *path, GError **error);
/* The bundle in `dir` as if `config_file` were its config.plist, to look at what it was; not to be saved. */
EspBundle *esp_bundle_open_as(const char *config_file, const char *dir, GError **error);
/* Starts a new bundle in a hidden folder inside `parent_dir` (which is made when missing). Until
 * esp_bundle_publish it is ours alone, and esp_bundle_free removes it again. */
EspBundle *esp_bundle_new(const char *parent_dir, const char *name, GError **error);
/* The same in a hidden folder that is there already, on the file system of `parent_dir`: a machine in the
 * making, which esp_bundle_free leaves where it is. */
EspBundle *esp_bundle_new_in(const char *folder, const char *parent_dir, const char *name, GError **error);
/* Saves config.plist and puts a new bundle into its place, `parent_dir/NAME.espalier`; never over anything.
 */
bool esp_bundle_publish(EspBundle *bundle, GError **error);
/* The same, but where a folder of that name is taken it gets the next one that is free ("NAME 2.espalier").
 */
bool esp_bundle_publish_beside(EspBundle *bundle, GError **error);
/* Reads config.plist anew, which somebody else has written, and the name with it. */
bool esp_bundle_reload(EspBundle *bundle, GError **error);
/* Frees the handle and drops the lock; NULL is fine. */
void esp_bundle_free(EspBundle *bundle);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EspBundle, esp_bundle_free)

const char *esp_bundle_get_path(EspBundle *bundle);
const char *esp_bundle_get_name(EspBundle *bundle);
/* The path of a file in the bundle; free with g_free. */
char *esp_bundle_file(EspBundle *bundle, const char *basename);

/* Where a new machine of that name would be in `parent_dir`; free with g_free. */
char *esp_bundle_path_for(const char *parent_dir, const char *name);
/* Another name for people to read, any text of 1 to ESP_BUNDLE_NAME_MAX characters (check_name says what is
 * wrong with one); the folder keeps its own.
 * In memory; esp_bundle_save writes it. */
bool esp_bundle_check_name(const char *name, GError **error);
bool esp_bundle_set_name(EspBundle *bundle, const char *name, GError **error);

/* What the bundle says beside the configuration. `info` must be empty; clear it with esp_machine_info_clear.
 */
bool esp_bundle_get_info(EspBundle *bundle, EspMachineInfo *info, GError **error);
/* In memory; esp_bundle_save writes it. */
void esp_bundle_set_info(EspBundle *bundle, const EspMachineInfo *info);

/* Where a machine made from something we ship came from ("demo"), or NULL. */
const char *esp_bundle_get_origin(EspBundle *bundle);
void esp_bundle_set_origin(EspBundle *bundle, const char *origin);

/* The machine as config.plist describes it, with absolute paths. The caller owns it. Whether it can run is
 * for vmc_config_validate to say. */
VmcConfig *esp_bundle_get_config(EspBundle *bundle, GError **error);
/* Replaces the description in memory; esp_bundle_save writes it. Serial lines that go to descriptors are not
 * part of a bundle and are left out. */
void esp_bundle_set_config(EspBundle *bundle, const VmcConfig *config);
bool esp_bundle_save(EspBundle *bundle, GError **error);
/* Keeps the PCI slots that a machine made from the bundle has given to its devices, so that they stay where
 * they are when others come. `running` is that machine's configuration. */
bool esp_bundle_keep_pci_slots(EspBundle *bundle, const VmcConfig *running, GError **error);

/* Makes a sparse raw disk of `size` bytes in the bundle; fails if there is a file of that name. */
bool esp_bundle_add_disk(EspBundle *bundle, const char *basename, uint64_t size, GError **error);
/* Moves a log that has grown beyond `max_size` bytes to `basename.old`. A missing file is fine. */
void esp_bundle_rotate_log(EspBundle *bundle, const char *basename, uint64_t max_size);

/* Takes the lock; ESP_BUNDLE_ERROR_BUSY when another process has it. Held until esp_bundle_free. */
bool esp_bundle_lock(EspBundle *bundle, GError **error);
/* Opens and locks a machine that does not run, to work on its files; ESP_BUNDLE_ERROR_BUSY, in a sentence for
 * who wants that, when it does. Others see the state ESP_BUNDLE_STATE_HELD meanwhile. */
EspBundle *esp_bundle_hold(const char *path, GError **error);
/* Writes the state into the lock file, which must be held. Best effort: it is for show. */
void esp_bundle_announce(EspBundle *bundle, const char *state);
/* Whether some process runs the bundle at `path`; then *pid and *state (g_free) are set, where not NULL. */
bool esp_bundle_get_runner(const char *path, int *pid, char **state);
/* The same of a process that runs it no more and did not end in order (crash.h). */
bool esp_bundle_get_last_words(const char *path, int *pid, char **state);

G_END_DECLS
