/*
 * The folder a virtual machine lives in (see bundle.h): reading, writing safely, locking.
 *
 * Locks are open-file-description locks (fcntl(2), F_OFD_SETLK): they belong to our one descriptor, are not
 * lost when some library opens and closes the same file, and the kernel drops them however the process ends.
 */
#include "app/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/bundle_config.h"
#include "app/plist_fields.h"
#include "app/tree.h"

#define CONFIG_SIZE_MAX   (1u << 20)
#define FOLDER_NAME_BYTES 180 /* of the 255 that a name may have */
#define SAME_NAMES_MAX    1000

struct EspBundle {
    char *path;
    char *name;
    char *final_path; /* of a bundle that is still hidden */
    bool kept;        /* hidden, but not ours to remove */
    plist_t root;
    int lock_fd;
};

/* clang-format would take the name for a subtraction. */
/* clang-format off */
G_DEFINE_QUARK(esp-bundle-error-quark, esp_bundle_error)
/* clang-format on */

static void set_errno(GError **error, EspBundleError code, const char *format, const char *path)
{
    int saved = errno;
    g_autofree char *shown = g_filename_display_name(path);
    g_autofree char *what = g_strdup_printf(format, shown);
    g_set_error(error, ESP_BUNDLE_ERROR, code, "%s: %s", what, g_strerror(saved));
}

char *esp_bundle_file(EspBundle *bundle, const char *basename)
{
    return g_build_filename(bundle->path, basename, NULL);
}

const char *esp_bundle_get_path(EspBundle *bundle)
{
    return bundle->path;
}

const char *esp_bundle_get_name(EspBundle *bundle)
{
    return bundle->name;
}

/* Line ends, and marks that turn or hide what stands beside them, make one name look like another. */
static bool is_readable(gunichar c)
{
    return g_unichar_isprint(c) && g_unichar_type(c) != G_UNICODE_FORMAT;
}

/* A name as it can be shown, whatever somebody wrote into the file; NULL: there is nothing to show. */
static char *clean_name(const char *name)
{
    g_autofree char *valid = g_utf8_make_valid(name, -1);
    GString *clean = g_string_new(NULL);
    glong length = 0;
    for (const char *p = valid; *p && length < ESP_BUNDLE_NAME_MAX; p = g_utf8_next_char(p))
        if (is_readable(g_utf8_get_char(p))) {
            g_string_append_unichar(clean, g_utf8_get_char(p));
            length++;
        }
    g_strstrip(clean->str);
    bool empty = !*clean->str;
    char *result = g_string_free(clean, empty);
    return empty ? NULL : result;
}

/* The name in the file, or the folder's own. */
static char *read_name(plist_t root, const char *path)
{
    g_autofree char *written = esp_plist_get_string(root, "Name");
    char *name = written ? clean_name(written) : NULL;
    if (name)
        return name;
    g_autofree char *basename = g_path_get_basename(path);
    if (g_str_has_suffix(basename, ESP_BUNDLE_SUFFIX))
        basename[strlen(basename) - strlen(ESP_BUNDLE_SUFFIX)] = '\0';
    return g_filename_display_name(basename);
}

static plist_t parse_config(const char *file, GError **error)
{
    GStatBuf st;
    if (g_stat(file, &st) < 0) {
        set_errno(error, ESP_BUNDLE_ERROR_FILE, _("“%s” cannot be read"), file);
        return NULL;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_SIZE_MAX) {
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                    _("“%s” is not a property list: it should be a file of at most 1 MiB."), file);
        return NULL;
    }
    g_autofree char *data = NULL;
    gsize length = 0;
    if (!g_file_get_contents(file, &data, &length, error))
        return NULL;

    plist_t root = NULL;
    if (length > 8 && !memcmp(data, "bplist00", 8))
        plist_from_bin(data, (uint32_t)length, &root);
    else if (length)
        plist_from_xml(data, (uint32_t)length, &root);
    if (!root || plist_get_node_type(root) != PLIST_DICT) {
        if (root)
            plist_free(root);
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                    _("“%s” is not a property list with a dictionary in it."), file);
        return NULL;
    }
    return root;
}

