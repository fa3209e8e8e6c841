/*
 * A linear framebuffer in guest memory as a VmcDisplay: the inside of it, for the machine.
 *
 * Threads: attach and detach on the machine's thread, vmc_display_collect on the front end's.
 */
#pragma once

#include "vmcore/display.h"

/* A black display of this size, which shows nothing yet. The sizes must have been validated. */
VmcDisplay *vmc_framebuffer_new(unsigned width, unsigned height);
/* NULL is fine. */
void vmc_framebuffer_free(VmcDisplay *display);

unsigned vmc_framebuffer_stride(VmcDisplay *display); /* bytes per row, the same in the guest's memory */
uint64_t vmc_framebuffer_bytes(VmcDisplay *display);  /* of guest memory, whole pages */

/* From now on it shows what the guest writes to `pixels`, vmc_framebuffer_bytes of them, until it is
 * detached. */
void vmc_framebuffer_attach(VmcDisplay *display, const uint8_t *pixels);
/* The guest's memory goes away; the display keeps its last picture. Fine if nothing is attached. */
void vmc_framebuffer_detach(VmcDisplay *display);
