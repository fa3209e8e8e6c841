/*
 * What a machine consists of, file by file, for those who copy or pack it.
 *
 * The parts make the machine whole: disks that lie on images outside of the bundle are to be flattened, and
 * those it writes to outside are to be taken in. What belongs to one computer or one run (the lock, logs,
 * sockets) is no part. Read-only media outside stay where they are.
 */
#pragma once

#include <gio/gio.h>
#include <vmcore/config.h>

#include "app/bundle.h"
#include "app/tree.h"

G_BEGIN_DECLS

typedef struct EspPart {
    char *path;           /* the file */
    char *name;           /* what it is called in the bundle; may be in the folder "snapshots/ID/" */
    bool flatten;         /* a disk that lies on others: only what it reads as is taken */
    VmcDiskFormat format; /* of a disk that is to be flattened */
    guint64 size;         /* bytes to be moved, about */
} EspPart;

typedef struct EspParts {
    GPtrArray *list;   /* of EspPart */
    VmcConfig *config; /* the machine, with the source's paths */
    char *dir;         /* of the source */
    guint64 total;     /* bytes */
} EspParts;

typedef struct EspPartsWanted {
    bool saved_state; /* with what the machine had in memory */
    bool identity;    /* it is the same machine somewhere else, and not another one */
    bool no_disks;    /* without disks it writes to, and their snapshots */
} EspPartsWanted;

/* Looks through a bundle, which the caller holds. NULL with `error` set. */
EspParts *esp_parts_find(EspBundle *bundle, const EspPartsWanted *wanted, GError **error);
void esp_parts_free(EspParts *parts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EspParts, esp_parts_free)

/* Copies one part, or all of them, into the bundle `to`, which is new and hidden. */
bool esp_part_copy(const EspPart *part, EspBundle *to, EspProgress *progress, GError **error);
bool esp_parts_copy(const EspParts *parts, EspBundle *to, EspProgress *progress, GError **error);
/* Writes the configuration of the source into `to` with paths that hold there, under the name that has;
 * without `same_identity` it has other network addresses. */
bool esp_parts_configure(const EspParts *parts, EspBundle *to, bool same_identity, GError **error);

/* Gives all network devices addresses that nobody has yet, where they had one. */
void esp_renew_addresses(VmcConfig *config);
/* Whether a device is a disk that the machine writes to. */
bool esp_is_own_disk(const VmcDeviceConfig *device);

G_END_DECLS
