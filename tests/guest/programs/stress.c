/*
 * Processes that each make, write, cut, move, link and remove files of their own, at once, and know at every
 * time what has to be in them; linked statically, run in a guest on a shared folder (long_fs.py).
 *
 *   stress FOLDER PROCESSES STEPS
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILES   24
#define LARGEST 40000

typedef struct Model {
    bool there;
    char name[32];
    size_t len;
    unsigned char data[LARGEST];
} Model;

static uint64_t state;

static unsigned chance(unsigned below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state % below);
}

static void wrong(const Model *m, const char *what)
{
    printf("stress: %s: %s: %s\n", m->name, what, strerror(errno));
    exit(1);
}

static void step_write(Model *m)
{
    size_t at = chance(LARGEST / 2), len = 1 + chance(LARGEST / 2 - 1);
    int fd = open(m->name, O_WRONLY | O_CREAT, 0644);

    if (fd < 0)
        wrong(m, "cannot be opened");
    if (!m->there)
        m->len = 0;
    if (at > m->len)
        memset(m->data + m->len, 0, at - m->len);
    for (size_t i = 0; i < len; i++)
        m->data[at + i] = (unsigned char)chance(256);
    m->there = true;
    if (at + len > m->len)
        m->len = at + len;
    if (pwrite(fd, m->data + at, len, (off_t)at) != (ssize_t)len)
        wrong(m, "cannot be written");
    if (!chance(8) && fsync(fd) < 0)
        wrong(m, "cannot be synced");
    close(fd);
}

static void step_cut(Model *m)
{
    size_t len = chance(LARGEST);

    if (!m->there)
        return;
    if (truncate(m->name, (off_t)len) < 0)
        wrong(m, "cannot be cut");
    if (len > m->len)
        memset(m->data + m->len, 0, len - m->len);
    m->len = len;
}

static void step_verify(Model *m)
{
    static unsigned char seen[LARGEST + 1];
    struct stat st;
    int fd = open(m->name, O_RDONLY);

    if (fd < 0) {
        if (m->there || errno != ENOENT)
            wrong(m, "is not there");
        return;
    }
    if (!m->there)
        wrong(m, "is there");
    if (fstat(fd, &st) < 0 || (size_t)st.st_size != m->len)
        wrong(m, "has another size");
    ssize_t got = read(fd, seen, sizeof(seen));
    if (got != (ssize_t)m->len || memcmp(seen, m->data, m->len))
        wrong(m, "has other bytes");
    close(fd);
}

static void step_move(Model *m, unsigned serial)
{
    char name[32];

    if (!m->there)
        return;
    snprintf(name, sizeof(name), "moved-%u", serial);
    if (chance(2) ? rename(m->name, name) : (link(m->name, name) || unlink(m->name)))
        wrong(m, "cannot be moved");
    if (access(m->name, F_OK) == 0 || errno != ENOENT)
        wrong(m, "is still there after it was moved");
    strcpy(m->name, name);
}

static void step_remove(Model *m)
{
    if (m->there && unlink(m->name) < 0)
        wrong(m, "cannot be removed");
    m->there = false;
}

/* A folder is as long as what is in it. */
static void count_names(const Model *models)
{
    DIR *dir = opendir(".");
    struct dirent *entry;
    unsigned seen = 0, there = 0;

    while (dir && (entry = readdir(dir)))
        seen += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    for (unsigned i = 0; i < FILES; i++)
        there += models[i].there;
    if (seen != there) {
        printf("stress: %u names where %u files are\n", seen, there);
        exit(1);
    }
}

static int worker(const char *folder, unsigned number, unsigned steps)
{
    Model *models = calloc(FILES, sizeof(*models));
    char name[32];

    snprintf(name, sizeof(name), "worker-%u", number);
    if (chdir(folder) < 0 || mkdir(name, 0755) < 0 || chdir(name) < 0)
        wrong(models, name);
    state = 88172645463325252u + number * 7919u;
    for (unsigned i = 0; i < FILES; i++)
        snprintf(models[i].name, sizeof(models[i].name), "file-%u", i);
    for (unsigned i = 0; i < steps; i++) {
        Model *m = &models[chance(FILES)];
        unsigned what = chance(16);
        if (what < 6)
            step_write(m);
        else if (what < 8)
            step_cut(m);
        else if (what < 12)
            step_verify(m);
        else if (what < 14)
            step_move(m, i);
        else if (what < 15)
            step_remove(m);
        else
            count_names(models);
    }
    for (unsigned i = 0; i < FILES; i++)
        step_verify(&models[i]);
    count_names(models);
    return 0;
}

static int stress(const char *folder, unsigned processes, unsigned steps)
{
    int status, failed = 0;

    for (unsigned i = 0; i < processes; i++)
        if (!fork())
            exit(worker(folder, i, steps));
    while (wait(&status) > 0)
        failed |= status != 0;
    printf("stress: %s\n", failed ? "failed" : "ok");
    return failed;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 4)
        return stress(argv[1], (unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
    fprintf(stderr, "stress FOLDER PROCESSES STEPS\n");
    return 2;
}
