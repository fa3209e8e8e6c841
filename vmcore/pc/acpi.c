/*
 * Tables are appended to one blob. Where it will lie is not known yet: with firmware, that decides; without,
 * we do. So a reference is the offset it points to, noted as a pointer, and checksums are noted as well.
 */
#include "pc/acpi.h"

#include <string.h>

#include "pc/board.h"
#include "pc/dsdt.h"
#include "pc/hpet.h"
#include "pc/ioapic.h"
#include "pc/lapic.h"
#include "pc/pm.h"

#define OEM_ID     "ESPLR "
#define OEM_TABLE  "VMCORE  "
#define CREATOR_ID "VMC "

#define HEADER_SIZE   36u
#define CHECKSUM_AT   9u
#define FACS_SIZE     64u
#define FADT_SIZE     276u
#define SCI_INTERRUPT 9u

typedef VmcAcpiTables Blob;

static void put(Blob *blob, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = value >> (8 * i);
        g_byte_array_append(blob->bytes, &byte, 1);
    }
}

static void put_at(Blob *blob, guint at, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        blob->bytes->data[at + i] = value >> (8 * i);
}

static void put_text(Blob *blob, const char *text, unsigned size)
{
    g_byte_array_append(blob->bytes, (const uint8_t *)text, size);
}

/* A field at `at` that points to what is at `target`. */
static void point_at(Blob *blob, guint at, uint64_t target, unsigned size)
{
    VmcAcpiPointer pointer = {at, size};

    put_at(blob, at, target, size);
    g_array_append_val(blob->pointers, pointer);
}

static void set_checksum(uint8_t *table, guint length, guint at)
{
    uint8_t sum = 0;

    table[at] = 0;
    for (guint i = 0; i < length; i++)
        sum += table[i];
    table[at] = (uint8_t)-sum;
}

static guint align(Blob *blob, guint to)
{
    guint start = (blob->bytes->len + to - 1) / to * to, old = blob->bytes->len;
    g_byte_array_set_size(blob->bytes, start);
    if (start > old) /* an empty array has no bytes to begin at */
        memset(blob->bytes->data + old, 0, start - old);
    return start;
}

/* System description table header (s5.2.6). Returns where the table starts. */
static guint begin_table(Blob *blob, const char *signature, uint8_t revision)
{
    guint start = align(blob, 16);
    put_text(blob, signature, 4);
    put(blob, 0, 4); /* length */
    put(blob, revision, 1);
    put(blob, 0, 1); /* checksum */
    put_text(blob, OEM_ID, 6);
    put_text(blob, OEM_TABLE, 8);
    put(blob, 1, 4);
    put_text(blob, CREATOR_ID, 4);
    put(blob, 1, 4);
    return start;
}

/* Returns where the table starts. */
static guint end_table(Blob *blob, guint start)
{
    guint length = blob->bytes->len - start;
    VmcAcpiChecksum checksum = {start, length, start + CHECKSUM_AT};

    put_at(blob, start + 4, length, 4);
    g_array_append_val(blob->checksums, checksum);
    return start;
}

static guint build_facs(Blob *blob)
{
    guint start = align(blob, 64);
    put_text(blob, "FACS", 4);
    put(blob, FACS_SIZE, 4);
    g_byte_array_set_size(blob->bytes, start + FACS_SIZE);
    memset(blob->bytes->data + start + 8, 0, FACS_SIZE - 8);
    blob->bytes->data[start + 32] = 2; /* version */
    return start;
}

/* Generic address structure (s5.2.3.2) for an I/O port; `access` 1, 2, 3: byte, word, dword. */
static void put_io_address(Blob *blob, guint at, unsigned port, unsigned bits, unsigned access)
{
    put_at(blob, at, 1, 1);
    put_at(blob, at + 1, bits, 1);
    put_at(blob, at + 3, access, 1);
    put_at(blob, at + 4, port, 8);
}

