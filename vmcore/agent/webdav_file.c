/*
 * The folder that the WebDAV port serves, as a GFile for libphodav.
 *
 * libphodav makes paths of what the guest says and gives them to GIO, which follows symbolic links. This file
 * system has none: each path is resolved below the folder's descriptor by vmc_walk_path (fs/walk.c: openat2
 * with RESOLVE_BENEATH|NO_SYMLINKS, or component by component), what comes of it is looked at, and only
 * regular files and directories exist. Everything else (links, devices, FIFOs, sockets) is not there, neither
 * to be listed nor to be deleted. What is to be read is opened through its descriptor, so that nothing can be
 * put in its place between the look and the opening; files are made anew under a name of ours and renamed.
 *
 * One directory at the top is not of the folder: VMC_EXPORTS_NAME, with what the clipboard offers
 * (exports.h). It is there while something is offered, hides what else has that name, and nothing below it is
 * written to.
 *
 * An object keeps the descriptor by which it gave its path ("/proc/self/fd/N") for as long as it lives.
 *
 * Threads: an object on one thread at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/webdav_internal.h"
#include "base/i18n.h"
#include "fs/internal.h"
#include "vmcore/error.h"

/* No content type: finding it out would open what is there. It is guessed by name. */
#define ATTRIBUTES                                                                                           \
    "standard::name,standard::type,standard::is-hidden,standard::is-symlink,standard::size,"                 \
    "standard::display-name,time::*,access::*,etag::*"

typedef struct Root {
    gatomicrefcount refs;
    int fd;
    bool readonly;
    VmcExports *exports; /* or NULL */
    VmcWalk walk;
} Root;

#define DAV_TYPE_FILE (dav_file_get_type())
G_DECLARE_FINAL_TYPE(DavFile, dav_file, DAV, FILE, GObject)

struct _DavFile {
    GObject parent_instance;
    Root *root;
    char *path; /* below the folder, without slashes at its ends; "": the folder itself */
    int fd;     /* what get_path has told, or -1 */
};

static void dav_file_iface_init(GFileIface *iface);

G_DEFINE_TYPE_WITH_CODE(DavFile, dav_file, G_TYPE_OBJECT,
                        G_IMPLEMENT_INTERFACE(G_TYPE_FILE, dav_file_iface_init))

/* ---- names to descriptors ---- */

static bool fail(GError **error, int err)
{
    g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(err), "%s", g_strerror(err));
    return false;
}

/* The part of a path that is below the directory of exports; NULL: it is of the folder. */
static const char *export_path(const Root *root, const char *path)
{
    size_t len = strlen(VMC_EXPORTS_NAME);

    if (!root->exports || strncmp(path, VMC_EXPORTS_NAME, len) != 0 || (path[len] && path[len] != '/'))
        return NULL;
    return path[len] ? path + len + 1 : path + len;
}

/* -EISDIR: a directory that only exports have, where there is nothing to open. */
static int walk(const Root *root, const char *path)
{
    const char *below = export_path(root, path);

    if (strlen(path) >= PATH_MAX) /* libphodav goes down one call for each directory */
        return -ENAMETOOLONG;
    if (below)
        return vmc_exports_open(root->exports, below);
    int fd =
        *path ? vmc_walk_path((VmcWalk *)&root->walk, root->fd, path) : fcntl(root->fd, F_DUPFD_CLOEXEC, 0);

    return fd < 0 && !*path ? -errno : fd;
}

/* Opens with O_PATH; -1 with `error` if there is no regular file or directory of that name. */
static int reach(DavFile *self, struct stat *st, GError **error)
{
    int fd = walk(self->root, self->path);

    if (fd < 0) {
        fail(error, fd == -ELOOP || fd == -ENOTDIR || fd == -EINVAL ? ENOENT : -fd);
        return -1;
    }
    if (fstat(fd, st) == 0 && (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)))
        return fd;
    close(fd);
    fail(error, ENOENT);
    return -1;
}

static bool may_write(DavFile *self, GError **error)
{
    return (!self->root->readonly && !export_path(self->root, self->path)) || fail(error, EROFS);
}

