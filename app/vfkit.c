/*
 * vfkit's grammar: from text to VmcConfig.
 *
 * An item is NAME or NAME=VALUE. A device or boot loader is a row of a table with the names it takes, so that
 * what is unknown can be refused with the list of what is known. What a device means is in its `apply`;
 * whether files are there and sizes fit is for vmc_config_validate.
 */
#include "app/vfkit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_WIDTH  1280u
#define DEFAULT_HEIGHT 800u

typedef struct Item {
    char *name;
    char *value; /* NULL: there was no '=' */
    bool quoted;
} Item;

static bool G_GNUC_PRINTF(2, 3) fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(VMC_ERROR, VMC_ERROR_CONFIG, format, args);
    va_end(args);
    return false;
}

static void item_free(gpointer data)
{
    Item *item = data;

    g_free(item->name);
    g_free(item->value);
    g_free(item);
}

/* From the opening quote at *at to behind the closing one. NULL: there is none. */
static char *take_quoted(const char **at)
{
    GString *text = g_string_new(NULL);
    char quote = *(*at)++;

    while (**at && **at != quote) {
        if (**at == '\\' && ((*at)[1] == quote || (*at)[1] == '\\'))
            (*at)++;
        g_string_append_c(text, *(*at)++);
    }
    if (!**at) {
        g_string_free(text, TRUE);
        return NULL;
    }
    (*at)++;
    return g_string_free(text, FALSE);
}

static bool is_quote(char c)
{
    return c == '"' || c == '\'';
}

/* Splits "name=value", of which the value may contain more of them. */
static void split_item(Item *item, const char *text)
{
    const char *equals = strchr(text, '=');

    item->name = equals ? g_strndup(text, (gsize)(equals - text)) : g_strdup(text);
    item->value = equals ? g_strdup(equals + 1) : NULL;
}

static Item *next_item(const char **at)
{
    Item *item = g_new0(Item, 1);
    const char *start = *at;
    g_autofree char *text = NULL;
    size_t name;

    if (is_quote(*start)) { /* all of it: "cmdline=..." */
        item->quoted = true;
        text = take_quoted(at);
        if (text)
            split_item(item, text);
        return item;
    }
    name = strcspn(start, "=,");
    if (start[name] == '=' && is_quote(start[name + 1])) {
        item->quoted = true;
        *at = start + name + 1;
        item->name = g_strndup(start, name);
        item->value = take_quoted(at);
        return item;
    }
    *at = start + strcspn(start, ",");
    text = g_strndup(start, (gsize)(*at - start));
    split_item(item, text);
    return item;
}

/* All items of a text, or NULL. */
static GPtrArray *split(const char *option, const char *text, GError **error)
{
    g_autoptr(GPtrArray) items = g_ptr_array_new_with_free_func(item_free);
    const char *at = text;

    for (;;) {
        Item *item = next_item(&at);

        g_ptr_array_add(items, item);
        if (item->quoted && (!item->name || !item->value)) {
            fail(error,
                 "--%s: a quoted part of “%s” has no closing quote or no name; write it as name=\"value\"",
                 option, text);
            return NULL;
        }
        if (*at && *at != ',') {
            fail(error, "--%s: there is “%s” right behind a closing quote; put a comma between", option, at);
            return NULL;
        }
        if (!*item->name) {
            fail(error, "--%s: there is an empty item in “%s”; remove a comma", option, text);
            return NULL;
        }
        if (!*at)
            return g_steal_pointer(&items);
        at++;
    }
}

/* `max` is what fits; what makes sense is for the validation to say. */
static bool parse_number(const char *what, const char *text, uint64_t max, uint64_t *value, GError **error)
{
    g_autoptr(GError) fault = NULL;
    guint64 number = 0;

    *value = 0;
    if (g_ascii_string_to_unsigned(text, 10, 0, max, &number, &fault)) {
        *value = number;
        return true;
    }
    if (g_error_matches(fault, G_NUMBER_PARSER_ERROR, G_NUMBER_PARSER_ERROR_OUT_OF_BOUNDS))
        return fail(error, "%s cannot be as much as %s; give a smaller number", what, text);
    return fail(error, "%s takes a whole number, not “%s”", what, text);
}

/* What a device or boot loader takes: names that need a value end in '='. */
typedef struct Grammar {
    const char *name;
    const char *takes[5];
    bool (*apply)(EspVfkit *vfkit, const struct Grammar *grammar, GPtrArray *items, GError **error);
} Grammar;

