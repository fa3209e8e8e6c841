/*
 * Ports with a bit of memory each. All state is single bytes that only matter to the guest itself, hence
 * atomics instead of a lock.
 */
#include "pc/legacy.h"

#include <stdatomic.h>

#include "pc/byteport.h"

#define CF9_SYSTEM_RESET 0x02
#define CF9_RESET_CPU    0x04
#define CF9_FULL_RESET   0x08

#define PORT92_RESET 0x01
#define PORT92_A20   0x02

#define KBC_WRITE_OUTPUT 0xd1 /* the next byte at 60h is the output port: bit 0 low resets */
#define KBC_PULSE        0xf0 /* low nibble: output lines to pulse, 0 = pulse; line 0 is reset */
#define KBC_STATUS       0x14 /* system flag, not inhibited; nothing to read, ready for a command */

struct VmcLegacy {
    VmcBus *pio;
    void (*reset)(void *opaque);
    void *opaque;
    _Atomic uint8_t cf9, port92, kbc_command;
    _Atomic uint8_t page[32], apm[2];
};

uint8_t vmc_legacy_read_cf9(VmcLegacy *legacy)
{
    return atomic_load(&legacy->cf9);
}

void vmc_legacy_write_cf9(VmcLegacy *legacy, uint8_t value)
{
    uint8_t old = atomic_exchange(&legacy->cf9, value & (CF9_SYSTEM_RESET | CF9_RESET_CPU | CF9_FULL_RESET));
    if (value & ~old & CF9_RESET_CPU) /* bit 2 going up resets, hard or soft by bit 1 */
        legacy->reset(legacy->opaque);
}

static uint8_t kbc_read(void *opaque, unsigned offset)
{
    return offset == 4 ? KBC_STATUS : 0;
}

static void kbc_write(void *opaque, unsigned offset, uint8_t value)
{
    VmcLegacy *legacy = opaque;
    if (offset == 4) {
        atomic_store(&legacy->kbc_command, value);
        if ((value & 0xf0) == KBC_PULSE && !(value & 1))
            legacy->reset(legacy->opaque);
    } else if (offset == 0) {
        uint8_t command = atomic_exchange(&legacy->kbc_command, 0);
        if (command == KBC_WRITE_OUTPUT && !(value & 1))
            legacy->reset(legacy->opaque);
    }
}

static uint8_t page_read(void *opaque, unsigned offset)
{
    VmcLegacy *legacy = opaque;
    return offset == 0x12 ? atomic_load(&legacy->port92) : atomic_load(&legacy->page[offset & 31]);
}

/* A20 is remembered but always open: nothing that still wants the wrap-around runs here. */
static void page_write(void *opaque, unsigned offset, uint8_t value)
{
    VmcLegacy *legacy = opaque;
    if (offset != 0x12) {
        atomic_store(&legacy->page[offset & 31], value);
        return;
    }
    uint8_t old = atomic_exchange(&legacy->port92, value & (PORT92_RESET | PORT92_A20));
    if (value & ~old & PORT92_RESET)
        legacy->reset(legacy->opaque);
}

static uint8_t apm_read(void *opaque, unsigned offset)
{
    VmcLegacy *legacy = opaque;
    return atomic_load(&legacy->apm[offset & 1]);
}

static void apm_write(void *opaque, unsigned offset, uint8_t value)
{
    VmcLegacy *legacy = opaque;
    atomic_store(&legacy->apm[offset & 1], value);
}

static uint64_t kbc_bus_read(void *opaque, uint64_t offset, unsigned size)
{
    return vmc_bytes_read(kbc_read, opaque, offset, size);
}

static void kbc_bus_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    vmc_bytes_write(kbc_write, opaque, offset, size, value);
}

static uint64_t kbc_status_bus_read(void *opaque, uint64_t offset, unsigned size)
{
    return vmc_bytes_read(kbc_read, opaque, 4, size);
}

static void kbc_command_bus_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    kbc_write(opaque, 4, value);
}