/* The directory that the file is or is to be in, and its name there, for who changes something. */
static int reach_parent(DavFile *self, char **name, GError **error)
{
    const char *slash = strrchr(self->path, '/');
    g_autofree char *folder = slash ? g_strndup(self->path, (gsize)(slash - self->path)) : g_strdup("");
    const char *last = slash ? slash + 1 : self->path;

    if (!may_write(self, error))
        return -1;
    if (!vmc_walk_name_valid(last)) {
        fail(error, EACCES);
        return -1;
    }
    int fd = walk(self->root, folder);
    if (fd < 0)
        fail(error, -fd);
    else
        *name = g_strdup(last);
    return MAX(fd, -1);
}

/* ---- the object ---- */

static void root_unref(Root *root)
{
    if (!g_atomic_ref_count_dec(&root->refs))
        return;
    close(root->fd);
    vmc_exports_unref(root->exports);
    g_free(root);
}

static GFile *file_new(Root *root, char *path)
{
    DavFile *self = g_object_new(DAV_TYPE_FILE, NULL);

    g_atomic_ref_count_inc(&root->refs);
    self->root = root;
    self->path = path;
    return G_FILE(self);
}

static void dav_file_finalize(GObject *object)
{
    DavFile *self = DAV_FILE(object);

    if (self->fd >= 0)
        close(self->fd);
    root_unref(self->root);
    g_free(self->path);
    G_OBJECT_CLASS(dav_file_parent_class)->finalize(object);
}

static void dav_file_class_init(DavFileClass *class)
{
    G_OBJECT_CLASS(class)->finalize = dav_file_finalize;
}

static void dav_file_init(DavFile *self)
{
    self->fd = -1;
}

/* ---- names ---- */

static GFile *dav_dup(GFile *file)
{
    return file_new(DAV_FILE(file)->root, g_strdup(DAV_FILE(file)->path));
}

static guint dav_hash(GFile *file)
{
    return g_str_hash(DAV_FILE(file)->path);
}

static gboolean dav_equal(GFile *a, GFile *b)
{
    return DAV_FILE(a)->root == DAV_FILE(b)->root && strcmp(DAV_FILE(a)->path, DAV_FILE(b)->path) == 0;
}

static gboolean dav_is_native(GFile *file)
{
    return FALSE;
}

static gboolean dav_has_uri_scheme(GFile *file, const char *scheme)
{
    return FALSE;
}

static char *dav_get_uri_scheme(GFile *file)
{
    return g_strdup("espalier-webdav");
}

static char *dav_get_basename(GFile *file)
{
    const char *slash = strrchr(DAV_FILE(file)->path, '/');

    return g_strdup(slash ? slash + 1 : DAV_FILE(file)->path);
}

/* Of a file that is there, a path that means it whatever happens to its name. */
static char *dav_get_path(GFile *file)
{
    DavFile *self = DAV_FILE(file);
    char path[VMC_FD_PATH];
    struct stat st;

    if (self->fd < 0)
        self->fd = reach(self, &st, NULL);
    if (self->fd < 0)
        return NULL;
    vmc_fd_path(self->fd, path);
    return g_strdup(path);
}

static char *dav_get_uri(GFile *file)
{
    g_autofree char *escaped = g_uri_escape_string(DAV_FILE(file)->path, "/", FALSE);

    return g_strconcat("espalier-webdav:///", escaped, NULL);
}

static GFile *dav_get_parent(GFile *file)
{
    DavFile *self = DAV_FILE(file);
    const char *slash = strrchr(self->path, '/');

    if (!*self->path)
        return NULL;
    return file_new(self->root, slash ? g_strndup(self->path, (gsize)(slash - self->path)) : g_strdup(""));
}

static char *dav_get_relative_path(GFile *parent, GFile *file)
{
    const char *above = DAV_FILE(parent)->path, *below = DAV_FILE(file)->path;
    size_t len = strlen(above);

    if (!len)
        return *below ? g_strdup(below) : NULL;
    return strncmp(above, below, len) == 0 && below[len] == '/' ? g_strdup(below + len + 1) : NULL;
}

static gboolean dav_prefix_matches(GFile *prefix, GFile *file)
{
    g_autofree char *relative = dav_get_relative_path(prefix, file);

    return relative != NULL;
}

/* Without what slashes too many leave; “..” stays, and is refused when it is walked. */
static GFile *dav_resolve_relative_path(GFile *file, const char *relative)
{
    DavFile *self = DAV_FILE(file);
    g_auto(GStrv) words = g_strsplit(relative, "/", -1);
    GString *path = g_string_new(self->path);

    for (char **word = words; *word; word++)
        if (**word)
            g_string_append_printf(path, "%s%s", path->len ? "/" : "", *word);
    return file_new(self->root, g_string_free(path, FALSE));
}

