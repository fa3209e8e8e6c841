/*
 * A machine that somebody wants to have: plain data, filled in by the assistant or a command line.
 *
 * What may be left open (NULL, "", 0) is, and is then found in what this computer has or left to the guest.
 * Strings are owned by the struct.
 */
#pragma once

#include <plist/plist.h>
#include <stdbool.h>
#include <vmcore/config.h>

#include "app/images/catalogue.h"
#include "app/machine_info.h"

G_BEGIN_DECLS

#define ESP_CREATION_ERROR (esp_creation_error_quark())
GQuark esp_creation_error_quark(void);

typedef enum EspCreationError {
    ESP_CREATION_ERROR_WANTED, /* what is wanted cannot be: the user's to mend */
    ESP_CREATION_ERROR_SOURCE, /* the source is not what it should be */
    ESP_CREATION_ERROR_FILE,   /* the host's disk or file system refuses */
} EspCreationError;

typedef enum EspCreationKind {
    ESP_CREATION_LINUX,     /* a cloud image, which cloud-init sets up */
    ESP_CREATION_INSTALLER, /* an empty disk and an installer's disc */
    ESP_CREATION_IMPORT,    /* a disk that there is already */
    ESP_CREATION_DEMO,
    ESP_CREATION_MACOS,
} EspCreationKind;

/* The first user of the guest, and who may log in as it. */
typedef struct EspFirstUser {
    char *name;          /* "ada" */
    char *full_name;     /* "Ada Lovelace" */
    char *password_hash; /* as crypt(5) has it; NULL: no password */
    char *ssh_key;       /* a line of an authorized_keys file; NULL: none */
} EspFirstUser;

typedef struct EspCreation {
    EspCreationKind kind;
    char *name;
    EspGuestSystem system; /* what will be in it */
    char *version;         /* of a catalogue, its id; or NULL */
    char *os_id;
    char *source; /* a file's path, or a link */
    char *sums;   /* link of a list of check sums for the source, or NULL */

    unsigned cpus, memory_mib, disk_gib; /* disk_gib 0: as large as the image is */

    EspRegion region;
    VmcKeyboardLayout keyboard_type;
    EspFirstUser user;

    char *share_path; /* a folder that guest and host share, or NULL */
    bool share_readonly;
    VmcClipboard clipboard;
} EspCreation;

void esp_creation_clear(EspCreation *creation);
/* `to` must be empty. */
void esp_creation_copy(EspCreation *to, const EspCreation *from);

/* Fills in what fits a new machine of that kind on this computer. `creation` must be empty. */
void esp_creation_init(EspCreation *creation, EspCreationKind kind);
/* Takes source, sums, name of the system and least sizes from a catalogue. */
void esp_creation_set_entry(EspCreation *creation, const EspCatalogueEntry *entry);

/* Whether the source is in the net: a link that has to be downloaded. */
bool esp_creation_is_download(const EspCreation *creation);
/* Whether the guest is set up by us: region and first user mean something. */
bool esp_creation_has_setup(const EspCreation *creation);
/* Whether there is a disk whose size can be chosen. */
bool esp_creation_has_disk_size(const EspCreation *creation);

/* Whether a machine can be made of it in `library_dir`: everything that can be said without opening the
 * source. False with one sentence. */
bool esp_creation_check(const EspCreation *creation, const char *library_dir, GError **error);
/* A name as Linux takes it for a user. */
bool esp_creation_check_user_name(const char *name, GError **error);
/* A name for a machine like `wanted` that is not taken in `library_dir`: "Debian 12", "Debian 12 (2)"... Free
 * with g_free. */
char *esp_creation_free_name(const char *wanted, const char *library_dir);

/* As a property list's dictionary, and from it. `creation` must be empty, and is after an error. */
plist_t esp_creation_to_plist(const EspCreation *creation);
bool esp_creation_from_plist(plist_t dict, EspCreation *creation, GError **error);

G_END_DECLS
