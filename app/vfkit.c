/*
 * vfkit's grammar: from text to VmcConfig.
 *
 * Options and boot loaders are rows of tables with the names they take, so that what is unknown can be
 * refused with the list of what is known; devices are vfkit_device.c's. Whether files are there and sizes fit
 * is for vmc_config_validate.
 */
#include "app/vfkit.h"

#include <glib/gi18n.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/vfkit_device.h"
#include "app/vfkit_items.h"

/* What a boot loader or a CPU takes: names that need a value end in '='. */
typedef struct Grammar {
    const char *name;
    const char *takes[6];
    bool (*apply)(EspVfkit *vfkit, const struct Grammar *grammar, GPtrArray *items, GError **error);
} Grammar;

static bool find_item(GPtrArray *items, const char *name)
{
    for (guint i = 1; i < items->len; i++)
        if (strcmp(((const EspItem *)g_ptr_array_index(items, i))->name, name) == 0)
            return true;
    return false;
}

/* The value of an item ("" for one that takes none), or NULL. */
static const char *get_item(GPtrArray *items, const char *name)
{
    for (guint i = 1; i < items->len; i++) {
        EspItem *item = g_ptr_array_index(items, i);

        if (strcmp(item->name, name) == 0)
            return item->value ? item->value : "";
    }
    return NULL;
}

static bool takes(const Grammar *grammar, const char *name, bool *needs_value)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(grammar->takes) && grammar->takes[i]; i++) {
        size_t length = strcspn(grammar->takes[i], "=");

        if (strlen(name) == length && strncmp(name, grammar->takes[i], length) == 0) {
            *needs_value = grammar->takes[i][length] == '=';
            return true;
        }
    }
    return false;
}

static char *list_items(const Grammar *grammar)
{
    GString *list = g_string_new(NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(grammar->takes) && grammar->takes[i]; i++)
        g_string_append_printf(list, "%s%s", i ? ", " : "", grammar->takes[i]);
    return g_string_free(list, FALSE);
}

static bool check_item(const char *option, const Grammar *grammar, GPtrArray *items, guint index,
                       GError **error)
{
    EspItem *item = g_ptr_array_index(items, index);
    bool needs_value;

    if (!takes(grammar, item->name, &needs_value)) {
        g_autofree char *list = list_items(grammar);

        if (!*list)
            return esp_items_fail(error, _("--%s %s: there is no option “%s”; it takes no options"), option,
                                  grammar->name, item->name);
        return esp_items_fail(error, _("--%s %s: there is no option “%s”; it takes %s"), option,
                              grammar->name, item->name, list);
    }
    if (needs_value && (!item->value || !*item->value))
        return esp_items_fail(error, _("--%s %s: %s needs a value; write %s=VALUE"), option, grammar->name,
                              item->name, item->name);
    if (!needs_value && item->value)
        return esp_items_fail(error, _("--%s %s: %s takes no value; leave “=%s” out"), option, grammar->name,
                              item->name, item->value);
    for (guint i = 1; i < index; i++)
        if (strcmp(((EspItem *)g_ptr_array_index(items, i))->name, item->name) == 0)
            return esp_items_fail(error, _("--%s %s: %s is given twice; give it once"), option, grammar->name,
                                  item->name);
    return true;
}

/* A comma inside an unquoted kernel command line does not end it unless an option of the boot loader follows.
 */
static void rejoin_cmdline(const Grammar *grammar, GPtrArray *items)
{
    for (guint i = 1; i + 1 < items->len;) {
        EspItem *item = g_ptr_array_index(items, i), *next = g_ptr_array_index(items, i + 1);
        bool needs_value;
        char *joined;

        if (strcmp(item->name, "cmdline") != 0 || item->quoted || !item->value || next->quoted ||
            takes(grammar, next->name, &needs_value)) {
            i++;
            continue;
        }
        joined = g_strconcat(item->value, ",", next->name, next->value ? "=" : "",
                             next->value ? next->value : "", NULL);
        g_free(item->value);
        item->value = joined;
        g_ptr_array_remove_index(items, i + 1);
    }
}

