/*
 * From vfkit's items to a device and back, by the table of fields that each kind of device has.
 *
 * Whether files are there and sizes fit is for vmc_config_validate; here it is only asked whether the words
 * are known, have the values they need and do not contradict each other.
 */
#include "app/vfkit_device.h"

#include <glib/gi18n.h>
#include <string.h>
#include <unistd.h>
#include <vmcore/error.h>

#include "app/vfkit_items.h"
#include "app/words.h"

/* "virtio-input,keyboard": some kinds share the first word and are told apart by another. */
static bool has_word(const VmcDeviceInfo *info)
{
    return strchr(info->name, ',') != NULL;
}

static bool is_first_word(const VmcDeviceInfo *info, const char *word)
{
    size_t length = strcspn(info->name, ",");

    return strlen(word) == length && strncmp(info->name, word, length) == 0;
}

static const EspItem *item_at(GPtrArray *items, guint n)
{
    return g_ptr_array_index(items, n);
}

static const EspItem *find_item(GPtrArray *items, const char *name)
{
    for (guint i = 1; i < items->len; i++)
        if (strcmp(item_at(items, i)->name, name) == 0)
            return item_at(items, i);
    return NULL;
}

/* ---- which kind ---- */

static char *list_kinds(void)
{
    GString *list = g_string_new(NULL);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (unsigned kind = 0; kind < VMC_DEVICE_KINDS; kind++) {
        const VmcDeviceInfo *info = vmc_device_info((VmcDeviceKind)kind);
        g_autofree char *word = info ? g_strndup(info->name, strcspn(info->name, ",")) : NULL;

        if (!word || g_hash_table_contains(seen, word))
            continue;
        g_string_append_printf(list, "%s%s", list->len ? ", " : "", word);
        g_hash_table_add(seen, g_steal_pointer(&word));
    }
    return g_string_free(list, FALSE);
}

/* The kind that `first` and perhaps another item name; VMC_DEVICE_KINDS with `error` set if there is none. */
static VmcDeviceKind find_kind(GPtrArray *items, GError **error)
{
    const EspItem *first = item_at(items, 0);
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    VmcDeviceKind found = VMC_DEVICE_KINDS;
    unsigned n = 0;

    for (unsigned kind = 0; !first->value && kind < VMC_DEVICE_KINDS; kind++) {
        const VmcDeviceInfo *info = vmc_device_info((VmcDeviceKind)kind);

        if (!info || !is_first_word(info, first->name))
            continue;
        if (!has_word(info))
            return (VmcDeviceKind)kind;
        const char *word = strchr(info->name, ',') + 1;
        g_ptr_array_add(words, (char *)word);
        if (find_item(items, word)) {
            found = (VmcDeviceKind)kind;
            n++;
        }
    }
    if (n == 1)
        return found;
    if (words->len) {
        const char *second = items->len > 1 && !n ? item_at(items, 1)->name : NULL;

        g_autofree char *device = g_strjoin(",", first->name, second, NULL);

        g_ptr_array_add(words, NULL);
        g_autofree char *list = esp_words_either((const char *const *)words->pdata);
        /* Translators: a device as it was typed, and two words: “keyboard or pointing”. */
        esp_items_fail(error, _("--device %s: give either %s"), device, list);
    } else {
        g_autofree char *list = list_kinds();

        esp_items_fail(error, _("--device: there is no “%s” here; give one of %s"), first->name, list);
    }
    return VMC_DEVICE_KINDS;
}

/* ---- one field ---- */

static bool needs_value(const VmcField *field)
{
    return field->type != VMC_FIELD_FLAG && field->type != VMC_FIELD_STDIO;
}

static const VmcField *find_field(const VmcDeviceInfo *info, const char *name)
{
    for (unsigned i = 0; i < info->n_fields; i++)
        if (strcmp(info->fields[i].name, name) == 0)
            return &info->fields[i];
    return NULL;
}

static bool unknown_item(const VmcDeviceInfo *info, const EspItem *item, GError **error)
{
    g_autoptr(GString) list = g_string_new(NULL);

    if (!info->n_fields)
        return esp_items_fail(error, _("--device %s: there is no option “%s”; it takes no options"),
                              info->name, item->name);

    for (unsigned i = 0; i < info->n_fields; i++)
        g_string_append_printf(list, "%s%s%s", i ? ", " : "", info->fields[i].name,
                               needs_value(&info->fields[i]) ? "=" : "");
    return esp_items_fail(error, _("--device %s: there is no option “%s”; it takes %s"), info->name,
                          item->name, list->str);
}

static bool take_choice(const VmcDeviceInfo *info, const VmcField *field, const char *text, unsigned *value,
                        GError **error)
{
    for (unsigned i = 0; field->choices[i]; i++)
        if (strcmp(field->choices[i], text) == 0) {
            *value = i;
            return true;
        }
    g_autofree char *list = esp_words_either(field->choices);
    return esp_items_fail(error, _("--device %s: %s cannot be “%s”; give %s"), info->name, field->name, text,
                          list);
}