static EspBundle *bundle_alloc(char *path)
{
    EspBundle *bundle = g_new0(EspBundle, 1);
    bundle->path = path;
    bundle->lock_fd = -1;
    return bundle;
}

EspBundle *esp_bundle_open(const char *path, GError **error)
{
    EspBundle *bundle = bundle_alloc(g_canonicalize_filename(path, NULL));
    if (!g_file_test(bundle->path, G_FILE_TEST_IS_DIR)) {
        g_autofree char *shown = g_filename_display_name(bundle->path);
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE,
                    _("“%s” is not a virtual machine: there is no folder of that name."), shown);
        esp_bundle_free(bundle);
        return NULL;
    }
    g_autofree char *file = esp_bundle_file(bundle, ESP_BUNDLE_CONFIG);
    bundle->root = parse_config(file, error);
    if (!bundle->root) {
        esp_bundle_free(bundle);
        return NULL;
    }
    bundle->name = read_name(bundle->root, bundle->path);
    return bundle;
}

/* A name that can be a folder's: no slash, no leading dot, never empty, and of a length that file systems
 * take, with a number behind it if there are others of that name. */
static char *folder_name(const char *name, unsigned number)
{
    g_autofree char *valid = g_utf8_make_valid(name, -1);
    GString *folder = g_string_new(NULL);
    for (const char *p = valid; *p && folder->len < FOLDER_NAME_BYTES; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        g_string_append_unichar(folder, c == '/' || (c == '.' && p == valid) || !is_readable(c) ? '_' : c);
    }
    if (!folder->len)
        g_string_append_c(folder, '_');
    if (number > 1)
        g_string_append_printf(folder, " %u", number);
    g_string_append(folder, ESP_BUNDLE_SUFFIX);
    return g_string_free(folder, FALSE);
}

EspBundle *esp_bundle_open_as(const char *config_file, const char *dir, GError **error)
{
    EspBundle *bundle = bundle_alloc(g_canonicalize_filename(dir, NULL));
    bundle->root = parse_config(config_file, error);
    if (!bundle->root) {
        esp_bundle_free(bundle);
        return NULL;
    }
    bundle->name = read_name(bundle->root, bundle->path);
    return bundle;
}

char *esp_bundle_path_for(const char *parent_dir, const char *name)
{
    g_autofree char *folder = folder_name(name, 1);
    return g_build_filename(parent_dir, folder, NULL);
}

/* Takes `path`, the hidden folder. */
static EspBundle *bundle_begin(char *path, const char *parent_dir, const char *name)
{
    EspBundle *bundle = bundle_alloc(path);
    bundle->final_path = esp_bundle_path_for(parent_dir, name);
    bundle->name = g_strdup(name);
    bundle->root = plist_new_dict();
    plist_dict_set_item(bundle->root, "Version", plist_new_uint(ESP_BUNDLE_VERSION));
    esp_plist_set_string(bundle->root, "Name", name);
    return bundle;
}

EspBundle *esp_bundle_new(const char *parent_dir, const char *name, GError **error)
{
    if (g_mkdir_with_parents(parent_dir, 0700) < 0) {
        set_errno(error, ESP_BUNDLE_ERROR_FILE, _("The folder “%s” cannot be made"), parent_dir);
        return NULL;
    }
    char *path = g_build_filename(parent_dir, ".new-XXXXXX", NULL);
    if (!g_mkdtemp_full(path, 0700)) {
        set_errno(error, ESP_BUNDLE_ERROR_FILE, _("Nothing can be created in “%s”"), parent_dir);
        g_free(path);
        return NULL;
    }
    return bundle_begin(path, parent_dir, name);
}

