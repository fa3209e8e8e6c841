/*
 * Settings by name, and their values as text (see settings.h). The table is in settings_table.c.
 */
#include "app/settings.h"

#include <glib/gi18n.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "app/bundle.h"
#include "app/words.h"

#define TEXT_MAX  4096u
#define LINES_MAX (64u << 10)
#define LIST_MAX  64u
#define MIB_SHIFT 20

/* ---- fields ---- */

static const VmcField *find_field(const VmcField *fields, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++)
        if (!strcmp(fields[i].name, name))
            return &fields[i];
    return NULL;
}

const VmcField *esp_setting_field(const EspSetting *setting, VmcDeviceKind kind)
{
    const VmcDeviceInfo *info = vmc_device_info(kind);
    const VmcField *fields;
    unsigned n;

    switch (setting->scope) {
    case ESP_SCOPE_CONFIG:
        fields = vmc_config_fields(&n);
        return find_field(fields, n, setting->field);
    case ESP_SCOPE_INFO:
        fields = esp_machine_info_fields(&n);
        return find_field(fields, n, setting->field);
    case ESP_SCOPE_DEVICE:
        if (!strcmp(setting->field, vmc_pci_slot_field.name))
            return vmc_device_has_pci_slot(kind) ? &vmc_pci_slot_field : NULL;
        return info ? find_field(info->fields, info->n_fields, setting->field) : NULL;
    case ESP_SCOPE_NAME:
    case ESP_SCOPE_KIND:
        break;
    }
    return NULL;
}

VmcFieldType esp_setting_type(const EspSetting *setting, VmcDeviceKind kind)
{
    const VmcField *field = esp_setting_field(setting, kind);

    if (setting->scope == ESP_SCOPE_KIND)
        return VMC_FIELD_CHOICE;
    return field ? field->type : VMC_FIELD_STRING;
}

unsigned esp_setting_kinds(const EspSetting *setting, VmcDeviceKind *kinds, unsigned max)
{
    unsigned n = 0;

    for (unsigned kind = 0; kind < VMC_DEVICE_KINDS && n < max; kind++)
        if (esp_setting_is_for(setting, (VmcDeviceKind)kind))
            kinds[n++] = (VmcDeviceKind)kind;
    return n;
}

bool esp_setting_bounds(const EspSetting *setting, VmcDeviceKind kind, uint64_t *min, uint64_t *max)
{
    const VmcField *field = esp_setting_field(setting, kind);
    uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

    *min = field ? field->min : 0;
    *max = field && field->max ? field->max : UINT32_MAX;
    if (field && field->type == VMC_FIELD_SIZE)
        *max = MIN(field->max, host >> MIB_SHIFT << MIB_SHIFT);
    return field && field->max && field->type != VMC_FIELD_STRING;
}

const char *esp_setting_why_not(const EspSetting *setting, const EspMachineSettings *machine,
                                const VmcDeviceConfig *device)
{
    return setting->why_not ? setting->why_not(machine, device) : NULL;
}

/* ---- what is right, in words ---- */

static char *size_text(uint64_t bytes)
{
    uint64_t mib = bytes >> MIB_SHIFT;

    return mib && mib % 1024 == 0 ? g_strdup_printf("%" G_GUINT64_FORMAT "G", mib / 1024)
                                  : g_strdup_printf("%" G_GUINT64_FORMAT "M", mib);
}

static char *describe_kinds(const EspSetting *setting)
{
    const char *words[VMC_DEVICE_KINDS + 1] = {NULL};
    VmcDeviceKind kinds[VMC_DEVICE_KINDS];
    unsigned n = esp_setting_kinds(setting, kinds, VMC_DEVICE_KINDS);

    for (unsigned i = 0; i < n; i++)
        words[i] = vmc_device_kind_name(kinds[i]);
    return esp_words_either(words);
}

static char *describe_number(const EspSetting *setting, VmcDeviceKind kind, const VmcField *field)
{
    uint64_t min, max;

    esp_setting_bounds(setting, kind, &min, &max);
    if (field->automatic)
        return g_strdup_printf(
            _("a whole number from %" PRIu64 " to %" PRIu64 ", or 0 to leave it to the program"), min, max);
    return g_strdup_printf(_("a whole number from %" PRIu64 " to %" PRIu64), min, max);
}

