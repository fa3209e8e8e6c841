/*
 * Firmware volumes are looked at from outside only: signature, length, and that the volumes fill the file
 * exactly. So a file cut short is refused before a guest hangs in it. Code and variables lie together below 4
 * GiB, and all firmware builds make them a power of two in sum: that is how a store of another firmware is
 * noticed.
 */
#include "boot/efi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/i18n.h"
#include "boot/bzimage.h"
#include "vmcore/error.h"

#define VOLUME_LENGTH    32u /* u64 */
#define VOLUME_SIGNATURE 40u /* "_FVH" */
#define VOLUME_HEADER    56u
#define RESET_VECTOR     16u
#define VARIABLE_STORE   "variable store"
#define TEMPLATE         "template for a new variable store"

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
        _("no UEFI firmware is installed; install your distribution's package of OVMF (“ovmf” on Debian "
          "and Ubuntu, “edk2-ovmf” on Fedora and Arch), or name a file with firmware=FILE"));
    return false;
}

/* ---- what it is ---- */

static bool is_no_firmware(const char *what, const char *path, const char *why, GError **error)
{
    const char *sentence = strcmp(what, VARIABLE_STORE) == 0 ? _("the variable store “%s” cannot be used: %s")
                           : strcmp(what, TEMPLATE) == 0
                               ? _("the template for a new variable store “%s” cannot be used: %s")
                               : _("the firmware “%s” cannot be used: %s");

    g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE, sentence, path, why);
    return false;
}

/* The length of the volume at `offset`, 0 if there is none. False: it cannot be read. */
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
        length = 0;
        if (size - at >= VOLUME_HEADER && !volume_length(fd, what, path, at, &length, error))
            return false;
        if (length < VOLUME_HEADER)
            return is_no_firmware(
                what, path,
                at ? _("it does not end with its last firmware volume: it has been cut short or added to")
                   : _("it does not begin with a firmware volume; give a file as OVMF's packages have "
                       "them, in raw format"),
                error);
        if (length > size - at)
            return is_no_firmware(
                what, path, _("it has been cut short: its firmware volume is longer than the file"), error);
        at += length;
    }
    return true;
}

/* A CPU starts 16 bytes before the end of the code; erased flash is there if a volume has been cut off behind
 * it, or if this is a store of variables. */
static bool check_reset_vector(int fd, const char *path, uint64_t size, GError **error)
{
    static const uint8_t erased[RESET_VECTOR] = {[0 ... RESET_VECTOR - 1] = 0xff};
    uint8_t code[RESET_VECTOR];

    if (!vmc_boot_file_read(fd, "firmware", path, size - sizeof(code), code, sizeof(code), error))
        return false;
    return memcmp(code, erased, sizeof(code)) ||
           is_no_firmware(
               "firmware", path,
               _("there is no code at its end, where CPUs start; give the whole file with the code, "
                 "which has CODE in its name in OVMF's packages"),
               error);
}

static bool check_code(int fd, const char *path, uint64_t size, GError **error)
{
    if (size > VMC_EFI_CODE_MAX)
        return is_no_firmware("firmware", path, _("it is larger than 16 MiB"), error);
    if (!check_volumes(fd, "firmware", path, size, error))
        return false;
    if (size % 4096)
        return is_no_firmware("firmware", path, _("its size is not a multiple of 4 KiB"), error);
    return check_reset_vector(fd, path, size, error);
}

int vmc_efi_open_code(const char *path, uint64_t *size, GError **error)
{
    int fd = vmc_boot_file_open("firmware", path, size, error);

    if (fd < 0 || check_code(fd, path, *size, error))
        return fd;
    close(fd);
    return -1;
}

static bool check_variables(int fd, const char *what, const char *path, uint64_t code_size, uint64_t size,
                            GError **error)
{
    uint64_t sum = code_size + size;

    if (size > VMC_EFI_VARIABLES_MAX || size % 4096 || (sum & (sum - 1))) {
        g_autofree char *why = g_strdup_printf(
            _("its size of %" PRIu64 " bytes does not go with that firmware's code of %" PRIu64
              " bytes; use the store that was made with this firmware, or have a new one created"),
            size, code_size);
        return is_no_firmware(what, path, why, error);
    }
    return check_volumes(fd, what, path, size, error);
}

/* ---- the variable store ---- */

static bool cannot_make(const char *path, int err, GError **error)
{
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("the variable store “%s” cannot be created: %s"),
                path, g_strerror(err));
    return false;
}

static bool is_missing(const char *path)
{
    struct stat st;

    return stat(path, &st) && errno == ENOENT;
}

/* Opens what a new store begins as. -1: error. */
static int open_template(const char *path, const char *store, uint64_t code_size, uint64_t *size,
                         GError **error)
{
    if (is_missing(path)) {
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_CONFIG,
            _("there is no template “%s” to make the variable store “%s” of; copy the one that goes with "
              "the firmware to either place"),
            path, store);
        return -1;
    }
    int fd = vmc_boot_file_open(TEMPLATE, path, size, error);
    if (fd < 0 || check_variables(fd, TEMPLATE, path, code_size, *size, error))
        return fd;
    close(fd);
    return -1;
}

