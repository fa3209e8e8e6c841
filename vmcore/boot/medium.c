/*
 * UEFI firmware boots a file from a FAT file system: of a partition (UEFI 2.10 s5.2 and s5.3, MBR and GPT),
 * of a disk without partitions (s13.3.4.1), or of an image that a disc's boot catalog names (s13.3.2.1; El
 * Torito 1.0 for the catalog, ECMA-119 s8 for where to find it). OVMF reads UDF, too. So it is looked for
 * those, and not whether the file is there: which one it is may be said in the variables of the machine.
 *
 * All of it is the guest's, or came with an image from anywhere: numbers are checked where they are used, and
 * lists are as long as they may be, not as long as they say.
 */
#include "boot/medium.h"
#include "base/i18n.h"

#include <string.h>

#define SECTOR            512u
#define DISC_SECTOR       2048u
#define DISC_DESCRIPTORS  16u /* where they begin, in sectors of the disc */
#define DESCRIPTORS_MAX   64u
#define GPT_ENTRIES_MAX   1024u
#define GPT_ENTRY_MIN     128u
#define GPT_ENTRY_MAX     4096u
#define MBR_PROTECTIVE    0xeeu
#define PLATFORM_EFI      0xefu
#define CATALOG_ENTRY     32u
#define ENTRY_BOOTABLE    0x88u
#define ENTRY_HEADER      0x90u
#define ENTRY_LAST_HEADER 0x91u

static uint64_t little(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = size; i--;)
        value = value << 8 | bytes[i];
    return value;
}

static bool read_at(VmcDisk *disk, uint64_t offset, void *bytes, unsigned size)
{
    struct iovec iov = {bytes, size};
    uint64_t end;

    return !__builtin_add_overflow(offset, size, &end) && end <= disk->size &&
           !vmc_disk_read(disk, offset, &iov, 1);
}

static bool has_signature(const uint8_t sector[SECTOR])
{
    return sector[510] == 0x55 && sector[511] == 0xaa;
}

static bool is_power_of_2(unsigned n)
{
    return n && !(n & (n - 1));
}

/* The first sector of a FAT file system. One of NTFS has no reserved sectors, one of exFAT only zeros here.
 */
static bool is_fat(const uint8_t sector[SECTOR])
{
    unsigned bytes = (unsigned)little(sector + 11, 2);

    return has_signature(sector) && is_power_of_2(bytes) && bytes >= SECTOR && bytes <= 4096 &&
           is_power_of_2(sector[13]) && little(sector + 14, 2) && (sector[16] == 1 || sector[16] == 2) &&
           sector[21] >= 0xf0;
}

static bool fat_at(VmcDisk *disk, uint64_t number, unsigned unit)
{
    uint8_t sector[SECTOR];
    uint64_t offset;

    return !__builtin_mul_overflow(number, unit, &offset) && read_at(disk, offset, sector, sizeof(sector)) &&
           is_fat(sector);
}

/* ---- disks ---- */

static bool gpt_has_fat(VmcDisk *disk)
{
    uint8_t header[SECTOR], entry[SECTOR] = {0};
    static const uint8_t unused[16];

    if (!read_at(disk, SECTOR, header, sizeof(header)) || memcmp(header, "EFI PART", 8))
        return false;
    uint64_t first = little(header + 72, 8);
    unsigned n = (unsigned)MIN(little(header + 80, 4), GPT_ENTRIES_MAX);
    unsigned size = (unsigned)little(header + 84, 4);
    if (size < GPT_ENTRY_MIN || size > GPT_ENTRY_MAX || first > disk->size / SECTOR)
        return false;
    for (unsigned i = 0; i < n; i++) {
        if (!read_at(disk, first * SECTOR + (uint64_t)i * size, entry, GPT_ENTRY_MIN))
            return false;
        if (memcmp(entry, unused, sizeof(unused)) && fat_at(disk, little(entry + 32, 8), SECTOR))
            return true;
    }
    return false;
}

/* Logical partitions are not followed: a disk with some counts as bootable. */
static bool partitions_have_fat(VmcDisk *disk, const uint8_t mbr[SECTOR])
{
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *entry = mbr + 446 + i * 16;
        uint8_t type = entry[4];

        if (type == MBR_PROTECTIVE ? gpt_has_fat(disk) : type && fat_at(disk, little(entry + 8, 4), SECTOR))
            return true;
        if (type == 0x05 || type == 0x0f || type == 0x85)
            return true;
    }
    return false;
}

