/*
 * What a device tells the user, through its machine. Strings are copied by whoever wants to keep them.
 *
 * Threads: log may be called from any, attention from the I/O thread. Neither may wait.
 */
#pragma once

typedef struct VmcHostHooks {
    /* Something a user may want to read: one sentence. What a guest can cause is rate limited by the device.
     */
    void (*log)(void *opaque, const char *line);
    /* The host lacks something that the user has to see to, such as room on a disk: the machine is to be
     * paused and the user told why, in one sentence. What could not be done is kept, and tried again when the
     * machine is resumed. */
    void (*attention)(void *opaque, const char *why);
    void *opaque;
} VmcHostHooks;
