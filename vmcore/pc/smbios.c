/*
 * A structure is a formatted part, whose length is in its header, and the strings that it refers to by number
 * (DSP0134 s6.1). Each is put together from fields in the order of the specification, then closed: its length
 * is filled in and the strings are appended.
 *
 * Handles are grouped by type, so that references can be written before what they refer to.
 */
#include "pc/smbios.h"

#include <string.h>

#include "pc/board.h"

#define MIB            (1ull << 20)
#define MODULE_BYTES   (16ull << 30) /* of one memory module at most */
#define HEADER_SIZE    4u
#define ANCHOR_2_SIZE  31u
#define ANCHOR_3_SIZE  24u
#define END_OF_TABLE   127u
#define HANDLE(type)   ((uint16_t)((type) << 8))
#define HANDLE_CPU     HANDLE(4)
#define HANDLE_CHASSIS HANDLE(3)
#define HANDLE_ARRAY   HANDLE(16)
#define NO_HANDLE      0xffffu
#define NO_ERRORS      0xfffeu /* of memory error handles: the array has none to give */

typedef struct Structure {
    GByteArray *table;
    guint start;
    GPtrArray *strings; /* borrowed */
} Structure;

static void put(Structure *s, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        g_byte_array_append(s->table, &byte, 1);
    }
}

static void put_string(Structure *s, const char *text)
{
    if (text && *text)
        g_ptr_array_add(s->strings, (gpointer)text);
    put(s, text && *text ? s->strings->len : 0, 1);
}

static void begin(Structure *s, GByteArray *table, uint8_t type, uint16_t handle)
{
    *s = (Structure){table, table->len, g_ptr_array_new()};
    put(s, type, 1);
    put(s, 0, 1); /* length */
    put(s, handle, 2);
}

static void end(Structure *s)
{
    s->table->data[s->start + 1] = (uint8_t)(s->table->len - s->start);
    for (guint i = 0; i < s->strings->len; i++) {
        const char *text = g_ptr_array_index(s->strings, i);
        g_byte_array_append(s->table, (const uint8_t *)text, (guint)strlen(text) + 1);
    }
    put(s, 0, s->strings->len ? 1 : 2);
    g_ptr_array_unref(s->strings);
}

/* ---- the structures (s7) ---- */

static void add_firmware(GByteArray *table, const VmcSmbiosParams *p)
{
    Structure s;
    begin(&s, table, 0, HANDLE(0));
    put_string(&s, p->firmware_vendor);
    put_string(&s, p->firmware_version);
    put(&s, 0xe000, 2); /* segment */
    put_string(&s, p->firmware_date);
    put(&s, 0, 1);                                 /* ROM: 64 KiB */
    put(&s, 1ull << 7 | 1ull << 16, 8);            /* PCI, boot device can be selected */
    put(&s, 1, 1);                                 /* ACPI */
    put(&s, 1u << 4 | (p->uefi ? 1u << 3 : 0), 1); /* a virtual machine; UEFI */
    put(&s, 0, 2);                                 /* release: not given */
    put(&s, 0xffff, 2);                            /* no embedded controller */
    end(&s);
}

/* The first three fields of a UUID are stored with the low byte first (s7.2.1). */
static void put_uuid(Structure *s, const uint8_t uuid[16])
{
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    for (unsigned i = 0; i < 16; i++)
        put(s, uuid[order[i]], 1);
}

static void add_system(GByteArray *table, const VmcSmbiosParams *p)
{
    Structure s;
    begin(&s, table, 1, HANDLE(1));
    put_string(&s, p->manufacturer);
    put_string(&s, p->product);
    put_string(&s, p->version);
    put_string(&s, p->serial);
    put_uuid(&s, p->uuid);
    put(&s, 6, 1); /* woken up by the power switch */
    put_string(&s, NULL);
    put_string(&s, p->family);
    end(&s);
}

static void add_baseboard(GByteArray *table, const VmcSmbiosParams *p)
{
    Structure s;
    begin(&s, table, 2, HANDLE(2));
    put_string(&s, p->manufacturer);
    put_string(&s, p->product);
    put_string(&s, p->version);
    put_string(&s, p->serial);
    put_string(&s, NULL);
    put(&s, 1, 1); /* a hosting board */
    put_string(&s, NULL);
    put(&s, HANDLE_CHASSIS, 2);
    put(&s, 0x0a, 1); /* motherboard */
    put(&s, 0, 1);
    end(&s);
}

static void add_chassis(GByteArray *table, const VmcSmbiosParams *p)
{
    Structure s;
    begin(&s, table, 3, HANDLE_CHASSIS);
    put_string(&s, p->manufacturer);
    put(&s, 1, 1); /* other */
    put_string(&s, p->version);
    put_string(&s, p->serial);
    put_string(&s, NULL);
    put(&s, 0x030303, 3); /* started up, power, temperature: safe */
    put(&s, 2, 1);        /* security: unknown */
    put(&s, 0, 4);
    put(&s, 0, 4); /* height, power cords, contained elements and their length */
    put_string(&s, NULL);
    end(&s);
}

