/*
 * The table of settings: it describes everything that a machine can be told, what it says of defaults and
 * bounds is true, every value comes back as it was given, through config.plist too, and what is wrong is
 * refused in a sentence. espalierctl and the manual page, which are made from it, are the real ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/bundle.h"
#include "app/settings.h"
#include "tests/unit/folder.h"

typedef struct Rig {
    char *dir, *bundle, *disk, *program;
} Rig;

/* A bundle that the validator has nothing against but its kernel, which is not there. */
static int set_up(void **state)
{
    const char *build = g_getenv("ESPALIER_BUILD");
    Rig *rig = g_new0(Rig, 1);
    GError *error = NULL;

    rig->program = g_build_filename(build ? build : "build", "espalierctl", NULL);
    rig->dir = g_dir_make_tmp("espalier-settings-XXXXXX", NULL);
    g_autoptr(EspBundle) bundle = esp_bundle_new(rig->dir, "Pear", &error);
    assert_non_null(bundle);
    assert_true(esp_bundle_add_disk(bundle, "disk.img", 1 << 20, &error));
    VmcConfig *config = vmc_config_new();
    config->boot.kind = VMC_BOOT_LINUX;
    config->boot.kernel = g_strdup("/nowhere/vmlinuz");
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BLOCK)->block.path = esp_bundle_file(bundle, "disk.img");
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_GPU);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_NET)->net.nat = true;
    esp_bundle_set_config(bundle, config);
    vmc_config_free(config);
    assert_true(esp_bundle_publish(bundle, &error));
    rig->bundle = g_strdup(esp_bundle_get_path(bundle));
    rig->disk = esp_bundle_file(bundle, "disk.img");
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    Rig *rig = *state;

    remove_folder(rig->dir);
    g_free(rig->disk);
    g_free(rig->bundle);
    g_free(rig->program);
    g_free(rig);
    return 0;
}

/* ---- every setting of every kind ---- */

typedef void (*Each)(const EspSetting *setting, EspMachineSettings *machine, VmcDeviceConfig *device);

/* Calls `each` for every setting, those of devices once for each kind that has them. */
static void for_each(Each each)
{
    unsigned n;
    const EspSetting *table = esp_settings_table(&n);

    for (unsigned i = 0; i < n; i++) {
        bool of_device = table[i].scope == ESP_SCOPE_DEVICE || table[i].scope == ESP_SCOPE_KIND;

        for (unsigned kind = 0; kind < VMC_DEVICE_KINDS; kind++) {
            if (of_device ? !esp_setting_is_for(&table[i], (VmcDeviceKind)kind) : kind > 0)
                continue;
            if (table[i].scope == ESP_SCOPE_DEVICE && !esp_setting_field(&table[i], (VmcDeviceKind)kind)) {
                assert_string_equal(table[i].name,
                                    "device.pciSlot"); /* the one for all that are on the bus */
                continue;
            }
            EspMachineSettings *machine = g_new0(EspMachineSettings, 1);
            machine->name = g_strdup("Pear");
            machine->config = vmc_config_new();
            each(&table[i], machine,
                 of_device ? vmc_config_add_device(machine->config, (VmcDeviceKind)kind) : NULL);
            esp_machine_settings_free(machine);
        }
    }
}

static VmcDeviceKind kind_of(const VmcDeviceConfig *device)
{
    return device ? device->kind : VMC_DEVICE_KINDS;
}

static void is_described(const EspSetting *setting, EspMachineSettings *machine, VmcDeviceConfig *device)
{
    const VmcField *field = esp_setting_field(setting, kind_of(device));
    g_autofree char *values = esp_setting_describe_values(setting, kind_of(device));
    unsigned n = 0;

    assert_true(setting->label && *setting->label && setting->help && *setting->help && *values);
    if (!field)
        return;
    if (g_str_has_suffix(setting->help, ".") == false)
        fail_msg("%s: the help is no sentence", setting->name);
    if (field->type == VMC_FIELD_CHOICE) {
        assert_non_null(setting->choices);
        for (n = 0; field->choices[n]; n++)
            if (!setting->choices[n])
                fail_msg("%s: nobody says what “%s” means", setting->name, field->choices[n]);
        assert_null(setting->choices[n]);
    } else {
        assert_null(setting->choices);
    }
}

