/* A machine that somebody wants to have (see creation.h). */
#include "app/create/creation.h"

#include <glib/gi18n.h>
#include <string.h>

#include "app/bundle.h"
#include "app/create/host_limits.h"
#include "app/create/machine.h"
#include "app/images/download.h"
#include "app/plist_fields.h"
#include "app/region.h"

/* clang-format would take the name for a subtraction. */
/* clang-format off */
G_DEFINE_QUARK(esp-creation-error-quark, esp_creation_error)
/* clang-format on */

static const char *const kinds[] = {"linux", "installer", "import", "demo", "macos", NULL};
static const char *const systems[] = {"other", "linux", "macos", NULL};
static const char *const keyboard_types[] = {"ansi", "iso", "jis", NULL};
static const char *const clipboards[] = {"both", "to-guest", "to-host", "off", NULL};

#define FIELD(key_, type_, member_)                                                                          \
    .name = key_, .key = key_, .type = type_, .offset = offsetof(EspCreation, member_)

static const VmcField fields[] = {
    {FIELD("Kind", VMC_FIELD_CHOICE, kind), .choices = kinds},
    {FIELD("Name", VMC_FIELD_STRING, name)},
    {FIELD("System", VMC_FIELD_CHOICE, system), .choices = systems},
    {FIELD("Version", VMC_FIELD_STRING, version)},
    {FIELD("OSID", VMC_FIELD_STRING, os_id)},
    {FIELD("Source", VMC_FIELD_STRING, source)},
    {FIELD("Sums", VMC_FIELD_STRING, sums)},
    {FIELD("CPUCount", VMC_FIELD_NUMBER, cpus)},
    {FIELD("MemorySize", VMC_FIELD_NUMBER, memory_mib)},
    {FIELD("DiskSize", VMC_FIELD_NUMBER, disk_gib)},
    {FIELD("Locale", VMC_FIELD_STRING, region.locale)},
    {FIELD("KeyboardLayout", VMC_FIELD_STRING, region.keyboard_layout)},
    {FIELD("KeyboardVariant", VMC_FIELD_STRING, region.keyboard_variant)},
    {FIELD("TimeZone", VMC_FIELD_STRING, region.time_zone)},
    {FIELD("KeyboardType", VMC_FIELD_CHOICE, keyboard_type), .choices = keyboard_types},
    {FIELD("User", VMC_FIELD_STRING, user.name)},
    {FIELD("FullName", VMC_FIELD_STRING, user.full_name)},
    {FIELD("PasswordHash", VMC_FIELD_STRING, user.password_hash)},
    {FIELD("SSHKey", VMC_FIELD_STRING, user.ssh_key)},
    {FIELD("SharePath", VMC_FIELD_STRING, share_path)},
    {FIELD("ShareReadOnly", VMC_FIELD_FLAG, share_readonly)},
    {FIELD("Clipboard", VMC_FIELD_CHOICE, clipboard), .choices = clipboards},
};

static char **string_of(const VmcField *field, EspCreation *creation)
{
    return field->type == VMC_FIELD_STRING ? (char **)((char *)creation + field->offset) : NULL;
}

void esp_creation_clear(EspCreation *creation)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++)
        if (string_of(&fields[i], creation))
            g_free(*string_of(&fields[i], creation));
    memset(creation, 0, sizeof(*creation));
}

void esp_creation_copy(EspCreation *to, const EspCreation *from)
{
    *to = *from;
    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++) {
        char **string = string_of(&fields[i], to);

        if (string)
            *string = g_strdup(*string);
    }
}

void esp_creation_init(EspCreation *creation, EspCreationKind kind)
{
    EspHostLimits limits;

    esp_host_limits_get(&limits, NULL);
    memset(creation, 0, sizeof(*creation));
    creation->kind = kind;
    creation->system = kind == ESP_CREATION_MACOS ? ESP_GUEST_MACOS : ESP_GUEST_LINUX;
    creation->cpus = kind == ESP_CREATION_DEMO ? MIN(2, limits.cpus) : limits.cpus_default;
    creation->memory_mib = kind == ESP_CREATION_DEMO ? 512 : limits.memory_default_mib;
    creation->disk_gib =
        kind == ESP_CREATION_IMPORT || kind == ESP_CREATION_DEMO ? 0 : limits.disk_default_gib;
    esp_region_of_host(&creation->region, &creation->keyboard_type);
}

void esp_creation_set_entry(EspCreation *creation, const EspCatalogueEntry *entry)
{
    g_free(creation->version);
    g_free(creation->os_id);
    g_free(creation->source);
    g_free(creation->sums);
    creation->version = g_strdup(entry->id);
    creation->os_id = g_strdup(entry->os_id);
    creation->source = g_strdup(entry->link);
    creation->sums = g_strdup(entry->sums);
    creation->memory_mib = MAX(creation->memory_mib, entry->memory_mib);
    creation->disk_gib = MAX(creation->disk_gib, entry->disk_gib);
}

bool esp_creation_is_download(const EspCreation *creation)
{
    return creation->source && esp_download_is_link(creation->source);
}

bool esp_creation_has_setup(const EspCreation *creation)
{
    return creation->kind == ESP_CREATION_LINUX;
}

bool esp_creation_has_disk_size(const EspCreation *creation)
{
    return creation->kind == ESP_CREATION_LINUX || creation->kind == ESP_CREATION_INSTALLER ||
           creation->kind == ESP_CREATION_IMPORT;
}

/* ---- checks ---- */