/* Fixed ACPI description table (s5.2.9). Fields by their offset; what is not named is 0. */
static guint build_fadt(Blob *blob, guint facs, guint dsdt)
{
    guint t = begin_table(blob, "FACP", 6);
    g_byte_array_set_size(blob->bytes, t + FADT_SIZE);
    memset(blob->bytes->data + t + HEADER_SIZE, 0, FADT_SIZE - HEADER_SIZE);

    point_at(blob, t + 36, facs, 4);
    point_at(blob, t + 40, dsdt, 4);
    put_at(blob, t + 45, 1, 1);             /* preferred profile: desktop */
    put_at(blob, t + 46, SCI_INTERRUPT, 2); /* no SMI_CMD: always in ACPI mode */
    put_at(blob, t + 56, VMC_PM_BASE + VMC_PM_EVENT, 4);
    put_at(blob, t + 64, VMC_PM_BASE + VMC_PM_CONTROL, 4);
    put_at(blob, t + 76, VMC_PM_BASE + VMC_PM_TIMER, 4);
    put_at(blob, t + 80, VMC_PM_BASE + VMC_PM_GPE0, 4);
    put_at(blob, t + 88, 4, 1);     /* PM1_EVT_LEN */
    put_at(blob, t + 89, 2, 1);     /* PM1_CNT_LEN */
    put_at(blob, t + 91, 4, 1);     /* PM_TMR_LEN */
    put_at(blob, t + 92, 16, 1);    /* GPE0_BLK_LEN */
    put_at(blob, t + 96, 0xfff, 2); /* no C2 */
    put_at(blob, t + 98, 0xfff, 2); /* no C3 */
    put_at(blob, t + 108, 0x32, 1); /* century register of the RTC */
    /* IAPC_BOOT_ARCH: legacy devices yes (bit 0), 8042 no (bit 1), VGA not present (bit 2). */
    put_at(blob, t + 109, 0x0005, 2);
    /* Flags: WBINVD (0), C1 on all processors (2), power button is the fixed one (4 clear), no sleep button
     * (5), reset register (10). The PM timer has 24 bits (8 clear). */
    put_at(blob, t + 112, 1u << 0 | 1u << 2 | 1u << 5 | 1u << 10, 4);
    put_io_address(blob, t + 116, 0xcf9, 8, 1);
    put_at(blob, t + 128, 0x0e, 1); /* full reset; bit 2 goes up */
    put_at(blob, t + 131, 4, 1);    /* minor version: 6.4 */
    point_at(blob, t + 140, dsdt, 8);
    put_io_address(blob, t + 148, VMC_PM_BASE + VMC_PM_EVENT, 32, 2);
    put_io_address(blob, t + 172, VMC_PM_BASE + VMC_PM_CONTROL, 16, 2);
    put_io_address(blob, t + 208, VMC_PM_BASE + VMC_PM_TIMER, 32, 3);
    put_io_address(blob, t + 220, VMC_PM_BASE + VMC_PM_GPE0, 128, 1);
    return end_table(blob, t);
}

static void put_override(Blob *blob, unsigned irq, unsigned gsi, unsigned flags)
{
    put(blob, 2, 1);
    put(blob, 10, 1);
    put(blob, 0, 1); /* ISA */
    put(blob, irq, 1);
    put(blob, gsi, 4);
    put(blob, flags, 2);
}

static void put_cpu(Blob *blob, unsigned id)
{
    if (id < 255) { /* processor local APIC */
        put(blob, 0, 1);
        put(blob, 8, 1);
        put(blob, id, 1);
        put(blob, id, 1);
        put(blob, 1, 4); /* enabled */
    } else {             /* local x2APIC: an ID that does not fit */
        put(blob, 9, 1);
        put(blob, 16, 1);
        put(blob, 0, 2);
        put(blob, id, 4);
        put(blob, 1, 4);
        put(blob, id, 4);
    }
}

/* Multiple APIC description table (s5.2.12). */
static guint build_madt(Blob *blob, const VmcAcpiParams *params)
{
    guint t = begin_table(blob, "APIC", 5);
    put(blob, VMC_LAPIC_BASE, 4);
    put(blob, 1, 4); /* there are 8259s, too */
    for (unsigned i = 0; i < params->n_cpus; i++)
        put_cpu(blob, i);
    put(blob, 1, 1); /* I/O APIC */
    put(blob, 12, 1);
    put(blob, 0, 1); /* its ID */
    put(blob, 0, 1);
    put(blob, VMC_IOAPIC_BASE, 4);
    put(blob, 0, 4);                                       /* first GSI */
    put_override(blob, 0, 2, 0x0);                         /* the PIT is on pin 2 */
    put_override(blob, SCI_INTERRUPT, SCI_INTERRUPT, 0xd); /* level, active high */
    put(blob, 4, 1);                                       /* local APIC NMI: LINT1 of all processors */
    put(blob, 6, 1);
    put(blob, 0xff, 1);
    put(blob, 0, 2);
    put(blob, 1, 1);
    return end_table(blob, t);
}