static void test_every_setting_is_described(void **state)
{
    for_each(is_described);
}

/* The other way round: nothing that a bundle can hold is missing from the table. */
static void test_every_field_has_a_setting(void **state)
{
    const VmcField *fields;
    const EspSetting *table;
    unsigned n, n_table;

    table = esp_settings_table(&n_table);
    for (unsigned kind = 0; kind < VMC_DEVICE_KINDS; kind++) {
        const VmcDeviceInfo *info = vmc_device_info((VmcDeviceKind)kind);

        assert_non_null(esp_device_words((VmcDeviceKind)kind));
        for (unsigned i = 0; i < info->n_fields; i++) {
            unsigned found = 0;
            for (unsigned s = 0; s < n_table; s++)
                found += table[s].scope == ESP_SCOPE_DEVICE &&
                         esp_setting_is_for(&table[s], (VmcDeviceKind)kind) &&
                         esp_setting_field(&table[s], (VmcDeviceKind)kind) == &info->fields[i];
            if (found != (info->fields[i].key != NULL))
                fail_msg("%s of %s has %u settings", info->fields[i].name, info->name, found);
        }
    }
    fields = vmc_config_fields(&n);
    for (unsigned i = 0; i < n; i++)
        assert_non_null(esp_setting_by_name(fields[i].name));
    fields = esp_machine_info_fields(&n);
    for (unsigned i = 0; i < n; i++)
        assert_non_null(esp_setting_by_name(fields[i].name));
}

static void test_names_are_unique(void **state)
{
    unsigned n;
    const EspSetting *table = esp_settings_table(&n);

    for (unsigned i = 0; i < n; i++)
        assert_ptr_equal(esp_setting_by_name(table[i].name), &table[i]);
}

static void has_good_default(const EspSetting *setting, EspMachineSettings *machine, VmcDeviceConfig *device)
{
    g_autofree char *preset = esp_setting_get_default(setting, kind_of(device));
    const VmcField *field = esp_setting_field(setting, kind_of(device));
    GError *error = NULL;

    if (field && (field->required || (field->one_of && !strcmp(preset, "no"))))
        return; /* there is no default */
    if (setting->scope == ESP_SCOPE_NAME)
        return;
    if (!esp_setting_set(setting, machine, device, preset, &error))
        fail_msg("%s: the default “%s” is refused: %s", setting->name, preset, error->message);
    g_autofree char *now = esp_setting_get(setting, machine, device);
    assert_string_equal(now, preset);
}

static void test_defaults_are_inside_their_bounds(void **state)
{
    for_each(has_good_default);
}

/* ---- values ---- */

static void comes_back(const EspSetting *setting, EspMachineSettings *machine, VmcDeviceConfig *device,
                       const char *text)
{
    GError *error = NULL;

    if (!esp_setting_set(setting, machine, device, text, &error))
        fail_msg("%s=%s: %s", setting->name, text, error->message);
    g_autofree char *now = esp_setting_get(setting, machine, device);
    if (strcmp(now, text) != 0)
        fail_msg("%s=%s came back as %s", setting->name, text, now);
}

static void numbers_come_back(const EspSetting *setting, EspMachineSettings *machine, VmcDeviceConfig *device)
{
    uint64_t bounds[2];

    esp_setting_bounds(setting, kind_of(device), &bounds[0], &bounds[1]);
    for (unsigned i = 0; i < 2; i++) {
        g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, bounds[i]);
        comes_back(setting, machine, device, text);
    }
    if (esp_setting_field(setting, kind_of(device))->automatic)
        comes_back(setting, machine, device, "0");
}

