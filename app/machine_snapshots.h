/*
 * Snapshots of a whole machine: all disks that it writes to, its firmware's variables and its configuration.
 *
 * The disks' part is vmcore's (vmcore/disk.h), under the same name on each. Beside them the bundle has
 * "snapshots/ID/" with copies of config.plist and of the variables, and the picture of the screen; ID follows
 * from the name. A snapshot of the disks alone, taken by other means, is a snapshot, too.
 *
 * A machine that runs takes one of itself, through its control socket; going back to one and deleting one
 * need it stopped. All functions wait for the disk: any thread but the one that draws.
 */
#pragma once

#include "app/bundle.h"

G_BEGIN_DECLS

typedef struct EspMachineSnapshot {
    char *name;
    gint64 time;   /* seconds since the Epoch */
    char *parent;  /* name of the one it was taken on, or NULL */
    bool current;  /* the machine goes on from this one */
    bool complete; /* with configuration and variables */
    bool whole;    /* on all disks that the machine writes to now */
    char *picture; /* PNG, or NULL */
    char **clones; /* linked duplicates that need it; never NULL */
} EspMachineSnapshot;

/* By time; an array of EspMachineSnapshot that frees them. */
GPtrArray *esp_machine_snapshots_list(const char *path, GError **error);

/* Keeps the machine as it is, running or not. The name must be new; one line of at most 200 bytes. */
bool esp_machine_snapshot_take(const char *path, const char *name, GError **error);
/* The machine becomes what it was then, but for its name; what was done since, and is in no snapshot, is
 * gone, and so is what it had in memory when it was saved. If a disk cannot go back after others did, the
 * error says so, and trying again goes on. */
bool esp_machine_snapshot_go_back(const char *path, const char *name, GError **error);
/* Forgets one; the machine and all other snapshots stay as they are. */
bool esp_machine_snapshot_delete(const char *path, const char *name, GError **error);
/* A name for the next one, after the date and time. */
char *esp_machine_snapshot_new_name(void);

G_END_DECLS