static GFile *dav_get_child_for_display_name(GFile *file, const char *name, GError **error)
{
    return dav_resolve_relative_path(file, name);
}

/* ---- what is there ---- */

#define TIME_MAX 253402300799u /* the last second of the year 9999, behind which GLib makes no dates */

static void clamp_time(GFileInfo *info, const char *attribute)
{
    if (g_file_info_get_attribute_uint64(info, attribute) > TIME_MAX)
        g_file_info_set_attribute_uint64(info, attribute, TIME_MAX);
}

static void name_info(GFileInfo *info, const char *name)
{
    g_autofree char *type = g_file_info_get_file_type(info) == G_FILE_TYPE_DIRECTORY
                                ? g_strdup("inode/directory")
                                : g_content_type_guess(name, NULL, 0, NULL);

    g_file_info_set_name(info, name);
    g_file_info_set_display_name(info, name);
    g_file_info_set_content_type(info, type);
    clamp_time(info, G_FILE_ATTRIBUTE_TIME_CREATED);
    clamp_time(info, G_FILE_ATTRIBUTE_TIME_MODIFIED);
}

/* Of a directory that only exports have. */
static GFileInfo *export_info(const char *name, int64_t made)
{
    GFileInfo *info = g_file_info_new();
    g_autofree char *etag = g_strdup_printf("%" G_GINT64_FORMAT ":0", made);

    g_file_info_set_file_type(info, G_FILE_TYPE_DIRECTORY);
    g_file_info_set_is_hidden(info, *name == '.');
    g_file_info_set_is_symlink(info, FALSE);
    g_file_info_set_size(info, 0);
    g_file_info_set_attribute_uint64(info, G_FILE_ATTRIBUTE_TIME_CREATED, (guint64)made);
    g_file_info_set_attribute_uint64(info, G_FILE_ATTRIBUTE_TIME_MODIFIED, (guint64)made);
    g_file_info_set_attribute_string(info, G_FILE_ATTRIBUTE_ETAG_VALUE, etag);
    name_info(info, name);
    return info;
}

static GFileInfo *dav_query_info(GFile *file, const char *attributes, GFileQueryInfoFlags flags,
                                 GCancellable *cancellable, GError **error)
{
    DavFile *self = DAV_FILE(file);
    struct stat st;
    char path[VMC_FD_PATH];
    int64_t made;
    const char *below = export_path(self->root, self->path);
    g_autofree char *name = dav_get_basename(file);

    if (below && vmc_exports_list(self->root->exports, below, NULL, &made))
        return export_info(name, made);
    int fd = reach(self, &st, error);
    if (fd < 0)
        return NULL;
    vmc_fd_path(fd, path);
    g_autoptr(GFile) real = g_file_new_for_path(path);
    GFileInfo *info = g_file_query_info(real, ATTRIBUTES, G_FILE_QUERY_INFO_NONE, cancellable, error);
    if (info)
        name_info(info, *name ? name : "/");
    close(fd);
    return info;
}

static GFileInfo *dav_query_filesystem_info(GFile *file, const char *attributes, GCancellable *cancellable,
                                            GError **error)
{
    char path[VMC_FD_PATH];

    vmc_fd_path(DAV_FILE(file)->root->fd, path);
    g_autoptr(GFile) real = g_file_new_for_path(path);
    return g_file_query_filesystem_info(real, attributes, cancellable, error);
}

/* ---- listing ---- */

#define DAV_TYPE_LIST (dav_list_get_type())
G_DECLARE_FINAL_TYPE(DavList, dav_list, DAV, LIST, GFileEnumerator)

struct _DavList {
    GFileEnumerator parent_instance;
    GFileEnumerator *real; /* or NULL */
    int fd;                /* or -1 */
    GPtrArray *exports;    /* names of what comes after that, or NULL */
    unsigned at;
    bool hides; /* what has the name of the exports' directory */
};

G_DEFINE_TYPE(DavList, dav_list, G_TYPE_FILE_ENUMERATOR)

static bool is_listed(const DavList *self, GFileInfo *info)
{
    GFileType type = g_file_info_get_file_type(info);

    return (type == G_FILE_TYPE_REGULAR || type == G_FILE_TYPE_DIRECTORY) &&
           !g_file_info_get_is_symlink(info) &&
           !(self->hides && strcmp(g_file_info_get_name(info), VMC_EXPORTS_NAME) == 0);
}

