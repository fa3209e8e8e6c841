/*
 * What POSIX asks of a file system, one call a line with the answer it has to give; linked statically, run in
 * a guest on a shared folder and on ext4, which is the reference for the lines themselves (long_fs.py).
 *
 *   posix FOLDER reference|share|direct|nine    the lines of posix_lines.h, in an empty folder, as root
 *
 * A line is "CALL WORDS = ANSWER": a number, a name of errno, or a text. Where a share's answer is another
 * than the reference's by design, it is "= REFERENCE | SHARE", or "= REFERENCE | SHARE | DIRECT", the last
 * for a share that the guest keeps nothing of in its cache. A line that begins with "!9" is not asked of 9P:
 * that has no word for it, or Linux' client of it none, or it is about who made a file, which 9P does not
 * say. Words: @255 a name of that length, @P a path that is too long, 'x y' one word with a space, - an empty
 * word. Before the call, "as UID" runs it with that user and group, and "~" in a process of its own. Open
 * files have slots 0 to 9 and are closed at the end of a section.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "posix_lines.h"

#define WORDS_MAX 12
#define SLOTS     10
#define NINE      3u /* among the kinds of main() */
#define TEXT_MAX  8192

/* ---- numbers and names ---- */

typedef struct Name {
    const char *name;
    long value;
} Name;

#define N(name)                                                                                              \
    {                                                                                                        \
#name, name                                                                                          \
    }
static const Name errnos[] = {
    N(EPERM),  N(ENOENT),  N(EIO),       N(EBADF),      N(EAGAIN), N(EACCES),       N(EBUSY),   N(EEXIST),
    N(EXDEV),  N(ENODEV),  N(ENOTDIR),   N(EISDIR),     N(EINVAL), N(EMFILE),       N(ETXTBSY), N(EFBIG),
    N(ENOSPC), N(ESPIPE),  N(EROFS),     N(EMLINK),     N(ERANGE), N(ENAMETOOLONG), N(ENOSYS),  N(ENOTEMPTY),
    N(ELOOP),  N(ENODATA), N(EOVERFLOW), N(EOPNOTSUPP), N(ENXIO),  N(E2BIG),        N(ENOEXEC),
};
static const Name flags[] = {
    N(O_RDONLY),
    N(O_WRONLY),
    N(O_RDWR),
    N(O_CREAT),
    N(O_EXCL),
    N(O_TRUNC),
    N(O_APPEND),
    N(O_DIRECTORY),
    N(O_NOFOLLOW),
    N(O_NONBLOCK),
    N(O_PATH),
    N(O_TMPFILE),
    N(O_SYNC),
    N(SEEK_SET),
    N(SEEK_CUR),
    N(SEEK_END),
    N(SEEK_DATA),
    N(SEEK_HOLE),
    N(LOCK_SH),
    N(LOCK_EX),
    N(LOCK_UN),
    N(LOCK_NB),
    N(F_RDLCK),
    N(F_WRLCK),
    N(F_UNLCK),
    N(R_OK),
    N(W_OK),
    N(X_OK),
    N(F_OK),
    N(XATTR_CREATE),
    N(XATTR_REPLACE),
    N(RENAME_NOREPLACE),
    N(RENAME_EXCHANGE),
    N(S_IFREG),
    N(S_IFCHR),
    N(S_IFBLK),
    N(S_IFIFO),
    N(S_IFSOCK),
    N(FALLOC_FL_KEEP_SIZE),
    N(FALLOC_FL_PUNCH_HOLE),
    N(FALLOC_FL_ZERO_RANGE),
    {"NOW", UTIME_NOW},
    {"OMIT", UTIME_OMIT},
    N(RENAME_WHITEOUT),
};