char *esp_setting_describe_values(const EspSetting *setting, VmcDeviceKind kind)
{
    const VmcField *field = esp_setting_field(setting, kind);
    uint64_t min, max;

    if (setting->scope == ESP_SCOPE_KIND)
        return describe_kinds(setting);
    if (!field)
        return g_strdup_printf(_("1 to %d characters in one line"), ESP_BUNDLE_NAME_MAX);
    esp_setting_bounds(setting, kind, &min, &max);
    switch (field->type) {
    case VMC_FIELD_FLAG:
        return g_strdup(_("yes or no"));
    case VMC_FIELD_CHOICE:
        return esp_words_either(field->choices);
    case VMC_FIELD_NUMBER:
        return describe_number(setting, kind, field);
    case VMC_FIELD_SIZE: {
        g_autofree char *least = size_text(min);
        return g_strdup_printf(
            _("a size such as 4G or 512M, at least %s and not more than this computer has"), least);
    }
    case VMC_FIELD_PATH:
        return g_strdup(setting->flags & ESP_SETTING_FOLDER ? _("the path of a folder")
                                                            : _("the path of a file"));
    case VMC_FIELD_LIST:
        return g_strdup(_("a list with commas between"));
    default:
        if (field->max)
            return g_strdup_printf(_("a text of at most %u bytes"), (unsigned)field->max);
        return g_strdup(setting->flags & ESP_SETTING_LINES ? _("a text of any number of lines")
                                                           : _("a text in one line"));
    }
}

static bool refuse(const EspSetting *setting, VmcDeviceKind kind, const char *text, GError **error)
{
    g_autofree char *right = esp_setting_describe_values(setting, kind);
    g_autofree char *shown = g_utf8_make_valid(text, MIN(strlen(text), 100));

    for (char *c = shown; *c; c++)
        if (g_ascii_iscntrl(*c))
            *c = ' ';
    g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                /* Translators: “CPUs cannot be “lots”; give a whole number from 1 to 64.” The first is a
                 * setting's label. */
                _("%s cannot be “%s”; give %s."), _(setting->label), shown, right);
    return false;
}

/* ---- get ---- */

static const void *base_of(const EspSetting *setting, const EspMachineSettings *machine,
                           const VmcDeviceConfig *device)
{
    if (setting->scope == ESP_SCOPE_CONFIG)
        return machine->config;
    return setting->scope == ESP_SCOPE_INFO ? (const void *)&machine->info : device;
}

static char *field_text(const VmcField *field, const void *base)
{
    const void *at = (const char *)base + field->offset;

    switch (field->type) {
    case VMC_FIELD_STRING:
    case VMC_FIELD_PATH:
        return g_strdup(*(char *const *)at ? *(char *const *)at : "");
    case VMC_FIELD_FLAG:
        return g_strdup(*(const bool *)at ? "yes" : "no");
    case VMC_FIELD_NUMBER:
        return g_strdup_printf("%u", *(const unsigned *)at);
    case VMC_FIELD_SIZE:
        return size_text(*(const uint64_t *)at);
    case VMC_FIELD_CHOICE:
        return g_strdup(field->choices[*(const unsigned *)at]);
    case VMC_FIELD_LIST:
        return *(char ***)at ? g_strjoinv(",", *(char ***)at) : g_strdup("");
    case VMC_FIELD_FD:
    case VMC_FIELD_STDIO:
        break;
    }
    return g_strdup("");
}

char *esp_setting_get(const EspSetting *setting, const EspMachineSettings *machine,
                      const VmcDeviceConfig *device)
{
    const VmcField *field = esp_setting_field(setting, device ? device->kind : VMC_DEVICE_KINDS);

    if (setting->scope == ESP_SCOPE_NAME)
        return g_strdup(machine->name);
    if (setting->scope == ESP_SCOPE_KIND)
        return g_strdup(vmc_device_kind_name(device->kind));
    return field ? field_text(field, base_of(setting, machine, device)) : g_strdup("");
}