static bool wrong(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool wrong(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, ESP_CREATION_ERROR, ESP_CREATION_ERROR_WANTED, "%s", message);
    return false;
}

/* What useradd takes everywhere: a letter or _, then letters, digits, - and _; 32 at most. */
bool esp_creation_check_user_name(const char *name, GError **error)
{
    bool good = g_ascii_islower(name[0]) || name[0] == '_';

    for (const char *p = name; *p; p++)
        good = good && (g_ascii_islower(*p) || g_ascii_isdigit(*p) || *p == '_' || *p == '-');
    if (!good || strlen(name) > 32)
        return wrong(error,
                     _("“%s” cannot be a user’s name: it begins with a small letter, and has up to 32 "
                       "small letters, digits, “-” and “_”."),
                     name);
    if (!strcmp(name, "root"))
        return wrong(error,
                     _("The first user cannot be “root”, which is there already. Please choose another "
                       "name."));
    return true;
}

static bool check_user(const EspFirstUser *user, GError **error)
{
    if (!user->name || !*user->name)
        return wrong(error, _("The first user needs a name."));
    if (!esp_creation_check_user_name(user->name, error))
        return false;
    if (user->full_name && (!g_utf8_validate(user->full_name, -1, NULL) || strpbrk(user->full_name, ":\n\r")))
        return wrong(error, _("A user’s full name is one line without a colon."));
    if (!user->password_hash && !user->ssh_key)
        return wrong(error, _("Nobody could log in as “%s”: please give a password, an SSH key, or both."),
                     user->name);
    return true;
}

static bool check_source(const EspCreation *creation, GError **error)
{
    if (creation->kind == ESP_CREATION_DEMO)
        return true;
    if (creation->kind == ESP_CREATION_MACOS)
        return wrong(error, _("This version of Espalier cannot install macOS yet."));
    if (!creation->source || !*creation->source)
        return wrong(error, creation->kind == ESP_CREATION_INSTALLER
                                ? _("Please choose the installer’s disc image.")
                            : creation->kind == ESP_CREATION_IMPORT ? _("Please choose the disk to import.")
                                                                    : _("Please choose an image."));
    if (esp_creation_is_download(creation))
        return true;
    if (!g_path_is_absolute(creation->source))
        return wrong(error, _("“%s” is neither a file nor a link that begins with https:// or http://."),
                     creation->source);
    if (!g_file_test(creation->source, G_FILE_TEST_IS_REGULAR)) {
        g_autofree char *shown = g_filename_display_name(creation->source);
        return wrong(error, _("There is no file “%s”."), shown);
    }
    return true;
}

static bool check_resources(const EspCreation *creation, const char *library_dir, GError **error)
{
    EspHostLimits limits;

    esp_host_limits_get(&limits, library_dir);
    if (!creation->cpus || creation->cpus > VMC_CPUS_MAX)
        return wrong(error, _("A machine has 1 to %u CPUs."), VMC_CPUS_MAX);
    if (creation->memory_mib < ESP_MEMORY_MIN_MIB || creation->memory_mib > limits.memory_mib)
        return wrong(error, _("A machine on this computer has %u to %u MiB of memory."), ESP_MEMORY_MIN_MIB,
                     limits.memory_mib);
    if (creation->disk_gib > ESP_DISK_MAX_GIB)
        return wrong(error, _("A disk has at most %u GiB."), ESP_DISK_MAX_GIB);
    if (creation->kind == ESP_CREATION_INSTALLER && !creation->disk_gib)
        return wrong(error, _("The machine needs a disk of at least 1 GiB to install something on."));
    return true;
}

bool esp_creation_check(const EspCreation *creation, const char *library_dir, GError **error)
{
    if (!esp_bundle_check_name(creation->name ? creation->name : "", error))
        return false;
    g_autofree char *path = esp_bundle_path_for(library_dir, creation->name);
    if (g_file_test(path, G_FILE_TEST_EXISTS))
        return wrong(error, _("There is already a virtual machine named “%s”. Please choose another name."),
                     creation->name);
    if (!check_source(creation, error) || !check_resources(creation, library_dir, error))
        return false;
    if (esp_creation_has_setup(creation) && !check_user(&creation->user, error))
        return false;
    if (creation->share_path && !g_file_test(creation->share_path, G_FILE_TEST_IS_DIR)) {
        g_autofree char *shown = g_filename_display_name(creation->share_path);
        return wrong(error, _("There is no folder “%s” to share."), shown);
    }
    return true;
}

char *esp_creation_free_name(const char *wanted, const char *library_dir)
{
    char *name = g_strdup(wanted);

    for (unsigned n = 2; n < 10000; n++) {
        g_autofree char *path = esp_bundle_path_for(library_dir, name);
        if (!g_file_test(path, G_FILE_TEST_EXISTS))
            break;
        g_free(name);
        name = g_strdup_printf("%s (%u)", wanted, n);
    }
    return name;
}

/* ---- as a property list ---- */

plist_t esp_creation_to_plist(const EspCreation *creation)
{
    plist_t dict = plist_new_dict();

    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++)
        esp_plist_write_field(dict, "/", &fields[i], creation);
    return dict;
}

bool esp_creation_from_plist(plist_t dict, EspCreation *creation, GError **error)
{
    memset(creation, 0, sizeof(*creation));
    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++)
        if (!esp_plist_read_field(dict, "/", &fields[i], creation, error)) {
            esp_creation_clear(creation);
            return false;
        }
    return true;
}