/* "O_RDWR|O_CREAT", "0644", "12": every part has to be known. */
static long number(const char *word)
{
    char text[256], *save, *part, *end;
    long value = 0;

    snprintf(text, sizeof(text), "%s", word);
    for (part = strtok_r(text, "|", &save); part; part = strtok_r(NULL, "|", &save)) {
        size_t i = 0;
        while (i < sizeof(flags) / sizeof(*flags) && strcmp(flags[i].name, part))
            i++;
        if (i < sizeof(flags) / sizeof(*flags)) {
            value |= flags[i].value;
            continue;
        }
        value |= strtol(part, &end, 0);
        if (*end || end == part) {
            printf("posix: unknown word %s\n", part);
            exit(2);
        }
    }
    return value;
}

static const char *errno_name(int error)
{
    static char other[32];

    for (size_t i = 0; i < sizeof(errnos) / sizeof(*errnos); i++)
        if (errnos[i].value == error)
            return errnos[i].name;
    snprintf(other, sizeof(other), "errno-%d", error);
    return other;
}

/* ---- calls: each has its words, and leaves its answer in `out` ---- */

typedef struct Call {
    char *w[WORDS_MAX]; /* without the call's name */
    int count;
    char *out;
} Call;

static int slots[SLOTS];

static void answer(Call *c, long result)
{
    snprintf(c->out, TEXT_MAX, "%ld", result);
    if (result < 0)
        snprintf(c->out, TEXT_MAX, "%s", errno_name(errno));
}

static void answer_text(Call *c, const char *text, ssize_t len)
{
    if (len < 0)
        answer(c, len);
    else
        snprintf(c->out, TEXT_MAX, "'%.*s'", (int)len, text);
}

static int slot(const char *word)
{
    return slots[number(word) % SLOTS];
}

static long arg(Call *c, int i, long missing)
{
    return i < c->count ? number(c->w[i]) : missing;
}

static void do_open(Call *c)
{
    int fd = open(c->w[0], (int)number(c->w[1]), (mode_t)arg(c, 2, 0));

    answer(c, fd < 0 ? fd : 0);
    if (fd >= 0)
        close(fd);
}

static void do_hold(Call *c)
{
    int at = (int)number(c->w[0]) % SLOTS, fd = open(c->w[1], (int)number(c->w[2]), (mode_t)arg(c, 3, 0));

    answer(c, fd < 0 ? fd : 0);
    if (fd < 0)
        return;
    if (slots[at] >= 0)
        close(slots[at]);
    slots[at] = fd;
}

static void do_close(Call *c)
{
    int at = (int)number(c->w[0]) % SLOTS;

    answer(c, close(slots[at]));
    slots[at] = -1;
}

static void do_read(Call *c)
{
    char buf[4096];

    answer_text(c, buf, read(slot(c->w[0]), buf, (size_t)number(c->w[1])));
}

static void do_pread(Call *c)
{
    char buf[4096];

    answer_text(c, buf, pread(slot(c->w[0]), buf, (size_t)number(c->w[2]), number(c->w[1])));
}

/* The number of zeroes from an offset, up to a length. */
static void do_zeroes(Call *c)
{
    static char buf[65536];
    ssize_t got = pread(slot(c->w[0]), buf, (size_t)number(c->w[2]), number(c->w[1])), n = 0;

    while (n < got && !buf[n])
        n++;
    answer(c, got < 0 ? got : n);
}

static void do_write(Call *c)
{
    answer(c, write(slot(c->w[0]), c->w[1], strlen(c->w[1])));
}

static void do_pwrite(Call *c)
{
    answer(c, pwrite(slot(c->w[0]), c->w[2], strlen(c->w[2]), number(c->w[1])));
}

static void do_seek(Call *c)
{
    answer(c, lseek(slot(c->w[0]), number(c->w[1]), (int)number(c->w[2])));
}

static void do_ftruncate(Call *c)
{
    answer(c, ftruncate(slot(c->w[0]), number(c->w[1])));
}

static void do_fsync(Call *c)
{
    answer(c, fsync(slot(c->w[0])));
}