char *esp_setting_get_default(const EspSetting *setting, VmcDeviceKind kind)
{
    EspMachineSettings fresh = {.name = (char *)"", .config = vmc_config_new()};
    VmcDeviceConfig *device =
        setting->scope == ESP_SCOPE_DEVICE ? vmc_config_add_device(fresh.config, kind) : NULL;
    char *text = setting->scope == ESP_SCOPE_KIND ? g_strdup(vmc_device_kind_name(kind))
                                                  : esp_setting_get(setting, &fresh, device);

    vmc_config_free(fresh.config);
    return text;
}

/* ---- set ---- */

static bool parse_flag(const char *text, bool *flag)
{
    static const char *const yes[] = {"yes", "true", "on", "1", NULL};
    static const char *const no[] = {"no", "false", "off", "0", NULL};
    g_autofree char *lower = g_ascii_strdown(text, -1);

    *flag = g_strv_contains(yes, lower);
    return *flag || g_strv_contains(no, lower);
}

/* "4G", "512M"; a number alone is MiB, as after --memory. */
static bool parse_size(const char *text, uint64_t *bytes)
{
    char *end;
    uint64_t number = g_ascii_strtoull(text, &end, 10);
    unsigned shift = MIB_SHIFT;

    if (!g_ascii_isdigit(*text))
        return false;
    if (*end) {
        char unit = g_ascii_toupper(*end);
        if ((unit != 'M' && unit != 'G' && unit != 'T') || (end[1] && g_ascii_strcasecmp(end + 1, "iB")))
            return false;
        shift = unit == 'M' ? 20 : unit == 'G' ? 30 : 40;
    }
    *bytes = number << shift;
    return *bytes >> shift == number;
}

static bool is_clean(const char *text, unsigned flags)
{
    size_t max = flags & ESP_SETTING_LINES ? LINES_MAX : TEXT_MAX;

    if (strlen(text) > max || !g_utf8_validate(text, -1, NULL))
        return false;
    for (const char *p = text; *p; p = g_utf8_next_char(p))
        if (g_unichar_iscntrl(g_utf8_get_char(p)) &&
            !(flags & ESP_SETTING_LINES && (*p == '\n' || *p == '\t')))
            return false;
    return true;
}

static bool set_number(const EspSetting *setting, VmcDeviceKind kind, const VmcField *field, const char *text,
                       unsigned *at)
{
    uint64_t min, max;
    guint64 number;

    esp_setting_bounds(setting, kind, &min, &max);
    if (!g_ascii_string_to_unsigned(text, 10, 0, max, &number, NULL) ||
        (number < min && !(field->automatic && !number)))
        return false;
    *at = (unsigned)number;
    return true;
}

static bool set_choice(const VmcField *field, const char *text, unsigned *at)
{
    for (unsigned i = 0; field->choices[i]; i++)
        if (!strcmp(field->choices[i], text)) {
            *at = i;
            return true;
        }
    return false;
}

static bool set_list(const char *text, char ***at)
{
    g_auto(GStrv) list = *text ? g_strsplit(text, ",", LIST_MAX + 1) : NULL;
    guint n = list ? g_strv_length(list) : 0;

    if (n > LIST_MAX)
        return false;
    for (guint i = 0; i < n; i++)
        if (!*g_strstrip(list[i]))
            return false;
    g_strfreev(*at);
    *at = g_steal_pointer(&list);
    return true;
}

static bool set_text(const EspSetting *setting, const VmcField *field, const char *text, char **at)
{
    if (!is_clean(text, setting->flags) || (field->max && strlen(text) > field->max) ||
        (field->required && !*text))
        return false;
    g_free(*at);
    if (!*text)
        *at = NULL;
    else
        *at = field->type == VMC_FIELD_PATH ? g_canonicalize_filename(text, NULL) : g_strdup(text);
    return true;
}

static bool set_field(const EspSetting *setting, VmcDeviceKind kind, const VmcField *field, const char *text,
                      void *base)
{
    void *at = (char *)base + field->offset;
    uint64_t min, max, size;

    switch (field->type) {
    case VMC_FIELD_STRING:
    case VMC_FIELD_PATH:
        return set_text(setting, field, text, at);
    case VMC_FIELD_FLAG:
        return parse_flag(text, at);
    case VMC_FIELD_NUMBER:
        return set_number(setting, kind, field, text, at);
    case VMC_FIELD_SIZE:
        esp_setting_bounds(setting, kind, &min, &max);
        if (!parse_size(text, &size) || size < min || size > max)
            return false;
        *(uint64_t *)at = size;
        return true;
    case VMC_FIELD_CHOICE:
        return set_choice(field, text, at);
    case VMC_FIELD_LIST:
        return set_list(text, at);
    case VMC_FIELD_FD:
    case VMC_FIELD_STDIO:
        break;
    }
    return false;
}

