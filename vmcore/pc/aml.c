/*
 * AML encoding. A PkgLength counts itself and has one to four bytes, so it can only be put in front of what
 * it measures when that is closed; tables are small enough for the bytes to be moved up then. No open length
 * is behind another's place, so the places noted for outer ones stay right.
 */
#include "pc/aml.h"

#include <string.h>

#define OP_ZERO       0x00
#define OP_ONE        0x01
#define OP_NAME       0x08
#define OP_BYTE       0x0a
#define OP_WORD       0x0b
#define OP_DWORD      0x0c
#define OP_STRING     0x0d
#define OP_QWORD      0x0e
#define OP_SCOPE      0x10
#define OP_BUFFER     0x11
#define OP_PACKAGE    0x12
#define OP_METHOD     0x14
#define OP_DUAL_NAME  0x2e
#define OP_MULTI_NAME 0x2f
#define OP_EXT        0x5b
#define OP_EXT_DEVICE 0x82
#define OP_ARG0       0x68
#define OP_IF         0xa0
#define OP_ELSE       0xa1

static void put(GByteArray *bytes, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = value >> (8 * i);
        g_byte_array_append(bytes, &byte, 1);
    }
}

void vmc_aml_init(VmcAml *aml)
{
    aml->bytes = g_byte_array_new();
    aml->depth = 0;
}

GByteArray *vmc_aml_take(VmcAml *aml)
{
    g_return_val_if_fail(aml->depth == 0, aml->bytes);
    return g_steal_pointer(&aml->bytes);
}

void vmc_aml_op(VmcAml *aml, uint8_t opcode)
{
    put(aml->bytes, opcode, 1);
}

static void begin(VmcAml *aml)
{
    g_return_if_fail(aml->depth < G_N_ELEMENTS(aml->open));
    aml->open[aml->depth++] = aml->bytes->len;
}

/* PkgLength (s20.2.4): up to 63 in one byte; beyond, the low four bits and one to three bytes more. */
static unsigned encode_length(uint8_t out[4], guint body)
{
    if (body + 1 < 0x40) {
        out[0] = body + 1;
        return 1;
    }
    unsigned more = body + 2 < 1u << 12 ? 1 : body + 3 < 1u << 20 ? 2 : 3;
    guint length = body + 1 + more;
    out[0] = more << 6 | (length & 15);
    for (unsigned i = 0; i < more; i++)
        out[1 + i] = length >> (4 + 8 * i);
    return 1 + more;
}

void vmc_aml_end(VmcAml *aml)
{
    g_return_if_fail(aml->depth > 0);
    guint start = aml->open[--aml->depth], body = aml->bytes->len - start;
    uint8_t length[4];
    unsigned n = encode_length(length, body);
    g_byte_array_set_size(aml->bytes, aml->bytes->len + n);
    memmove(aml->bytes->data + start + n, aml->bytes->data + start, body);
    memcpy(aml->bytes->data + start, length, n);
}

/* NameString (s20.2.2). */
void vmc_aml_path(VmcAml *aml, const char *path)
{
    for (; *path == '\\' || *path == '^'; path++)
        put(aml->bytes, (uint8_t)*path, 1);
    unsigned segments = *path ? (strlen(path) + 1) / 5 : 0;
    if (segments == 0) {
        put(aml->bytes, 0, 1);
        return;
    }
    if (segments == 2) {
        put(aml->bytes, OP_DUAL_NAME, 1);
    } else if (segments > 2) {
        put(aml->bytes, OP_MULTI_NAME, 1);
        put(aml->bytes, segments, 1);
    }
    for (unsigned i = 0; i < segments; i++)
        g_byte_array_append(aml->bytes, (const uint8_t *)path + 5 * i, 4);
}

void vmc_aml_scope(VmcAml *aml, const char *path)
{
    vmc_aml_op(aml, OP_SCOPE);
    begin(aml);
    vmc_aml_path(aml, path);
}

void vmc_aml_device(VmcAml *aml, const char *name)
{
    vmc_aml_op(aml, OP_EXT);
    vmc_aml_op(aml, OP_EXT_DEVICE);
    begin(aml);
    vmc_aml_path(aml, name);
}

void vmc_aml_method(VmcAml *aml, const char *name, unsigned args)
{
    vmc_aml_op(aml, OP_METHOD);
    begin(aml);
    vmc_aml_path(aml, name);
    put(aml->bytes, args & 7, 1);
}

void vmc_aml_if(VmcAml *aml)
{
    vmc_aml_op(aml, OP_IF);
    begin(aml);
}

void vmc_aml_else(VmcAml *aml)
{
    vmc_aml_op(aml, OP_ELSE);
    begin(aml);
}

void vmc_aml_package(VmcAml *aml, unsigned elements)
{
    vmc_aml_op(aml, OP_PACKAGE);
    begin(aml);
    put(aml->bytes, elements, 1);
}

void vmc_aml_name(VmcAml *aml, const char *name)
{
    vmc_aml_op(aml, OP_NAME);
    vmc_aml_path(aml, name);
}

