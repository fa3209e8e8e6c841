/*
 * Snapshots of disks as layers of qcow2 images; vmcore/disk.h says how they lie in a folder.
 *
 * Taking one: the new image is made and opened under a temporary name; the old one gets its layer's name as a
 * second one (a hard link), and the new one is renamed to the disk's. In between the layer is the disk under
 * another name, which is seen by its inode and put right by the next operation.
 *
 * Deleting one: all that lies directly on it is given the clusters that it has not got itself, is synced and
 * told that it lies on the next one below; its contents are the same at every moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/i18n.h"
#include "block/create.h"
#include "block/format.h"
#include "block/layers.h"
#include "block/qcow2.h"
#include "vmcore/error.h"

#define COPY_BYTES  (1u << 20)
#define NUMBER_MAX  100000u
#define NAME_LENGTH 200u

static bool failed(GError **error, const char *path, int err)
{
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("“%s” cannot be written to: %s"), path,
                g_strerror(err));
    return false;
}

static bool refused(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool refused(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, VMC_ERROR, VMC_ERROR_CONFIG, message);
    return false;
}

/* ---- names ---- */

static char *stem(const char *path)
{
    return g_str_has_suffix(path, ".qcow2") ? g_strndup(path, strlen(path) - strlen(".qcow2"))
                                            : g_strdup(path);
}

static char *layer_path(const char *path, unsigned number)
{
    g_autofree char *base = stem(path);

    return g_strdup_printf("%s.snapshot-%u.qcow2", base, number);
}

static char *index_path(const char *path)
{
    g_autofree char *base = stem(path);

    return g_strconcat(base, ".snapshots", NULL);
}

/* The number in a layer's file name; 0: it is none. */
static unsigned number_of(const char *path, const char *file)
{
    g_autofree char *base = stem(path);
    g_autofree char *name = g_path_get_basename(base);
    char *end;

    if (!g_str_has_prefix(file, name) || !g_str_has_prefix(file + strlen(name), ".snapshot-"))
        return 0;
    guint64 number = g_ascii_strtoull(file + strlen(name) + strlen(".snapshot-"), &end, 10);
    return number && number < NUMBER_MAX && strcmp(end, ".qcow2") == 0 ? (unsigned)number : 0;
}

/* The name of the disk that an image is, or is a snapshot of, without the folder. */
static char *disk_of(const char *path)
{
    g_autofree char *name = g_path_get_basename(path);
    g_autofree char *base = stem(name);
    char *mark = g_strrstr(base, ".snapshot-");

    if (!mark || mark == base)
        return g_steal_pointer(&base);
    g_autofree char *disk = g_strndup(base, (gsize)(mark - base));
    g_autofree char *image = g_strconcat(disk, ".qcow2", NULL);
    return number_of(image, name) ? g_steal_pointer(&disk) : g_steal_pointer(&base);
}

bool vmc_disk_is_layer_of(const char *path, const char *backing)
{
    g_autofree char *disk = disk_of(path);
    g_autofree char *image = g_strconcat(disk, ".qcow2", NULL);

    return !strchr(backing, '/') && number_of(image, backing) != 0;
}

static GKeyFile *read_index(const char *path)
{
    g_autofree char *file = index_path(path);
    GKeyFile *index = g_key_file_new();

    g_key_file_load_from_file(index, file, G_KEY_FILE_KEEP_COMMENTS, NULL); /* none yet: no names */
    return index;
}

static bool write_index(const char *path, GKeyFile *index, GError **error)
{
    g_autofree char *file = index_path(path);
    g_autofree char *text = g_key_file_to_data(index, NULL, NULL);
    GError *why = NULL;

    if (g_file_set_contents_full(file, text, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE,
                                 0666, &why))
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("“%s” cannot be written to: %s"), file, why->message);
    g_error_free(why);
    return false;
}

/* ---- listing ---- */

static void snapshot_free(gpointer data)
{
    VmcSnapshot *snapshot = data;

    g_free(snapshot->name);
    g_free(snapshot->path);
    g_free(snapshot);
}