/* What has gone since it was offered is passed over. */
static GFileInfo *next_export(DavList *self)
{
    GFile *container = g_file_enumerator_get_container(G_FILE_ENUMERATOR(self));
    GFileInfo *info = NULL;

    while (!info && self->exports && self->at < self->exports->len) {
        const char *name = g_ptr_array_index(self->exports, self->at++);
        g_autoptr(GFile) child = dav_resolve_relative_path(container, name);
        info = dav_query_info(child, ATTRIBUTES, G_FILE_QUERY_INFO_NONE, NULL, NULL);
    }
    return info;
}

static GFileInfo *dav_list_next(GFileEnumerator *enumerator, GCancellable *cancellable, GError **error)
{
    DavList *self = DAV_LIST(enumerator);
    GError *cause = NULL;
    GFileInfo *info;

    while (self->real && (info = g_file_enumerator_next_file(self->real, cancellable, &cause))) {
        if (is_listed(self, info)) {
            g_autofree char *name = g_strdup(g_file_info_get_name(info));
            name_info(info, name);
            return info;
        }
        g_object_unref(info);
    }
    if (!cause)
        return next_export(self);
    g_propagate_error(error, cause);
    return NULL;
}

static gboolean dav_list_close(GFileEnumerator *enumerator, GCancellable *cancellable, GError **error)
{
    GFileEnumerator *real = DAV_LIST(enumerator)->real;

    return !real || g_file_enumerator_close(real, cancellable, error);
}

static void dav_list_dispose(GObject *object)
{
    DavList *self = DAV_LIST(object);

    G_OBJECT_CLASS(dav_list_parent_class)->dispose(object);
    g_clear_object(&self->real);
    g_clear_pointer(&self->exports, g_ptr_array_unref);
    if (self->fd >= 0)
        close(self->fd);
    self->fd = -1;
}

static void dav_list_class_init(DavListClass *class)
{
    G_OBJECT_CLASS(class)->dispose = dav_list_dispose;
    G_FILE_ENUMERATOR_CLASS(class)->next_file = dav_list_next;
    G_FILE_ENUMERATOR_CLASS(class)->close_fn = dav_list_close;
}

static void dav_list_init(DavList *self)
{
    self->fd = -1;
}

static DavList *list_new(GFile *file, GFileEnumerator *real, int fd)
{
    DavList *self = g_object_new(DAV_TYPE_LIST, "container", file, NULL);

    self->real = real;
    self->fd = fd;
    return self;
}

/* A directory that is really there. */
static DavList *list_real(DavFile *file, GCancellable *cancellable, GError **error)
{
    struct stat st;
    char path[VMC_FD_PATH];
    int fd = reach(file, &st, error);

    if (fd < 0)
        return NULL;
    vmc_fd_path(fd, path);
    g_autoptr(GFile) real = g_file_new_for_path(path);
    GFileEnumerator *list = NULL;
    if (S_ISDIR(st.st_mode))
        list = g_file_enumerate_children(real, ATTRIBUTES, G_FILE_QUERY_INFO_NOFOLLOW_SYMLINKS, cancellable,
                                         error);
    else
        fail(error, ENOTDIR);
    if (list)
        return list_new(G_FILE(file), list, fd);
    close(fd);
    return NULL;
}

static GFileEnumerator *dav_enumerate_children(GFile *file, const char *attributes, GFileQueryInfoFlags flags,
                                               GCancellable *cancellable, GError **error)
{
    DavFile *self = DAV_FILE(file);
    VmcExports *exports = self->root->exports;
    const char *below = export_path(self->root, self->path);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    DavList *list;

    if (below && vmc_exports_list(exports, below, names, NULL)) {
        list = list_new(file, NULL, -1);
    } else {
        list = list_real(self, cancellable, error);
        if (!list || *self->path || !exports)
            return list ? G_FILE_ENUMERATOR(list) : NULL;
        list->hides = true;
        if (vmc_exports_list(exports, "", NULL, NULL))
            g_ptr_array_add(names, g_strdup(VMC_EXPORTS_NAME));
    }
    list->exports = g_steal_pointer(&names);
    return G_FILE_ENUMERATOR(list);
}

/* ---- reading ---- */

