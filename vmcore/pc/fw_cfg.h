/*
 * fw_cfg: how firmware is told what the board has (QEMU's docs/specs/fw_cfg.rst, which OVMF, SeaBIOS and
 * Linux' qemu_fw_cfg follow). A selector, a data port, a directory of named files, and a DMA interface.
 *
 * Items are added before the machine runs. Threads: any; the guest's accesses come from vCPU threads.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/state.h"
#include "base/bus.h"
#include "base/memory.h"

typedef struct VmcFwCfg VmcFwCfg;

/* Items with numbers of their own. */
enum {
    VMC_FW_CFG_RAM_SIZE = 0x03,
    VMC_FW_CFG_NB_CPUS = 0x05,
    VMC_FW_CFG_KERNEL_SIZE = 0x08,
    VMC_FW_CFG_INITRD_SIZE = 0x0b,
    VMC_FW_CFG_MAX_CPUS = 0x0f,
    VMC_FW_CFG_KERNEL_DATA = 0x11,
    VMC_FW_CFG_INITRD_DATA = 0x12,
    VMC_FW_CFG_CMDLINE_SIZE = 0x14,
    VMC_FW_CFG_CMDLINE_DATA = 0x15,
    VMC_FW_CFG_SETUP_SIZE = 0x17,
    VMC_FW_CFG_SETUP_DATA = 0x18,
};

#define VMC_FW_CFG_FILES_MAX  64u
#define VMC_FW_CFG_NAME_BYTES 56u

VmcFwCfg *vmc_fw_cfg_new(VmcBus *pio, VmcMemory *memory);
void vmc_fw_cfg_free(VmcFwCfg *fw); /* NULL is fine */
/* Nothing is selected; items stay. */
void vmc_fw_cfg_reset(VmcFwCfg *fw);

/* Takes `bytes` over. What had the key or the name before goes. */
void vmc_fw_cfg_set(VmcFwCfg *fw, uint16_t key, GBytes *bytes);
/* A number, little-endian, of `size` bytes. */
void vmc_fw_cfg_set_number(VmcFwCfg *fw, uint16_t key, uint64_t value, unsigned size);
/* A file, shorter than VMC_FW_CFG_NAME_BYTES by name. There is room for VMC_FW_CFG_FILES_MAX. */
void vmc_fw_cfg_set_file(VmcFwCfg *fw, const char *name, GBytes *bytes);

/* Of a file that has been set. `fill` is called, on the vCPU's thread, when the guest selects a file whose
 * contents depend on what firmware has done before: it may set files again (not from another thread, and not
 * change how long they are). */
void vmc_fw_cfg_set_refresh(VmcFwCfg *fw, const char *name, void (*fill)(void *opaque), void *opaque);

/* Saving and loading, while no CPU runs: base/state.h. */
void vmc_fw_cfg_save(VmcFwCfg *fw_cfg, VmcStateWriter *w);
bool vmc_fw_cfg_load(VmcFwCfg *fw_cfg, VmcStateReader *r);