/* The number of the snapshot that an image lies on. */
static bool parent_of(const char *path, const char *image, unsigned *parent, GError **error)
{
    VmcDiskInfo info;

    if (!vmc_disk_info(image, "qcow2", &info, error))
        return false;
    *parent = info.backing ? number_of(path, info.backing) : 0;
    vmc_disk_info_clear(&info);
    return true;
}

static bool same_file(const char *a, const char *b)
{
    struct stat st_a, st_b;

    return !stat(a, &st_a) && !stat(b, &st_b) && st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

static VmcSnapshot *read_snapshot(const char *path, unsigned number, GKeyFile *index, GError **error)
{
    g_autofree char *file = layer_path(path, number);
    g_autofree char *group = g_strdup_printf("%u", number);
    unsigned parent;
    struct stat st;

    if (!parent_of(path, file, &parent, error))
        return NULL;
    VmcSnapshot *snapshot = g_new0(VmcSnapshot, 1);
    snapshot->number = number;
    snapshot->parent = parent;
    snapshot->name = g_key_file_get_string(index, group, "name", NULL);
    snapshot->time = g_key_file_get_int64(index, group, "time", NULL);
    if (!snapshot->name)
        snapshot->name = g_strdup(group);
    if (!snapshot->time && !stat(file, &st))
        snapshot->time = st.st_mtime;
    snapshot->path = g_steal_pointer(&file);
    return snapshot;
}

static gint by_number(gconstpointer a, gconstpointer b)
{
    const VmcSnapshot *x = *(VmcSnapshot *const *)a, *y = *(VmcSnapshot *const *)b;

    return x->number < y->number ? -1 : x->number > y->number;
}

GPtrArray *vmc_snapshots_list(const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_autoptr(GKeyFile) index = read_index(path);
    GPtrArray *list = g_ptr_array_new_with_free_func(snapshot_free);
    GDir *dir = g_dir_open(folder, 0, NULL);
    unsigned current = 0;
    bool good = parent_of(path, path, &current, error);
    const char *file;

    while (good && dir && (file = g_dir_read_name(dir))) {
        unsigned number = number_of(path, file);
        g_autofree char *full = g_build_filename(folder, file, NULL);
        if (!number || same_file(full, path))
            continue;
        VmcSnapshot *snapshot = read_snapshot(path, number, index, error);
        good = snapshot != NULL;
        if (good) {
            snapshot->current = number == current;
            g_ptr_array_add(list, snapshot);
        }
    }
    if (dir)
        g_dir_close(dir);
    if (!good) {
        g_ptr_array_unref(list);
        return NULL;
    }
    g_ptr_array_sort(list, by_number);
    return list;
}

static const VmcSnapshot *find(GPtrArray *list, const char *name)
{
    for (guint i = 0; i < list->len; i++) {
        const VmcSnapshot *snapshot = g_ptr_array_index(list, i);
        if (strcmp(snapshot->name, name) == 0)
            return snapshot;
    }
    return NULL;
}

static const VmcSnapshot *find_or_say(GPtrArray *list, const char *path, const char *name, GError **error)
{
    const VmcSnapshot *snapshot = find(list, name);

    if (!snapshot)
        refused(error, _("Disk “%s” has no snapshot “%s”"), path, name);
    return snapshot;
}

/* ---- images ---- */

/* The image without the one below it, locked. */
static Qcow2 *open_alone(const char *path, bool readonly, GError **error)
{
    VmcDiskOpen params = {.path = path, .format = "qcow2", .readonly = readonly};
    struct stat st;
    int fd = vmc_disk_file_open(path, readonly, &st, error);

    return fd < 0 ? NULL : vmc_qcow2_open_fd(fd, &params, &vmc_qcow2_alone, error);
}

/* A new, empty image for the disk's place, on top of a layer; it has a temporary name and is open. */
static Qcow2 *make_top(const char *path, const char *layer, uint64_t size, char **temporary, GError **error)
{
    g_autofree char *below = g_path_get_basename(layer);
    VmcDiskCreate params = {.size = size, .backing = below, .backing_format = "qcow2"};

    struct stat st;

    if (lstat(path, &st)) {
        failed(error, path, errno);
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        refused(error, _("“%s” is not the disk's own name: give the file it points at"), path);
        return NULL;
    }
    if (!vmc_disk_create_temporary(path, "qcow2", &params, temporary, error))
        return NULL;
    /* Nobody who could not read the disk may read it now. */
    if (chmod(*temporary, (st.st_mode & 0777) | S_IWUSR)) {
        failed(error, path, errno);
        unlink(*temporary);
        return NULL;
    }
    Qcow2 *q = open_alone(*temporary, false, error);
    if (!q)
        unlink(*temporary);
    return q;
}

/* What only may be read from now on. */
static void protect(const char *path, bool writable)
{
    struct stat st;

    if (!stat(path, &st) && chmod(path, writable ? st.st_mode | S_IWUSR : st.st_mode & ~0222u))
        return; /* not ours: the locks still keep others from writing while it is used */
}

/* ---- taking one ---- */

static bool check_name(const char *path, const char *name, GError **error)
{
    g_autoptr(GPtrArray) list = NULL;

    if (!*name || strlen(name) > NAME_LENGTH || !g_utf8_validate(name, -1, NULL) || strpbrk(name, "\n\r"))
        return refused(error, _("“%s” cannot be the name of a snapshot: give one line of at most %u bytes"),
                       name, NAME_LENGTH);
    list = vmc_snapshots_list(path, error);
    if (!list)
        return false;
    if (find(list, name))
        return refused(error, _("Disk “%s” already has a snapshot “%s”; choose another name"), path, name);
    return true;
}

/* A number that neither a file nor the index has; what an operation that was cut off left is removed. */
static unsigned free_number(const char *path, GKeyFile *index)
{
    for (unsigned number = 1; number < NUMBER_MAX; number++) {
        g_autofree char *file = layer_path(path, number);
        g_autofree char *group = g_strdup_printf("%u", number);
        if (same_file(file, path))
            unlink(file);
        if (access(file, F_OK) && !g_key_file_has_group(index, group))
            return number;
    }
    return 0;
}

/* Both names, one after the other; see the head of this file. */
static bool exchange(const char *path, const char *layer, const char *temporary, GError **error)
{
    if (link(path, layer)) {
        int err = errno;
        if (err == EPERM || err == EOPNOTSUPP || err == EMLINK)
            return refused(
                error, _("Snapshots of disk “%s” need a file system with hard links: move it to another one"),
                path);
        return failed(error, layer, err);
    }
    if (!vmc_sync_folder_of(path) || rename(temporary, path)) {
        int err = errno;
        unlink(layer);
        return failed(error, path, err);
    }
    vmc_sync_folder_of(path);
    protect(layer, false);
    return true;
}

/* The image `q` at `path` becomes a layer; the new top, open, or NULL. */
static Qcow2 *take(Qcow2 *q, const char *path, const char *name, GError **error)
{
    g_autoptr(GKeyFile) index = read_index(path);
    g_autofree char *temporary = NULL, *layer = NULL;
    unsigned number = free_number(path, index);
    g_autofree char *group = g_strdup_printf("%u", number);
    int err;

    g_mutex_lock(&q->meta);
    err = q->broken ? -EIO : q->touched ? vmc_qcow2_commit(q) : 0;
    if (!err && q->touched)
        err = vmc_qcow2_commit(q); /* what the first one let go of */
    g_mutex_unlock(&q->meta);
    if (err) {
        failed(error, path, -err);
        return NULL;
    }
    layer = layer_path(path, number);
    Qcow2 *top = make_top(path, layer, q->size, &temporary, error);
    if (!top)
        return NULL;
    g_key_file_set_string(index, group, "name", name);
    g_key_file_set_int64(index, group, "time", g_get_real_time() / G_USEC_PER_SEC);
    if (write_index(path, index, error)) {
        if (exchange(path, layer, temporary, error))
            return top;
        g_key_file_remove_group(index, group, NULL);
        write_index(path, index, NULL);
    }
    vmc_qcow2_free(top);
    unlink(temporary);
    return NULL;
}

bool vmc_snapshot_take(const char *path, const char *name, GError **error)
{
    if (!check_name(path, name, error))
        return false;
    Qcow2 *q = open_alone(path, false, error);
    if (!q)
        return false;
    Qcow2 *top = take(q, path, name, error);
    vmc_qcow2_free(q);
    if (top)
        vmc_qcow2_free(top);
    return top != NULL;
}

/* From a writer's lock to a reader's, with no moment between. */
static void become_layer(Qcow2 *q)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

    g_mutex_lock(&q->meta);
    g_mutex_lock(&q->lock);
    q->readonly = true;
    q->ready = q->touched = false;
    g_mutex_unlock(&q->lock);
    g_mutex_unlock(&q->meta);
    fcntl(q->fd, F_OFD_SETLK, &lock);
}