static bool take_number(const VmcDeviceInfo *info, const VmcField *field, const char *text, uint64_t max,
                        unsigned *value, GError **error)
{
    g_autofree char *what = g_strdup_printf("--device %s: %s", info->name, field->name);
    uint64_t number;

    if (!esp_items_number(what, text, max, &number, error))
        return false;
    *value = (unsigned)number;
    return true;
}

static void append_to_list(char ***list, const char *text)
{
    guint n = *list ? g_strv_length(*list) : 0;

    *list = g_renew(char *, *list, n + 2);
    (*list)[n] = g_strdup(text);
    (*list)[n + 1] = NULL;
}

static bool take_field(VmcDeviceConfig *device, const VmcDeviceInfo *info, const VmcField *field,
                       const char *text, GError **error)
{
    void *at = vmc_field_in(field, device);
    VmcSerialConfig *serial = at;

    switch (field->type) {
    case VMC_FIELD_STRING:
    case VMC_FIELD_PATH:
        if (field->prefix && g_str_has_prefix(text, field->prefix))
            text += strlen(field->prefix);
        *(char **)at = g_strdup(text);
        return true;
    case VMC_FIELD_FLAG:
        *(bool *)at = true;
        return true;
    case VMC_FIELD_NUMBER:
        return take_number(info, field, text, G_MAXUINT32, at, error);
    case VMC_FIELD_FD:
        return take_number(info, field, text, G_MAXINT32, at, error);
    case VMC_FIELD_SIZE: /* no device has one */
        break;
    case VMC_FIELD_CHOICE:
        return take_choice(info, field, text, at, error);
    case VMC_FIELD_LIST:
        append_to_list(at, text);
        return true;
    case VMC_FIELD_STDIO:
        serial->fd_in = STDIN_FILENO;
        serial->fd_out = STDOUT_FILENO;
        return true;
    }
    return false;
}

static bool take_item(VmcDeviceConfig *device, const VmcDeviceInfo *info, GPtrArray *items, guint n,
                      GError **error)
{
    const EspItem *item = item_at(items, n);
    const VmcField *field = find_field(info, item->name);

    if (!field && strcmp(item->name, vmc_pci_slot_field.name) == 0 && vmc_device_has_pci_slot(device->kind))
        field = &vmc_pci_slot_field;
    if (!field)
        return unknown_item(info, item, error);
    if (needs_value(field) && (!item->value || !*item->value))
        return esp_items_fail(error, _("--device %s: %s needs a value; write %s=%s"), info->name, item->name,
                              item->name, field->value ? field->value : "VALUE");
    if (!needs_value(field) && item->value)
        return esp_items_fail(error, _("--device %s: %s takes no value; leave “=%s” out"), info->name,
                              item->name, item->value);
    if (field->type != VMC_FIELD_LIST && find_item(items, item->name) != item)
        return esp_items_fail(error, _("--device %s: %s is given twice; give it once"), info->name,
                              item->name);
    return take_field(device, info, field, item->value, error);
}

/* ---- what belongs together ---- */

static void describe_choice(GString *text, const VmcField *field, const char *separator)
{
    g_string_append_printf(text, "%s%s", text->len ? separator : "", field->name);
    if (!needs_value(field))
        return;
    g_string_append_c(text, '=');
    if (field->type != VMC_FIELD_CHOICE)
        g_string_append(text, field->value ? field->value : "VALUE");
    for (unsigned i = 0; field->type == VMC_FIELD_CHOICE && field->choices[i]; i++)
        g_string_append_printf(text, "%s%s", i ? "|" : "", field->choices[i]);
}

static bool check_group(const VmcDeviceConfig *device, const VmcDeviceInfo *info, unsigned group,
                        GError **error)
{
    g_autoptr(GPtrArray) ways = g_ptr_array_new_with_free_func(g_free);
    unsigned given = 0;

    for (unsigned i = 0; i < info->n_fields; i++)
        if (info->fields[i].one_of == group) {
            given += vmc_field_is_set(&info->fields[i], device);
            GString *way = g_string_new(NULL);
            describe_choice(way, &info->fields[i], "");
            g_ptr_array_add(ways, g_string_free(way, FALSE));
        }
    if (!ways->len || given == 1)
        return true;
    guint n = ways->len;
    g_ptr_array_add(ways, NULL);
    g_autofree char *list = esp_words_either((const char *const *)ways->pdata);
    if (n == 2)
        return esp_items_fail(error, _("--device %s: give either %s"), info->name, list);
    /* Translators: a device, and a list such as “stdio, logFilePath=FILE or socketPath=SOCKET”. */
    return esp_items_fail(error, _("--device %s: give one of %s"), info->name, list);
}

