/* The table of settings as help and as a manual page (see settings_manual.h). */
#include "app/settings_manual.h"

#include <glib/gi18n.h>
#include <string.h>

#include "app/settings.h"

/* A kind that has the setting, for questions about its field. */
static VmcDeviceKind some_kind(const EspSetting *setting)
{
    for (unsigned kind = 0; setting->kinds && kind < VMC_DEVICE_KINDS; kind++)
        if (esp_setting_is_for(setting, (VmcDeviceKind)kind) &&
            (setting->scope == ESP_SCOPE_KIND || esp_setting_field(setting, (VmcDeviceKind)kind)))
            return (VmcDeviceKind)kind;
    return VMC_DEVICE_KINDS;
}

static void add_help(GString *text, const EspSetting *setting)
{
    g_autofree char *values = esp_setting_describe_values(setting, some_kind(setting));

    g_string_append_printf(text, "  %-22s %s: %s\n", setting->name, _(setting->label), values);
}

char *esp_settings_help(void)
{
    GString *text = g_string_new(NULL);
    unsigned n;
    const EspSetting *table = esp_settings_table(&n);

    for (unsigned group = 0; group < ESP_SETTING_GROUPS; group++) {
        g_string_append_printf(text, "\n%s\n", _(esp_setting_group_label((EspSettingGroup)group)));
        for (unsigned i = 0; i < n; i++)
            if (table[i].group == group)
                add_help(text, &table[i]);
    }
    return g_string_free(text, FALSE);
}

/* ---- the page ---- */

/* Text in which nothing is a request or a hyphen by mistake. */
static void add_escaped(GString *page, const char *text)
{
    if (*text == '.' || *text == '\'')
        g_string_append(page, "\\&");
    for (; *text; text++) {
        if (*text == '\\' || *text == '-')
            g_string_append_c(page, '\\');
        if (*text == '\\')
            g_string_append_c(page, 'e');
        else
            g_string_append_c(page, *text);
    }
}

static void add_sentence(GString *page, const char *before, const char *text, const char *after)
{
    g_string_append(page, before);
    add_escaped(page, text);
    g_string_append(page, after);
}

static void add_choices(GString *page, const EspSetting *setting)
{
    const VmcField *field = esp_setting_field(setting, some_kind(setting));

    for (unsigned i = 0; setting->choices && setting->choices[i]; i++) {
        add_sentence(page, ".br\n.B ", field->choices[i], "\n");
        add_sentence(page, "\\(en ", setting->choices[i], "\n");
    }
}

static void add_setting(GString *page, const EspSetting *setting)
{
    VmcDeviceKind kind = some_kind(setting);
    g_autofree char *values = esp_setting_describe_values(setting, kind);
    g_autofree char *preset = esp_setting_get_default(setting, kind);

    add_sentence(page, ".TP\n.B ", setting->name, "\n");
    add_sentence(page, "", setting->label, ". ");
    add_sentence(page, "", setting->help, "\n");
    add_sentence(page, "It can be ", values, "");
    if (*preset && setting->scope != ESP_SCOPE_KIND && setting->scope != ESP_SCOPE_NAME)
        add_sentence(page, "; in a new machine it is ", preset, "");
    g_string_append(page, setting->live == ESP_LIVE_NEXT_START
                              ? ". A change takes effect at the next start.\n"
                              : ". A change takes effect at once.\n");
    add_choices(page, setting);
}

static void add_devices(GString *page)
{
    g_string_append(page,
                    ".SH DEVICES\nThe settings of devices begin with a word that kinds of devices share:\n");
    for (unsigned i = 0; i < VMC_DEVICE_KINDS; i++) {
        const VmcDeviceInfo *info = vmc_device_info((VmcDeviceKind)i);
        const EspDeviceWords *words = esp_device_words((VmcDeviceKind)i);

        if (!info || !words)
            continue;
        add_sentence(page, ".TP\n.B ", info->name, "\n");
        add_sentence(page, "", words->label, ". ");
        add_sentence(page, "", words->help, "\n");
        add_sentence(page, "Its settings begin with\n.BR ", words->prefix, " .\n");
    }
}

char *esp_settings_manual(void)
{
    GString *page = g_string_new(
        ".\\\" Made by espalierctl set --print-manual of the table of settings; not to be edited.\n"
        ".TH ESPALIER\\-SETTINGS 7 \"\" Espalier \"Espalier\"\n"
        ".SH NAME\nespalier\\-settings \\- what a virtual machine can be told\n"
        ".SH SYNOPSIS\n.nf\n.BI \"espalierctl show \" MACHINE\n.BI \"espalierctl set \" \"MACHINE NAME\" = "
        "VALUE "
        "\\fR...\n.fi\n"
        ".SH DESCRIPTION\nThese are the settings of a machine in the library, in the groups that the "
        "settings "
        "window has.\nA machine with several devices of a kind has the number of the device, as\n"
        ".B espalierctl devices\nlists them, behind the first word:\n.BR disk.3.cache .\n"
        "An empty value is that of a new machine.\n");
    unsigned n;
    const EspSetting *table = esp_settings_table(&n);

    for (unsigned group = 0; group < ESP_SETTING_GROUPS; group++) {
        g_autofree char *heading = g_ascii_strup(esp_setting_group_label((EspSettingGroup)group), -1);

        add_sentence(page, ".SH ", heading, "\n");
        for (unsigned i = 0; i < n; i++)
            if (table[i].group == group)
                add_setting(page, &table[i]);
    }
    add_devices(page);
    g_string_append(page, ".SH SEE ALSO\n.BR espalierctl (1)\n");
    return g_string_free(page, FALSE);
}
