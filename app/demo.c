/*
 * The demo machine of the library: found, made, and kept pointing at the kernel and initrd we ship.
 *
 * The kernel and the initial RAM disk are the program's and are used where they are; the bundle has only what
 * the user changes, which is the disk. Every start looks for the files anew, so an update or a moved source
 * tree does no harm.
 */
#include <glib/gi18n.h>

#include "app/library.h"

#define DEMO_NAME    "Demo"
#define DEMO_CMDLINE "console=ttyS0 console=tty0"

static char *demo_file(const char *dir, const char *name)
{
    char *file = g_build_filename(dir, name, NULL);
    if (!g_file_test(file, G_FILE_TEST_IS_REGULAR))
        g_clear_pointer(&file, g_free);
    return file;
}

static bool has_demo(const char *dir)
{
    g_autofree char *kernel = demo_file(dir, "vmlinuz");
    g_autofree char *initrd = demo_file(dir, "initrd.img");
    return kernel && initrd;
}

char *esp_library_find_demo(GError **error)
{
    const char *forced = g_getenv("ESPALIER_DEMO_DIR");
    g_autofree char *program = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *program_dir = program ? g_path_get_dirname(program) : g_strdup(".");
    char *candidates[] = {
        g_strdup(forced),
        forced ? NULL : g_canonicalize_filename("../share/espalier/demo", program_dir),
        forced ? NULL : g_build_filename(program_dir, "guest", NULL),
    };
    GString *looked = g_string_new(NULL);
    char *found = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(candidates); i++) {
        if (candidates[i] && !found && has_demo(candidates[i]))
            found = g_strdup(candidates[i]);
        if (candidates[i])
            g_string_append_printf(looked, "%s%s", looked->len ? ", " : "", candidates[i]);
        g_free(candidates[i]);
    }
    if (!found)
        g_set_error(
            error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE,
            _("The demo guest is not installed: there is no folder with vmlinuz and initrd.img. Looked in: "
              "%s. In a source tree, “make” builds it."),
            looked->str);
    g_string_free(looked, TRUE);
    return found;
}

VmcConfig *esp_library_demo_config(EspBundle *bundle, const char *demo_dir)
{
    VmcConfig *config = vmc_config_new();
    config->cpus = 2;
    config->memory = 512ull << 20;
    config->boot.kind = VMC_BOOT_LINUX;
    config->boot.kernel = g_build_filename(demo_dir, "vmlinuz", NULL);
    config->boot.initrd = g_build_filename(demo_dir, "initrd.img", NULL);
    config->boot.cmdline = g_strdup(DEMO_CMDLINE);

    VmcDeviceConfig *screen = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_GPU);
    screen->display.width = 1024;
    screen->display.height = 768;
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_KEYBOARD);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_TABLET);
    VmcDeviceConfig *disk = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BLOCK);
    disk->block.path = esp_bundle_file(bundle, "disk.img");
    disk->block.id = g_strdup("demo-disk");
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_RNG);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_CONSOLE)->serial.log_path =
        esp_bundle_file(bundle, "console.log");
    vmc_config_add_device(config, VMC_DEVICE_UART)->serial.log_path = esp_bundle_file(bundle, "serial.log");
    return config;
}

static char *create_demo(const char *dir, const char *demo_dir, GError **error)
{
    g_autoptr(EspBundle) bundle = esp_bundle_new(dir, DEMO_NAME, error);
    if (!bundle || !esp_bundle_add_disk(bundle, "disk.img", ESP_DEMO_DISK_SIZE, error))
        return NULL;
    VmcConfig *config = esp_library_demo_config(bundle, demo_dir);
    esp_bundle_set_config(bundle, config);
    vmc_config_free(config);
    esp_bundle_set_origin(bundle, "demo");
    return esp_bundle_publish(bundle, error) ? g_strdup(esp_bundle_get_path(bundle)) : NULL;
}

/* Points the boot loader at the files of today and leaves everything else as the user made it. */
bool esp_library_update_demo(const char *path, const char *demo_dir, GError **error)
{
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, error);
    if (!bundle)
        return false;
    if (g_strcmp0(esp_bundle_get_origin(bundle), "demo") != 0)
        return true;
    VmcConfig *config = esp_bundle_get_config(bundle, error);
    if (!config)
        return false;
    g_autofree char *kernel = g_build_filename(demo_dir, "vmlinuz", NULL);
    g_autofree char *initrd = g_build_filename(demo_dir, "initrd.img", NULL);
    bool ok = true;
    if (g_strcmp0(config->boot.kernel, kernel) != 0 || g_strcmp0(config->boot.initrd, initrd) != 0) {
        g_free(config->boot.kernel);
        g_free(config->boot.initrd);
        config->boot.kernel = g_steal_pointer(&kernel);
        config->boot.initrd = g_steal_pointer(&initrd);
        esp_bundle_set_config(bundle, config);
        ok = esp_bundle_save(bundle, error);
    }
    vmc_config_free(config);
    return ok;
}

char *esp_library_ensure_demo(const char *dir, const char *demo_dir, GError **error)
{
    g_autofree char *path = g_build_filename(dir, DEMO_NAME ESP_BUNDLE_SUFFIX, NULL);
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return create_demo(dir, demo_dir, error);
    return esp_library_update_demo(path, demo_dir, error) ? g_steal_pointer(&path) : NULL;
}
