/*
 * What a new machine is made of (see machine.h).
 *
 * Linux gets virtio throughout and USB for its hands, for which every kernel has drivers; what is installed
 * from a disc and may be anything gets a disk and a network card that need no drivers of virtio's kind.
 */
#include "app/create/machine.h"

#include "app/create/seed.h"
#include "app/library.h"

#define SCREEN_WIDTH  1280u
#define SCREEN_HEIGHT 800u

/* Locally administered, of the range that machines of this kind use. */
static char *new_mac(void)
{
    guint32 r = g_random_int();

    return g_strdup_printf("52:54:00:%02x:%02x:%02x", r & 0xff, r >> 8 & 0xff, r >> 16 & 0xff);
}

static bool is_there(EspBundle *bundle, const char *name)
{
    g_autofree char *path = esp_bundle_file(bundle, name);

    return g_file_test(path, G_FILE_TEST_IS_REGULAR);
}

static void add_disk(VmcConfig *config, EspBundle *bundle, bool virtio)
{
    VmcDeviceConfig *disk = vmc_config_add_device(config, virtio ? VMC_DEVICE_VIRTIO_BLOCK : VMC_DEVICE_NVME);

    disk->block.path = esp_bundle_file(bundle, ESP_MACHINE_DISK);
    disk->block.format = VMC_DISK_QCOW2;
    disk->block.backing = is_there(bundle, ESP_MACHINE_IMAGE);
    disk->block.boot_index = 1;
}

static void add_drives(VmcConfig *config, EspBundle *bundle, const EspCreation *creation, bool virtio)
{
    add_disk(config, bundle, virtio);
    if (is_there(bundle, ESP_MACHINE_SEED)) {
        VmcDeviceConfig *seed = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BLOCK);
        seed->block.path = esp_bundle_file(bundle, ESP_MACHINE_SEED);
        seed->block.readonly = true;
    }
    if (creation->kind == ESP_CREATION_INSTALLER) {
        VmcDeviceConfig *disc = vmc_config_add_device(config, VMC_DEVICE_USB_STORAGE);
        disc->block.path = is_there(bundle, ESP_MACHINE_IMAGE) ? esp_bundle_file(bundle, ESP_MACHINE_IMAGE)
                                                               : g_strdup(creation->source);
        disc->block.cdrom = true;
        disc->block.readonly = true;
        disc->block.boot_index = 2; /* the disk is empty until something is installed on it */
    }
}

static void add_net(VmcConfig *config, bool virtio)
{
    VmcDeviceConfig *net = vmc_config_add_device(config, virtio ? VMC_DEVICE_VIRTIO_NET : VMC_DEVICE_E1000);

    net->net.nat = true;
    net->net.mac = new_mac();
}

static void add_share(VmcConfig *config, const EspCreation *creation)
{
    if (!creation->share_path)
        return;
    VmcDeviceConfig *share = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_FS);
    share->share.path = g_strdup(creation->share_path);
    share->share.tag = g_strdup(ESP_SEED_SHARE_TAG);
    share->share.readonly = creation->share_readonly;
}

static VmcConfig *make_uefi(EspBundle *bundle, const EspCreation *creation)
{
    bool virtio = creation->system == ESP_GUEST_LINUX;
    VmcConfig *config = vmc_config_new();

    config->boot.kind = VMC_BOOT_EFI;
    config->boot.variable_store = esp_bundle_file(bundle, ESP_MACHINE_NVRAM);
    config->boot.create_variable_store = true;
    VmcDeviceConfig *screen = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_GPU);
    screen->display.width = SCREEN_WIDTH;
    screen->display.height = SCREEN_HEIGHT;
    vmc_config_add_device(config, VMC_DEVICE_USB_KEYBOARD)->keyboard.layout = creation->keyboard_type;
    vmc_config_add_device(config, VMC_DEVICE_USB_TABLET);
    add_drives(config, bundle, creation, virtio);
    add_net(config, virtio);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_SOUND);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_RNG);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BALLOON);
    add_share(config, creation);
    vmc_config_add_device(config, VMC_DEVICE_SPICE_AGENT)->agent.clipboard = creation->clipboard;
    vmc_config_add_device(config, VMC_DEVICE_UART)->serial.log_path = esp_bundle_file(bundle, "serial.log");
    return config;
}

static VmcConfig *make_demo(EspBundle *bundle, const EspCreation *creation, GError **error)
{
    g_autofree char *dir = esp_library_find_demo(error);
    VmcConfig *config = dir ? esp_library_demo_config(bundle, dir) : NULL;

    if (config)
        add_share(config, creation);
    return config;
}

VmcConfig *esp_machine_make(EspBundle *bundle, const EspCreation *creation, GError **error)
{
    VmcConfig *config = creation->kind == ESP_CREATION_DEMO ? make_demo(bundle, creation, error)
                                                            : make_uefi(bundle, creation);

    if (config) {
        config->cpus = creation->cpus;
        config->memory = (uint64_t)creation->memory_mib << 20;
    }
    return config;
}