EspBundle *esp_bundle_new_in(const char *folder, const char *parent_dir, const char *name, GError **error)
{
    if (!g_file_test(folder, G_FILE_TEST_IS_DIR)) {
        errno = ENOENT;
        set_errno(error, ESP_BUNDLE_ERROR_FILE, _("The folder “%s” cannot be used"), folder);
        return NULL;
    }
    EspBundle *bundle = bundle_begin(g_canonicalize_filename(folder, NULL), parent_dir, name);
    bundle->kept = true;
    return bundle;
}

void esp_bundle_free(EspBundle *bundle)
{
    if (!bundle)
        return;
    if (bundle->lock_fd >= 0) {
        esp_bundle_announce(bundle, NULL);
        close(bundle->lock_fd);
    }
    if (bundle->final_path && !bundle->kept)
        esp_tree_remove(bundle->path, NULL);
    if (bundle->root)
        plist_free(bundle->root);
    g_free(bundle->path);
    g_free(bundle->final_path);
    g_free(bundle->name);
    g_free(bundle);
}

/* 0 or an errno value. */
static int put_in_place(EspBundle *bundle)
{
    int rc = renameat2(AT_FDCWD, bundle->path, AT_FDCWD, bundle->final_path, RENAME_NOREPLACE);
    /* File systems without NOREPLACE: rename(2) never replaces a folder that has something in it. */
    if (rc < 0 && errno == EINVAL)
        rc = rename(bundle->path, bundle->final_path);
    if (rc < 0)
        return errno == ENOTEMPTY ? EEXIST : errno;
    g_free(bundle->path);
    bundle->path = g_steal_pointer(&bundle->final_path);
    return 0;
}

bool esp_bundle_publish_beside(EspBundle *bundle, GError **error)
{
    g_return_val_if_fail(bundle->final_path != NULL, false);
    g_autofree char *parent = g_path_get_dirname(bundle->final_path);
    int err = EEXIST;
    if (!esp_bundle_save(bundle, error))
        return false;
    for (unsigned number = 1; err == EEXIST && number < SAME_NAMES_MAX; number++) {
        g_autofree char *folder = folder_name(bundle->name, number);
        g_free(bundle->final_path);
        bundle->final_path = g_build_filename(parent, folder, NULL);
        err = put_in_place(bundle);
    }
    if (err) {
        errno = err;
        set_errno(error, ESP_BUNDLE_ERROR_FILE, _("“%s” cannot be put into place"), bundle->final_path);
    }
    return !err;
}

bool esp_bundle_reload(EspBundle *bundle, GError **error)
{
    g_autofree char *file = esp_bundle_file(bundle, ESP_BUNDLE_CONFIG);
    plist_t root = parse_config(file, error);
    if (!root)
        return false;
    plist_free(bundle->root);
    bundle->root = root;
    g_free(bundle->name);
    bundle->name = read_name(root, bundle->final_path ? bundle->final_path : bundle->path);
    return true;
}

bool esp_bundle_publish(EspBundle *bundle, GError **error)
{
    g_return_val_if_fail(bundle->final_path != NULL, false);
    if (!esp_bundle_save(bundle, error))
        return false;
    int err = put_in_place(bundle);
    if (err) {
        errno = err;
        if (err == EEXIST)
            g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_EXISTS,
                        _("There is already a virtual machine named “%s”. Please choose another name."),
                        bundle->name);
        else
            set_errno(error, ESP_BUNDLE_ERROR_FILE, _("“%s” cannot be put into place"), bundle->final_path);
        return false;
    }
    return true;
}

bool esp_bundle_check_name(const char *name, GError **error)
{
    g_autofree char *stripped = g_utf8_validate(name, -1, NULL) ? g_strstrip(g_strdup(name)) : g_strdup("");
    glong length = g_utf8_strlen(stripped, -1);
    bool readable = true;

    for (const char *p = stripped; *p; p = g_utf8_next_char(p))
        readable = readable && is_readable(g_utf8_get_char(p));
    if (!length || length > ESP_BUNDLE_NAME_MAX || !readable) {
        g_set_error(
            error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
            _("This cannot be the name of a virtual machine: a name has 1 to %d characters in one line, "
              "all of which can be seen."),
            ESP_BUNDLE_NAME_MAX);
        return false;
    }
    return true;
}