static bool check_whole(const VmcDeviceConfig *device, const VmcDeviceInfo *info, GError **error)
{
    for (unsigned i = 0; i < info->n_fields; i++) {
        const VmcField *field = &info->fields[i];

        if (field->required && !vmc_field_is_set(field, device))
            return esp_items_fail(error, _("--device %s: %s is missing; add %s=%s"), info->name, field->name,
                                  field->name, field->value);
        if (field->one_of && !check_group(device, info, field->one_of, error))
            return false;
    }
    return true;
}

bool esp_vfkit_add_device(VmcConfig *config, GPtrArray *items, GError **error)
{
    VmcDeviceKind kind = find_kind(items, error);
    const VmcDeviceInfo *info = vmc_device_info(kind);
    VmcDeviceConfig *device;
    const char *word;

    if (!info)
        return false;
    word = has_word(info) ? strchr(info->name, ',') + 1 : NULL;
    device = vmc_config_add_device(config, kind);
    for (guint i = 1; i < items->len; i++) {
        bool is_word = word && strcmp(item_at(items, i)->name, word) == 0;

        if (!is_word && !take_item(device, info, items, i, error)) {
            g_ptr_array_remove_index(config->devices, config->devices->len - 1);
            return false;
        }
    }
    if (check_whole(device, info, error))
        return true;
    g_ptr_array_remove_index(config->devices, config->devices->len - 1);
    return false;
}

/* ---- as text ---- */

static void append_item(GString *text, const char *name, const char *value)
{
    bool quote = value && (strchr(value, ',') || strchr(value, '"') || strchr(value, '\''));

    g_string_append_printf(text, ",%s", name);
    if (!value)
        return;
    g_string_append(text, quote ? "=\"" : "=");
    for (; *value; value++) {
        if (quote && (*value == '"' || *value == '\\'))
            g_string_append_c(text, '\\');
        g_string_append_c(text, *value);
    }
    if (quote)
        g_string_append_c(text, '"');
}

static void append_field(GString *text, const VmcField *field, const VmcDeviceConfig *device)
{
    const void *at = vmc_field_of(field, device);
    g_autofree char *number = NULL;
    char *const *list = NULL;

    switch (field->type) {
    case VMC_FIELD_STRING:
    case VMC_FIELD_PATH:
        append_item(text, field->name, *(char *const *)at);
        break;
    case VMC_FIELD_FLAG:
    case VMC_FIELD_STDIO:
        append_item(text, field->name, NULL);
        break;
    case VMC_FIELD_NUMBER:
    case VMC_FIELD_FD:
        number = g_strdup_printf("%u", *(const unsigned *)at);
        append_item(text, field->name, number);
        break;
    case VMC_FIELD_SIZE:
        break;
    case VMC_FIELD_CHOICE:
        append_item(text, field->name, field->choices[*(const unsigned *)at]);
        break;
    case VMC_FIELD_LIST:
        for (list = *(char *const *const *)at; *list; list++)
            append_item(text, field->name, *list);
        break;
    }
}

char *esp_vfkit_device_text(const VmcDeviceConfig *device)
{
    const VmcDeviceInfo *info = vmc_device_info(device->kind);
    GString *text = g_string_new(vmc_device_kind_name(device->kind));

    for (unsigned i = 0; info && i < info->n_fields; i++)
        if (vmc_field_is_set(&info->fields[i], device))
            append_field(text, &info->fields[i], device);
    return g_string_free(text, FALSE);
}

/* "virtio-serial,stdio|logFilePath=FILE[,name=NAME]" */
static void describe_fields(GString *text, const VmcDeviceInfo *info)
{
    g_autoptr(GString) groups = g_string_new(NULL);

    for (unsigned i = 0; i < info->n_fields; i++)
        if (info->fields[i].one_of)
            describe_choice(groups, &info->fields[i], "|");
    if (groups->len)
        g_string_append_printf(text, ",%s", groups->str);
    for (unsigned i = 0; i < info->n_fields; i++) {
        const VmcField *field = &info->fields[i];
        g_autoptr(GString) one = g_string_new(NULL);

        if (field->one_of)
            continue;
        describe_choice(one, field, "");
        g_string_append_printf(text, field->required ? ",%s" : "[,%s]", one->str);
        if (field->type == VMC_FIELD_LIST)
            g_string_append(text, "...");
    }
}

char *esp_vfkit_device_help(const char *indent)
{
    GString *text = g_string_new(NULL);

    for (unsigned kind = 0; kind < VMC_DEVICE_KINDS; kind++) {
        const VmcDeviceInfo *info = vmc_device_info((VmcDeviceKind)kind);

        if (!info)
            continue;
        g_string_append_printf(text, "%s%s", indent, info->name);
        describe_fields(text, info);
        g_string_append_printf(text, "\n%s    %s\n", indent, _(info->help));
    }
    return g_string_free(text, FALSE);
}
