/*
 * The registers as GDB sees them: numbers, sizes and a description to read, over VmcCpuState.
 *
 * The features org.gnu.gdb.i386.* are GDB's own, in the order of its amd64 tables; control registers and EFER
 * are beside them in one of ours, which GDB shows without knowing it.
 */
#pragma once

#include <glib.h>

#include "cpu/cpu.h"

/* Bytes of one register, and of all together, at most. */
#define VMC_GDB_REGISTER_MAX  16u
#define VMC_GDB_REGISTERS_MAX 1024u

unsigned vmc_gdb_register_count(void);
/* Bytes on the wire; 0: there is none of that number. */
unsigned vmc_gdb_register_size(unsigned number);
void vmc_gdb_register_get(const VmcCpuState *state, unsigned number, uint8_t *bytes);
/* False, with nothing changed: that register can only be read, and this is not what it has. */
bool vmc_gdb_register_put(VmcCpuState *state, unsigned number, const uint8_t *bytes);
/* target.xml; free with g_free. */
char *vmc_gdb_registers_describe(void);