static void values_come_back(const EspSetting *setting, EspMachineSettings *machine, VmcDeviceConfig *device)
{
    const VmcField *field = esp_setting_field(setting, kind_of(device));
    VmcDeviceKind kinds[VMC_DEVICE_KINDS];
    unsigned n;

    if (setting->scope == ESP_SCOPE_KIND) {
        n = esp_setting_kinds(setting, kinds, VMC_DEVICE_KINDS);
        assert_true(n > 1);
        for (unsigned i = 0; i < n; i++)
            comes_back(setting, machine, device, vmc_device_kind_name(kinds[i]));
        return;
    }
    switch (esp_setting_type(setting, kind_of(device))) {
    case VMC_FIELD_FLAG:
        comes_back(setting, machine, device, "yes");
        if (!field->one_of)
            comes_back(setting, machine, device, "no");
        break;
    case VMC_FIELD_NUMBER:
        numbers_come_back(setting, machine, device);
        break;
    case VMC_FIELD_SIZE:
        comes_back(setting, machine, device, "16M");
        comes_back(setting, machine, device, "1G");
        break;
    case VMC_FIELD_CHOICE:
        for (unsigned i = 0; field->choices[i]; i++)
            comes_back(setting, machine, device, field->choices[i]);
        break;
    case VMC_FIELD_LIST:
        comes_back(setting, machine, device, "tcp:8080-80,udp:[::1]:53-53");
        break;
    case VMC_FIELD_PATH:
        comes_back(setting, machine, device, "/a folder/ä=1,2");
        break;
    default:
        comes_back(setting, machine, device, "Ärger = 1, “2”");
        if (setting->flags & ESP_SETTING_LINES)
            comes_back(setting, machine, device, "one\n\ttwo\n");
    }
}

static void test_every_value_comes_back(void **state)
{
    for_each(values_come_back);
}

static void assert_refused(const EspSetting *setting, EspMachineSettings *machine, VmcDeviceConfig *device,
                           const char *text)
{
    GError *error = NULL;

    if (esp_setting_set(setting, machine, device, text, &error))
        fail_msg("%s was set to “%.40s”", setting->name, text);
    if (!g_str_has_suffix(error->message, ".") || strchr(error->message, '\n') ||
        strlen(error->message) > 400 || !g_utf8_validate(error->message, -1, NULL))
        fail_msg("%s: this is no sentence: %s", setting->name, error->message);
    g_error_free(error);
}

static void numbers_are_refused(const EspSetting *setting, EspMachineSettings *machine,
                                VmcDeviceConfig *device)
{
    uint64_t min, max;
    const VmcField *field = esp_setting_field(setting, kind_of(device));
    bool bounded = esp_setting_bounds(setting, kind_of(device), &min, &max);
    g_autofree char *more = g_strdup_printf("%" G_GUINT64_FORMAT, max + 1);
    g_autofree char *less = g_strdup_printf("%" G_GUINT64_FORMAT, min - 1);

    assert_refused(setting, machine, device, "-1");
    assert_refused(setting, machine, device, "3 of them");
    assert_refused(setting, machine, device, "99999999999999999999");
    assert_refused(setting, machine, device, more);
    if (bounded && min > (field->automatic ? 1 : 0))
        assert_refused(setting, machine, device, less);
}

static void bad_values_are_refused(const EspSetting *setting, EspMachineSettings *machine,
                                   VmcDeviceConfig *device)
{
    const VmcField *field = esp_setting_field(setting, kind_of(device));
    g_autofree char *endless = g_strnfill(1 << 20, 'x');

    switch (esp_setting_type(setting, kind_of(device))) {
    case VMC_FIELD_NUMBER:
        numbers_are_refused(setting, machine, device);
        return;
    case VMC_FIELD_SIZE:
        assert_refused(setting, machine, device, "1");
        assert_refused(setting, machine, device, "much");
        assert_refused(setting, machine, device, "4 G");
        assert_refused(setting, machine, device, "4Gigs");
        assert_refused(setting, machine, device, "99999999T");
        return;
    case VMC_FIELD_LIST:
        assert_refused(setting, machine, device, "a,,b");
        return;
    case VMC_FIELD_FLAG:
    case VMC_FIELD_CHOICE:
        assert_refused(setting, machine, device, "perhaps");
        return;
    default:
        break;
    }
    assert_refused(setting, machine, device, endless);
    assert_refused(setting, machine, device, "bell \a");
    assert_refused(setting, machine, device, "broken \xff");
    if (!(setting->flags & ESP_SETTING_LINES))
        assert_refused(setting, machine, device, "two\nlines");
    if (field && field->required)
        assert_refused(setting, machine, device, "");
}