static GFileInputStream *dav_read(GFile *file, GCancellable *cancellable, GError **error)
{
    struct stat st;
    char path[VMC_FD_PATH];
    int fd = reach(DAV_FILE(file), &st, error);

    if (fd < 0)
        return NULL;
    vmc_fd_path(fd, path);
    g_autoptr(GFile) real = g_file_new_for_path(path);
    GFileInputStream *stream = g_file_read(real, cancellable, error);
    close(fd);
    return stream;
}

int vmc_webdav_open(GFile *file, struct stat *st)
{
    DavFile *self = DAV_FILE(file);
    int fd = walk(self->root, self->path);

    if (fd < 0)
        return fd;
    int opened = fstat(fd, st) < 0       ? -errno
                 : S_ISDIR(st->st_mode)  ? -EISDIR
                 : !S_ISREG(st->st_mode) ? -ENOENT
                                         : vmc_fd_reopen(fd, O_RDONLY);
    close(fd);
    return opened;
}

/* ---- writing ---- */

#define DAV_TYPE_OUTPUT (dav_output_get_type())
G_DECLARE_FINAL_TYPE(DavOutput, dav_output, DAV, OUTPUT, GFileOutputStream)

/* A new file under a name of ours, which gets its own when it is closed. */
struct _DavOutput {
    GFileOutputStream parent_instance;
    int fd, folder; /* -1: closed */
    char *temporary, *name;
    bool exclusive; /* there shall be no such file yet */
    bool failed;
};

G_DEFINE_TYPE(DavOutput, dav_output, G_TYPE_FILE_OUTPUT_STREAM)

static gssize dav_output_write(GOutputStream *stream, const void *data, gsize len, GCancellable *cancellable,
                               GError **error)
{
    DavOutput *self = DAV_OUTPUT(stream);
    ssize_t written;

    do
        written = write(self->fd, data, len);
    while (written < 0 && errno == EINTR);
    if (written >= 0)
        return written;
    self->failed = true;
    fail(error, errno);
    return -1;
}

static gboolean dav_output_close(GOutputStream *stream, GCancellable *cancellable, GError **error)
{
    DavOutput *self = DAV_OUTPUT(stream);
    int err = 0;

    if (self->fd < 0)
        return TRUE;
    if (self->failed || renameat2(self->folder, self->temporary, self->folder, self->name,
                                  self->exclusive ? RENAME_NOREPLACE : 0) < 0) {
        err = self->failed ? EIO : errno;
        unlinkat(self->folder, self->temporary, 0);
    }
    close(self->fd);
    close(self->folder);
    self->fd = self->folder = -1;
    return !err || fail(error, err);
}

static void dav_output_finalize(GObject *object)
{
    DavOutput *self = DAV_OUTPUT(object);

    g_free(self->temporary);
    g_free(self->name);
    G_OBJECT_CLASS(dav_output_parent_class)->finalize(object);
}

static void dav_output_class_init(DavOutputClass *class)
{
    G_OBJECT_CLASS(class)->finalize = dav_output_finalize;
    G_OUTPUT_STREAM_CLASS(class)->write_fn = dav_output_write;
    G_OUTPUT_STREAM_CLASS(class)->close_fn = dav_output_close;
}

static void dav_output_init(DavOutput *self)
{
    self->fd = self->folder = -1;
}

static GFileOutputStream *open_output(GFile *file, bool exclusive, GError **error)
{
    DavFile *self = DAV_FILE(file);
    char *name = NULL;
    struct stat st;

    int folder = reach_parent(self, &name, error);
    if (folder < 0)
        return NULL;
    g_autofree char *temporary = g_strdup_printf(".espalier-%08x%08x", g_random_int(), g_random_int());
    int err = 0, fd = -1;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        err = exclusive ? EEXIST : S_ISDIR(st.st_mode) ? EISDIR : S_ISREG(st.st_mode) ? 0 : EACCES;
    if (!err)
        fd = vmc_walk_create(&self->root->walk, folder, temporary, O_WRONLY, 0666);
    if (err || fd < 0) {
        fail(error, err ? err : -fd);
        close(folder);
        g_free(name);
        return NULL;
    }
    DavOutput *output = g_object_new(DAV_TYPE_OUTPUT, NULL);
    output->fd = fd;
    output->folder = folder;
    output->name = name;
    output->temporary = g_steal_pointer(&temporary);
    output->exclusive = exclusive;
    return G_FILE_OUTPUT_STREAM(output);
}

static GFileOutputStream *dav_create(GFile *file, GFileCreateFlags flags, GCancellable *cancellable,
                                     GError **error)
{
    return open_output(file, true, error);
}

