/*
 * Interrupt wires with several drivers each. Edges of one driver get lost while another holds the wire high,
 * as on a real shared wire, which is why edge-triggered devices do not share one.
 */
#include "pc/wires.h"

#include <glib.h>
#include <stdint.h>

/* A driver's VmcIrq.line: its GSI in the low byte, its bit among the GSI's drivers above. */
#define LINE_GSI(line) ((line)&0xff)
#define LINE_BIT(line) (1u << ((line) >> 8))

struct VmcWires {
    GMutex lock;
    void (*set)(void *opaque, unsigned gsi, bool level);
    void *opaque;
    uint32_t drivers[VMC_GSI_COUNT]; /* which of them are high */
    unsigned n_drivers[VMC_GSI_COUNT];
};

static void set_driver(void *opaque, unsigned line, bool level)
{
    VmcWires *wires = opaque;
    unsigned gsi = LINE_GSI(line);
    g_mutex_lock(&wires->lock);
    uint32_t old = wires->drivers[gsi];
    wires->drivers[gsi] = level ? old | LINE_BIT(line) : old & ~LINE_BIT(line);
    if (!old != !wires->drivers[gsi])
        wires->set(wires->opaque, gsi, wires->drivers[gsi]);
    g_mutex_unlock(&wires->lock);
}

VmcIrq vmc_wires_add(VmcWires *wires, unsigned gsi)
{
    g_return_val_if_fail(gsi < VMC_GSI_COUNT && wires->n_drivers[gsi] < 32, (VmcIrq){0});
    return (VmcIrq){set_driver, wires, gsi | wires->n_drivers[gsi]++ << 8};
}

VmcWires *vmc_wires_new(void (*set)(void *opaque, unsigned gsi, bool level), void *opaque)
{
    VmcWires *wires = g_new0(VmcWires, 1);
    g_mutex_init(&wires->lock);
    wires->set = set;
    wires->opaque = opaque;
    return wires;
}

void vmc_wires_free(VmcWires *wires)
{
    if (!wires)
        return;
    g_mutex_clear(&wires->lock);
    g_free(wires);
}

void vmc_wires_save(VmcWires *wires, VmcStateWriter *w)
{
    vmc_state_begin(w, "wires", 1);
    for (unsigned gsi = 0; gsi < VMC_GSI_COUNT; gsi++)
        vmc_state_put_u32(w, wires->drivers[gsi]);
    vmc_state_end(w);
}

/* The other end has its own memory of the levels. A driver that is loaded later and sets what it drives
 * already changes nothing. */
bool vmc_wires_load(VmcWires *wires, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "wires", 1))
        return false;
    for (unsigned gsi = 0; gsi < VMC_GSI_COUNT; gsi++)
        wires->drivers[gsi] = vmc_state_get_u32_max(r, (uint32_t)((1ull << wires->n_drivers[gsi]) - 1));
    return vmc_state_leave(r);
}