/* Of fields of which exactly one is given, the others go when one comes. */
static void clear_others(const VmcField *field, VmcDeviceConfig *device)
{
    const VmcDeviceInfo *info = vmc_device_info(device->kind);

    for (unsigned i = 0; i < info->n_fields; i++) {
        const VmcField *other = &info->fields[i];
        void *at = vmc_field_in(other, device);

        if (other == field || other->one_of != field->one_of)
            continue;
        if (other->type == VMC_FIELD_STRING || other->type == VMC_FIELD_PATH)
            g_clear_pointer((char **)at, g_free);
        else if (other->type == VMC_FIELD_FLAG)
            *(bool *)at = false;
        else if (other->type == VMC_FIELD_FD)
            *(int *)at = -1;
    }
}

static bool set_kind(const EspSetting *setting, VmcDeviceConfig *device, const char *text, GError **error)
{
    for (unsigned kind = 0; kind < VMC_DEVICE_KINDS; kind++)
        if (esp_setting_is_for(setting, (VmcDeviceKind)kind) &&
            !strcmp(vmc_device_kind_name((VmcDeviceKind)kind), text)) {
            esp_device_change_kind(device, (VmcDeviceKind)kind);
            return true;
        }
    return refuse(setting, device->kind, text, error);
}

static bool set_name(EspMachineSettings *machine, const char *text, GError **error)
{
    if (!esp_bundle_check_name(text, error))
        return false;
    g_free(machine->name);
    machine->name = g_strstrip(g_strdup(text));
    return true;
}

bool esp_setting_set(const EspSetting *setting, EspMachineSettings *machine, VmcDeviceConfig *device,
                     const char *text, GError **error)
{
    VmcDeviceKind kind = device ? device->kind : VMC_DEVICE_KINDS;
    const VmcField *field = esp_setting_field(setting, kind);
    g_autofree char *preset = NULL;
    bool was_set;

    if (setting->scope == ESP_SCOPE_NAME)
        return set_name(machine, text, error);
    if (setting->scope == ESP_SCOPE_KIND)
        return set_kind(setting, device, text, error);
    if (!field)
        return refuse(setting, kind, text, error);
    if (!*text) {
        preset = esp_setting_get_default(setting, kind);
        text = preset;
    }
    was_set = device && vmc_field_is_set(field, device);
    if (!set_field(setting, kind, field, text, (void *)base_of(setting, machine, device)))
        return refuse(setting, kind, text, error);
    if (!device || !field->one_of)
        return true;
    if (vmc_field_is_set(field, device)) {
        clear_others(field, device);
        return true;
    }
    if (!was_set)
        return true;
    g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                _("%s cannot just be taken away: say instead what is to take its place."), _(setting->label));
    return false;
}

void esp_device_change_kind(VmcDeviceConfig *device, VmcDeviceKind kind)
{
    VmcConfig *whole = vmc_config_new();
    VmcDeviceConfig *other = vmc_config_add_device(whole, kind);
    const VmcDeviceInfo *from = vmc_device_info(device->kind), *to = vmc_device_info(kind);

    /* What both have lies in the same union at the same place, or it would not have the same name. */
    for (unsigned i = 0; i < to->n_fields; i++) {
        const VmcField *field = find_field(from->fields, from->n_fields, to->fields[i].name);
        EspSetting any = {.flags = ESP_SETTING_LINES};

        if (!field || field->type != to->fields[i].type || !vmc_field_is_set(field, device))
            continue;
        g_autofree char *text = field_text(field, device);
        set_field(&any, kind, &to->fields[i], text, other);
    }
    VmcDeviceConfig swap = *device;
    *device = *other;
    *other = swap;
    vmc_config_free(whole);
}

/* ---- by name ---- */

