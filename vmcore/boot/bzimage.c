/*
 * Reading and refusing kernels. People give all sorts of files here, so what the file really is gets said
 * where a few bytes tell.
 */
#include "boot/bzimage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/i18n.h"
#include "vmcore/error.h"

/* Offsets in the setup header (boot.rst, "Details of Header Fields"). */
#define H_SETUP_SECTS     0x1f1
#define H_SYSSIZE         0x1f4
#define H_BOOT_FLAG       0x1fe
#define H_JUMP            0x201
#define H_MAGIC           0x202
#define H_VERSION         0x206
#define H_LOADFLAGS       0x211
#define H_INITRD_ADDR_MAX 0x22c
#define H_XLOADFLAGS      0x236
#define H_CMDLINE_SIZE    0x238
#define H_PAYLOAD_OFFSET  0x248
#define H_PAYLOAD_LENGTH  0x24c
#define H_PREF_ADDRESS    0x258
#define H_INIT_SIZE       0x260
#define H_END_OF_2_12     0x268

#define LOADED_HIGH   1
#define XLF_KERNEL_64 1
#define PROTOCOL_2_12 0x020c
#define SECTOR        512u
#define LOW_MEMORY    0x100000u

static uint64_t get(const uint8_t *bytes, unsigned offset, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)bytes[offset + i] << (8 * i);
    return value;
}

/* What is said of each kind of file. */
static const struct BootFileWords {
    const char *what, *unusable, *unreadable;
} words[] = {
    {"kernel", N_("cannot use the kernel “%s”: %s"),
     N_("cannot read the kernel “%s” at byte %" PRIu64 ": %s")},
    {"initrd", N_("cannot use the initrd “%s”: %s"),
     N_("cannot read the initrd “%s” at byte %" PRIu64 ": %s")},
    {"firmware", N_("cannot use the firmware “%s”: %s"),
     N_("cannot read the firmware “%s” at byte %" PRIu64 ": %s")},
    {"variable store", N_("cannot use the variable store “%s”: %s"),
     N_("cannot read the variable store “%s” at byte %" PRIu64 ": %s")},
    {"template for a new variable store", N_("cannot use the template for a new variable store “%s”: %s"),
     N_("cannot read the template for a new variable store “%s” at byte %" PRIu64 ": %s")},
};

static const struct BootFileWords *words_of(const char *what)
{
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        if (strcmp(words[i].what, what) == 0)
            return &words[i];
    g_assert_not_reached();
}

