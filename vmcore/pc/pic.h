/*
 * The two cascaded 8259A interrupt controllers of a PC with the edge/level registers of the ICH
 * (Intel 8259A data sheet; ICH9 data sheet s13.4): ports 20h/21h, A0h/A1h, 4D0h/4D1h.
 *
 * Threads: any. One lock inside; `intr` is called with it held, so that edges of INTR keep their order, and
 * must not call back.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/state.h"

typedef struct VmcPic VmcPic;

/* `intr` is told whenever the INTR output changes. */
VmcPic *vmc_pic_new(VmcBus *pio, void (*intr)(void *opaque, bool level), void *opaque);
void vmc_pic_free(VmcPic *pic);
void vmc_pic_reset(VmcPic *pic);

/* IRQ 0..15; 2 is the cascade and ignored. */
void vmc_pic_set_irq(VmcPic *pic, unsigned irq, bool level);

/* The vector an INTA cycle would give now, or -1 while INTR is low. */
int vmc_pic_peek(VmcPic *pic);
/* The INTA cycle. As on hardware it always gives a vector: with nothing pending, that of a spurious IRQ 7. */
int vmc_pic_acknowledge(VmcPic *pic);

/* What a BIOS would program: level triggering for the IRQs of `mask` (bit n is IRQ n). */
void vmc_pic_set_elcr(VmcPic *pic, uint16_t mask);

/* Saving and loading, while no CPU runs and the clock is paused: base/state.h. */
void vmc_pic_save(VmcPic *pic, VmcStateWriter *w);
bool vmc_pic_load(VmcPic *pic, VmcStateReader *r);