const EspSetting *esp_setting_by_name(const char *name)
{
    unsigned n;
    const EspSetting *table = esp_settings_table(&n);

    for (unsigned i = 0; i < n; i++)
        if (!strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}

static bool is_of_device(const EspSetting *setting)
{
    return setting->scope == ESP_SCOPE_DEVICE || setting->scope == ESP_SCOPE_KIND;
}

/* The devices a setting could be of: how many, the first, and their names for a message. */
static unsigned candidates(const EspMachineSettings *machine, const EspSetting *setting, int *first,
                           GString *names)
{
    const char *dot = strchr(setting->name, '.');
    unsigned n = 0;

    for (int i = 0; esp_machine_settings_device(machine, i); i++) {
        if (!esp_setting_is_for(setting, esp_machine_settings_device(machine, i)->kind))
            continue;
        if (!n++)
            *first = i;
        if (names)
            g_string_append_printf(names, "%s%.*s.%d%s", names->len ? ", " : "", (int)(dot - setting->name),
                                   setting->name, i, dot);
    }
    return n;
}

static const EspSetting *fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static const EspSetting *fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT, format, args);
    va_end(args);
    return NULL;
}

/* "disk.3.cache" -> "disk.cache" and 3; or the name as it is, and -1. */
static char *take_number(const char *name, int *index)
{
    const char *dot = strchr(name, '.');
    char *end = NULL;
    guint64 number = dot && g_ascii_isdigit(dot[1]) ? g_ascii_strtoull(dot + 1, &end, 10) : 0;

    *index = -1;
    if (!end || *end != '.' || number > G_MAXINT)
        return g_strdup(name);
    *index = (int)number;
    return g_strdup_printf("%.*s%s", (int)(dot - name), name, end);
}

const EspSetting *esp_setting_find(const EspMachineSettings *machine, const char *name, int *index,
                                   GError **error)
{
    g_autofree char *plain = take_number(name, index);
    const EspSetting *setting = esp_setting_by_name(plain);
    const VmcDeviceConfig *device;
    unsigned n;

    if (!setting || (!is_of_device(setting) && *index >= 0))
        return fail(error, _("There is no setting “%s”; “espalierctl set --help” lists them."), name);
    if (!is_of_device(setting))
        return setting;
    if (*index >= 0) {
        device = esp_machine_settings_device(machine, *index);
        if (!device || !esp_setting_is_for(setting, device->kind))
            return fail(error, _("“%s” cannot be set: device %d of this machine is no such device."), name,
                        *index);
        return setting;
    }
    g_autoptr(GString) names = g_string_new(NULL);
    n = candidates(machine, setting, index, names);
    if (!n)
        return fail(error, _("“%s” cannot be set: this machine has no such device."), name);
    if (n > 1)
        return fail(error, _("“%s” could be of %u devices; say which: %s."), name, n, names->str);
    return setting;
}

char *esp_setting_full_name(const EspSetting *setting, const EspMachineSettings *machine, int index)
{
    const char *dot = strchr(setting->name, '.');
    int first;

    if (!is_of_device(setting) || candidates(machine, setting, &first, NULL) == 1)
        return g_strdup(setting->name);
    return g_strdup_printf("%.*s.%d%s", (int)(dot - setting->name), setting->name, index, dot);
}

/* What tells this device from others of its kind, or NULL. */
static char *particular(const VmcDeviceConfig *device)
{
    const VmcDeviceInfo *info = vmc_device_info(device->kind);

    for (unsigned i = 0; i < info->n_fields; i++) {
        const char *text = info->fields[i].type == VMC_FIELD_PATH
                               ? *(char *const *)vmc_field_of(&info->fields[i], device)
                               : NULL;
        g_autofree char *basename = text ? g_path_get_basename(text) : NULL;

        if (basename)
            return g_filename_display_name(basename);
    }
    return NULL;
}

char *esp_device_title(const VmcDeviceConfig *device)
{
    const EspDeviceWords *words = esp_device_words(device->kind);
    g_autofree char *which = particular(device);

    if (!which)
        return g_strdup(_(words->label));
    /* Translators: a device and the file or folder that it is about: “Disk “disk.img””. */
    return g_strdup_printf(_("%s “%s”"), _(words->label), which);
}