int vmc_boot_file_open(const char *what, const char *path, uint64_t *size, GError **error)
{
    /* O_NONBLOCK: opening a FIFO must not wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    const char *fault = NULL;
    if (fd < 0 || fstat(fd, &st) < 0)
        fault = g_strerror(errno);
    else if (S_ISDIR(st.st_mode))
        fault = _("it is a directory; give a file");
    else if (!S_ISREG(st.st_mode))
        fault = _("it is not a regular file");
    else if (st.st_size == 0)
        fault = _("it is empty");
    if (fault) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE, _(words_of(what)->unusable), path, fault);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *size = st.st_size;
    return fd;
}

bool vmc_boot_file_read(int fd, const char *what, const char *path, uint64_t offset, void *buffer,
                        uint64_t size, GError **error)
{
    for (uint64_t done = 0; done < size;) {
        ssize_t n = pread(fd, (uint8_t *)buffer + done, MIN(size - done, 1u << 30), offset + done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE, _(words_of(what)->unreadable), path, offset + done,
                        n < 0 ? g_strerror(errno) : _("the file ends there"));
            return false;
        }
        done += n;
    }
    return true;
}

/* What a file that is no bzImage looks like, for the error. */
static const char *describe(const uint8_t *bytes)
{
    if (!memcmp(bytes, "\177ELF", 4))
        return _("it is an ELF file, perhaps an unpacked vmlinux");
    if (!memcmp(bytes + 0x38, "ARM\x64", 4))
        return _("it is a kernel for arm64");
    if (bytes[0] == 0x1f && bytes[1] == 0x8b)
        return _("it is a gzip file");
    if (!memcmp(bytes, "070701", 6))
        return _("it is a cpio archive, perhaps the initrd");
    return _("it has no Linux setup header");
}

static void refuse(GError **error, const char *path, const char *fault)
{
    g_set_error(
        error, VMC_ERROR, VMC_ERROR_IMAGE,
        /* Translators: the file, and why: the short sentences of this file that begin with “it” or “its”. */
        _("the kernel “%s” cannot be booted: %s; give a bzImage for x86-64 such as a distribution's "
          "/boot/vmlinuz"),
        path, fault);
}

static const char *header_fault(const uint8_t *setup)
{
    if (get(setup, H_BOOT_FLAG, 2) != 0xaa55 || memcmp(setup + H_MAGIC, "HdrS", 4) != 0)
        return describe(setup);
    if (get(setup, H_VERSION, 2) < PROTOCOL_2_12)
        return _("its boot protocol is older than 2.12 (Linux 3.8)");
    if (0x202u + setup[H_JUMP] < H_END_OF_2_12)
        return _("its setup header is shorter than its version says");
    if (!(setup[H_LOADFLAGS] & LOADED_HIGH))
        return _("it is a zImage, which loads below 1 MiB");
    if (!(get(setup, H_XLOADFLAGS, 2) & XLF_KERNEL_64))
        return _("it has no 64-bit entry point");
    if (get(setup, H_PREF_ADDRESS, 8) < LOW_MEMORY || get(setup, H_PREF_ADDRESS, 8) > G_MAXUINT32)
        return _("its preferred address is not between 1 MiB and 4 GiB");
    return NULL;
}

/* Whether all the bytes that the header speaks of are there. */
static bool check_sizes(VmcBzImage *image, uint64_t file_size, const char *path, GError **error)
{
    const uint8_t *setup = image->setup;
    unsigned sectors = setup[H_SETUP_SECTS] ? setup[H_SETUP_SECTS] : 4;
    image->payload_offset = (sectors + 1) * SECTOR;
    uint64_t promised = get(setup, H_SYSSIZE, 4) * 16;
    uint64_t there = file_size > image->payload_offset ? file_size - image->payload_offset : 0;

    /* The size is in paragraphs, rounded up. More may follow: a signature, which is not loaded. */
    if (promised == 0 || there + 15 < promised) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE,
                    _("the kernel “%s” is not complete: its header speaks of %" PRIu64
                      " bytes and the file has %" PRIu64 "; copy or download it again"),
                    path, image->payload_offset + promised, file_size);
        return false;
    }
    image->payload_size = MIN(promised, there);
    uint64_t compressed = get(setup, H_PAYLOAD_OFFSET, 4) + get(setup, H_PAYLOAD_LENGTH, 4);
    if (compressed > image->payload_size) {
        refuse(error, path, _("its header puts the compressed kernel beyond the end of the file"));
        return false;
    }
    if (image->payload_size <= 0x200) {
        refuse(error, path, _("it ends before its 64-bit entry point"));
        return false;
    }
    return true;
}

bool vmc_bzimage_read(VmcBzImage *image, int fd, const char *path, GError **error)
{
    struct stat st;
    memset(image, 0, sizeof *image);
    if (fstat(fd, &st) < 0) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE, _("cannot read the kernel “%s”: %s"), path,
                    g_strerror(errno));
        return false;
    }
    uint64_t size = st.st_size;
    if (size < 2 * SECTOR) {
        refuse(error, path, _("it is too small to be a kernel"));
        return false;
    }
    if (!vmc_boot_file_read(fd, "kernel", path, 0, image->setup, sizeof image->setup, error))
        return false;
    const char *fault = header_fault(image->setup);
    if (fault) {
        refuse(error, path, fault);
        return false;
    }
    if (!check_sizes(image, size, path, error))
        return false;
    image->header_end = MIN(0x202u + image->setup[H_JUMP], VMC_BZIMAGE_HEADER_END);
    image->load_address = get(image->setup, H_PREF_ADDRESS, 8);
    image->memory_size = MAX(get(image->setup, H_INIT_SIZE, 4), image->payload_size);
    image->initrd_max = get(image->setup, H_INITRD_ADDR_MAX, 4);
    image->cmdline_max = MIN(get(image->setup, H_CMDLINE_SIZE, 4), 0xffff);
    return true;
}