void vmc_aml_integer(VmcAml *aml, uint64_t value)
{
    if (value <= 1) {
        vmc_aml_op(aml, value ? OP_ONE : OP_ZERO);
    } else if (value <= 0xff) {
        vmc_aml_op(aml, OP_BYTE);
        put(aml->bytes, value, 1);
    } else if (value <= 0xffff) {
        vmc_aml_op(aml, OP_WORD);
        put(aml->bytes, value, 2);
    } else if (value <= 0xffffffff) {
        vmc_aml_op(aml, OP_DWORD);
        put(aml->bytes, value, 4);
    } else {
        vmc_aml_op(aml, OP_QWORD);
        put(aml->bytes, value, 8);
    }
}

void vmc_aml_string(VmcAml *aml, const char *text)
{
    vmc_aml_op(aml, OP_STRING);
    g_byte_array_append(aml->bytes, (const uint8_t *)text, strlen(text) + 1);
}

/* Compressed EISA ID (s19.3.4): three letters of five bits, four hex digits, big-endian. */
void vmc_aml_eisa_id(VmcAml *aml, const char *id)
{
    g_return_if_fail(strlen(id) == 7);
    uint32_t value =
        (uint32_t)(id[0] - 0x40) << 26 | (uint32_t)(id[1] - 0x40) << 21 | (uint32_t)(id[2] - 0x40) << 16;
    for (unsigned i = 0; i < 4; i++)
        value |= (uint32_t)g_ascii_xdigit_value(id[3 + i]) << (12 - 4 * i);
    vmc_aml_op(aml, OP_DWORD);
    put(aml->bytes, GUINT32_SWAP_LE_BE(value), 4);
}

void vmc_aml_buffer(VmcAml *aml, const void *data, unsigned size)
{
    vmc_aml_op(aml, OP_BUFFER);
    begin(aml);
    vmc_aml_integer(aml, size);
    g_byte_array_append(aml->bytes, data, size);
    vmc_aml_end(aml);
}

void vmc_aml_arg(VmcAml *aml, unsigned n)
{
    vmc_aml_op(aml, OP_ARG0 + n);
}

/* Small descriptors have their length in the tag's low three bits, large ones in the two bytes after it. */

void vmc_res_io(GByteArray *res, uint16_t base, uint8_t length)
{
    put(res, 0x47, 1);
    put(res, 1, 1); /* decodes 16 bits */
    put(res, base, 2);
    put(res, base, 2);
    put(res, 1, 1); /* alignment */
    put(res, length, 1);
}

void vmc_res_irq(GByteArray *res, unsigned irq)
{
    put(res, 0x22, 1);
    put(res, 1u << irq, 2);
}

void vmc_res_memory32(GByteArray *res, uint32_t base, uint32_t length)
{
    put(res, 0x86, 1);
    put(res, 9, 2);
    put(res, 1, 1); /* writable */
    put(res, base, 4);
    put(res, length, 4);
}

/* Address space descriptors (s6.4.3.5): fixed at both ends, passed on as it is, consumed by who is below. */
#define SPACE_MEMORY 0
#define SPACE_IO     1
#define SPACE_BUS    2
#define SPACE_FIXED  0x0c

static void word_space(GByteArray *res, unsigned type, unsigned type_flags, uint16_t first, uint16_t last)
{
    put(res, 0x88, 1);
    put(res, 13, 2);
    put(res, type, 1);
    put(res, SPACE_FIXED, 1);
    put(res, type_flags, 1);
    put(res, 0, 2);
    put(res, first, 2);
    put(res, last, 2);
    put(res, 0, 2);
    put(res, last - first + 1, 2);
}

void vmc_res_bus_window(GByteArray *res, uint16_t first, uint16_t last)
{
    word_space(res, SPACE_BUS, 0, first, last);
}

void vmc_res_io_window(GByteArray *res, uint16_t first, uint16_t last)
{
    word_space(res, SPACE_IO, 3, first, last); /* the whole range, not only ISA's */
}

void vmc_res_memory_window(GByteArray *res, uint32_t first, uint32_t last)
{
    put(res, 0x87, 1);
    put(res, 23, 2);
    put(res, SPACE_MEMORY, 1);
    put(res, SPACE_FIXED, 1);
    put(res, 1, 1); /* writable, not cacheable */
    put(res, 0, 4);
    put(res, first, 4);
    put(res, last, 4);
    put(res, 0, 4);
    put(res, last - first + 1, 4);
}

void vmc_res_memory_window64(GByteArray *res, uint64_t first, uint64_t last)
{
    put(res, 0x8a, 1);
    put(res, 43, 2);
    put(res, SPACE_MEMORY, 1);
    put(res, SPACE_FIXED, 1);
    put(res, 1, 1); /* writable, not cacheable */
    put(res, 0, 8);
    put(res, first, 8);
    put(res, last, 8);
    put(res, 0, 8);
    put(res, last - first + 1, 8);
}

void vmc_aml_resources(VmcAml *aml, GByteArray *resources)
{
    static const uint8_t end_tag[] = {0x79, 0}; /* checksum 0: "treat as correct" */
    g_byte_array_append(resources, end_tag, sizeof end_tag);
    vmc_aml_buffer(aml, resources->data, resources->len);
}
