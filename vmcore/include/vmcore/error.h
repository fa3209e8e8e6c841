/* Error domains of vmcore. Every message names the thing that failed and what would be right. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define VMC_ERROR (vmc_error_quark())
GQuark vmc_error_quark(void);

typedef enum VmcError {
    VMC_ERROR_CONFIG,   /* the configuration is wrong: the user's to mend */
    VMC_ERROR_STATE,    /* not possible in the machine's current state */
    VMC_ERROR_RESOURCE, /* the host has not got it: memory, a file, a lock */
    VMC_ERROR_IMAGE,    /* a kernel, initrd or disk is not what it should be */
    VMC_ERROR_CPU,      /* the CPU backend cannot go on */
    VMC_ERROR_INTERNAL, /* a fault of ours */
} VmcError;

G_END_DECLS
