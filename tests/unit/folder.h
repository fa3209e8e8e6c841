/* For tests that work in a folder: to be rid of it, and how many descriptors this program has open. */
#pragma once

#include <ftw.h>
#include <glib.h>
#include <stdio.h>
#include <sys/stat.h>

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    return remove(path);
}

/* With everything in it; links are not followed. */
static inline void remove_folder(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline unsigned open_descriptors(void)
{
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    unsigned n = 0;

    while (g_dir_read_name(dir))
        n++;
    g_dir_close(dir);
    return n;
}
