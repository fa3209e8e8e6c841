/* Opening KVM's device, and what to say when it cannot be. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Opens KVM's device and sees that it can all that is needed. -1: the error says why not and what to do. */
int vmc_kvm_open(const char *path, GError **error);
/* A machine, or -1. */
int vmc_kvm_new_machine(int kvm_fd, GError **error);
/* Opens it as vmc_kvm_open and runs a loop to see that it is fast enough to be of use; `reason` gets one
 * sentence either way. */
bool vmc_kvm_probe(const char *path, char **reason);

/* What a host without KVM's device is like. */
typedef struct VmcKvmHost {
    bool amd;           /* else Intel */
    bool guest;         /* a virtual machine itself */
    bool capable;       /* its processor says that it can virtualise */
    bool enabled;       /* the kernel agrees: firmware has not switched it off */
    bool module_loaded; /* of KVM */
    bool node;          /* the device's file is there, but nobody behind it */
} VmcKvmHost;

/* One sentence; free with g_free. */
char *vmc_kvm_why_missing(const char *path, const VmcKvmHost *host);
