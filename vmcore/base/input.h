/*
 * Keyboards and pointers as a front end sees them, whatever they are to the guest (virtio-input, USB).
 *
 * A device embeds one and has one const ops table. Codes are Linux evdev's (linux/input-event-codes.h):
 * KEY_A, BTN_LEFT; those a device does not have are ignored.
 *
 * Threads: any; calls that belong to one report (up to sync) are made by one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct VmcKeyboard VmcKeyboard;
typedef struct VmcPointer VmcPointer;

typedef struct VmcKeyboardOps {
    void (*key)(VmcKeyboard *keyboard, unsigned code, bool down);
    /* The lights the guest has switched on: bits LED_NUML, LED_CAPSL, LED_SCROLLL. */
    uint32_t (*leds)(VmcKeyboard *keyboard);
    /* Whether a driver in the guest listens. */
    bool (*active)(VmcKeyboard *keyboard);
} VmcKeyboardOps;

struct VmcKeyboard {
    const VmcKeyboardOps *ops;
};

typedef struct VmcPointerOps {
    /* One of the two; the other is NULL. */
    void (*move)(VmcPointer *pointer, unsigned x, unsigned y); /* 0..VMC_POINTER_MAX over the display */
    void (*move_by)(VmcPointer *pointer, int right, int down); /* of a mouse: its own steps, a pixel about */
    void (*button)(VmcPointer *pointer, unsigned code, bool down);
    void (*wheel)(VmcPointer *pointer, int vertical, int horizontal); /* clicks, up and right > 0 */
    void (*sync)(VmcPointer *pointer);                                /* the report is whole: send it */
    bool (*active)(VmcPointer *pointer);
} VmcPointerOps;

struct VmcPointer {
    const VmcPointerOps *ops;
};

#define VMC_POINTER_MAX 32767u
