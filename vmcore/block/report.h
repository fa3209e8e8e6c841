/*
 * What the user is told of a machine's disk, for controllers (report.c).
 *
 * A full disk of the host is no error of the guest's disk. The write is kept, whoever runs the machine is
 * asked to pause it and to tell the user, and when it is resumed the write is tried again. All other errors
 * are the guest's to know, and the user's: in a sentence, at most one in ten seconds.
 *
 * Threads: the I/O thread.
 */
#pragma once

#include "base/host.h"
#include "block/engine.h"

typedef struct VmcDiskReport {
    const VmcDisk *disk;
    const VmcHostHooks *hooks; /* or NULL: there is nobody to tell */
    bool asked; /* the user, for room; the controller's to clear when the machine is resumed or it is reset */
    uint64_t reported; /* when an error was last reported, ns; 0: never */
    unsigned unreported;
} VmcDiskReport;

/* What messages call it. */
const char *vmc_disk_name(const VmcDisk *disk);
/* The guest is told of this error (negative errno value) of a request that had come to byte `offset`. */
void vmc_disk_report_error(VmcDiskReport *report, VmcBlockOp op, uint64_t offset, int error);
/* Whether a write or zeroes that failed with this error did so for want of room on the host, and there is
 * somebody who has been asked to make some: then it is to be kept and tried again when the machine is
 * resumed. Not for a flush: one that failed for want of room has lost data already; tried again it would only
 * seem to work. */
bool vmc_disk_ask_for_room(VmcDiskReport *report, int error);
