/*
 * What a SCSI disk or CD-ROM drive makes of a command (scsi.c): answers it, says which bytes of the disk it
 * is about, or refuses it. Moves no data of the disk and waits for nothing; whoever carries the commands
 * does.
 *
 * SPC-4, SBC-3, MMC-6, the parts that drivers of USB storage use. Threads: the carrier's, one at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VMC_SCSI_CDB_MAX   16u
#define VMC_SCSI_REPLY_MAX 512u

typedef struct VmcScsiTarget {
    uint64_t size; /* bytes of the disk */
    bool cdrom, readonly;
    char serial[33];
    bool ejected, locked;   /* START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL */
    bool attention;         /* the medium has come back: the next command is told so */
    uint8_t key, asc, ascq; /* sense data of the last command that failed */
} VmcScsiTarget;

typedef enum VmcScsiKind {
    VMC_SCSI_FAILED, /* sense data is set */
    VMC_SCSI_DONE,   /* without data */
    VMC_SCSI_REPLY,  /* `reply` goes to the initiator */
    VMC_SCSI_SINK,   /* `length` bytes come from the initiator, and mean nothing */
    VMC_SCSI_READ,   /* bytes of the disk go to the initiator */
    VMC_SCSI_WRITE,  /* and come from it */
    VMC_SCSI_VERIFY, /* they have to be readable */
    VMC_SCSI_FLUSH,
} VmcScsiKind;

typedef struct VmcScsiCommand {
    VmcScsiKind kind;
    uint64_t offset, length; /* bytes; of the disk they lie within it */
    bool flush;              /* Force Unit Access: after it has been written */
    uint32_t reply_length;
    uint8_t reply[VMC_SCSI_REPLY_MAX];
} VmcScsiCommand;

/* `cdb` has VMC_SCSI_CDB_MAX bytes, padded with zeros. */
void vmc_scsi_begin(VmcScsiTarget *target, const uint8_t *cdb, VmcScsiCommand *command);
/* A read (verify) or write on the disk has failed with this negative errno value: sets sense data. */
void vmc_scsi_disk_failed(VmcScsiTarget *target, VmcScsiKind kind, int err);