static void test_bad_values_are_refused_in_a_sentence(void **state)
{
    for_each(bad_values_are_refused);
}

/* The validator and the table agree about every bound of every device. */
static void validator_agrees(const EspSetting *setting, EspMachineSettings *machine, VmcDeviceConfig *device)
{
    const VmcField *field = esp_setting_field(setting, kind_of(device));
    g_autofree char *name = field ? g_strdup_printf("devices[0].%s", field->name) : NULL;
    uint64_t tries[4];

    if (!device || !field || field->type != VMC_FIELD_NUMBER ||
        esp_setting_why_not(setting, machine, device) ||
        !esp_setting_bounds(setting, device->kind, &tries[0], &tries[1]))
        return;
    tries[2] = tries[0] - 1;
    tries[3] = tries[1] + 1;
    for (unsigned i = 0; i < 4; i++) {
        bool refused = false;

        if (i == 2 && field->automatic && tries[0] == 1)
            continue;
        *(unsigned *)vmc_field_in(field, device) = (unsigned)tries[i];
        g_autoptr(GPtrArray) faults = vmc_config_validate(machine->config);
        for (guint f = 0; f < faults->len; f++)
            refused |= !strcmp(((VmcFault *)g_ptr_array_index(faults, f))->field, name);
        /* A PCI slot is looked at elsewhere, and port 2^32 is 0 here. */
        if (refused != (i > 1) && field->max != UINT32_MAX - 1)
            fail_msg("the validator %s %s=%u", refused ? "refuses" : "takes", setting->name,
                     (unsigned)tries[i]);
    }
}

static void test_the_validator_has_the_same_bounds(void **state)
{
    for_each(validator_agrees);
}

static void test_one_of_several_places_another(void **state)
{
    EspMachineSettings machine = {.config = vmc_config_new()};
    VmcDeviceConfig *device = vmc_config_add_device(machine.config, VMC_DEVICE_VIRTIO_NET);

    assert_true(esp_setting_set(esp_setting_by_name("network.nat"), &machine, device, "yes", NULL));
    assert_true(esp_setting_set(esp_setting_by_name("network.bridge"), &machine, device, "br0", NULL));
    assert_false(device->net.nat);
    assert_true(esp_setting_set(esp_setting_by_name("network.hostOnly"), &machine, device, "mine", NULL));
    assert_null(device->net.bridge);
    assert_string_equal(device->net.host_only, "mine");
    assert_refused(esp_setting_by_name("network.hostOnly"), &machine, device, "");
    vmc_config_free(machine.config);
}

static void test_a_device_of_another_kind_keeps_what_both_have(void **state)
{
    EspMachineSettings machine = {.config = vmc_config_new()};
    VmcDeviceConfig *device = vmc_config_add_device(machine.config, VMC_DEVICE_VIRTIO_BLOCK);

    device->block.path = g_strdup("/disks/one.qcow2");
    device->block.format = VMC_DISK_QCOW2;
    device->block.cache = VMC_CACHE_UNSAFE;
    device->block.readonly = true;
    device->pci_slot = 4;
    assert_true(
        esp_setting_set(esp_setting_by_name("disk.kind"), &machine, device, "usb-mass-storage", NULL));
    assert_int_equal(device->kind, VMC_DEVICE_USB_STORAGE);
    assert_string_equal(device->block.path, "/disks/one.qcow2");
    assert_int_equal(device->block.format, VMC_DISK_QCOW2);
    assert_true(device->block.readonly);
    assert_int_equal(device->block.cache, VMC_CACHE_WRITE_BACK); /* a stick has none */
    assert_int_equal(device->pci_slot, 0);
    vmc_config_free(machine.config);
}

/* ---- what guests cannot use ---- */