static uint64_t page_bus_read(void *opaque, uint64_t offset, unsigned size)
{
    return vmc_bytes_read(page_read, opaque, offset, size);
}

static void page_bus_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    vmc_bytes_write(page_write, opaque, offset, size, value);
}

static uint64_t apm_bus_read(void *opaque, uint64_t offset, unsigned size)
{
    return vmc_bytes_read(apm_read, opaque, offset, size);
}

static void apm_bus_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    vmc_bytes_write(apm_write, opaque, offset, size, value);
}

static const VmcRegionOps kbc_data_ops = {kbc_bus_read, kbc_bus_write};
static const VmcRegionOps kbc_command_ops = {kbc_status_bus_read, kbc_command_bus_write};
static const VmcRegionOps page_ops = {page_bus_read, page_bus_write};
static const VmcRegionOps apm_ops = {apm_bus_read, apm_bus_write};

void vmc_legacy_reset(VmcLegacy *legacy)
{
    atomic_store(&legacy->cf9, 0);
    atomic_store(&legacy->port92, PORT92_A20);
    atomic_store(&legacy->kbc_command, 0);
    for (unsigned i = 0; i < 32; i++)
        atomic_store(&legacy->page[i], 0);
    atomic_store(&legacy->apm[0], 0);
    atomic_store(&legacy->apm[1], 0);
}

VmcLegacy *vmc_legacy_new(VmcBus *pio, void (*reset)(void *opaque), void *opaque)
{
    VmcLegacy *legacy = g_new0(VmcLegacy, 1);
    legacy->pio = pio;
    legacy->reset = reset;
    legacy->opaque = opaque;
    vmc_legacy_reset(legacy);
    vmc_bus_add(pio, "keyboard controller data", 0x60, 1, &kbc_data_ops, legacy);
    vmc_bus_add(pio, "keyboard controller", 0x64, 1, &kbc_command_ops, legacy);
    vmc_bus_add(pio, "dma pages, port 92h", 0x80, 32, &page_ops, legacy);
    vmc_bus_add(pio, "apm", 0xb2, 2, &apm_ops, legacy);
    return legacy;
}

void vmc_legacy_free(VmcLegacy *legacy)
{
    if (!legacy)
        return;
    vmc_bus_remove(legacy->pio, 0x60, &kbc_data_ops, legacy);
    vmc_bus_remove(legacy->pio, 0x64, &kbc_command_ops, legacy);
    vmc_bus_remove(legacy->pio, 0x80, &page_ops, legacy);
    vmc_bus_remove(legacy->pio, 0xb2, &apm_ops, legacy);
    g_free(legacy);
}

void vmc_legacy_save(VmcLegacy *legacy, VmcStateWriter *w)
{
    vmc_state_begin(w, "legacy", 1);
    vmc_state_put_u8(w, atomic_load(&legacy->cf9));
    vmc_state_put_u8(w, atomic_load(&legacy->port92));
    vmc_state_put_u8(w, atomic_load(&legacy->kbc_command));
    for (unsigned i = 0; i < 32; i++)
        vmc_state_put_u8(w, atomic_load(&legacy->page[i]));
    vmc_state_put_u8(w, atomic_load(&legacy->apm[0]));
    vmc_state_put_u8(w, atomic_load(&legacy->apm[1]));
    vmc_state_end(w);
}

bool vmc_legacy_load(VmcLegacy *legacy, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "legacy", 1))
        return false;
    atomic_store(&legacy->cf9, vmc_state_get_u8(r));
    atomic_store(&legacy->port92, vmc_state_get_u8(r));
    atomic_store(&legacy->kbc_command, vmc_state_get_u8(r));
    for (unsigned i = 0; i < 32; i++)
        atomic_store(&legacy->page[i], vmc_state_get_u8(r));
    atomic_store(&legacy->apm[0], vmc_state_get_u8(r));
    atomic_store(&legacy->apm[1], vmc_state_get_u8(r));
    return vmc_state_leave(r);
}