static void add_processor(GByteArray *table, const VmcSmbiosParams *p, unsigned socket, unsigned cores)
{
    char designation[24];
    uint64_t short_count = MIN(cores, 255);
    Structure s;
    g_snprintf(designation, sizeof designation, "CPU %u", socket);
    begin(&s, table, 4, (uint16_t)(HANDLE_CPU + socket));
    put_string(&s, designation);
    put(&s, 3, 1); /* central processor */
    put(&s, 1, 1); /* family: other */
    put_string(&s, p->cpu_manufacturer);
    put(&s, p->cpu_signature, 4);
    put(&s, p->cpu_features, 4);
    put_string(&s, p->cpu_version);
    put(&s, 0, 1); /* voltage and external clock: unknown */
    put(&s, 0, 2);
    put(&s, MIN(p->cpu_mhz, 0xffff), 2); /* at most */
    put(&s, MIN(p->cpu_mhz, 0xffff), 2); /* now */
    put(&s, 0x41, 1);                    /* there, enabled */
    put(&s, 1, 1);                       /* upgrade: other */
    put(&s, NO_HANDLE, 2);               /* caches: not described */
    put(&s, NO_HANDLE, 2);
    put(&s, NO_HANDLE, 2);
    put_string(&s, NULL);
    put_string(&s, NULL);
    put_string(&s, NULL);
    put(&s, short_count, 1); /* cores, enabled ones, threads */
    put(&s, short_count, 1);
    put(&s, short_count, 1);
    put(&s, 1u << 2 | (cores > 1 ? 1u << 3 : 0) | 1u << 5, 2); /* 64 bits, multi-core, NX */
    put(&s, 1, 2);
    put(&s, cores, 2);
    put(&s, cores, 2);
    put(&s, cores, 2);
    end(&s); /* before designation goes */
}

static void add_memory_array(GByteArray *table, uint64_t bytes, unsigned modules)
{
    bool fits = bytes >> 10 < 0x80000000u;
    Structure s;
    begin(&s, table, 16, HANDLE_ARRAY);
    put(&s, 3, 1); /* on the motherboard */
    put(&s, 3, 1); /* system memory */
    put(&s, 3, 1); /* no error correction; 6 would be multi-bit ECC */
    put(&s, fits ? bytes >> 10 : 0x80000000u, 4);
    put(&s, NO_ERRORS, 2);
    put(&s, modules, 2);
    put(&s, fits ? 0 : bytes, 8);
    end(&s);
}

static void add_memory_module(GByteArray *table, const VmcSmbiosParams *p, unsigned n, uint64_t bytes)
{
    char locator[24];
    Structure s;
    g_snprintf(locator, sizeof locator, "DIMM %u", n);
    begin(&s, table, 17, (uint16_t)(HANDLE(17) + n));
    put(&s, HANDLE_ARRAY, 2);
    put(&s, NO_ERRORS, 2);
    put(&s, 64, 2); /* total and data width */
    put(&s, 64, 2);
    put(&s, bytes / MIB, 2); /* MODULE_BYTES is less than what would need the extended size */
    put(&s, 9, 1);           /* DIMM */
    put(&s, 0, 1);           /* of no set */
    put_string(&s, locator);
    put_string(&s, "Bank 0");
    put(&s, 7, 1);       /* RAM */
    put(&s, 1u << 1, 2); /* detail: other */
    put(&s, 0, 2);       /* speed: unknown */
    put_string(&s, p->manufacturer);
    put_string(&s, NULL);
    put_string(&s, NULL);
    put_string(&s, NULL);
    put(&s, 0, 1); /* rank: unknown */
    put(&s, 0, 4); /* extended size */
    put(&s, 0, 2); /* configured speed, voltages: unknown */
    put(&s, 0, 6);
    end(&s);
}

/* An address range, all of it from the array. */
static void add_range(GByteArray *table, unsigned n, uint64_t base, uint64_t bytes)
{
    uint64_t last = base + bytes - 1;
    bool fits = last >> 10 < UINT32_MAX;
    Structure s;
    begin(&s, table, 19, (uint16_t)(HANDLE(19) + n));
    put(&s, fits ? base >> 10 : UINT32_MAX, 4);
    put(&s, fits ? last >> 10 : UINT32_MAX, 4);
    put(&s, HANDLE_ARRAY, 2);
    put(&s, 1, 1); /* partition width */
    put(&s, fits ? 0 : base, 8);
    put(&s, fits ? 0 : last, 8);
    end(&s);
}

