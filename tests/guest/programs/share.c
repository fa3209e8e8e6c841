/*
 * The guest half of test_virtiofs.py, linked statically: what a shell cannot ask of a file system. The host
 * puts it into the shared folder, from where the guest runs it.
 *
 *   share CASE PATH      PATH is a folder on the share; prints "CASE: ok", or what was wrong, with status 1
 *   share hold PATH      locks the file, says so, and keeps it until standard input ends
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *doing = "share";

static void fail(const char *what, long saw)
{
    printf("%s: %s: saw %ld (%s)\n", doing, what, saw, strerror(errno));
    exit(1);
}

#define CHECK(condition, saw)                                                                                \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            fail(#condition, (long)(saw));                                                                   \
    } while (0)
/* A call that must work; its value. */
#define DO(call)                                                                                             \
    ({                                                                                                       \
        long done = (long)(call);                                                                            \
        if (done < 0)                                                                                        \
            fail(#call, done);                                                                               \
        (int)done;                                                                                           \
    })
#define FAILS(call, error)                                                                                   \
    do {                                                                                                     \
        errno = 0;                                                                                           \
        if ((call) >= 0 || errno != (error))                                                                 \
            fail(#call " was to fail with " #error, errno);                                                  \
    } while (0)

static int make(const char *name, const char *text)
{
    int fd = DO(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644));

    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text), 0);
    return fd;
}

/* ---- cases ---- */

static void xattr(void)
{
    char value[256], list[256];
    char *big = calloc(1, 60000);

    close(make("x", ""));
    FAILS(getxattr("x", "user.a", value, sizeof(value)), ENODATA);
    DO(setxattr("x", "user.a", "one", 3, XATTR_CREATE));
    FAILS(setxattr("x", "user.a", "one", 3, XATTR_CREATE), EEXIST);
    FAILS(setxattr("x", "user.b", "two", 3, XATTR_REPLACE), ENODATA);
    DO(setxattr("x", "trusted.t", "three", 5, 0));
    CHECK(DO(getxattr("x", "user.a", value, sizeof(value))) == 3 && !memcmp(value, "one", 3), 0);
    FAILS(getxattr("x", "user.a", value, 2), ERANGE);
    CHECK(DO(getxattr("x", "trusted.t", NULL, 0)) == 5, 0);
    CHECK(DO(listxattr("x", list, sizeof(list))) == 17, 0);
    FAILS(setxattr("x", "user.espalier.owner", "0:0", 3, 0), EPERM);
    DO(removexattr("x", "user.a"));
    FAILS(removexattr("x", "user.a"), ENODATA);
    /* Too large for the host's file system, perhaps, but not for anything in between. */
    CHECK(!setxattr("x", "user.big", big, 60000, 0) || errno == ENOSPC || errno == E2BIG, errno);
    free(big);
}

static bool lock(int fd, int command, int type, int start, int len)
{
    struct flock fl = {.l_type = (short)type, .l_start = start, .l_len = len};

    return !fcntl(fd, command, &fl);
}

/* A process that tries to lock what its parent has, then waits for it, and says when it has it. */
static pid_t start_rival(int tell, bool whole_file)
{
    pid_t child = fork();

    if (child)
        return child;
    int fd = DO(open("l", O_RDWR));
    if (whole_file) {
        FAILS(flock(fd, LOCK_EX | LOCK_NB), EAGAIN);
        DO(write(tell, "t", 1));
        DO(flock(fd, LOCK_EX));
    } else {
        CHECK(!lock(fd, F_SETLK, F_RDLCK, 5, 1) && errno == EAGAIN, errno);
        CHECK(lock(fd, F_SETLK, F_RDLCK, 20, 1), errno);
        struct flock fl = {.l_type = F_RDLCK, .l_start = 5, .l_len = 1};
        DO(fcntl(fd, F_GETLK, &fl));
        CHECK(fl.l_type == F_WRLCK && fl.l_start == 0 && fl.l_len == 10, fl.l_start);
        DO(write(tell, "t", 1));
        CHECK(lock(fd, F_SETLKW, F_RDLCK, 5, 1), errno);
    }
    DO(write(tell, "g", 1));
    _exit(0);
}

static void rivals(bool whole_file)
{
    int tell[2], fd = make("l", "text"), status;
    char c;

    DO(pipe(tell));
    if (whole_file)
        DO(flock(fd, LOCK_EX));
    else
        CHECK(lock(fd, F_SETLK, F_WRLCK, 0, 10), errno);
    pid_t child = start_rival(tell[1], whole_file);
    CHECK(read(tell[0], &c, 1) == 1 && c == 't', c);
    /* While it waits, others work. */
    for (int i = 0; i < 50; i++)
        close(make("l2", "text"));
    DO(fcntl(tell[0], F_SETFL, O_NONBLOCK));
    FAILS(read(tell[0], &c, 1), EAGAIN);
    DO(fcntl(tell[0], F_SETFL, 0));
    if (whole_file)
        DO(flock(fd, LOCK_UN));
    else
        CHECK(lock(fd, F_SETLK, F_UNLCK, 0, 10), errno);
    CHECK(read(tell[0], &c, 1) == 1 && c == 'g', c);
    CHECK(waitpid(child, &status, 0) == child && !status, status);
    close(fd);
}