static void do_fchmod(Call *c)
{
    answer(c, fchmod(slot(c->w[0]), (mode_t)number(c->w[1])));
}

static void do_fallocate(Call *c)
{
    answer(c, fallocate(slot(c->w[0]), (int)number(c->w[1]), number(c->w[2]), number(c->w[3])));
}

static void do_flock(Call *c)
{
    answer(c, flock(slot(c->w[0]), (int)number(c->w[1])));
}

static void do_lock(Call *c)
{
    struct flock fl = {
        .l_type = (short)number(c->w[1]), .l_start = number(c->w[2]), .l_len = number(c->w[3])};

    answer(c, fcntl(slot(c->w[0]), F_SETLK, &fl));
}

/* Who would be in the way: the type of lock and where it is. */
static void do_getlock(Call *c)
{
    struct flock fl = {
        .l_type = (short)number(c->w[1]), .l_start = number(c->w[2]), .l_len = number(c->w[3])};

    if (fcntl(slot(c->w[0]), F_GETLK, &fl) < 0)
        answer(c, -1);
    else if (fl.l_type == F_UNLCK)
        snprintf(c->out, TEXT_MAX, "free");
    else
        snprintf(c->out, TEXT_MAX, "%s-%ld-%ld", fl.l_type == F_RDLCK ? "read" : "write", (long)fl.l_start,
                 (long)fl.l_len);
}