static bool apply_efi(EspVfkit *vfkit, const Grammar *grammar, GPtrArray *items, GError **error)
{
    VmcBootConfig *boot = &vfkit->config->boot;

    if (boot->kind != VMC_BOOT_NONE)
        return esp_items_fail(error, _("--bootloader is given twice; give it once"));
    if (!get_item(items, "variable-store"))
        return esp_items_fail(
            error, _("--bootloader efi: there is no variable store; add variable-store=FILE, and create "
                     "if it is to be made"));
    boot->kind = VMC_BOOT_EFI;
    boot->variable_store = g_strdup(get_item(items, "variable-store"));
    boot->create_variable_store = find_item(items, "create");
    boot->firmware = g_strdup(get_item(items, "firmware"));
    boot->kernel = g_strdup(get_item(items, "kernel"));
    boot->initrd = g_strdup(get_item(items, "initrd"));
    boot->cmdline = g_strdup(get_item(items, "cmdline"));
    return true;
}

static bool apply_linux(EspVfkit *vfkit, const Grammar *grammar, GPtrArray *items, GError **error)
{
    VmcBootConfig *boot = &vfkit->config->boot;

    if (boot->kind != VMC_BOOT_NONE)
        return esp_items_fail(error, _("--bootloader is given twice; give it once"));
    if (!get_item(items, "kernel"))
        return esp_items_fail(error, _("--bootloader linux: there is no kernel; add kernel=FILE"));
    boot->kind = VMC_BOOT_LINUX;
    boot->kernel = g_strdup(get_item(items, "kernel"));
    boot->initrd = g_strdup(get_item(items, "initrd"));
    boot->cmdline = g_strdup(get_item(items, "cmdline"));
    return true;
}

static const Grammar bootloaders[] = {
    {"linux", {"kernel=", "initrd=", "cmdline="}, apply_linux},
    {"efi", {"variable-store=", "create", "firmware=", "kernel=", "initrd=", "cmdline="}, apply_efi},
};