static void locks(void)
{
    rivals(false);
    rivals(true);
    /* Closing any descriptor of a file ends the process's locks on it. */
    int fd = make("l", "text"), other = DO(open("l", O_RDWR)), status;
    CHECK(lock(fd, F_SETLK, F_WRLCK, 0, 0), errno);
    close(other);
    pid_t child = fork();
    if (!child)
        _exit(!lock(DO(open("l", O_RDWR)), F_SETLK, F_WRLCK, 0, 0));
    CHECK(waitpid(child, &status, 0) == child && !status, status);
    close(fd);
}

static void maps(void)
{
    int fd = make("m", "0123456789");

    DO(ftruncate(fd, 3 * 4096));
    char *map = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED, errno);
    CHECK(!memcmp(map, "0123456789", 10) && !map[4096], map[0]);
    memcpy(map + 5000, "mapped", 6);
    DO(msync(map, 3 * 4096, MS_SYNC));
    char text[6];
    CHECK(pread(fd, text, 6, 5000) == 6 && !memcmp(text, "mapped", 6), text[0]);
    DO(munmap(map, 3 * 4096));
    close(fd);
}

static void renames(void)
{
    struct stat a, b;

    close(make("a", "a"));
    close(make("b", "b"));
    DO(stat("a", &a));
    FAILS(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
    DO(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE));
    DO(stat("b", &b));
    CHECK(a.st_ino == b.st_ino, b.st_ino);
    int fd = DO(open("a", O_RDONLY));
    DO(rename("b", "a"));
    FAILS(access("b", F_OK), ENOENT);
    char c;
    CHECK(read(fd, &c, 1) == 1 && c == 'b', c); /* open, though its name is another file's */
    DO(fstat(fd, &b));
    CHECK(b.st_nlink == 0, b.st_nlink);
    close(fd);
    DO(mkdir("d", 0755));
    DO(mkdir("d/e", 0755));
    FAILS(rename("d", "d/e/f"), EINVAL);
    DO(rename("a", "d/e/a"));
    FAILS(rmdir("d"), ENOTEMPTY);
    DO(link("d/e/a", "a2"));
    DO(stat("a2", &b));
    CHECK(b.st_nlink == 2 && b.st_ino == a.st_ino, b.st_nlink);
    DO(unlink("d/e/a"));
    DO(rmdir("d/e"));
    DO(rmdir("d"));
    DO(symlink("/somewhere/else", "link"));
    char target[64];
    CHECK(readlink("link", target, sizeof(target)) == 15, 0);
}

static void data(void)
{
    int from = make("from", ""), to = make("to", "");
    char *text = malloc(1 << 20), *back = malloc(1 << 20);
    loff_t in = 0, out = 0;

    for (int i = 0; i < 1 << 20; i++)
        text[i] = (char)(i * 31 + (i >> 8));
    for (int i = 0; i < 3; i++)
        CHECK(pwrite(from, text, 1 << 20, (off_t)i * 2 << 20) == 1 << 20, i);
    for (off_t left = 5 << 20; left;) {
        ssize_t done = DO(copy_file_range(from, &in, to, &out, (size_t)left, 0));
        CHECK(done > 0, done);
        left -= done;
    }
    CHECK(pread(to, back, 1 << 20, 4 << 20) == 1 << 20 && !memcmp(text, back, 1 << 20), 0);
    CHECK(pread(to, back, 16, 1 << 20) == 16 && !back[0] && !back[15], back[0]);
    CHECK(lseek(from, 0, SEEK_HOLE) == 1 << 20, lseek(from, 0, SEEK_HOLE));
    CHECK(lseek(from, 1 << 20, SEEK_DATA) == 2 << 20, lseek(from, 1 << 20, SEEK_DATA));
    DO(fallocate(to, 0, 0, 6 << 20));
    DO(fallocate(to, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192));
    CHECK(pread(to, back, 1, 5000) == 1 && !back[0], back[0]);
    struct stat st;
    DO(fstat(to, &st));
    CHECK(st.st_size == 6 << 20, st.st_size);
    DO(ftruncate(to, 10));
    DO(fsync(to));
    /* Appending by two at once loses nothing. */
    int one = DO(open("log", O_WRONLY | O_CREAT | O_APPEND, 0644)),
        two = DO(open("log", O_WRONLY | O_APPEND));
    for (int i = 0; i < 100; i++)
        CHECK(write(i % 2 ? one : two, "0123456789", 10) == 10, i);
    DO(fstat(one, &st));
    CHECK(st.st_size == 1000, st.st_size);
    int nameless = open(".", O_TMPFILE | O_RDWR, 0600);
    CHECK(nameless >= 0 || errno == EOPNOTSUPP, errno); /* kernels before 6.1 do not ask for it */
    CHECK(syncfs(one) == 0, errno);
    free(text);
    free(back);
}