static void do_make(Call *c)
{
    int fd = open(c->w[0], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    size_t len = c->count > 1 ? strlen(c->w[1]) : 0;

    answer(c, fd < 0 ? fd : write(fd, len ? c->w[1] : "", len) == (ssize_t)len ? 0 : -1);
    if (fd >= 0)
        close(fd);
}

static void do_text(Call *c)
{
    char buf[4096];
    int fd = open(c->w[0], O_RDONLY);

    answer_text(c, buf, fd < 0 ? fd : read(fd, buf, sizeof(buf)));
    if (fd >= 0)
        close(fd);
}

static void do_readlink(Call *c)
{
    char buf[4096];

    answer_text(c, buf, readlink(c->w[0], buf, sizeof(buf)));
}

static void do_getxattr(Call *c)
{
    char buf[4096];

    answer_text(c, buf, getxattr(c->w[0], c->w[1], buf, (size_t)arg(c, 2, sizeof(buf))));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sorted(Call *c, char **names, size_t count)
{
    size_t at = 1;

    qsort(names, count, sizeof(*names), by_name);
    strcpy(c->out, "'");
    for (size_t i = 0; i < count; i++)
        at +=
            (size_t)snprintf(c->out + at, at < TEXT_MAX ? TEXT_MAX - at : 0, "%s%s", i ? "," : "", names[i]);
    strcat(c->out, "'");
}

/* Names in a folder, without the two that are always there; they have to be there once each. */
static void do_list(Call *c)
{
    char *names[1024];
    size_t count = 0;
    unsigned dots = 0;
    DIR *dir = opendir(c->w[0]);
    struct dirent *entry;

    if (!dir) {
        answer(c, -1);
        return;
    }
    while ((entry = readdir(dir)) && count < 1024) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            dots++;
        else
            names[count++] = strdup(entry->d_name);
    }
    closedir(dir);
    sorted(c, names, count);
    if (dots != 2)
        snprintf(c->out, TEXT_MAX, "%u-dots", dots);
    while (count)
        free(names[--count]);
}

static void do_listxattr(Call *c)
{
    char buf[4096], *names[128];
    size_t count = 0;
    ssize_t len = listxattr(c->w[0], buf, sizeof(buf));

    if (len < 0) {
        answer(c, len);
        return;
    }
    for (ssize_t at = 0; at < len && count < 128; at += (ssize_t)strlen(buf + at) + 1)
        names[count++] = buf + at;
    sorted(c, names, count);
}

static char type_of(mode_t mode)
{
    return S_ISREG(mode)    ? 'f'
           : S_ISDIR(mode)  ? 'd'
           : S_ISLNK(mode)  ? 'l'
           : S_ISFIFO(mode) ? 'p'
           : S_ISCHR(mode)  ? 'c'
           : S_ISSOCK(mode) ? 's'
                            : '?';
}

/* "lstat PATH FORMAT": each letter of the format is a field, the answer has them with commas. */
static void stat_fields(Call *c, const struct stat *st, const char *format)
{
    size_t at = 0;

    for (const char *f = format; *f; f++) {
        char *to = c->out + at;
        size_t room = TEXT_MAX - at;
        const char *comma = f == format ? "" : ",";
        switch (*f) {
        case 't':
            at += (size_t)snprintf(to, room, "%s%c", comma, type_of(st->st_mode));
            break;
        case 'm':
            at += (size_t)snprintf(to, room, "%s%04o", comma, st->st_mode & 07777);
            break;
        case 'n':
            at += (size_t)snprintf(to, room, "%s%lu", comma, (unsigned long)st->st_nlink);
            break;
        case 'u':
            at += (size_t)snprintf(to, room, "%s%u", comma, st->st_uid);
            break;
        case 'g':
            at += (size_t)snprintf(to, room, "%s%u", comma, st->st_gid);
            break;
        case 's':
            at += (size_t)snprintf(to, room, "%s%ld", comma, (long)st->st_size);
            break;
        case 'a':
            at += (size_t)snprintf(to, room, "%s%ld.%09ld", comma, (long)st->st_atim.tv_sec,
                                   st->st_atim.tv_nsec);
            break;
        case 'M':
            at += (size_t)snprintf(to, room, "%s%ld.%09ld", comma, (long)st->st_mtim.tv_sec,
                                   st->st_mtim.tv_nsec);
            break;
        default:
            exit(2);
        }
    }
}

static void do_lstat(Call *c)
{
    struct stat st;

    if (lstat(c->w[0], &st) < 0)
        answer(c, -1);
    else
        stat_fields(c, &st, c->w[1]);
}

static void do_stat(Call *c)
{
    struct stat st;

    if (stat(c->w[0], &st) < 0)
        answer(c, -1);
    else
        stat_fields(c, &st, c->w[1]);
}

static void do_fstat(Call *c)
{
    struct stat st;

    if (fstat(slot(c->w[0]), &st) < 0)
        answer(c, -1);
    else
        stat_fields(c, &st, c->w[1]);
}

/* 1: both names are one file. */
static void do_same(Call *c)
{
    struct stat a, b;

    answer(c, lstat(c->w[0], &a) < 0 || lstat(c->w[1], &b) < 0
                  ? -1
                  : a.st_ino == b.st_ino && a.st_dev == b.st_dev);
}

/* 1: the second's time of the kind ("m", "c") is not before the first's. */
static void do_newer(Call *c)
{
    struct stat a, b;
    const struct timespec *x = *c->w[2] == 'm' ? &a.st_mtim : &a.st_ctim,
                          *y = *c->w[2] == 'm' ? &b.st_mtim : &b.st_ctim;

    if (lstat(c->w[0], &a) < 0 || lstat(c->w[1], &b) < 0)
        answer(c, -1);
    else
        answer(c, y->tv_sec > x->tv_sec || (y->tv_sec == x->tv_sec && y->tv_nsec >= x->tv_nsec));
}

static struct timespec moment(const char *word)
{
    struct timespec ts = {0};
    const char *dot = strchr(word, '.');

    if (!strcmp(word, "NOW") || !strcmp(word, "OMIT"))
        ts.tv_nsec = number(word);
    else {
        ts.tv_sec = strtol(word, NULL, 10);
        ts.tv_nsec = dot ? strtol(dot + 1, NULL, 10) : 0;
    }
    return ts;
}

static void do_utimens(Call *c)
{
    struct timespec ts[2] = {moment(c->w[1]), moment(c->w[2])};

    answer(c, utimensat(AT_FDCWD, c->w[0], ts, AT_SYMLINK_NOFOLLOW));
}

static void do_exec(Call *c)
{
    char *argv[] = {c->w[0], NULL};
    int status, pipes[2], error = 0;

    if (pipe2(pipes, O_CLOEXEC) < 0)
        exit(2);
    pid_t child = fork();
    if (!child) {
        execv(c->w[0], argv);
        error = errno;
        (void)!write(pipes[1], &error, sizeof(error));
        _exit(127);
    }
    close(pipes[1]);
    if (read(pipes[0], &error, sizeof(error)) < 0)
        exit(2);
    close(pipes[0]);
    waitpid(child, &status, 0);
    errno = error;
    answer(c, error ? -1 : WEXITSTATUS(status));
}

/* A file of this program's bytes that runs: it ends with status 7 when it has no words. */
static void do_program(Call *c)
{
    int from = open("/proc/self/exe", O_RDONLY), to = open(c->w[0], O_WRONLY | O_CREAT | O_TRUNC, 0755);
    static char buf[65536];
    ssize_t n, all = 0;

    while (from >= 0 && to >= 0 && (n = read(from, buf, sizeof(buf))) > 0)
        all += write(to, buf, (size_t)n);
    answer(c, from < 0 || to < 0 || close(to) < 0 || all == 0 ? -1 : 0);
    if (from >= 0)
        close(from);
}

/* Writes through a shared map, then reads by a call. */
static void do_map(Call *c)
{
    int fd = slot(c->w[0]);
    size_t at = (size_t)number(c->w[1]), len = strlen(c->w[2]);
    char *map = mmap(NULL, at + len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (map == MAP_FAILED) {
        answer(c, -1);
        return;
    }
    memcpy(map + at, c->w[2], len);
    answer(c, msync(map, at + len, MS_SYNC));
    munmap(map, at + len);
}

static void do_socket_or_node(Call *c)
{
    answer(c,
           mknod(c->w[0], (mode_t)number(c->w[1]), makedev((unsigned)arg(c, 2, 0), (unsigned)arg(c, 3, 0))));
}

static void do_many(Call *c)
{
    long count = number(c->w[1]), done = 0;
    char path[512];

    for (long i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s/%s%04ld", c->w[0], c->w[2], i);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (fd >= 0 && !close(fd))
            done++;
    }
    answer(c, done);
}

/* Reads a folder and removes each name as it comes; how many there were. */
static void do_sweep(Call *c)
{
    DIR *dir = opendir(c->w[0]);
    struct dirent *entry;
    long done = 0;

    if (!dir) {
        answer(c, -1);
        return;
    }
    while ((entry = readdir(dir)))
        done += entry->d_name[0] != '.' && !unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    answer(c, done);
}

static void do_umask(Call *c)
{
    umask((mode_t)number(c->w[0]));
    answer(c, 0);
}

static void do_statvfs(Call *c)
{
    struct statvfs st;

    answer(c, statvfs(c->w[0], &st) < 0 ? -1 : st.f_bsize > 0 && st.f_namemax == 255);
}

static void do_copy(Call *c)
{
    off_t from = number(c->w[2]), to = number(c->w[3]);

    answer(c, copy_file_range(slot(c->w[0]), &from, slot(c->w[1]), &to, (size_t)number(c->w[4]), 0));
}

static void do_linkfd(Call *c)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", slot(c->w[0]));
    answer(c, linkat(AT_FDCWD, path, AT_FDCWD, c->w[1], AT_SYMLINK_FOLLOW));
}

static void do_rename2(Call *c)
{
    answer(c, syscall(SYS_renameat2, AT_FDCWD, c->w[0], AT_FDCWD, c->w[1], (unsigned)number(c->w[2])));
}

#define SIMPLE(name, expression)                                                                             \
    static void do_##name(Call *c)                                                                           \
    {                                                                                                        \
        answer(c, expression);                                                                               \
    }
SIMPLE(mkdir, mkdir(c->w[0], (mode_t)number(c->w[1])))
SIMPLE(rmdir, rmdir(c->w[0]))
SIMPLE(unlink, unlink(c->w[0]))
SIMPLE(mkfifo, mkfifo(c->w[0], (mode_t)number(c->w[1])))
SIMPLE(symlink, symlink(c->w[0], c->w[1]))
SIMPLE(link, link(c->w[0], c->w[1]))
SIMPLE(rename, rename(c->w[0], c->w[1]))
SIMPLE(chmod, chmod(c->w[0], (mode_t)number(c->w[1])))
SIMPLE(chown, chown(c->w[0], (uid_t)number(c->w[1]), (gid_t)number(c->w[2])))
SIMPLE(lchown, lchown(c->w[0], (uid_t)number(c->w[1]), (gid_t)number(c->w[2])))
SIMPLE(truncate, truncate(c->w[0], number(c->w[1])))
SIMPLE(access, faccessat(AT_FDCWD, c->w[0], (int)number(c->w[1]), AT_EACCESS))
SIMPLE(setxattr, setxattr(c->w[0], c->w[1], c->w[2], strlen(c->w[2]), (int)arg(c, 3, 0)))
SIMPLE(removexattr, removexattr(c->w[0], c->w[1]))
SIMPLE(chdir, chdir(c->w[0]))

static const struct {
    const char *name;
    void (*run)(Call *c);
} calls[] = {
#define C(name)                                                                                              \
    {                                                                                                        \
#name, do_##name                                                                                     \
    }
    C(open),        C(hold),      C(close),    C(read),
    C(pread),       C(zeroes),    C(write),    C(pwrite),
    C(seek),        C(ftruncate), C(fsync),    C(fchmod),
    C(fallocate),   C(flock),     C(lock),     C(getlock),
    C(make),        C(text),      C(readlink), C(getxattr),
    C(list),        C(listxattr), C(lstat),    C(stat),
    C(fstat),       C(same),      C(newer),    C(utimens),
    C(exec),        C(program),   C(map),      {"mknod", do_socket_or_node},
    C(many),        C(sweep),     C(umask),    C(statvfs),
    C(copy),        C(linkfd),    C(rename2),  C(mkdir),
    C(rmdir),       C(unlink),    C(mkfifo),   C(symlink),
    C(link),        C(rename),    C(chmod),    C(chown),
    C(lchown),      C(truncate),  C(access),   C(setxattr),
    C(removexattr), C(chdir),
};

/* ---- lines ---- */

/* The words of a line, in place; quotes keep spaces. */
static int split(char *line, char **words, int max)
{
    int count = 0;

    while (*line && count < max) {
        while (*line == ' ')
            line++;
        if (!*line)
            break;
        char end = *line == '\'' ? '\'' : ' ';
        if (end == '\'')
            line++;
        words[count++] = line;
        while (*line && *line != end)
            line++;
        if (*line)
            *line++ = 0;
    }
    return count;
}

/* "@255" and "@P" become what they stand for, also at the end of "folder/@255". */
static char *unfold(const char *word)
{
    const char *at = strchr(word, '@');
    char *text = malloc(strlen(word) + 8192), *to;

    if (!strcmp(word, "-"))
        word = "";
    strcpy(text, word);
    if (!at)
        return text;
    to = text + (at - word);
    if (at[1] == 'P') {
        for (int i = 0; i < 2100; i++)
            to = stpcpy(to, "./");
        strcpy(to, at + 2);
        return text;
    }
    char *rest;
    long len = strtol(at + 1, &rest, 10);
    memset(to, 'n', (size_t)len);
    strcpy(to + len, rest);
    return text;
}

static void as_user(long uid)
{
    if (setgroups(0, NULL) || setegid((gid_t)uid) || seteuid((uid_t)uid))
        exit(2);
}

static void as_root(void)
{
    if (seteuid(0) || setegid(0))
        exit(2);
}

static bool run_call(char **words, int count, char *out)
{
    Call c = {.count = count - 1, .out = out};

    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
        if (strcmp(calls[i].name, words[0]))
            continue;
        for (int j = 1; j < count; j++)
            c.w[j - 1] = unfold(words[j]);
        errno = 0;
        calls[i].run(&c);
        for (int j = 1; j < count; j++)
            free(c.w[j - 1]);
        return true;
    }
    return false;
}

