/* A command is 128 bytes, little-endian; file names take 56. */
#include "pc/acpi_loader.h"

#include <string.h>

#define COMMAND_BYTES 128u
#define NAME_BYTES    56u

#define ALLOCATE     1u
#define ADD_POINTER  2u
#define ADD_CHECKSUM 3u

#define ZONE_HIGH 1u
#define ZONE_FSEG 2u /* F0000..FFFFF, where systems without UEFI search for the RSDP */

#define RSDP_XSDT   24u /* the RSDP's address of the XSDT */
#define RSDP_SUM_V1 8u
#define RSDP_SUM    32u

/* Fields are added one after the other. */
typedef struct Script {
    GByteArray *bytes;
    guint at;
} Script;

static void begin(Script *script, uint32_t command)
{
    guint start = script->bytes->len;

    g_byte_array_set_size(script->bytes, start + COMMAND_BYTES);
    memset(script->bytes->data + start, 0, COMMAND_BYTES);
    command = GUINT32_TO_LE(command);
    memcpy(script->bytes->data + start, &command, 4);
    script->at = start + 4;
}

static void add_name(Script *script, const char *name)
{
    g_strlcpy((char *)script->bytes->data + script->at, name, NAME_BYTES);
    script->at += NAME_BYTES;
}

static void add_number(Script *script, uint32_t value, unsigned size)
{
    value = GUINT32_TO_LE(value);
    memcpy(script->bytes->data + script->at, &value, size);
    script->at += size;
}

static void allocate(Script *script, const char *file, uint32_t align, uint32_t zone)
{
    begin(script, ALLOCATE);
    add_name(script, file);
    add_number(script, align, 4);
    add_number(script, zone, 1);
}

static void add_pointer(Script *script, const char *in, guint at, guint size, const char *to)
{
    begin(script, ADD_POINTER);
    add_name(script, in);
    add_name(script, to);
    add_number(script, at, 4);
    add_number(script, size, 1);
}

static void add_checksum(Script *script, const char *file, guint at, guint start, guint length)
{
    begin(script, ADD_CHECKSUM);
    add_name(script, file);
    add_number(script, at, 4);
    add_number(script, start, 4);
    add_number(script, length, 4);
}

static GBytes *write_script(const VmcAcpiTables *tables)
{
    Script script = {g_byte_array_new(), 0};

    allocate(&script, VMC_ACPI_FILE_RSDP, 16, ZONE_FSEG);
    allocate(&script, VMC_ACPI_FILE_TABLES, VMC_ACPI_ALIGN, ZONE_HIGH);
    for (guint i = 0; i < tables->pointers->len; i++) {
        const VmcAcpiPointer *pointer = &g_array_index(tables->pointers, VmcAcpiPointer, i);
        add_pointer(&script, VMC_ACPI_FILE_TABLES, pointer->at, pointer->size, VMC_ACPI_FILE_TABLES);
    }
    for (guint i = 0; i < tables->checksums->len; i++) {
        const VmcAcpiChecksum *sum = &g_array_index(tables->checksums, VmcAcpiChecksum, i);
        add_checksum(&script, VMC_ACPI_FILE_TABLES, sum->at, sum->start, sum->length);
    }
    add_pointer(&script, VMC_ACPI_FILE_RSDP, RSDP_XSDT, 8, VMC_ACPI_FILE_TABLES);
    add_checksum(&script, VMC_ACPI_FILE_RSDP, RSDP_SUM_V1, 0, 20);
    add_checksum(&script, VMC_ACPI_FILE_RSDP, RSDP_SUM, 0, VMC_ACPI_RSDP_SIZE);
    return g_byte_array_free_to_bytes(script.bytes);
}

void vmc_acpi_loader_files(const VmcAcpiTables *tables, VmcAcpiFiles *files)
{
    uint8_t rsdp[VMC_ACPI_RSDP_SIZE];

    vmc_acpi_rsdp(rsdp, tables->xsdt);
    rsdp[RSDP_SUM_V1] = rsdp[RSDP_SUM] = 0; /* a checksum is made with its own byte as it is */
    files->rsdp = g_bytes_new(rsdp, sizeof(rsdp));
    files->tables = g_bytes_new(tables->bytes->data, tables->bytes->len);
    files->loader = write_script(tables);
}
