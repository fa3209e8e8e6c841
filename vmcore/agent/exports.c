/*
 * The exports (exports.h). Each holds its files by the directory that they are in, an open descriptor, and
 * their names there; they are opened when the guest asks, below that directory and without following links.
 */
#include "agent/exports.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/i18n.h"
#include "base/io.h"
#include "fs/internal.h"
#include "vmcore/error.h"

#define FOLDERS_MAX 32u /* that the files of one export may be in */

typedef struct Folder {
    char *path;
    int fd;
} Folder;

struct VmcExport {
    gatomicrefcount refs;
    char *id;
    int64_t made;      /* s since 1970 */
    GPtrArray *names;  /* in their order */
    GHashTable *where; /* name -> Folder */
    GPtrArray *folders;
    bool ended;                      /* with the exports' lock: and not any more beyond: */
    uint64_t end_until, end_at_most; /* ns */
};

struct VmcExports {
    gatomicrefcount refs;
    VmcWalk walk;

    GMutex lock;
    GPtrArray *all; /* of VmcExport, the newest last */
    char *folder;   /* what is shared beside them; NULL: no port serves them */
    int fd;         /* of it, or -1 */
    bool open;      /* by the guest */
};

static bool fail(GError **error, VmcError code, const char *path, const char *why)
{
    /* Translators: a file, and why: “give its whole path”, “guests would not understand its name”. */
    g_set_error(error, VMC_ERROR, code, _("“%s” cannot be offered to the guest: %s"), path, why);
    return false;
}

/* ---- an export ---- */

static void folder_free(gpointer data)
{
    Folder *folder = data;

    if (folder->fd >= 0)
        close(folder->fd);
    g_free(folder->path);
    g_free(folder);
}

static void export_unref(gpointer data)
{
    VmcExport *export = data;

    if (!g_atomic_ref_count_dec(&export->refs))
        return;
    g_hash_table_unref(export->where);
    g_ptr_array_unref(export->names);
    g_ptr_array_unref(export->folders);
    g_free(export->id);
    g_free(export);
}

static VmcExport *export_new(void)
{
    VmcExport *export = g_new0(VmcExport, 1);

    g_atomic_ref_count_init(&export->refs);
    export->id = g_uuid_string_random();
    export->made = g_get_real_time() / G_USEC_PER_SEC;
    export->names = g_ptr_array_new_with_free_func(g_free);
    export->where = g_hash_table_new(g_str_hash, g_str_equal);
    export->folders = g_ptr_array_new_with_free_func(folder_free);
    return export;
}

/* The directory of that path; NULL with `error`. The user's own links may lead to it. */
static Folder *export_folder(VmcExport *export, const char *path, GError **error)
{
    for (unsigned i = 0; i < export->folders->len; i++) {
        Folder *folder = g_ptr_array_index(export->folders, i);
        if (strcmp(folder->path, path) == 0)
            return folder;
    }
    if (export->folders->len == FOLDERS_MAX) {
        fail(error, VMC_ERROR_RESOURCE, path, _("the files are in too many folders; offer fewer at a time"));
        return NULL;
    }
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        fail(error, VMC_ERROR_RESOURCE, path, g_strerror(errno));
        return NULL;
    }
    Folder *folder = g_new(Folder, 1);
    *folder = (Folder){g_strdup(path), fd};
    g_ptr_array_add(export->folders, folder);
    return folder;
}

static bool export_add(VmcExport *export, const char *path, GError **error)
{
    g_autofree char *full = g_canonicalize_filename(path, "/");
    g_autofree char *above = g_path_get_dirname(full);
    g_autofree char *name = g_path_get_basename(full);
    struct stat st;

    if (!g_path_is_absolute(path))
        return fail(error, VMC_ERROR_CONFIG, path, _("give its whole path"));
    if (!vmc_file_name_valid(name))
        return fail(error, VMC_ERROR_CONFIG, path, _("guests would not understand its name; rename it"));
    if (g_hash_table_contains(export->where, name))
        return fail(error, VMC_ERROR_CONFIG, path, _("another one has the same name; offer them one by one"));
    Folder *folder = export_folder(export, above, error);
    if (!folder)
        return false;
    if (fstatat(folder->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(error, VMC_ERROR_RESOURCE, path, g_strerror(errno));
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return fail(error, VMC_ERROR_CONFIG, path,
                    _("it is neither a file nor a folder; offer what it leads to"));
    if (faccessat(folder->fd, name, R_OK, 0) < 0)
        return fail(error, VMC_ERROR_RESOURCE, path, g_strerror(errno));
    g_ptr_array_add(export->names, name);
    g_hash_table_insert(export->where, name, folder);
    g_steal_pointer(&name);
    return true;
}

/* ---- all of them ---- */

VmcExports *vmc_exports_new(void)
{
    VmcExports *exports = g_new0(VmcExports, 1);

    g_atomic_ref_count_init(&exports->refs);
    g_mutex_init(&exports->lock);
    exports->all = g_ptr_array_new_with_free_func(export_unref);
    exports->fd = -1;
    return exports;
}

VmcExports *vmc_exports_ref(VmcExports *exports)
{
    if (exports)
        g_atomic_ref_count_inc(&exports->refs);
    return exports;
}

void vmc_exports_unref(VmcExports *exports)
{
    if (!exports || !g_atomic_ref_count_dec(&exports->refs))
        return;
    vmc_exports_unserve(exports);
    g_ptr_array_unref(exports->all);
    g_mutex_clear(&exports->lock);
    g_free(exports);
}

bool vmc_exports_serve(VmcExports *exports, const char *folder, GError **error)
{
    int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("The folder “%s” cannot be shared: %s"), folder,
                    g_strerror(errno));
        return false;
    }
    vmc_exports_unserve(exports);
    g_mutex_lock(&exports->lock);
    exports->folder = g_canonicalize_filename(folder, NULL);
    exports->fd = fd;
    g_mutex_unlock(&exports->lock);
    return true;
}