bool esp_bundle_set_name(EspBundle *bundle, const char *name, GError **error)
{
    if (!esp_bundle_check_name(name, error))
        return false;
    g_autofree char *stripped = g_strstrip(g_strdup(name));
    esp_plist_set_string(bundle->root, "Name", stripped);
    g_free(bundle->name);
    bundle->name = g_steal_pointer(&stripped);
    return true;
}

bool esp_bundle_get_info(EspBundle *bundle, EspMachineInfo *info, GError **error)
{
    if (esp_machine_info_read(bundle->root, info, error))
        return true;
    g_prefix_error(error, _("The configuration of “%s” cannot be used. "), bundle->name);
    return false;
}

void esp_bundle_set_info(EspBundle *bundle, const EspMachineInfo *info)
{
    esp_machine_info_write(bundle->root, info);
}

const char *esp_bundle_get_origin(EspBundle *bundle)
{
    plist_t node = plist_dict_get_item(bundle->root, "Origin");
    return node && plist_get_node_type(node) == PLIST_STRING ? plist_get_string_ptr(node, NULL) : NULL;
}

void esp_bundle_set_origin(EspBundle *bundle, const char *origin)
{
    esp_plist_set_string(bundle->root, "Origin", origin);
}

VmcConfig *esp_bundle_get_config(EspBundle *bundle, GError **error)
{
    VmcConfig *config = esp_bundle_config_read(bundle->root, bundle->path, error);
    if (!config)
        g_prefix_error(error, _("The configuration of “%s” cannot be used. "), bundle->name);
    return config;
}

void esp_bundle_set_config(EspBundle *bundle, const VmcConfig *config)
{
    esp_bundle_config_write(bundle->root, bundle->path, config);
}

bool esp_bundle_save(EspBundle *bundle, GError **error)
{
    char *xml = NULL;
    uint32_t length = 0;
    plist_to_xml(bundle->root, &xml, &length);
    if (!xml) {
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                    _("The configuration of “%s” cannot be written as a property list."), bundle->name);
        return false;
    }
    g_autofree char *file = esp_bundle_file(bundle, ESP_BUNDLE_CONFIG);
    /* CONSISTENT|DURABLE is a temporary file beside it, fsync, rename. */
    bool ok = g_file_set_contents_full(
        file, xml, length, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, error);
    plist_to_xml_free(xml);
    return ok;
}

bool esp_bundle_keep_pci_slots(EspBundle *bundle, const VmcConfig *running, GError **error)
{
    VmcConfig *config = esp_bundle_get_config(bundle, error);
    if (!config)
        return false;
    bool news = vmc_config_take_pci_slots(config, running);
    if (news)
        esp_bundle_set_config(bundle, config);
    vmc_config_free(config);
    return !news || esp_bundle_save(bundle, error);
}

bool esp_bundle_add_disk(EspBundle *bundle, const char *basename, uint64_t size, GError **error)
{
    g_autofree char *file = esp_bundle_file(bundle, basename);
    int fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        set_errno(error, ESP_BUNDLE_ERROR_FILE, _("The disk “%s” cannot be created"), file);
        return false;
    }
    if (size > G_MAXINT64 || ftruncate(fd, (off_t)size) < 0 || fsync(fd) < 0) {
        set_errno(error, ESP_BUNDLE_ERROR_FILE, _("The disk “%s” cannot be given its size"), file);
        close(fd);
        g_unlink(file);
        return false;
    }
    close(fd);
    return true;
}