static GFileOutputStream *dav_replace(GFile *file, const char *etag, gboolean backup, GFileCreateFlags flags,
                                      GCancellable *cancellable, GError **error)
{
    return open_output(file, false, error);
}

static gboolean dav_make_directory(GFile *file, GCancellable *cancellable, GError **error)
{
    g_autofree char *name = NULL;
    int folder = reach_parent(DAV_FILE(file), &name, error);

    if (folder < 0)
        return FALSE;
    bool good = mkdirat(folder, name, 0777) == 0 || fail(error, errno);
    close(folder);
    return good;
}

static gboolean dav_delete(GFile *file, GCancellable *cancellable, GError **error)
{
    DavFile *self = DAV_FILE(file);
    g_autofree char *name = NULL;
    struct stat st;
    int fd, folder;

    if (!may_write(self, error) || (fd = reach(self, &st, error)) < 0)
        return FALSE;
    close(fd);
    folder = reach_parent(self, &name, error);
    if (folder < 0)
        return FALSE;
    bool good = unlinkat(folder, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) == 0 || fail(error, errno);
    close(folder);
    return good;
}

/* Onto a directory nothing is moved: who asks removes it first. */
static gboolean dav_move(GFile *file, GFile *to, GFileCopyFlags flags, GCancellable *cancellable,
                         GFileProgressCallback progress, gpointer data, GError **error)
{
    g_autofree char *name = NULL, *to_name = NULL;
    int folder = -1, to_folder = -1, fd;
    struct stat st;
    bool good = false;

    if (!DAV_IS_FILE(file) || !DAV_IS_FILE(to) || !may_write(DAV_FILE(file), error))
        return DAV_IS_FILE(file) && DAV_IS_FILE(to) ? FALSE : fail(error, ENOTSUP);
    if ((fd = reach(DAV_FILE(file), &st, error)) < 0)
        return FALSE;
    close(fd);
    folder = reach_parent(DAV_FILE(file), &name, error);
    to_folder = folder < 0 ? -1 : reach_parent(DAV_FILE(to), &to_name, error);
    if (to_folder >= 0) {
        bool overwrite = flags & G_FILE_COPY_OVERWRITE;
        bool there = fstatat(to_folder, to_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
        if (there && overwrite && S_ISDIR(st.st_mode))
            fail(error, EISDIR);
        else if (there && !S_ISREG(st.st_mode))
            fail(error, EEXIST);
        else
            good = renameat2(folder, name, to_folder, to_name, overwrite ? 0 : RENAME_NOREPLACE) == 0 ||
                   fail(error, errno);
        close(to_folder);
    }
    if (folder >= 0)
        close(folder);
    return good;
}

static void dav_file_iface_init(GFileIface *iface)
{
    iface->dup = dav_dup;
    iface->hash = dav_hash;
    iface->equal = dav_equal;
    iface->is_native = dav_is_native;
    iface->has_uri_scheme = dav_has_uri_scheme;
    iface->get_uri_scheme = dav_get_uri_scheme;
    iface->get_basename = dav_get_basename;
    iface->get_path = dav_get_path;
    iface->get_uri = dav_get_uri;
    iface->get_parse_name = dav_get_uri;
    iface->get_parent = dav_get_parent;
    iface->prefix_matches = dav_prefix_matches;
    iface->get_relative_path = dav_get_relative_path;
    iface->resolve_relative_path = dav_resolve_relative_path;
    iface->get_child_for_display_name = dav_get_child_for_display_name;
    iface->enumerate_children = dav_enumerate_children;
    iface->query_info = dav_query_info;
    iface->query_filesystem_info = dav_query_filesystem_info;
    iface->read_fn = dav_read;
    iface->create = dav_create;
    iface->replace = dav_replace;
    iface->make_directory = dav_make_directory;
    iface->delete_file = dav_delete;
    iface->move = dav_move;
}

GFile *vmc_webdav_folder_new(const char *folder, bool readonly, VmcExports *exports, GError **error)
{
    int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("The folder “%s” cannot be shared: %s"), folder,
                    g_strerror(errno));
        return NULL;
    }
    Root *root = g_new0(Root, 1);
    g_atomic_ref_count_init(&root->refs);
    root->fd = fd;
    root->readonly = readonly;
    root->exports = vmc_exports_ref(exports);
    GFile *file = file_new(root, g_strdup(""));
    root_unref(root);
    return file;
}