bool vmc_disk_take_snapshot(VmcDisk *disk, const char *name, GError **error)
{
    Qcow2Disk *own = (Qcow2Disk *)disk;

    if (strcmp(disk->ops->name, "qcow2") != 0)
        return refused(error, _("Disk “%s” is not a qcow2 image, and only these have snapshots"), disk->path);
    if (disk->readonly)
        return refused(error, _("Disk “%s” is read-only: there is nothing to take a snapshot of"),
                       disk->path);
    if (!check_name(disk->path, name, error))
        return false;
    Qcow2 *top = take(own->q, disk->path, name, error);
    if (!top)
        return false;
    become_layer(own->q);
    top->backing = vmc_qcow2_disk_new(own->q);
    own->q = top;
    return true;
}

/* ---- going back ---- */

bool vmc_snapshot_go_back(const char *path, const char *name, GError **error)
{
    g_autoptr(GPtrArray) list = vmc_snapshots_list(path, error);
    const VmcSnapshot *snapshot = list ? find_or_say(list, path, name, error) : NULL;
    g_autofree char *temporary = NULL;
    VmcDiskInfo info;

    if (!snapshot || !vmc_disk_info(snapshot->path, "qcow2", &info, error))
        return false;
    uint64_t size = info.size;
    vmc_disk_info_clear(&info);
    Qcow2 *old = open_alone(path, false, error); /* nobody uses it */
    Qcow2 *top = old ? make_top(path, snapshot->path, size, &temporary, error) : NULL;
    bool good = top && (!rename(temporary, path) || failed(error, path, errno));
    if (top && !good)
        unlink(temporary);
    if (top)
        vmc_qcow2_free(top);
    if (old)
        vmc_qcow2_free(old);
    if (good)
        vmc_sync_folder_of(path);
    return good;
}