void esp_bundle_rotate_log(EspBundle *bundle, const char *basename, uint64_t max_size)
{
    g_autofree char *file = esp_bundle_file(bundle, basename);
    g_autofree char *old = g_strconcat(file, ".old", NULL);
    GStatBuf st;
    if (g_lstat(file, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size > max_size)
        g_rename(file, old);
}

bool esp_bundle_lock(EspBundle *bundle, GError **error)
{
    if (bundle->lock_fd >= 0)
        return true;
    g_autofree char *file = esp_bundle_file(bundle, ESP_BUNDLE_LOCK);
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        set_errno(error, ESP_BUNDLE_ERROR_FILE, _("The lock “%s” cannot be opened"), file);
        return false;
    }
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        int pid = 0;
        if (errno != EAGAIN && errno != EACCES)
            set_errno(error, ESP_BUNDLE_ERROR_FILE, _("The lock “%s” cannot be taken"), file);
        else if (esp_bundle_get_runner(bundle->path, &pid, NULL) && pid > 0)
            g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_BUSY,
                        _("“%s” is already open in another process (number %d)."), bundle->name, pid);
        else
            g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_BUSY,
                        _("“%s” is already open in another process."), bundle->name);
        close(fd);
        return false;
    }
    bundle->lock_fd = fd;
    return true;
}

EspBundle *esp_bundle_hold(const char *path, GError **error)
{
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, error);
    g_autoptr(GError) why = NULL;
    if (!bundle)
        return NULL;
    if (!esp_bundle_lock(bundle, &why)) {
        if (!g_error_matches(why, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_BUSY)) {
            g_propagate_error(error, g_steal_pointer(&why));
            return NULL;
        }
        int pid = 0;
        esp_bundle_get_runner(path, &pid, NULL);
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_BUSY,
                    _("“%s” is in use at the moment (by process %d): shut it down and close its window "
                      "first, or wait until it is done."),
                    bundle->name, pid);
        return NULL;
    }
    esp_bundle_announce(bundle, ESP_BUNDLE_STATE_HELD);
    return g_steal_pointer(&bundle);
}

void esp_bundle_announce(EspBundle *bundle, const char *state)
{
    if (bundle->lock_fd < 0)
        return;
    g_autofree char *text = state ? g_strdup_printf("%d %s\n", (int)getpid(), state) : g_strdup("");
    ssize_t length = (ssize_t)strlen(text);
    /* Write before truncating: a reader sees the old state, the new one, or the new one and a stale tail that
     * lies behind the newline. */
    if (pwrite(bundle->lock_fd, text, (size_t)length, 0) != length || ftruncate(bundle->lock_fd, length) < 0)
        g_debug("%s: the lock file cannot be written: %s", bundle->path, g_strerror(errno));
}

/* What stands in the lock file, for which *held says whether it is true now. False: nothing. */
static bool read_lock(const char *path, bool *held, int *pid, char **state)
{
    g_autofree char *file = g_build_filename(path, ESP_BUNDLE_LOCK, NULL);
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char text[64] = "", word[32] = "";
    int number = 0;
    *held = fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    if (fd >= 0 && pread(fd, text, sizeof(text) - 1, 0) > 0)
        sscanf(text, "%d %31[^\n]", &number, word);
    if (fd >= 0)
        close(fd);
    if (pid)
        *pid = number;
    if (state)
        *state = g_strdup(word);
    return number > 0;
}

/* Gives nothing out if `found` is false. */
static bool give(bool found, int *pid, char **state)
{
    if (!found && pid)
        *pid = 0;
    if (!found && state)
        g_clear_pointer(state, g_free);
    return found;
}

bool esp_bundle_get_runner(const char *path, int *pid, char **state)
{
    bool held;
    read_lock(path, &held, pid, state);
    return give(held, pid, state);
}

bool esp_bundle_get_last_words(const char *path, int *pid, char **state)
{
    bool held;
    bool said = read_lock(path, &held, pid, state);
    return give(said && !held, pid, state);
}