/* The call in another process, which has nothing but what the call opens. */
static void run_apart(char **words, int count, char *out)
{
    int pipes[2];
    ssize_t got;

    if (pipe(pipes) < 0)
        exit(2);
    pid_t child = fork();
    if (!child) {
        (void)!(run_call(words, count, out) && write(pipes[1], out, strlen(out)) > 0);
        _exit(0);
    }
    close(pipes[1]);
    got = read(pipes[0], out, TEXT_MAX - 1);
    out[got > 0 ? got : 0] = 0;
    close(pipes[0]);
    waitpid(child, NULL, 0);
}

/* Whether the line's answer came. */
static bool run_line(const char *section, const char *line, unsigned kind)
{
    static char out[TEXT_MAX + 2];
    char text[512], *words[WORDS_MAX], **at = words;
    long uid = 0;
    bool apart = false;

    snprintf(text, sizeof(text), "%s", line);
    char *wanted = strstr(text, " = ");
    if (!wanted) {
        printf("posix: no answer in: %s\n", line);
        exit(2);
    }
    *wanted = 0;
    wanted += 3;
    for (char *other; (other = strstr(wanted, " | ")); kind--) {
        *other = 0;
        if (!kind)
            break;
        wanted = other + 3;
    }
    int count = split(text, words, WORDS_MAX);
    if (count > 2 && !strcmp(at[0], "as")) {
        uid = number(at[1]);
        at += 2, count -= 2;
    }
    if (count > 1 && !strcmp(at[0], "~")) {
        apart = true;
        at++, count--;
    }
    if (uid)
        as_user(uid);
    out[0] = 0;
    bool known = true;
    if (apart)
        run_apart(at, count, out);
    else
        known = run_call(at, count, out);
    if (uid)
        as_root();
    if (known && !strcmp(out, wanted))
        return true;
    printf("posix: %s: %s: saw %.300s\n", section, line, known ? out : "no such call");
    return false;
}

