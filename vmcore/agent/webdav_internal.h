/*
 * The inside of the WebDAV port: what its files share.
 *
 *   webdav.c        records, clients, and the server
 *   webdav_get.c    what is read from files
 *   webdav_lock.c   locks that lock nothing
 *   webdav_file.c   the folder, and what the clipboard offers beside it (exports.h)
 *
 * Threads: the server's.
 */
#pragma once

#include <sys/stat.h>

#include "agent/webdav_late.h"
#include "agent/webdav.h"

/* Answers GET or HEAD of a path that begins with a slash. */
void vmc_webdav_get(SoupServerMessage *message, GFile *folder, const char *path);

/* Answers LOCK, UNLOCK and PROPPATCH; false: it is another method. */
bool vmc_webdav_lock(SoupServerMessage *message, GFile *folder, const char *path);

/* Opens a regular file of the folder for reading; a descriptor that is the caller's, or a negative errno
 * value: -EISDIR for a directory. */
int vmc_webdav_open(GFile *file, struct stat *st);
