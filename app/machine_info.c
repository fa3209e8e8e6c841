/* What a bundle says of a machine beside its configuration (see machine_info.h). */
#include "app/machine_info.h"

#include <glib/gi18n.h>
#include <string.h>

#include "app/plist_fields.h"

#define INFO_KEY "Info"

static const char *const systems[] = {"other", "linux", "macos", NULL};
static const char *const close_actions[] = {"ask", "keep-running", "save", "shut-down", NULL};

#define FIELD(name_, key_, type_, member_)                                                                   \
    .name = name_, .key = key_, .type = type_, .offset = offsetof(EspMachineInfo, member_)

static const VmcField fields[] = {
    {FIELD("icon", "Icon", VMC_FIELD_STRING, icon), .value = "NAME"},
    {FIELD("notes", "Notes", VMC_FIELD_STRING, notes), .value = "TEXT"},
    {FIELD("system", "System", VMC_FIELD_CHOICE, system), .choices = systems},
    {FIELD("osId", "OSID", VMC_FIELD_STRING, os_id), .value = "URI"},
    {FIELD("locale", "Locale", VMC_FIELD_STRING, region.locale), .value = "LOCALE"},
    {FIELD("keyboardLayout", "KeyboardLayout", VMC_FIELD_STRING, region.keyboard_layout), .value = "LAYOUT"},
    {FIELD("keyboardVariant", "KeyboardVariant", VMC_FIELD_STRING, region.keyboard_variant),
     .value = "VARIANT"},
    {FIELD("timeZone", "TimeZone", VMC_FIELD_STRING, region.time_zone), .value = "ZONE"},
    {FIELD("onClose", "OnClose", VMC_FIELD_CHOICE, on_close), .choices = close_actions},
    {FIELD("clipboardFocusOnly", "ClipboardFocusOnly", VMC_FIELD_FLAG, clipboard_focus_only)},
    {FIELD("isolated", "Isolated", VMC_FIELD_FLAG, isolated)},
};

const VmcField *esp_machine_info_fields(unsigned *n)
{
    *n = G_N_ELEMENTS(fields);
    return fields;
}

static char **string_of(const VmcField *field, EspMachineInfo *info)
{
    return field->type == VMC_FIELD_STRING ? (char **)((char *)info + field->offset) : NULL;
}

void esp_machine_info_clear(EspMachineInfo *info)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++)
        if (string_of(&fields[i], info))
            g_free(*string_of(&fields[i], info));
    memset(info, 0, sizeof(*info));
}

void esp_machine_info_copy(EspMachineInfo *to, const EspMachineInfo *from)
{
    *to = *from;
    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++) {
        char **string = string_of(&fields[i], to);

        if (string)
            *string = g_strdup(*string);
    }
}

bool esp_machine_info_read(plist_t root, EspMachineInfo *info, GError **error)
{
    plist_t dict = plist_dict_get_item(root, INFO_KEY);

    if (!dict)
        return true;
    if (plist_get_node_type(dict) != PLIST_DICT)
        return esp_plist_fail(error, _("%s should be a dictionary."), INFO_KEY);
    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++)
        if (!esp_plist_read_field(dict, "/", &fields[i], info, error)) {
            g_prefix_error(error, INFO_KEY ".");
            esp_machine_info_clear(info);
            return false;
        }
    return true;
}

void esp_machine_info_write(plist_t root, const EspMachineInfo *info)
{
    plist_t dict = plist_dict_get_item(root, INFO_KEY);

    if (!dict || plist_get_node_type(dict) != PLIST_DICT) {
        dict = plist_new_dict();
        plist_dict_set_item(root, INFO_KEY, dict);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++)
        esp_plist_write_field(dict, "/", &fields[i], info);
}