/* PCI Firmware Specification 3.2 s4.1.2. */
static guint build_mcfg(Blob *blob, const VmcAcpiParams *params)
{
    guint t = begin_table(blob, "MCFG", 1);
    put(blob, 0, 8);
    put(blob, params->ecam_base, 8);
    put(blob, 0, 2);   /* segment */
    put(blob, 0, 1);   /* first bus */
    put(blob, 255, 1); /* last bus */
    put(blob, 0, 4);
    return end_table(blob, t);
}

/* IA-PC HPET specification 1.0a s3.2.4. */
static guint build_hpet(Blob *blob)
{
    guint t = begin_table(blob, "HPET", 1);
    put(blob, VMC_HPET_BLOCK_ID, 4);
    put(blob, 64 << 8, 4); /* in memory, 64 bits wide */
    put(blob, VMC_HPET_BASE, 8);
    put(blob, 0, 1); /* the first one */
    put(blob, VMC_HPET_MIN_TICKS, 2);
    put(blob, 1, 1); /* nothing else in its 4 KiB page */
    return end_table(blob, t);
}

static guint build_dsdt(Blob *blob, const VmcAcpiParams *params)
{
    guint t = begin_table(blob, "DSDT", 2);
    GByteArray *aml = vmc_dsdt_build(params);
    g_byte_array_append(blob->bytes, aml->data, aml->len);
    g_byte_array_unref(aml);
    return end_table(blob, t);
}

/* Root system description pointer (s5.2.5.3): 20 bytes as of ACPI 1.0 with their own checksum, then the rest.
 */
void vmc_acpi_rsdp(uint8_t rsdp[VMC_ACPI_RSDP_SIZE], uint64_t xsdt)
{
    memset(rsdp, 0, VMC_ACPI_RSDP_SIZE);
    memcpy(rsdp, "RSD PTR ", 8);
    memcpy(rsdp + 9, OEM_ID, 6);
    rsdp[15] = 2;
    rsdp[20] = VMC_ACPI_RSDP_SIZE;
    for (unsigned i = 0; i < 8; i++)
        rsdp[24 + i] = (uint8_t)(xsdt >> (8 * i));
    set_checksum(rsdp, 20, 8);
    set_checksum(rsdp, VMC_ACPI_RSDP_SIZE, 32);
}

VmcAcpiTables *vmc_acpi_build(const VmcAcpiParams *params)
{
    Blob *blob = g_new0(Blob, 1);
    blob->bytes = g_byte_array_new();
    blob->pointers = g_array_new(FALSE, FALSE, sizeof(VmcAcpiPointer));
    blob->checksums = g_array_new(FALSE, FALSE, sizeof(VmcAcpiChecksum));

    guint facs = build_facs(blob);
    guint dsdt = build_dsdt(blob, params);
    guint tables[] = {
        build_fadt(blob, facs, dsdt),
        build_madt(blob, params),
        build_mcfg(blob, params),
        build_hpet(blob),
    };
    guint xsdt = begin_table(blob, "XSDT", 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
        put(blob, 0, 8);
        point_at(blob, blob->bytes->len - 8, tables[i], 8);
    }
    blob->xsdt = end_table(blob, xsdt);
    return blob;
}

void vmc_acpi_tables_free(VmcAcpiTables *tables)
{
    g_byte_array_unref(tables->bytes);
    g_array_unref(tables->pointers);
    g_array_unref(tables->checksums);
    g_free(tables);
}

static void add_to_pointer(uint8_t *at, unsigned size, uint64_t base)
{
    uint64_t value = base;

    for (unsigned i = 0; i < size; i++)
        value += (uint64_t)at[i] << (8 * i);
    for (unsigned i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

GByteArray *vmc_acpi_place(const VmcAcpiTables *tables, uint64_t base)
{
    guint skip = VMC_ACPI_ALIGN; /* for the RSDP */
    GByteArray *placed = g_byte_array_new();
    g_byte_array_set_size(placed, skip);
    memset(placed->data, 0, skip);
    vmc_acpi_rsdp(placed->data, base + skip + tables->xsdt);
    g_byte_array_append(placed, tables->bytes->data, tables->bytes->len);
    uint8_t *bytes = placed->data + skip;

    for (guint i = 0; i < tables->pointers->len; i++) {
        const VmcAcpiPointer *pointer = &g_array_index(tables->pointers, VmcAcpiPointer, i);
        add_to_pointer(bytes + pointer->at, pointer->size, base + skip);
    }
    for (guint i = 0; i < tables->checksums->len; i++) {
        const VmcAcpiChecksum *sum = &g_array_index(tables->checksums, VmcAcpiChecksum, i);
        set_checksum(bytes + sum->start, sum->length, sum->at - sum->start);
    }
    return placed;
}