static unsigned count(const char *path)
{
    DIR *dir = opendir(path);
    unsigned n = 0;

    CHECK(dir, 0);
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void many(void)
{
    char name[32];

    DO(mkdir("many", 0755));
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "many/file-number-%d", i);
        close(DO(open(name, O_WRONLY | O_CREAT | O_EXCL, 0600)));
    }
    CHECK(count("many") == 2000, count("many"));
    DIR *dir = opendir("many");
    unsigned removed = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            removed += !unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    CHECK(removed == 2000, removed);
    CHECK(count("many") == 0, count("many"));
    DO(rmdir("many"));
}

static void owner_is(const char *name, uid_t uid, gid_t gid, mode_t mode)
{
    struct stat st;

    DO(lstat(name, &st));
    CHECK(st.st_uid == uid, st.st_uid);
    CHECK(st.st_gid == gid, st.st_gid);
    CHECK((st.st_mode & 07777) == mode, st.st_mode);
}

static void owners(void)
{
    umask(027);
    close(DO(open("roots", O_WRONLY | O_CREAT, 0666)));
    owner_is("roots", 0, 0, 0640);
    owner_is(".", 1000, 1000, 0755);
    DO(chown("roots", 12, 34));
    DO(chmod("roots", 04711));
    owner_is("roots", 12, 34, 04711);
    DO(mkdir("group", 0755));
    DO(chown("group", 1000, 77));
    DO(chmod("group", 02775));
    pid_t child = fork();
    int status;
    if (!child) {
        DO(setgid(1000));
        DO(setuid(1000));
        close(DO(open("mine", O_WRONLY | O_CREAT, 0666)));
        owner_is("mine", 1000, 1000, 0640);
        DO(chmod("mine", 0444));
        FAILS(open("mine", O_WRONLY), EACCES);
        FAILS(open("roots", O_RDONLY), EACCES);
        FAILS(chown("mine", 0, 0), EPERM);
        close(DO(open("group/child", O_WRONLY | O_CREAT, 0666)));
        owner_is("group/child", 1000, 77, 0640);
        DO(mkdir("group/folder", 0777));
        owner_is("group/folder", 1000, 77, 02750);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && !status, status);
    /* A write by somebody else than root ends setuid. */
    DO(chmod("mine", 04766));
    child = fork();
    if (!child) {
        DO(setuid(1000));
        int fd = DO(open("mine", O_WRONLY));
        CHECK(write(fd, "x", 1) == 1, 0);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && !status, status);
    owner_is("mine", 1000, 1000, 0766);
    DO(mknod("fifo", S_IFIFO | 0600, 0));
    FAILS(mknod("disk", S_IFBLK | 0600, 0x800), EPERM);
    DO(setxattr("roots", "security.capability", "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, 0));
}

static void readonly(void)
{
    struct stat st;

    DO(stat("there", &st));
    FAILS(open("new", O_WRONLY | O_CREAT, 0644), EROFS);
    FAILS(open("there", O_RDWR), EROFS);
    FAILS(mkdir("folder", 0755), EROFS);
    FAILS(unlink("there"), EROFS);
    FAILS(rename("there", "here"), EROFS);
    FAILS(chmod("there", 0600), EROFS);
    FAILS(setxattr("there", "user.a", "b", 1, 0), EROFS);
    FAILS(truncate("there", 0), EROFS);
}

/* Special files of the host are seen, and not opened there. */
static void special(void)
{
    struct stat st;

    DO(lstat("pipe", &st));
    CHECK(S_ISFIFO(st.st_mode), st.st_mode);
    DO(lstat("escape", &st));
    CHECK(S_ISLNK(st.st_mode), st.st_mode);
    FAILS(open("escape", O_RDONLY), ENOENT); /* the link is the guest's to follow, in the guest */
    if (!lstat("device", &st)) {
        CHECK(S_ISCHR(st.st_mode), st.st_mode);
        FAILS(open("device", O_RDONLY), ENXIO);
    }
}

static void hold(const char *path)
{
    int fd = DO(open(path, O_RDWR));
    char c;

    CHECK(lock(fd, F_SETLKW, F_WRLCK, 0, 0), errno);
    printf("hold: locked\n");
    fflush(stdout);
    while (read(0, &c, 1) == 1 && c != 'q')
        ;
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"xattr", xattr}, {"locks", locks},   {"maps", maps},       {"renames", renames},   {"data", data},
    {"many", many},   {"owners", owners}, {"special", special}, {"readonly", readonly},
};

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    alarm(600);
    doing = argv[1];
    if (!strcmp(doing, "hold")) {
        hold(argv[2]);
        return 0;
    }
    DO(chdir(argv[2]));
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        if (strcmp(cases[i].name, doing))
            continue;
        cases[i].run();
        printf("%s: ok\n", doing);
        return 0;
    }
    return 2;
}
