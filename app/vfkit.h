/*
 * A machine described on a command line, in the words of vfkit:
 *
 *   --cpus N  --memory MiB  --cpu auto|kvm|soft[:interpreter|:translator][,lockstep][,code-cache=64M]
 *   --bootloader linux,kernel=FILE[,initrd=FILE][,cmdline="..."]
 *   --device virtio-blk,path=FILE[,deviceId=ID][,readonly]
 *   --device virtio-serial,stdio|logFilePath=FILE     --device uart,stdio|logFilePath=FILE
 *   --device virtio-rng                               --device virtio-input,keyboard|pointing
 *   --device virtio-gpu[,width=N][,height=N]
 *
 * Items are separated by commas. A value, or a whole item, may stand in single or double quotes; commas
 * inside belong to it, and a backslash keeps the next quote or backslash from being special. A kernel's
 * command line without quotes ends where one of the boot loader's other options begins, as in
 * cmdline=console=ttyS0,115200,initrd=F.
 *
 * Errors are VMC_ERROR_CONFIG: one sentence that names the option and what would be right.
 */
#pragma once

#include <vmcore/vmcore.h>

G_BEGIN_DECLS

typedef struct EspVfkit {
    VmcConfig *config;
    bool stdio_used; /* a device has taken standard input and output */
} EspVfkit;

void esp_vfkit_init(EspVfkit *vfkit);
void esp_vfkit_clear(EspVfkit *vfkit);

/* Whether --NAME is one of the options above; all of them take a value. */
bool esp_vfkit_knows(const char *name);
/* Takes one option into the config. `name` without the dashes. */
bool esp_vfkit_option(EspVfkit *vfkit, const char *name, const char *value, GError **error);

/* The option a field of a VmcFault was given with, for messages: "devices[0].path" is "--device virtio-blk".
 * Free with g_free. */
char *esp_vfkit_field(const VmcConfig *config, const char *field);

G_END_DECLS