void vmc_exports_unserve(VmcExports *exports)
{
    g_mutex_lock(&exports->lock);
    g_clear_pointer(&exports->folder, g_free);
    if (exports->fd >= 0)
        close(exports->fd);
    exports->fd = -1;
    exports->open = false;
    g_mutex_unlock(&exports->lock);
}

void vmc_exports_set_open(VmcExports *exports, bool open)
{
    g_mutex_lock(&exports->lock);
    exports->open = open;
    g_mutex_unlock(&exports->lock);
}

bool vmc_exports_served(VmcExports *exports)
{
    g_mutex_lock(&exports->lock);
    bool served = exports->folder;
    g_mutex_unlock(&exports->lock);
    return served;
}

/* With the lock. */
static uint64_t expire(VmcExports *exports, uint64_t now)
{
    uint64_t next = UINT64_MAX;

    for (unsigned i = 0; i < exports->all->len;) {
        const VmcExport *export = g_ptr_array_index(exports->all, i);
        if (export->ended && export->end_until <= now) {
            g_ptr_array_remove_index(exports->all, i);
            continue;
        }
        if (export->ended)
            next = MIN(next, export->end_until);
        i++;
    }
    return next;
}

/* With the lock. What is not offered any more makes room, the oldest first. */
static void make_room(VmcExports *exports)
{
    for (unsigned i = 0; i < exports->all->len && exports->all->len >= VMC_EXPORTS_MAX;) {
        const VmcExport *export = g_ptr_array_index(exports->all, i);
        if (export->ended)
            g_ptr_array_remove_index(exports->all, i);
        else
            i++;
    }
}

uint64_t vmc_exports_expire(VmcExports *exports, uint64_t now)
{
    g_mutex_lock(&exports->lock);
    uint64_t next = expire(exports, now);
    g_mutex_unlock(&exports->lock);
    return next;
}

/* ---- what the guest asks for ---- */

/* The export whose name begins the path, a reference, and what follows it; NULL: it is not there (any more).
 */
static VmcExport *find(VmcExports *exports, const char *path, const char **below)
{
    size_t len = strcspn(path, "/");
    VmcExport *found = NULL;
    uint64_t now = vmc_now_ns();

    g_mutex_lock(&exports->lock);
    expire(exports, now);
    for (unsigned i = 0; i < exports->all->len && !found; i++) {
        VmcExport *export = g_ptr_array_index(exports->all, i);
        if (strlen(export->id) != len || strncmp(export->id, path, len) != 0)
            continue;
        if (export->ended)
            export->end_until = MIN(now + VMC_EXPORTS_GRACE_NS, export->end_at_most);
        g_atomic_ref_count_inc(&export->refs);
        found = export;
    }
    g_mutex_unlock(&exports->lock);
    *below = path[len] ? path + len + 1 : path + len;
    return found;
}

int vmc_exports_open(VmcExports *exports, const char *path)
{
    const char *below;

    if (!*path)
        return vmc_exports_list(exports, path, NULL, NULL) ? -EISDIR : -ENOENT;
    VmcExport *export = find(exports, path, &below);
    if (!export)
        return -ENOENT;
    g_autofree char *name = g_strndup(below, strcspn(below, "/"));
    const Folder *folder = g_hash_table_lookup(export->where, name);
    int fd = !*below ? -EISDIR : folder ? vmc_walk_path(&exports->walk, folder->fd, below) : -ENOENT;
    export_unref(export);
    return fd;
}

