/*
 * Writes ACPI Machine Language (ACPI 6.4 chapter 20) into a byte array: as much of it as the board's tables
 * use.
 *
 * Things that have a length in front of them (scopes, devices, methods, packages, buffers) are opened and
 * closed; vmc_aml_end puts the length in. Names are paths as in ASL ("\\_SB_", "PCI0", "_CRS"), each segment
 * of four characters.
 */
#pragma once

#include <glib.h>
#include <stdint.h>

typedef struct VmcAml {
    GByteArray *bytes;
    guint open[16]; /* where the length of each open thing goes */
    unsigned depth;
} VmcAml;

void vmc_aml_init(VmcAml *aml);
/* Ends it and hands the bytes over; free with g_byte_array_unref. Everything must be closed. */
GByteArray *vmc_aml_take(VmcAml *aml);

void vmc_aml_scope(VmcAml *aml, const char *path);
void vmc_aml_device(VmcAml *aml, const char *name);
void vmc_aml_method(VmcAml *aml, const char *name, unsigned args);
void vmc_aml_if(VmcAml *aml); /* the predicate follows */
void vmc_aml_else(VmcAml *aml);
void vmc_aml_package(VmcAml *aml, unsigned elements); /* the elements follow */
void vmc_aml_end(VmcAml *aml);

/* Name(name, ...): the object follows. */
void vmc_aml_name(VmcAml *aml, const char *name);
void vmc_aml_integer(VmcAml *aml, uint64_t value);
void vmc_aml_string(VmcAml *aml, const char *text);
void vmc_aml_eisa_id(VmcAml *aml, const char *id); /* "PNP0A08" */
void vmc_aml_buffer(VmcAml *aml, const void *data, unsigned size);
void vmc_aml_path(VmcAml *aml, const char *path); /* a reference, or the start of a call */
void vmc_aml_arg(VmcAml *aml, unsigned n);        /* Arg0..Arg6 */
void vmc_aml_op(VmcAml *aml, uint8_t opcode);     /* a bare opcode; operands follow */

#define VMC_AML_STORE              0x70 /* source, target */
#define VMC_AML_AND                0x7b /* a, b, target */
#define VMC_AML_OR                 0x7d
#define VMC_AML_LEQUAL             0x93
#define VMC_AML_CREATE_DWORD_FIELD 0x8a /* buffer, byte index, name */
#define VMC_AML_RETURN             0xa4

/* Resource descriptors (ACPI s6.4) are collected in a plain byte array and become a buffer with
 * vmc_aml_resources, which adds the end tag. */
void vmc_aml_resources(VmcAml *aml, GByteArray *resources);
void vmc_res_io(GByteArray *res, uint16_t base, uint8_t length);
void vmc_res_irq(GByteArray *res, unsigned irq); /* edge, active high */
void vmc_res_memory32(GByteArray *res, uint32_t base, uint32_t length);
/* Windows a bridge passes on. */
void vmc_res_bus_window(GByteArray *res, uint16_t first, uint16_t last);
void vmc_res_io_window(GByteArray *res, uint16_t first, uint16_t last);
void vmc_res_memory_window(GByteArray *res, uint32_t first, uint32_t last);
void vmc_res_memory_window64(GByteArray *res, uint64_t first, uint64_t last);