static char *read_template(const char *path, const char *store, uint64_t code_size, uint64_t *size,
                           GError **error)
{
    g_autofree char *bytes = NULL;
    int fd = open_template(path, store, code_size, size, error);

    if (fd < 0)
        return NULL;
    bytes = g_malloc(*size);
    bool ok = vmc_boot_file_read(fd, TEMPLATE, path, 0, bytes, *size, error);
    close(fd);
    return ok ? g_steal_pointer(&bytes) : NULL;
}

static bool write_new(int fd, const char *bytes, uint64_t size)
{
    for (uint64_t done = 0; done < size;) {
        ssize_t n = write(fd, bytes + done, size - done);
        if (n < 0 && errno != EINTR)
            return false;
        done += (uint64_t)MAX(n, 0);
    }
    return !fsync(fd);
}

/* Gives a file its name, unless another has come by that meanwhile. Not all file systems know both ways. */
static bool put_in_place(const char *temporary, const char *path)
{
    if (!renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE))
        return true;
    return (errno == EINVAL || errno == ENOSYS) && !link(temporary, path);
}

/* Makes it under another name first, so that a half one is never there. */
static bool create_store(const char *path, const char *template_path, uint64_t code_size, GError **error)
{
    g_autofree char *temporary = g_strdup_printf("%s.XXXXXX", path);
    uint64_t size;
    g_autofree char *bytes = read_template(template_path, path, code_size, &size, error);

    if (!bytes)
        return false;
    int fd = g_mkstemp_full(temporary, O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return cannot_make(path, errno, error);
    bool ok = write_new(fd, bytes, size) && (put_in_place(temporary, path) || errno == EEXIST);
    int err = errno;
    close(fd);
    unlink(temporary); /* not there any more if it was renamed */
    return ok || cannot_make(path, err, error);
}

static bool none_there(const char *path, GError **error)
{
    g_set_error(
        error, VMC_ERROR, VMC_ERROR_CONFIG,
        _("there is no variable store “%s”; name one that is there, or add create to have it made of the "
          "template beside the firmware, which is called VARS where that is called CODE"),
        path);
    return false;
}

static bool lock_store(int fd, const char *path, GError **error)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (!fcntl(fd, F_OFD_SETLK, &lock))
        return true;
    if (errno == EAGAIN || errno == EACCES)
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_RESOURCE,
            _("the variable store “%s” is in use by another virtual machine; each needs one of its own"),
            path);
    else
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("the variable store “%s” cannot be locked against use by another virtual machine (%s); "
                      "move it to a file system with locks"),
                    path, g_strerror(errno));
    return false;
}

static bool cannot_write(const char *path, GError **error)
{
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                _("the variable store “%s” cannot be opened for writing: %s"), path, g_strerror(errno));
    return false;
}

/* What it is, is looked at before it is opened to be written, for that does something to a FIFO or a tape;
 * and again behind the lock, as it may have been exchanged or written meanwhile. */
static int open_store(const char *path, uint64_t *size, GError **error)
{
    struct stat st;
    int look = vmc_boot_file_open(VARIABLE_STORE, path, size, error);

    if (look < 0)
        return -1;
    close(look);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        cannot_write(path, error);
        return -1;
    }
    if (lock_store(fd, path, error)) {
        if (!fstat(fd, &st) && S_ISREG(st.st_mode)) {
            *size = (uint64_t)st.st_size;
            return fd;
        }
        is_no_firmware(VARIABLE_STORE, path, _("it has been exchanged just now"), error);
    }
    close(fd);
    return -1;
}

int vmc_efi_open_variables(const char *path, const char *template_path, uint64_t code_size, uint64_t *size,
                           GError **error)
{
    if (is_missing(path)) {
        if (!(template_path ? create_store(path, template_path, code_size, error) : none_there(path, error)))
            return -1;
    }
    int fd = open_store(path, size, error);
    if (fd < 0 || check_variables(fd, VARIABLE_STORE, path, code_size, *size, error))
        return fd;
    close(fd);
    return -1;
}

bool vmc_efi_check_variables(const char *path, const char *template_path, uint64_t code_size, GError **error)
{
    uint64_t size;
    bool ok = true;
    int fd;

    if (is_missing(path)) {
        if (!template_path)
            return none_there(path, error);
        fd = open_template(template_path, path, code_size, &size, error);
    } else {
        fd = vmc_boot_file_open(VARIABLE_STORE, path, &size, error);
        ok = fd >= 0 && check_variables(fd, VARIABLE_STORE, path, code_size, size, error) &&
             (!access(path, W_OK) || cannot_write(path, error));
    }
    if (fd >= 0)
        close(fd);
    return fd >= 0 && ok;
}