static bool has_partitions(const uint8_t mbr[SECTOR])
{
    for (unsigned i = 0; i < 4; i++)
        if (mbr[446 + i * 16 + 4])
            return has_signature(mbr);
    return false;
}

/* ---- discs ---- */

/* A validation entry, the initial entry, and then headers with so many entries behind each. */
static VmcMedium look_at_catalog(VmcDisk *disk, uint64_t at)
{
    uint8_t catalog[DISC_SECTOR];
    VmcMedium medium = VMC_MEDIUM_DISC;

    if (!read_at(disk, at * DISC_SECTOR, catalog, sizeof(catalog)) || catalog[0] != 1 ||
        catalog[30] != 0x55 || catalog[31] != 0xaa)
        return medium;
    uint8_t platform = catalog[1];
    for (unsigned i = CATALOG_ENTRY; i < sizeof(catalog); i += CATALOG_ENTRY) {
        const uint8_t *entry = catalog + i;

        if (entry[0] == ENTRY_HEADER || entry[0] == ENTRY_LAST_HEADER)
            platform = entry[1];
        if (entry[0] != ENTRY_BOOTABLE)
            continue;
        if (platform == PLATFORM_EFI || fat_at(disk, little(entry + 8, 4), DISC_SECTOR))
            return VMC_MEDIUM_BOOTS;
        medium = VMC_MEDIUM_BIOS_DISC;
    }
    return medium;
}

/* Goes through the descriptors of the volume. */
static VmcMedium look_at_disc(VmcDisk *disk)
{
    uint8_t bytes[DISC_SECTOR];
    VmcMedium medium = VMC_MEDIUM_BLANK, found;

    for (unsigned i = 0; i < DESCRIPTORS_MAX; i++) {
        if (!read_at(disk, (uint64_t)(DISC_DESCRIPTORS + i) * DISC_SECTOR, bytes, sizeof(bytes)))
            break;
        if (!memcmp(bytes + 1, "NSR0", 4))
            return VMC_MEDIUM_BOOTS;
        bool iso = !memcmp(bytes + 1, "CD001", 5);
        if (!iso && memcmp(bytes + 1, "BEA01", 5) && memcmp(bytes + 1, "TEA01", 5) &&
            memcmp(bytes + 1, "BOOT2", 5))
            break;
        if (!iso)
            continue;
        medium = MAX(medium, VMC_MEDIUM_DISC);
        if (bytes[0] != 0 || memcmp(bytes + 7, "EL TORITO SPECIFICATION", 23))
            continue;
        found = look_at_catalog(disk, little(bytes + 71, 4));
        if (found == VMC_MEDIUM_BOOTS)
            return found;
        medium = MAX(medium, found);
    }
    return medium;
}

VmcMedium vmc_medium_look(VmcDisk *disk)
{
    uint8_t first[SECTOR];

    if (!read_at(disk, 0, first, sizeof(first)) || is_fat(first))
        return VMC_MEDIUM_BOOTS;
    bool partitions = has_partitions(first);
    if (partitions && partitions_have_fat(disk, first))
        return VMC_MEDIUM_BOOTS;
    VmcMedium disc = look_at_disc(disk);
    return disc == VMC_MEDIUM_BLANK && partitions ? VMC_MEDIUM_DISK : disc;
}

char *vmc_medium_complaint(VmcMedium medium, const char *path)
{
    const char *sentence = NULL;

    if (medium == VMC_MEDIUM_DISK)
        sentence =
            _("“%s” cannot be booted by UEFI firmware: none of its partitions is an EFI system partition, "
              "nor has any a FAT file system; give the image for UEFI computers (x86-64): a disc with an El "
              "Torito entry for platform EF, or a disk with EFI/BOOT/BOOTX64.EFI in an EFI system partition");
    if (medium == VMC_MEDIUM_DISC)
        sentence =
            _("“%s” cannot be booted by UEFI firmware: it is a disc with files only, without any boot entry "
              "(El Torito); give the image for UEFI computers (x86-64): a disc with an El Torito entry for "
              "platform EF, or a disk with EFI/BOOT/BOOTX64.EFI in an EFI system partition");
    if (medium == VMC_MEDIUM_BIOS_DISC)
        sentence = _("“%s” cannot be booted by UEFI firmware: its boot entries (El Torito) are for a BIOS "
                     "only; give the image for UEFI computers (x86-64): a disc with an El Torito entry for "
                     "platform EF, or a disk with EFI/BOOT/BOOTX64.EFI in an EFI system partition");
    return sentence ? g_strdup_printf(sentence, path) : NULL;
}