static int check(const char *folder, unsigned kind)
{
    unsigned good = 0, bad = 0;

    for (size_t s = 0; s < sizeof(sections) / sizeof(*sections); s++) {
        /* Each section has a folder of its own. */
        if (chdir(folder) < 0 || mkdir(sections[s].name, 0755) < 0 || chdir(sections[s].name) < 0) {
            printf("posix: %s: no folder: %s\n", sections[s].name, strerror(errno));
            return 1;
        }
        umask(022);
        for (int i = 0; i < SLOTS; i++)
            slots[i] = -1;
        for (const char *const *line = sections[s].lines; *line; line++) {
            bool not_9p = !strncmp(*line, "!9 ", 3);
            if (!not_9p || kind != NINE)
                *(run_line(sections[s].name, *line + (not_9p ? 3 : 0), kind) ? &good : &bad) += 1;
        }
        for (int i = 0; i < SLOTS; i++)
            if (slots[i] >= 0)
                close(slots[i]);
    }
    printf("posix: %u as they should be, %u not\n", good, bad);
    return bad != 0;
}

int main(int argc, char **argv)
{
    static const char *const kinds[] = {"reference", "share", "direct", "nine"};

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 1)
        return 7;
    for (unsigned i = 0; argc == 3 && i < sizeof(kinds) / sizeof(*kinds); i++)
        if (!strcmp(argv[2], kinds[i]))
            return check(argv[1], i);
    fprintf(stderr, "posix FOLDER reference|share|direct|nine\n");
    return 2;
}