static void test_what_old_macos_cannot_use_is_said(void **state)
{
    EspMachineSettings machine = {.config = vmc_config_new()};
    const EspDeviceWords *virtio_fs = esp_device_words(VMC_DEVICE_VIRTIO_FS);
    const EspDeviceWords *p9 = esp_device_words(VMC_DEVICE_VIRTIO_9P);

    machine.info.os_id = (char *)"http://apple.com/macosx/10.15";
    assert_null(virtio_fs->why_not(&machine, NULL)); /* it is not said to be macOS */
    machine.info.system = ESP_GUEST_MACOS;
    assert_non_null(strstr(virtio_fs->why_not(&machine, NULL), "9P"));
    assert_null(p9->why_not(&machine, NULL));
    machine.info.os_id = (char *)"http://apple.com/macosx/14";
    assert_null(virtio_fs->why_not(&machine, NULL));
    machine.info.os_id = NULL;
    assert_null(virtio_fs->why_not(&machine, NULL));
    vmc_config_free(machine.config);
}

/* ---- in a bundle ---- */

typedef struct SetOne {
    const char *name, *value;
} SetOne;

static bool set_one(EspMachineSettings *machine, gpointer data, GError **error)
{
    const SetOne *one = data;
    int index;
    const EspSetting *setting = esp_setting_find(machine, one->name, &index, error);

    return setting &&
           esp_setting_set(setting, machine, esp_machine_settings_device(machine, index), one->value, error);
}

static char *read_one(Rig *rig, const char *name)
{
    g_autoptr(EspMachineSettings) machine = esp_machine_settings_read(rig->bundle, NULL);
    int index;
    const EspSetting *setting = esp_setting_find(machine, name, &index, NULL);

    assert_non_null(setting);
    return esp_setting_get(setting, machine, esp_machine_settings_device(machine, index));
}

static void test_changes_are_saved_and_read_again(void **state)
{
    static const SetOne all[] = {
        {"name", "Quince"},
        {"notes", "one\ntwo"},
        {"system", "macos"},
        {"onClose", "save"},
        {"isolated", "yes"},
        {"cpus", "3"},
        {"memory", "768M"},
        {"cpu", "soft"},
        {"cpu.engine", "interpreter"},
        {"cpu.codeCache", "32"},
        {"boot.cmdline", "quiet  splash=\"a\""},
        {"display.width", "1920"},
        {"disk.cache", "unsafe"},
        {"disk.id", "abc"},
        {"network.forward", "tcp:8080-80,tcp:127.0.0.1:2222-22"},
        {"network.mac", "52:54:00:12:34:56"},
        {"network.kind", "e1000"},
        {"display.kind", "vga"},
        {"timeZone", "Europe/Zurich"},
    };
    Rig *rig = *state;

    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        GError *error = NULL;
        if (!esp_machine_settings_change(rig->bundle, set_one, (gpointer)&all[i], NULL, &error))
            fail_msg("%s: %s", all[i].name, error->message);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        g_autofree char *now = read_one(rig, all[i].name);
        assert_string_equal(now, all[i].value);
    }
}