/* The value of an item ("" for one that takes none), or NULL. */
static const char *get_item(GPtrArray *items, const char *name)
{
    for (guint i = 1; i < items->len; i++) {
        Item *item = g_ptr_array_index(items, i);

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
    GString *list = g_string_new(grammar->takes[0] ? NULL : "no options");

    for (unsigned i = 0; i < G_N_ELEMENTS(grammar->takes) && grammar->takes[i]; i++)
        g_string_append_printf(list, "%s%s", i ? ", " : "", grammar->takes[i]);
    return g_string_free(list, FALSE);
}

static bool check_item(const char *option, const Grammar *grammar, GPtrArray *items, guint index,
                       GError **error)
{
    Item *item = g_ptr_array_index(items, index);
    bool needs_value;

    if (!takes(grammar, item->name, &needs_value)) {
        g_autofree char *list = list_items(grammar);

        return fail(error, "--%s %s: there is no option “%s”; it takes %s", option, grammar->name, item->name,
                    list);
    }
    if (needs_value && (!item->value || !*item->value))
        return fail(error, "--%s %s: %s needs a value; write %s=VALUE", option, grammar->name, item->name,
                    item->name);
    if (!needs_value && item->value)
        return fail(error, "--%s %s: %s takes no value; leave “=%s” out", option, grammar->name, item->name,
                    item->value);
    for (guint i = 1; i < index; i++)
        if (strcmp(((Item *)g_ptr_array_index(items, i))->name, item->name) == 0)
            return fail(error, "--%s %s: %s is given twice; give it once", option, grammar->name, item->name);
    return true;
}

/* A comma inside an unquoted kernel command line does not end it unless an option of the boot loader follows.
 */
static void rejoin_cmdline(const Grammar *grammar, GPtrArray *items)
{
    for (guint i = 1; i + 1 < items->len;) {
        Item *item = g_ptr_array_index(items, i), *next = g_ptr_array_index(items, i + 1);
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

static bool apply_linux(EspVfkit *vfkit, const Grammar *grammar, GPtrArray *items, GError **error)
{
    VmcBootConfig *boot = &vfkit->config->boot;

    if (boot->kind != VMC_BOOT_NONE)
        return fail(error, "--bootloader is given twice; give it once");
    if (!get_item(items, "kernel"))
        return fail(error, "--bootloader linux: there is no kernel; add kernel=FILE");
    boot->kind = VMC_BOOT_LINUX;
    boot->kernel = g_strdup(get_item(items, "kernel"));
    boot->initrd = g_strdup(get_item(items, "initrd"));
    boot->cmdline = g_strdup(get_item(items, "cmdline"));
    return true;
}

static bool apply_block(EspVfkit *vfkit, const Grammar *grammar, GPtrArray *items, GError **error)
{
    VmcDeviceConfig *device;

    if (!get_item(items, "path"))
        return fail(error, "--device virtio-blk: there is no disk; add path=FILE");
    device = vmc_config_add_device(vfkit->config, VMC_DEVICE_VIRTIO_BLOCK);
    device->block.path = g_strdup(get_item(items, "path"));
    device->block.id = g_strdup(get_item(items, "deviceId"));
    device->block.readonly = get_item(items, "readonly") != NULL;
    return true;
}

static bool apply_serial(EspVfkit *vfkit, const Grammar *grammar, GPtrArray *items, GError **error)
{
    bool is_uart = strcmp(grammar->name, "uart") == 0;
    bool stdio = get_item(items, "stdio") != NULL;
    const char *log = get_item(items, "logFilePath");
    VmcDeviceConfig *device;

    if (stdio == (log != NULL))
        return fail(error, "--device %s: give either stdio or logFilePath=FILE", grammar->name);
    if (stdio && vfkit->stdio_used)
        return fail(error,
                    "--device %s: another device has standard input and output already; "
                    "give logFilePath=FILE to one of them",
                    grammar->name);
    device = vmc_config_add_device(vfkit->config, is_uart ? VMC_DEVICE_UART : VMC_DEVICE_VIRTIO_CONSOLE);
    device->serial.log_path = g_strdup(log);
    if (stdio) {
        vfkit->stdio_used = true;
        device->serial.fd_in = STDIN_FILENO;
        device->serial.fd_out = STDOUT_FILENO;
    }
    return true;
}

static bool apply_rng(EspVfkit *vfkit, const Grammar *grammar, GPtrArray *items, GError **error)
{
    vmc_config_add_device(vfkit->config, VMC_DEVICE_VIRTIO_RNG);
    return true;
}

static bool apply_input(EspVfkit *vfkit, const Grammar *grammar, GPtrArray *items, GError **error)
{
    bool keyboard = get_item(items, "keyboard") != NULL;

    if (keyboard == (get_item(items, "pointing") != NULL))
        return fail(error, "--device virtio-input: give either keyboard or pointing");
    vmc_config_add_device(vfkit->config, keyboard ? VMC_DEVICE_VIRTIO_KEYBOARD : VMC_DEVICE_VIRTIO_TABLET);
    return true;
}

/* The display there is for now is the linear framebuffer, whatever its name on the command line. */
static bool apply_gpu(EspVfkit *vfkit, const Grammar *grammar, GPtrArray *items, GError **error)
{
    uint64_t width = DEFAULT_WIDTH, height = DEFAULT_HEIGHT;
    VmcDeviceConfig *device;

    if (get_item(items, "width") &&
        !parse_number("--device virtio-gpu: width", get_item(items, "width"), G_MAXINT32, &width, error))
        return false;
    if (get_item(items, "height") &&
        !parse_number("--device virtio-gpu: height", get_item(items, "height"), G_MAXINT32, &height, error))
        return false;
    device = vmc_config_add_device(vfkit->config, VMC_DEVICE_FRAMEBUFFER);
    device->framebuffer.width = (unsigned)width;
    device->framebuffer.height = (unsigned)height;
    return true;
}

static const Grammar bootloaders[] = {
    {"linux", {"kernel=", "initrd=", "cmdline="}, apply_linux},
};

static const Grammar devices[] = {
    {"virtio-blk", {"path=", "deviceId=", "readonly"}, apply_block},
    {"virtio-serial", {"stdio", "logFilePath="}, apply_serial},
    {"uart", {"stdio", "logFilePath="}, apply_serial},
    {"virtio-rng", {NULL}, apply_rng},
    {"virtio-input", {"keyboard", "pointing"}, apply_input},
    {"virtio-gpu", {"width=", "height="}, apply_gpu},
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
    g_autoptr(GPtrArray) items = split(option, text, error);
    const Grammar *grammar;
    const Item *first;

    if (!items)
        return false;
    first = g_ptr_array_index(items, 0);
    grammar = first->value ? NULL : find_grammar(table, n, first->name);
    if (!grammar) {
        g_autoptr(GString) list = g_string_new(NULL);

        for (size_t i = 0; i < n; i++)
            g_string_append_printf(list, "%s%s", i ? ", " : "", table[i].name);
        return fail(error, "--%s: there is no “%s” here; give %s%s", option, first->name,
                    n > 1 ? "one of " : "", list->str);
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

    if (!parse_number("--cpus", value, G_MAXUINT32, &cpus, error))
        return false;
    vfkit->config->cpus = (unsigned)cpus;
    return true;
}

static bool option_memory(EspVfkit *vfkit, const char *value, GError **error)
{
    uint64_t mib;

    if (!parse_number("--memory", value, G_MAXUINT64 >> 20, &mib, error))
        return false;
    vfkit->config->memory = mib << 20;
    return true;
}

static bool option_cpu(EspVfkit *vfkit, const char *value, GError **error)
{
    static const char *const kinds[] = {
        [VMC_CPU_AUTO] = "auto", [VMC_CPU_KVM] = "kvm", [VMC_CPU_SOFT] = "soft"};

    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
        if (strcmp(value, kinds[i]) == 0) {
            vfkit->config->cpu = (VmcCpuKind)i;
            return true;
        }
    return fail(error, "--cpu: there is no CPU “%s”; give auto, kvm or soft", value);
}

static bool option_bootloader(EspVfkit *vfkit, const char *value, GError **error)
{
    return parse_list(vfkit, "bootloader", bootloaders, G_N_ELEMENTS(bootloaders), value, error);
}

static bool option_device(EspVfkit *vfkit, const char *value, GError **error)
{
    return parse_list(vfkit, "device", devices, G_N_ELEMENTS(devices), value, error);
}

static const struct {
    const char *name;
    bool (*take)(EspVfkit *vfkit, const char *value, GError **error);
} options[] = {
    {"cpus", option_cpus},     {"memory", option_memory},
    {"cpu", option_cpu},       {"bootloader", option_bootloader},
    {"device", option_device},
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
    return fail(error, "there is no option --%s", name);
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
    return g_strdup_printf("--%s", field);
}