/* ---- deleting ---- */

/* Gives `upper` [offset, offset + length), which it has not got itself, from `layer`, if that has. */
static int copy_up(VmcDisk *upper, Qcow2 *layer, uint64_t offset, uint64_t length, uint8_t *buffer)
{
    while (length) {
        Qcow2Run run;
        int err = vmc_qcow2_find(layer, offset, MIN(length, COPY_BYTES), false, &run);
        if (err)
            return err;
        vmc_qcow2_unpin(layer, run.pin);
        struct iovec iov = {buffer, run.length};
        if (run.kind == QCOW2_KIND_ZERO) {
            err = vmc_disk_write_zeroes(upper, offset, run.length, true);
        } else if (run.kind != QCOW2_KIND_UNALLOCATED) {
            err = vmc_qcow2_read(layer, offset, &iov, 1);
            iov = (struct iovec){buffer, run.length};
            if (!err)
                err = vmc_disk_write(upper, offset, &iov, 1);
        }
        if (err)
            return err;
        offset += run.length;
        length -= run.length;
    }
    return 0;
}

/* After this `upper` needs nothing of `layer` any more, only of what lies below that. */
static int pull(VmcDisk *upper, Qcow2 *layer)
{
    g_autofree uint8_t *buffer = g_malloc(COPY_BYTES);
    Qcow2 *q = ((Qcow2Disk *)upper)->q;
    uint64_t offset = 0;

    while (offset < q->size) {
        Qcow2Run run;
        int err = vmc_qcow2_find(q, offset, MIN(q->size - offset, 64 * COPY_BYTES), false, &run);
        if (err)
            return err;
        vmc_qcow2_unpin(q, run.pin);
        uint64_t end = offset + run.length, both = CLAMP(layer->size, offset, end);
        if (run.kind == QCOW2_KIND_UNALLOCATED) {
            err = copy_up(upper, layer, offset, both - offset, buffer);
            if (!err && both < end && layer->backing_path)
                err = vmc_disk_write_zeroes(upper, both, end - both, true);
        }
        if (err)
            return err;
        offset = end;
    }
    return vmc_disk_flush(upper);
}

