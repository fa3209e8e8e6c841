/*
 * Where the string comes from that the SMC shows as OSK0 and OSK1: a file of the user's, or the SMC of the
 * Mac this runs on.
 *
 * Linux' driver shows any key it can count to: its number is written to key_at_index, then its name, size and
 * value can be read (drivers/hwmon/applesmc.c). Many Macs do not count these two, and then only a program
 * that talks to the SMC itself can read them, which would get in the driver's way here.
 */
#include "pc/smc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/i18n.h"
#include "vmcore/error.h"

/* A file with the string has it and white space. */
#define FILE_MAX_SIZE 4096
#define HALF          (VMC_SMC_OSK_SIZE / 2)
/* Real ones have some hundreds. */
#define KEYS_MAX 65536

static void fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void fail(GError **error, const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, VMC_ERROR, VMC_ERROR_CONFIG, message);
}

/* Up to `size` bytes of a file; -1 with errno set. A pipe or a terminal is not waited for. */
static ssize_t read_small(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    struct stat st;

    if (fd < 0)
        return -1;
    ssize_t n = -1;
    if (fstat(fd, &st) == 0) {
        if (S_ISREG(st.st_mode))
            n = read(fd, buffer, size);
        else
            errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return n;
}

bool vmc_smc_osk_from_file(const char *path, char osk[VMC_SMC_OSK_SIZE], GError **error)
{
    char buffer[FILE_MAX_SIZE];
    ssize_t n = read_small(path, buffer, sizeof(buffer));
    size_t start = 0, end = n > 0 ? (size_t)n : 0, bad = 0;

    if (n < 0) {
        fail(error, _("“%s” cannot be read: %s; give a file with the 64 characters of the key"), path,
             errno == EINVAL ? _("it is no regular file") : g_strerror(errno));
        return false;
    }
    while (end > start && g_ascii_isspace(buffer[end - 1]))
        end--;
    while (start < end && g_ascii_isspace(buffer[start]))
        start++;
    for (size_t i = start; i < end; i++)
        bad += !g_ascii_isprint(buffer[i]);
    bool good = end - start == VMC_SMC_OSK_SIZE && !bad;
    if (good)
        memcpy(osk, buffer + start, VMC_SMC_OSK_SIZE);
    else if (bad)
        fail(error,
             _("“%s” has something else in it than a key; it has to be exactly 64 printable characters"),
             path);
    else
        fail(error,
             n == FILE_MAX_SIZE ? _("“%s” has more than %zu characters; a key has exactly 64")
                                : _("“%s” has %zu characters; a key has exactly 64"),
             path, end - start);
    explicit_bzero(buffer, sizeof(buffer));
    return good;
}

/* ---- the host's ---- */

static bool read_number(const char *folder, const char *name, unsigned *value)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    char text[32];
    guint64 number;
    ssize_t n = read_small(path, text, sizeof(text) - 1);

    if (n <= 0)
        return false;
    text[n] = '\0';
    g_strstrip(text);
    if (!g_ascii_string_to_unsigned(text, 10, 0, KEYS_MAX, &number, NULL))
        return false;
    *value = (unsigned)number;
    return true;
}

static bool select_key(const char *folder, unsigned index)
{
    g_autofree char *path = g_build_filename(folder, "key_at_index", NULL);
    char text[16];
    int length = g_snprintf(text, sizeof(text), "%u\n", index);
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    bool ok = fd >= 0 && write(fd, text, (size_t)length) == length;

    if (fd >= 0)
        close(fd);
    return ok;
}

static bool read_name(const char *folder, unsigned index, char name[5])
{
    g_autofree char *path = g_build_filename(folder, "key_at_index_name", NULL);

    memset(name, 0, 5);
    return select_key(folder, index) && read_small(path, name, 4) == 4;
}

/* The number of the first key that is not before `wanted`; they are in order. */
static bool find_key(const char *folder, unsigned count, const char *wanted, unsigned *index)
{
    unsigned first = 0, last = count;
    char name[5];

    while (first < last) {
        unsigned middle = first + (last - first) / 2;
        if (!read_name(folder, middle, name))
            return false;
        if (strcmp(name, wanted) < 0)
            first = middle + 1;
        else
            last = middle;
    }
    *index = first;
    return first < count && read_name(folder, first, name) && strcmp(name, wanted) == 0;
}

static bool read_half(const char *folder, unsigned count, const char *key, char half[HALF])
{
    g_autofree char *path = g_build_filename(folder, "key_at_index_data", NULL);
    unsigned index, now;

    return find_key(folder, count, key, &index) && read_small(path, half, HALF) == HALF &&
           read_number(folder, "key_at_index", &now) && now == index;
}

bool vmc_smc_osk_from_host(const char *folder, char osk[VMC_SMC_OSK_SIZE], GError **error)
{
    unsigned count;

    if (!read_number(folder, "key_count", &count)) {
        fail(error,
             _("this computer has no SMC to take a key from; give keyFile=, a file with its 64 characters"));
        return false;
    }
    bool good = read_half(folder, count, "OSK0", osk) && read_half(folder, count, "OSK1", osk + HALF);
    for (unsigned i = 0; good && i < VMC_SMC_OSK_SIZE; i++)
        good = g_ascii_isprint(osk[i]);
    if (!good)
        fail(error, "%s",
             geteuid()
                 ? _("the SMC of this computer does not tell its key (Linux lets only root ask for some); "
                     "give "
                     "keyFile=, a file with its 64 characters")
                 : _("the SMC of this computer does not tell its key; give keyFile=, a file with its 64 "
                     "characters"));
    return good;
}
