/*
 * Whether UEFI firmware finds something to boot on a disk, stick or disc: a look at it before the guest
 * starts, for a word to the user. What is in doubt counts as bootable.
 *
 * Threads: any; waits for the host's disk.
 */
#pragma once

#include "block/disk.h"

typedef enum VmcMedium {
    VMC_MEDIUM_BOOTS,     /* there is a FAT or UDF file system, where firmware looks for a loader; or it is in
                             doubt */
    VMC_MEDIUM_BLANK,     /* neither partitions nor a file system of discs */
    VMC_MEDIUM_DISK,      /* partitions, but firmware reads none of them */
    VMC_MEDIUM_DISC,      /* a disc (ISO 9660) without anything to boot */
    VMC_MEDIUM_BIOS_DISC, /* one that has something, for a BIOS */
} VmcMedium;

VmcMedium vmc_medium_look(VmcDisk *disk);

/* One sentence about a medium that does not boot, naming `path`; NULL if there is nothing to say. The caller
 * frees it. */
char *vmc_medium_complaint(VmcMedium medium, const char *path);