static bool merge_into(const char *child, const VmcSnapshot *snapshot, GError **error)
{
    VmcDiskOpen params = {.path = child, .format = "qcow2", .backing = true};
    Qcow2 *layer = open_alone(snapshot->path, true, error);
    VmcDisk *upper = layer ? vmc_disk_open(&params, error) : NULL;
    bool good = upper != NULL;

    if (good) {
        int err = pull(upper, layer);
        good = err ? failed(error, child, -err)
                   : vmc_qcow2_write_backing(((Qcow2Disk *)upper)->q, layer->backing_path,
                                             layer->backing_format, error);
    }
    vmc_disk_close(upper);
    if (layer)
        vmc_qcow2_free(layer);
    return good;
}

/* Linked clones of a snapshot, out of its entry in the index, that are still there and lie on it. */
static void add_clones(GPtrArray *found, GKeyFile *index, const VmcSnapshot *snapshot)
{
    g_autofree char *group = g_strdup_printf("%u", snapshot->number);
    g_auto(GStrv) clones = g_key_file_get_string_list(index, group, "clones", NULL, NULL);

    for (guint i = 0; clones && clones[i]; i++) {
        VmcDiskInfo info;
        if (!vmc_disk_info(clones[i], "qcow2", &info, NULL))
            continue;
        g_autofree char *below = info.backing ? vmc_qcow2_backing_path(clones[i], info.backing) : NULL;
        vmc_disk_info_clear(&info);
        if (below && same_file(below, snapshot->path))
            g_ptr_array_add(found, g_strdup(clones[i]));
    }
}

char **vmc_disk_clones(const char *path, const char *name, GError **error)
{
    g_autoptr(GPtrArray) list = vmc_snapshots_list(path, error);
    g_autoptr(GKeyFile) index = read_index(path);
    GPtrArray *found;

    if (!list)
        return NULL;
    found = g_ptr_array_new();
    for (guint i = 0; i < list->len; i++) {
        const VmcSnapshot *snapshot = g_ptr_array_index(list, i);
        if (!name || strcmp(snapshot->name, name) == 0)
            add_clones(found, index, snapshot);
    }
    g_ptr_array_add(found, NULL);
    return (char **)g_ptr_array_free(found, FALSE);
}

static bool check_clones(const char *path, const VmcSnapshot *snapshot, GError **error)
{
    g_auto(GStrv) clones = vmc_disk_clones(path, snapshot->name, error);

    if (!clones)
        return false;
    return !clones[0] ||
           refused(error, _("The snapshot “%s” cannot be deleted: the linked clone “%s” needs it"),
                   snapshot->name, clones[0]);
}

bool vmc_snapshot_delete(const char *path, const char *name, GError **error)
{
    g_autoptr(GPtrArray) list = vmc_snapshots_list(path, error);
    const VmcSnapshot *snapshot = list ? find_or_say(list, path, name, error) : NULL;

    if (!snapshot || !check_clones(path, snapshot, error))
        return false;
    Qcow2 *unused = open_alone(path, false, error); /* a machine may have the layers open */
    if (!unused)
        return false;
    vmc_qcow2_free(unused);
    for (guint i = 0; i < list->len; i++) {
        const VmcSnapshot *child = g_ptr_array_index(list, i);
        if (child->parent != snapshot->number)
            continue;
        protect(child->path, true);
        bool good = merge_into(child->path, snapshot, error);
        protect(child->path, false);
        if (!good)
            return false;
    }
    if (snapshot->current && !merge_into(path, snapshot, error))
        return false;
    if (unlink(snapshot->path))
        return failed(error, snapshot->path, errno);
    vmc_sync_folder_of(path);
    g_autoptr(GKeyFile) index = read_index(path);
    g_autofree char *group = g_strdup_printf("%u", snapshot->number);
    g_key_file_remove_group(index, group, NULL);
    return write_index(path, index, error);
}