static void test_what_the_validator_refuses_is_not_written(void **state)
{
    Rig *rig = *state;
    SetOne bad[] = {{"network.mac", "not a MAC"},       {"network.forward", "tcp:80"},
                    {"disk.path", "/nowhere/disk.img"}, {"disk.9.cache", "unsafe"},
                    {"keyboard.swap", "yes"},           {"frobs", "3"}};
    g_autofree char *file = g_build_filename(rig->bundle, "config.plist", NULL);
    g_autofree char *before = NULL, *after = NULL;

    assert_true(g_file_get_contents(file, &before, NULL, NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        GError *error = NULL;
        assert_false(esp_machine_settings_change(rig->bundle, set_one, &bad[i], NULL, &error));
        if (!g_str_has_suffix(error->message, "."))
            fail_msg("%s: this is no sentence: %s", bad[i].name, error->message);
        g_error_free(error);
    }
    assert_true(g_file_get_contents(file, &after, NULL, NULL));
    assert_string_equal(before, after);
}

static bool swap_first_two(EspMachineSettings *machine, gpointer data, GError **error)
{
    const VmcDeviceConfig *first = esp_machine_settings_device(machine, 0);
    VmcDeviceConfig *copy = esp_device_config_copy(first);

    assert_true(esp_machine_settings_remove(machine, 0));
    esp_machine_settings_insert(machine, copy, 1);
    esp_device_config_free(copy);
    return true;
}

static void test_a_removed_device_can_be_put_back(void **state)
{
    Rig *rig = *state;
    g_autoptr(EspMachineSettings) now = NULL;

    assert_true(esp_machine_settings_change(rig->bundle, swap_first_two, NULL, &now, NULL));
    assert_int_equal(esp_machine_settings_device(now, 0)->kind, VMC_DEVICE_VIRTIO_GPU);
    assert_int_equal(esp_machine_settings_device(now, 1)->kind, VMC_DEVICE_VIRTIO_BLOCK);
    assert_string_equal(esp_machine_settings_device(now, 1)->block.path, rig->disk);
}

static void test_the_boot_order_moves(void **state)
{
    Rig *rig = *state;
    g_autoptr(EspMachineSettings) machine = esp_machine_settings_read(rig->bundle, NULL);

    assert_true(esp_machine_settings_move_boot(machine, 2, -1)); /* the network before the disk */
    assert_int_equal(esp_machine_settings_device(machine, 2)->net.boot_index, 1);
    assert_int_equal(esp_machine_settings_device(machine, 0)->block.boot_index, 2);
    assert_false(esp_machine_settings_move_boot(machine, 2, -1));
    assert_false(esp_machine_settings_move_boot(machine, 1, 1)); /* nothing boots from a display */
    assert_true(esp_machine_settings_move_boot(machine, 2, 1));
    assert_int_equal(esp_machine_settings_device(machine, 0)->block.boot_index, 1);
}

/* ---- espalierctl and its page ---- */

typedef struct Result {
    int status;
    char *out, *err;
} Result;

static Result run(Rig *rig, const char *const *words)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    Result result = {0};
    int status;

    g_ptr_array_add(argv, rig->program);
    for (; *words; words++)
        g_ptr_array_add(argv, (char *)*words);
    g_ptr_array_add(argv, NULL);
    assert_true(g_spawn_sync(NULL, (char **)argv->pdata, NULL, G_SPAWN_DEFAULT, NULL, NULL, &result.out,
                             &result.err, &status, NULL));
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return result;
}

#define RUN(rig, ...) run(rig, (const char *const[]){__VA_ARGS__, NULL})

static void result_clear(Result *result)
{
    g_free(result->out);
    g_free(result->err);
}

static void assert_says(Result result, int status, const char *out, const char *err)
{
    if (result.status != status || !strstr(result.out, out) || !strstr(result.err, err))
        fail_msg("expected status %d with “%s” and “%s”, got %d and:\n%s%s", status, out, err, result.status,
                 result.out, result.err);
    result_clear(&result);
}

static void test_espalierctl_sets_and_shows(void **state)
{
    Rig *rig = *state;
    g_autofree char *name = NULL;

    assert_says(RUN(rig, "set", rig->bundle, "cpus=4", "name=Big Pear", "disk.cache=unsafe"), 0, "", "");
    assert_says(RUN(rig, "show", rig->bundle), 0, "Big Pear", "");
    assert_says(RUN(rig, "show", rig->bundle, "--json"), 0, "\"cpus\" : 4", "");
    assert_says(RUN(rig, "show", "--json", rig->bundle), 0, "\"disk.cache\" : \"unsafe\"", "");
    /* All or nothing. */
    assert_says(RUN(rig, "set", rig->bundle, "name=Other", "cpus=lots"), 2, "", "CPUs cannot be “lots”");
    name = read_one(rig, "name");
    assert_string_equal(name, "Big Pear");
    assert_says(RUN(rig, "set", rig->bundle, "cpus"), 2, "", "write cpus=VALUE");
    assert_says(RUN(rig, "set", rig->bundle), 2, "", "nothing to set");
    assert_says(RUN(rig, "set", "no such machine", "cpus=1"), 2, "", "no such machine");
    assert_says(RUN(rig, "set", rig->bundle, "boot.firmware="), 0, "", "");
    assert_says(RUN(rig, "set", rig->bundle, "network.kind=e1000", "network.mtu=0"), 0, "", "choose virtio");
}