static const Grammar *find_grammar(const Grammar *table, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

static bool parse_list(EspVfkit *vfkit, const char *option, const Grammar *table, size_t n, const char *text,
                       GError **error)
{
    g_autoptr(GPtrArray) items = esp_items_split(option, text, error);
    const Grammar *grammar;
    const EspItem *first;

    if (!items)
        return false;
    first = g_ptr_array_index(items, 0);
    grammar = first->value ? NULL : find_grammar(table, n, first->name);
    if (!grammar) {
        g_autoptr(GString) list = g_string_new(NULL);

        for (size_t i = 0; i < n; i++)
            g_string_append_printf(list, "%s%s", i ? ", " : "", table[i].name);
        return esp_items_fail(error, _("--%s: there is no “%s” here; give one of %s"), option, first->name,
                              list->str);
    }
    rejoin_cmdline(grammar, items);
    for (guint i = 1; i < items->len; i++)
        if (!check_item(option, grammar, items, i, error))
            return false;
    return grammar->apply(vfkit, grammar, items, error);
}

static bool option_cpus(EspVfkit *vfkit, const char *value, GError **error)
{
    uint64_t cpus;

    if (!esp_items_number("--cpus", value, G_MAXUINT32, &cpus, error))
        return false;
    vfkit->config->cpus = (unsigned)cpus;
    return true;
}

static bool option_memory(EspVfkit *vfkit, const char *value, GError **error)
{
    uint64_t mib;

    if (!esp_items_number("--memory", value, G_MAXUINT64 >> 20, &mib, error))
        return false;
    vfkit->config->memory = mib << 20;
    return true;
}

static const Grammar cpus[] = {
    [VMC_CPU_AUTO] = {.name = "auto"},
    [VMC_CPU_KVM] = {.name = "kvm"},
    [VMC_CPU_SOFT] = {.name = "soft", .takes = {"lockstep", "code-cache="}},
};

/* "translator" of "soft:translator,lockstep" */
static bool take_engine(const Grammar *cpu, const char *text, VmcSoftCpuConfig *soft, GError **error)
{
    g_autofree char *name = g_strndup(text, strcspn(text, ","));

    if (cpu != &cpus[VMC_CPU_SOFT])
        return esp_items_fail(error, _("--cpu %s: only the software CPU has engines; leave “:%s” out"),
                              cpu->name, name);
    return vmc_cpu_engine_from_name(name, &soft->engine) ||
           esp_items_fail(error, _("--cpu soft: there is no engine “%s”; give interpreter or translator"),
                          name);
}

static bool take_code_cache(const char *text, unsigned *mib, GError **error)
{
    g_autofree char *number =
        g_str_has_suffix(text, "M") ? g_strndup(text, strlen(text) - 1) : g_strdup(text);
    guint64 value;

    if (!g_ascii_string_to_unsigned(number, 10, VMC_CODE_CACHE_MIN, VMC_CODE_CACHE_MAX, &value, NULL))
        return esp_items_fail(error, _("--cpu soft: code-cache cannot be “%s”; give %uM to %uM"), text,
                              VMC_CODE_CACHE_MIN, VMC_CODE_CACHE_MAX);
    *mib = (unsigned)value;
    return true;
}

/* "soft:translator,lockstep,code-cache=64M", most of which may be left out. */
static bool option_cpu(EspVfkit *vfkit, const char *value, GError **error)
{
    size_t n = strcspn(value, ":,");
    g_autofree char *name = g_strndup(value, n);
    const Grammar *cpu = find_grammar(cpus, G_N_ELEMENTS(cpus), name);
    VmcSoftCpuConfig soft = {.engine = VMC_ENGINE_DEFAULT};
    g_autoptr(GPtrArray) items = NULL;

    if (!cpu)
        return esp_items_fail(error, _("--cpu: there is no CPU “%s”; give auto, kvm or soft"), name);
    if (value[n] == ':' && !take_engine(cpu, value + n + 1, &soft, error))
        return false;
    items = esp_items_split("cpu", value, error);
    for (guint i = 1; items && i < items->len; i++)
        if (!check_item("cpu", cpu, items, i, error))
            return false;
    if (!items || (find_item(items, "code-cache") &&
                   !take_code_cache(get_item(items, "code-cache"), &soft.code_cache, error)))
        return false;
    soft.lockstep = find_item(items, "lockstep");
    vfkit->config->cpu = (VmcCpuKind)(cpu - cpus);
    vfkit->config->soft = soft;
    return true;
}

static bool option_cpu_model(EspVfkit *vfkit, const char *value, GError **error)
{
    return vmc_cpu_model_from_name(value, &vfkit->config->cpu_model) ||
           esp_items_fail(error,
                          _("--cpu-model: there is no model “%s”; give host, x86-64-v2, x86-64-v3 or macos"),
                          value);
}

static bool option_bootloader(EspVfkit *vfkit, const char *value, GError **error)
{
    return parse_list(vfkit, "bootloader", bootloaders, G_N_ELEMENTS(bootloaders), value, error);
}

static bool option_device(EspVfkit *vfkit, const char *value, GError **error)
{
    GPtrArray *devices = vfkit->config->devices;
    g_autoptr(GPtrArray) items = esp_items_split("device", value, error);

    if (!items || !esp_vfkit_add_device(vfkit->config, items, error))
        return false;
    if (!find_item(items, "stdio"))
        return true;
    if (vfkit->stdio_used) {
        g_ptr_array_remove_index(devices, devices->len - 1);
        return esp_items_fail(error,
                              _("--device %s: another device has standard input and output already; give "
                                "logFilePath=FILE to one of them"),
                              ((const EspItem *)g_ptr_array_index(items, 0))->name);
    }
    vfkit->stdio_used = true;
    return true;
}

static const struct {
    const char *name;
    bool (*take)(EspVfkit *vfkit, const char *value, GError **error);
} options[] = {
    {"cpus", option_cpus},     {"memory", option_memory},
    {"cpu", option_cpu},       {"bootloader", option_bootloader},
    {"device", option_device}, {"cpu-model", option_cpu_model},
};

void esp_vfkit_init(EspVfkit *vfkit)
{
    *vfkit = (EspVfkit){.config = vmc_config_new()};
}

void esp_vfkit_clear(EspVfkit *vfkit)
{
    g_clear_pointer(&vfkit->config, vmc_config_free);
}

bool esp_vfkit_knows(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(options); i++)
        if (strcmp(name, options[i].name) == 0)
            return true;
    return false;
}

bool esp_vfkit_option(EspVfkit *vfkit, const char *name, const char *value, GError **error)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(options); i++)
        if (strcmp(name, options[i].name) == 0)
            return options[i].take(vfkit, value, error);
    return esp_items_fail(error, _("there is no option --%s"), name);
}

char *esp_vfkit_field(const VmcConfig *config, const char *field)
{
    if (g_str_has_prefix(field, "boot"))
        return g_strdup("--bootloader");
    if (g_str_has_prefix(field, "devices[")) {
        char *end;
        unsigned long index = strtoul(field + strlen("devices["), &end, 10);

        if (*end == ']' && index < config->devices->len) {
            const VmcDeviceConfig *device = g_ptr_array_index(config->devices, index);

            return g_strdup_printf("--device %s", vmc_device_kind_name(device->kind));
        }
    }
    if (strcmp(field, "devices") == 0)
        return g_strdup("--device");
    if (g_str_has_prefix(field, "cpu."))
        return g_strdup("--cpu");
    return g_strdup_printf("--%s", field);
}