/* ---- linked clones ---- */

/* How `to` names the image `below`: relative within a folder, so that both can be moved together. */
static char *name_for(const char *to, const char *below)
{
    g_autofree char *folder = g_path_get_dirname(to), *other = g_path_get_dirname(below);

    return same_file(folder, other) ? g_path_get_basename(below) : g_canonicalize_filename(below, NULL);
}

static bool make_clone(const char *below, const char *format, const char *to, GError **error)
{
    g_autofree char *name = name_for(to, below);
    VmcDiskCreate params = {.backing = name, .backing_format = format};

    return vmc_disk_create(to, "qcow2", &params, error);
}

static bool clone_raw(const char *path, const char *to, GError **error)
{
    VmcDisk *base = vmc_disk_open_raw(path, true, error); /* nobody writes to it */
    bool good = base && make_clone(path, "raw", to, error);

    if (good)
        protect(path, false);
    vmc_disk_close(base);
    return good;
}

static bool note_clone(const char *path, unsigned number, const char *place, GError **error)
{
    g_autoptr(GKeyFile) index = read_index(path);
    g_autofree char *group = g_strdup_printf("%u", number);
    g_auto(GStrv) clones = g_key_file_get_string_list(index, group, "clones", NULL, NULL);
    g_autoptr(GPtrArray) all = g_ptr_array_new();

    if (clones && g_strv_contains((const char *const *)clones, place))
        return true;
    for (guint i = 0; clones && clones[i]; i++)
        g_ptr_array_add(all, clones[i]);
    g_ptr_array_add(all, (char *)place);
    g_key_file_set_string_list(index, group, "clones", (const char *const *)all->pdata, all->len);
    return write_index(path, index, error);
}

bool vmc_disk_clone(const char *path, const char *format, const char *snapshot_name, const char *to,
                    GError **error)
{
    g_autoptr(GPtrArray) list = NULL;
    g_autofree char *name = NULL, *place = g_canonicalize_filename(to, NULL);

    if (strcmp(format, "qcow2") != 0)
        return snapshot_name
                   ? refused(error, _("Disk “%s” is not a qcow2 image, and only these have snapshots"), path)
                   : clone_raw(path, to, error);
    if (!access(to, F_OK))
        return refused(error, _("Disk “%s” is there already: choose another name, or move that one away"),
                       to);
    if (!snapshot_name) {
        g_autofree char *base = g_path_get_basename(to);
        name = g_strdup_printf("Clone %.150s", base);
        if (!vmc_snapshot_take(path, name, error))
            return false;
    }
    list = vmc_snapshots_list(path, error);
    const VmcSnapshot *snapshot = list ? find_or_say(list, path, name ? name : snapshot_name, error) : NULL;
    if (!snapshot)
        return false;
    /* Noted first: a clone that is not there holds nothing up. */
    return note_clone(path, snapshot->number, place, error) && make_clone(snapshot->path, "qcow2", to, error);
}

bool vmc_disk_clone_moved(const char *clone, GError **error)
{
    g_autofree char *place = g_canonicalize_filename(clone, NULL), *below = NULL, *disk = NULL;
    VmcDiskInfo info;

    if (!vmc_disk_info(clone, "qcow2", &info, error))
        return false;
    if (info.backing)
        below = vmc_qcow2_backing_path(clone, info.backing);
    vmc_disk_info_clear(&info);
    if (!below)
        return true;
    g_autofree char *folder = g_path_get_dirname(below), *file = g_path_get_basename(below);
    g_autofree char *stem_name = disk_of(below);
    disk = g_build_filename(folder, stem_name, NULL);
    unsigned number = number_of(disk, file);
    return !number || note_clone(disk, number, place, error);
}