static void add_memory(GByteArray *table, const VmcSmbiosParams *p)
{
    unsigned modules = (unsigned)MIN((p->memory + MODULE_BYTES - 1) / MODULE_BYTES, 255);
    uint64_t low = MIN(p->memory, VMC_PC_LOW_RAM_END);
    add_memory_array(table, p->memory, modules);
    for (unsigned i = 0; i < modules; i++)
        add_memory_module(table, p, i, MIN(p->memory - i * MODULE_BYTES, MODULE_BYTES));
    if (low)
        add_range(table, 0, 0, low);
    if (p->memory > low)
        add_range(table, 1, VMC_PC_HIGH_RAM, p->memory - low);
}

/* System boot information: no errors. */
static void add_boot(GByteArray *table)
{
    Structure s;
    begin(&s, table, 32, HANDLE(32));
    put(&s, 0, 7);
    end(&s);
}

GByteArray *vmc_smbios_build(const VmcSmbiosParams *params)
{
    GByteArray *table = g_byte_array_new();
    Structure s;
    add_firmware(table, params);
    add_system(table, params);
    add_baseboard(table, params);
    add_chassis(table, params);
    unsigned sockets = MAX(params->sockets, 1), each = (params->cpus + sockets - 1) / sockets;
    for (unsigned i = 0, left = params->cpus; i < sockets && left; i++) {
        add_processor(table, params, i, MIN(each, left));
        left -= MIN(each, left);
    }
    add_memory(table, params);
    add_boot(table);
    begin(&s, table, END_OF_TABLE, HANDLE(END_OF_TABLE));
    end(&s);
    return table;
}

/* ---- entry points (s5.2) ---- */

/* Bytes of the structure at `at`, its strings included. */
static guint structure_size(const GByteArray *table, guint at)
{
    guint size = table->data[at + 1];
    while (table->data[at + size] || table->data[at + size + 1])
        size++;
    return size + 2;
}

static void set_checksum(GByteArray *bytes, guint start, guint length, guint at)
{
    uint8_t sum = 0;
    bytes->data[at] = 0;
    for (guint i = 0; i < length; i++)
        sum = (uint8_t)(sum + bytes->data[start + i]);
    bytes->data[at] = (uint8_t)-sum;
}

static GByteArray *anchor_2(const GByteArray *table, uint64_t address)
{
    guint largest = 0, count = 0;
    for (guint at = 0; at < table->len; at += structure_size(table, at), count++)
        largest = MAX(largest, structure_size(table, at));
    Structure s = {g_byte_array_new(), 0, NULL};
    g_byte_array_append(s.table, (const uint8_t *)"_SM_", 4);
    put(&s, 0, 1); /* checksum */
    put(&s, ANCHOR_2_SIZE, 1);
    put(&s, 2, 1);
    put(&s, 8, 1);
    put(&s, largest, 2);
    put(&s, 0, 6); /* entry point revision, formatted area */
    g_byte_array_append(s.table, (const uint8_t *)"_DMI_", 5);
    put(&s, 0, 1); /* checksum from "_DMI_" on */
    put(&s, table->len, 2);
    put(&s, address, 4);
    put(&s, count, 2);
    put(&s, 0x28, 1);
    set_checksum(s.table, 16, ANCHOR_2_SIZE - 16, 21);
    set_checksum(s.table, 0, ANCHOR_2_SIZE, 4);
    return s.table;
}

static GByteArray *anchor_3(const GByteArray *table, uint64_t address)
{
    Structure s = {g_byte_array_new(), 0, NULL};
    g_byte_array_append(s.table, (const uint8_t *)"_SM3_", 5);
    put(&s, 0, 1); /* checksum */
    put(&s, ANCHOR_3_SIZE, 1);
    put(&s, 3, 1);
    put(&s, 0, 1);
    put(&s, 0, 1); /* document revision */
    put(&s, 1, 1); /* entry point revision */
    put(&s, 0, 1);
    put(&s, table->len, 4);
    put(&s, address, 8);
    set_checksum(s.table, 0, ANCHOR_3_SIZE, 5);
    return s.table;
}

GByteArray *vmc_smbios_anchor(VmcSmbiosAnchor kind, const GByteArray *table, uint64_t address)
{
    return kind == VMC_SMBIOS_ANCHOR_2 ? anchor_2(table, address) : anchor_3(table, address);
}

GByteArray *vmc_smbios_area(const VmcSmbiosParams *params)
{
    static const guint table_at = 0x40; /* behind two entry points, each on a 16-byte boundary */
    GByteArray *area = g_byte_array_new(), *table = vmc_smbios_build(params);
    for (VmcSmbiosAnchor kind = VMC_SMBIOS_ANCHOR_2; kind <= VMC_SMBIOS_ANCHOR_3; kind++) {
        GByteArray *anchor = vmc_smbios_anchor(kind, table, VMC_SMBIOS_BASE + table_at);
        guint end_of_anchor = area->len + table_at / 2;
        g_byte_array_append(area, anchor->data, anchor->len);
        while (area->len < end_of_anchor)
            g_byte_array_append(area, (const uint8_t *)"", 1);
        g_byte_array_unref(anchor);
    }
    g_byte_array_append(area, table->data, table->len);
    g_byte_array_unref(table);
    return area;
}
