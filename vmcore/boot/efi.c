/*
 * Firmware volumes are looked at from outside only: signature, length, and that the volumes fill the file
 * exactly. So a file cut short is refused before a guest hangs in it. Code and variables lie together below 4
 * GiB, and all firmware builds make them a power of two in sum: that is how a store of another firmware is
 * noticed.
 */
#include "boot/efi.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/bzimage.h"
#include "vmcore/error.h"

#define VOLUME_LENGTH    32u /* u64 */
#define VOLUME_SIGNATURE 40u /* "_FVH" */
#define VOLUME_HEADER    56u
#define VARIABLE_STORE   "variable store"

static const struct {
    const char *code, *variables;
} installed[] = {
    {"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},           /* Debian, Ubuntu */
    {"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},       /* Fedora */
    {"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},   /* Arch */
    {"/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"}, /* openSUSE */
    {"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},                 /* of 2 MiB */
};

/* ---- where it is ---- */

static char *template_beside(const char *code)
{
    g_autofree char *folder = g_path_get_dirname(code), *name = g_path_get_basename(code);
    const char *words[][2] = {{"CODE", "VARS"}, {"code", "vars"}};

    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        const char *at = strstr(name, words[i][0]);
        if (!at)
            continue;
        g_autofree char *other =
            g_strdup_printf("%.*s%s%s", (int)(at - name), name, words[i][1], at + strlen(words[i][0]));
        return g_build_filename(folder, other, NULL);
    }
    return NULL;
}

bool vmc_efi_find(const char *wanted, char **code, char **variables, GError **error)
{
    if (wanted) {
        *code = g_strdup(wanted);
        *variables = template_beside(wanted);
        return true;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(installed); i++) {
        if (access(installed[i].code, R_OK))
            continue;
        *code = g_strdup(installed[i].code);
        *variables = g_strdup(installed[i].variables);
        return true;
    }
    g_set_error_literal(
        error, VMC_ERROR, VMC_ERROR_RESOURCE,
        "no UEFI firmware is installed; install your distribution's package of OVMF (“ovmf” on Debian "
        "and Ubuntu, “edk2-ovmf” on Fedora and Arch), or name a file with firmware=FILE");
    return false;
}

/* ---- what it is ---- */

static bool is_no_firmware(const char *what, const char *path, const char *why, GError **error)
{
    g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE, "the %s “%s” cannot be used: %s", what, path, why);
    return false;
}

/* The length of the volume at `offset`, 0 if there is none; -1: not to be read. */
static bool volume_length(int fd, const char *what, const char *path, uint64_t offset, uint64_t *length,
                          GError **error)
{
    uint8_t header[VOLUME_HEADER];

    if (!vmc_boot_file_read(fd, what, path, offset, header, sizeof(header), error))
        return false;
    memcpy(length, header + VOLUME_LENGTH, sizeof(*length));
    *length = memcmp(header + VOLUME_SIGNATURE, "_FVH", 4) ? 0 : GUINT64_FROM_LE(*length);
    return true;
}

/* Volumes must fill the file. */
static bool check_volumes(int fd, const char *what, const char *path, uint64_t size, GError **error)
{
    uint64_t at = 0, length;

    while (at < size) {
        if (size - at < VOLUME_HEADER)
            return is_no_firmware(what, path, "there is something behind the last firmware volume", error);
        if (!volume_length(fd, what, path, at, &length, error))
            return false;
        if (length < VOLUME_HEADER)
            return is_no_firmware(
                what, path,
                at ? "there is something behind the last firmware volume"
                   : "it does not begin with a firmware volume; give a file as OVMF's packages have "
                     "them, in raw format",
                error);
        if (length > size - at)
            return is_no_firmware(
                what, path, "it has been cut short: its firmware volume is longer than the file", error);
        at += length;
    }
    return true;
}

static bool check_code(int fd, const char *path, uint64_t size, GError **error)
{
    if (size > VMC_EFI_CODE_MAX || size % 4096)
        return is_no_firmware("firmware", path, "its size is not a multiple of 4 KiB, at most 16 MiB", error);
    return check_volumes(fd, "firmware", path, size, error);
}

int vmc_efi_open_code(const char *path, uint64_t *size, GError **error)
{
    int fd = vmc_boot_file_open("firmware", path, size, error);

    if (fd < 0 || check_code(fd, path, *size, error))
        return fd;
    close(fd);
    return -1;
}

static bool check_variables(int fd, const char *path, uint64_t code_size, uint64_t size, GError **error)
{
    uint64_t sum = code_size + size;

    if (size > VMC_EFI_VARIABLES_MAX || size % 4096 || (sum & (sum - 1))) {
        g_autofree char *why = g_strdup_printf(
            "its size of %" G_GUINT64_FORMAT
            " bytes does not go with that firmware's code of %" G_GUINT64_FORMAT
            " bytes; use the store that was made with this firmware, or have a new one created",
            size, code_size);
        return is_no_firmware(VARIABLE_STORE, path, why, error);
    }
    return check_volumes(fd, VARIABLE_STORE, path, size, error);
}

/* ---- the variable store ---- */

/* Makes it under another name first, so that a half one is never there. */
static bool create_store(const char *path, const char *template_path, GError **error)
{
    g_autofree char *temporary = g_strdup_printf("%s.new", path), *bytes = NULL;
    gsize size;
    bool ok = false;

    if (!g_file_get_contents(template_path, &bytes, &size, error))
        return false;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        ok = write(fd, bytes, size) == (ssize_t)size && !fsync(fd);
        ok = !close(fd) && ok && !link(temporary, path); /* and not over one that has come meanwhile */
        int err = errno;
        unlink(temporary);
        errno = err;
    }
    if (!ok)
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, "the variable store “%s” cannot be created: %s",
                    path, g_strerror(errno));
    return ok;
}

static bool is_missing(const char *path)
{
    struct stat st;

    return lstat(path, &st) && errno == ENOENT;
}

static bool cannot_create(const char *path, GError **error)
{
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                "there is no variable store “%s”; name one that is there, or add create to have it made",
                path);
    return false;
}

static int open_store(const char *path, uint64_t *size, GError **error)
{
    int look = vmc_boot_file_open(VARIABLE_STORE, path, size,
                                  error); /* what it is, before it is opened to be written */

    if (look < 0)
        return -1;
    close(look);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fd < 0) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    "the variable store “%s” cannot be opened for writing: %s", path, g_strerror(errno));
    } else if (fcntl(fd, F_OFD_SETLK, &lock)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    "the variable store “%s” is in use by another virtual machine; each needs one of its own",
                    path);
        close(fd);
        fd = -1;
    }
    return fd;
}

int vmc_efi_open_variables(const char *path, const char *template_path, uint64_t code_size, uint64_t *size,
                           GError **error)
{
    if (is_missing(path)) {
        if (!template_path) {
            cannot_create(path, error);
            return -1;
        }
        if (!create_store(path, template_path, error))
            return -1;
    }
    int fd = open_store(path, size, error);
    if (fd < 0 || check_variables(fd, path, code_size, *size, error))
        return fd;
    close(fd);
    return -1;
}

bool vmc_efi_check_variables(const char *path, const char *template_path, uint64_t code_size, GError **error)
{
    const char *file = path;
    uint64_t size;

    if (is_missing(path)) {
        if (!template_path)
            return cannot_create(path, error);
        file = template_path;
    }
    int fd = vmc_boot_file_open(VARIABLE_STORE, file, &size, error);
    if (fd < 0)
        return false;
    bool ok = check_variables(fd, file, code_size, size, error);
    close(fd);
    return ok;
}