static bool list_all(VmcExports *exports, GPtrArray *names, int64_t *made)
{
    g_mutex_lock(&exports->lock);
    expire(exports, vmc_now_ns());
    for (unsigned i = 0; i < exports->all->len; i++) {
        const VmcExport *export = g_ptr_array_index(exports->all, i);
        if (names)
            g_ptr_array_add(names, g_strdup(export->id));
        if (made)
            *made = export->made;
    }
    bool any = exports->all->len;
    g_mutex_unlock(&exports->lock);
    return any;
}

bool vmc_exports_list(VmcExports *exports, const char *path, GPtrArray *names, int64_t *made)
{
    const char *below;

    if (!*path)
        return list_all(exports, names, made);
    VmcExport *export = find(exports, path, &below);
    bool good = export && !*below;
    for (unsigned i = 0; good && names && i < export->names->len; i++)
        g_ptr_array_add(names, g_strdup(g_ptr_array_index(export->names, i)));
    if (good && made)
        *made = export->made;
    if (export)
        export_unref(export);
    return good;
}

/* ---- what the host offers ---- */

static bool is_ready(VmcExports *exports, GError **error)
{
    g_mutex_lock(&exports->lock);
    bool served = exports->folder, open = exports->open;
    g_mutex_unlock(&exports->lock);

    if (!served)
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_STATE,
            _("The machine has no WebDAV port, by which its clipboard would get files; add a spice-webdav "
              "device, send the files one by one, or use a shared folder"));
    else if (!open)
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_STATE,
            _("The guest does not use the WebDAV port, by which its clipboard would get files; install "
              "spice-webdavd there, send the files one by one, or use a shared folder"));
    return served && open;
}

VmcExport *vmc_exports_add(VmcExports *exports, VmcFileAction action, const char *const *paths, GBytes **list,
                           GError **error)
{
    guint n = g_strv_length((char **)paths);
    bool good = true;

    if (!is_ready(exports, error))
        return NULL;
    if (!n || n > VMC_AGENT_FILES_MAX) {
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_CONFIG,
            ngettext("%u file cannot be offered to the guest; offer 1 to %u, or the folder they are in",
                     "%u files cannot be offered to the guest; offer 1 to %u, or the folder they are in", n),
            n, VMC_AGENT_FILES_MAX);
        return NULL;
    }
    VmcExport *export = export_new();
    for (guint i = 0; i < n && good; i++)
        good = export_add(export, paths[i], error);
    if (!good) {
        export_unref(export);
        return NULL;
    }
    *list = vmc_file_list_make(action, export->id, export->names);
    g_mutex_lock(&exports->lock);
    make_room(exports);
    g_atomic_ref_count_inc(&export->refs);
    g_ptr_array_add(exports->all, export);
    g_mutex_unlock(&exports->lock);
    return export;
}

void vmc_exports_end(VmcExports *exports, VmcExport *export)
{
    uint64_t now = vmc_now_ns();

    if (!export)
        return;
    g_mutex_lock(&exports->lock);
    export->ended = true;
    export->end_until = now + VMC_EXPORTS_GRACE_NS;
    export->end_at_most = now + VMC_EXPORTS_LAST_NS;
    g_mutex_unlock(&exports->lock);
    export_unref(export);
}

/* ---- what the guest has ---- */

static bool is_there(VmcExports *exports, int folder, const char *path)
{
    struct stat st;
    int fd = vmc_walk_path(&exports->walk, folder, path);
    bool there = fd >= 0 && fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));

    if (fd >= 0)
        close(fd);
    return there;
}

static bool is_export(const char *path)
{
    size_t len = strlen(VMC_EXPORTS_NAME);

    return strncmp(path, VMC_EXPORTS_NAME, len) == 0 && (!path[len] || path[len] == '/');
}

char **vmc_exports_resolve(VmcExports *exports, GBytes *list, VmcFileAction *action, GError **error)
{
    VmcFileAction what = VMC_FILES_COPY;
    g_auto(GStrv) paths = vmc_file_list_parse(list, &what);

    g_mutex_lock(&exports->lock);
    g_autofree char *folder = g_strdup(exports->folder);
    int fd = exports->fd >= 0 ? fcntl(exports->fd, F_DUPFD_CLOEXEC, 0) : -1;
    g_mutex_unlock(&exports->lock);

    bool good = paths && fd >= 0;
    for (char **path = paths; good && *path; path++) {
        char *full = g_build_filename(folder, *path, NULL);
        good = !is_export(*path) && is_there(exports, fd, *path);
        g_free(*path);
        *path = full;
    }
    if (fd >= 0)
        close(fd);
    if (good) {
        *action = what;
        return g_steal_pointer(&paths);
    }
    g_set_error(
        error, VMC_ERROR, VMC_ERROR_STATE,
        _("The guest's clipboard names files that are not in the shared folder; copy them there first"));
    return NULL;
}