static void test_espalierctl_adds_and_removes_devices(void **state)
{
    Rig *rig = *state;

    assert_says(RUN(rig, "devices", "add", rig->bundle, "virtio-rng"), 0, "", "");
    assert_says(RUN(rig, "show", rig->bundle), 0, "3: Random Numbers", "");
    assert_says(RUN(rig, "devices", "add", rig->bundle, "virtio-fs,sharedDir=/nowhere,mountTag=x"), 2, "",
                "/nowhere");
    assert_says(RUN(rig, "devices", "add", rig->bundle, "virtio-frob"), 2, "", "virtio-frob");
    assert_says(RUN(rig, "devices", "remove", rig->bundle, "3"), 0, "", "");
    assert_says(RUN(rig, "devices", "remove", rig->bundle, "3"), 2, "", "has 3, counted from 0");
    assert_says(RUN(rig, "devices", "remove", rig->bundle, "disk"), 2, "", "number");
    /* Two disks have to be told apart. */
    g_autofree char *second = g_strdup_printf("virtio-blk,path=%s,readonly", rig->program);
    assert_says(RUN(rig, "devices", "add", rig->bundle, second), 0, "", "");
    assert_says(RUN(rig, "set", rig->bundle, "disk.cache=unsafe"), 2, "", "disk.0.cache, disk.3.cache");
    assert_says(RUN(rig, "set", rig->bundle, "disk.3.cache=unsafe"), 0, "", "");
    assert_says(RUN(rig, "show", rig->bundle), 0, "disk.3.cache", "");
}

/* The build made it of the program's own table; every setting is in it, and in the help. */
static void test_the_manual_page_names_every_setting(void **state)
{
    Rig *rig = *state;
    g_autofree char *folder = g_path_get_dirname(rig->program);
    g_autofree char *file = g_build_filename(folder, "espalier-settings.7", NULL);
    g_autofree char *page = NULL;
    Result help = RUN(rig, "set", "--help"), printed = RUN(rig, "set", "--print-manual");
    unsigned n;
    const EspSetting *table = esp_settings_table(&n);

    if (!g_file_get_contents(file, &page, NULL, NULL))
        fail_msg("%s was not made", file);
    assert_string_equal(page, printed.out);
    for (unsigned i = 0; i < n; i++) {
        g_auto(GStrv) parts = g_strsplit(table[i].name, "-", -1);
        g_autofree char *escaped = g_strjoinv("\\-", parts);
        g_autofree char *heading = g_strdup_printf("\n.B %s\n", escaped);
        g_autofree char *line = g_strdup_printf("  %s ", table[i].name);

        if (!strstr(page, heading) || !strstr(help.out, line))
            fail_msg("%s is not in the page or the help", table[i].name);
    }
    result_clear(&help);
    result_clear(&printed);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_setting_is_described),
        cmocka_unit_test(test_every_field_has_a_setting),
        cmocka_unit_test(test_names_are_unique),
        cmocka_unit_test(test_defaults_are_inside_their_bounds),
        cmocka_unit_test(test_every_value_comes_back),
        cmocka_unit_test(test_bad_values_are_refused_in_a_sentence),
        cmocka_unit_test(test_the_validator_has_the_same_bounds),
        cmocka_unit_test(test_one_of_several_places_another),
        cmocka_unit_test(test_a_device_of_another_kind_keeps_what_both_have),
        cmocka_unit_test(test_what_old_macos_cannot_use_is_said),
        TEST(test_changes_are_saved_and_read_again),
        TEST(test_what_the_validator_refuses_is_not_written),
        TEST(test_a_removed_device_can_be_put_back),
        TEST(test_the_boot_order_moves),
        TEST(test_espalierctl_sets_and_shows),
        TEST(test_espalierctl_adds_and_removes_devices),
        TEST(test_the_manual_page_names_every_setting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
