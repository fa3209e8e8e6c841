/* Configurations: copied whole, and everything wrong with one said at once. */
#include <stdio.h>
#include <sys/stat.h>

#include "block/disk.h"
#include "tests/unit/tiny_firmware.h"
#include "tests/unit/tiny_kernel.h"
#include "vmcore/config.h"

typedef struct Files {
    char *dir, *kernel, *disk;
} Files;

static int set_up(void **state)
{
    Files *files = g_new0(Files, 1);
    TinyCode code = {.n = 0};
    static const char zeros[4096];

    files->dir = tiny_dir();
    tiny_power_off(&code);
    files->kernel = tiny_kernel(files->dir, "kernel", &code);
    files->disk = g_build_filename(files->dir, "disk", NULL);
    tiny_write_file(files->disk, zeros, sizeof zeros);
    *state = files;
    return 0;
}

static int tear_down(void **state)
{
    Files *files = *state;

    tiny_dir_remove(files->dir);
    g_free(files->kernel);
    g_free(files->disk);
    g_free(files);
    return 0;
}

static VmcConfig *good(Files *files)
{
    VmcConfig *config = vmc_config_new();

    config->boot.kind = VMC_BOOT_LINUX;
    config->boot.kernel = g_strdup(files->kernel);
    return config;
}

/* The faults as "field: message" lines. */
static char *faults_of(const VmcConfig *config)
{
    g_autoptr(GPtrArray) faults = vmc_config_validate(config);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < faults->len; i++) {
        const VmcFault *fault = g_ptr_array_index(faults, i);

        g_string_append_printf(text, "%s: %s\n", fault->field, fault->message);
    }
    return g_string_free(text, FALSE);
}

static unsigned lines(const char *text)
{
    unsigned n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* Exactly one fault, of this field, that mentions `word`. Frees the config. */
static void assert_fault(VmcConfig *config, const char *field, const char *word)
{
    g_autofree char *text = faults_of(config);

    vmc_config_free(config);
    if (lines(text) != 1 || !g_str_has_prefix(text, field) || text[strlen(field)] != ':' ||
        !strstr(text, word))
        fail_msg("expected one fault of %s with “%s”, got:\n%s", field, word, text);
}

static void assert_good(VmcConfig *config)
{
    g_autofree char *text = faults_of(config);

    vmc_config_free(config);
    assert_string_equal(text, "");
}

static char *in_dir(Files *files, const char *name)
{
    return g_build_filename(files->dir, name, NULL);
}

static VmcDeviceConfig *add_disk(VmcConfig *config, const char *path, bool readonly)
{
    VmcDeviceConfig *device = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BLOCK);

    device->block.path = g_strdup(path);
    device->block.readonly = readonly;
    return device;
}

static void test_a_good_one_has_no_faults(void **state)
{
    VmcConfig *config = good(*state);

    add_disk(config, ((Files *)*state)->disk, false)->block.id = g_strdup("12345678901234567890");
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_RNG);
    vmc_config_add_device(config, VMC_DEVICE_UART)->serial.fd_out = 1;
    assert_good(config);
}

static void test_a_copy_has_everything(void **state)
{
    VmcConfig *config = good(*state), *copy;
    VmcDeviceConfig *device;

    config->cpus = 3;
    config->memory = 77ull << 20;
    config->cpu = VMC_CPU_SOFT;
    config->soft = (VmcSoftCpuConfig){.engine = VMC_ENGINE_TRANSLATOR, .lockstep = true, .code_cache = 99};
    config->boot.cmdline = g_strdup("quiet");
    add_disk(config, "/some/disk", true)->block.id = g_strdup("id");
    vmc_config_add_device(config, VMC_DEVICE_UART)->serial.log_path = g_strdup("/some/log");
    copy = vmc_config_copy(config);
    vmc_config_free(config);
    assert_int_equal(copy->cpus, 3);
    assert_int_equal(copy->memory, 77ull << 20);
    assert_int_equal(copy->cpu, VMC_CPU_SOFT);
    assert_int_equal(copy->soft.engine, VMC_ENGINE_TRANSLATOR);
    assert_true(copy->soft.lockstep);
    assert_int_equal(copy->soft.code_cache, 99);
    assert_string_equal(copy->boot.cmdline, "quiet");
    assert_null(copy->boot.initrd);
    assert_int_equal(copy->devices->len, 2);
    device = g_ptr_array_index(copy->devices, 0);
    assert_string_equal(device->block.path, "/some/disk");
    assert_string_equal(device->block.id, "id");
    assert_true(device->block.readonly);
    device = g_ptr_array_index(copy->devices, 1);
    assert_string_equal(device->serial.log_path, "/some/log");
    assert_int_equal(device->serial.fd_in, -1);
    vmc_config_free(copy);
    vmc_config_free(NULL);
}

static void test_cpus(void **state)
{
    static const unsigned bad[] = {0, 65, 10000, UINT32_MAX};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        VmcConfig *config = good(*state);

        config->cpus = bad[i];
        assert_fault(config, "cpus", "1 to 64");
    }
}

static void test_how_the_software_cpu_works(void **state)
{
    static const struct {
        VmcSoftCpuConfig soft;
        const char *field, *word;
    } bad[] = {{{.engine = (VmcCpuEngine)3}, "cpu.engine", "interpreter or translator"},
               {{.engine = (VmcCpuEngine)-1}, "cpu.engine", "interpreter or translator"},
               {{.engine = VMC_ENGINE_INTERPRETER, .lockstep = true}, "cpu.lockstep", "leave lockstep out"},
               {{.code_cache = 7}, "cpu.codeCache", "8 to 1024 MiB"},
               {{.code_cache = 1025}, "cpu.codeCache", "8 to 1024 MiB"},
               {{.code_cache = UINT32_MAX}, "cpu.codeCache", "8 to 1024 MiB"}};
    static const VmcSoftCpuConfig right[] = {{.engine = VMC_ENGINE_INTERPRETER, .code_cache = 8},
                                             {.engine = VMC_ENGINE_TRANSLATOR, .lockstep = true},
                                             {.lockstep = true, .code_cache = 1024}};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        VmcConfig *config = good(*state);

        config->soft = bad[i].soft;
        assert_fault(config, bad[i].field, bad[i].word);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(right); i++) {
        VmcConfig *config = good(*state);

        config->soft = right[i];
        assert_good(config);
    }
}

static void test_memory(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *word;
    } bad[] = {{(64ull << 20) + 1, "multiple of 1 MiB"},
               {15ull << 20, "at least 16 MiB"},
               {1ull << 50, "more than this computer has"}};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        VmcConfig *config = good(*state);

        config->memory = bad[i].bytes;
        assert_fault(config, "memory", bad[i].word);
    }
}

static void test_kernels_that_are_none(void **state)
{
    Files *files = *state;
    g_autofree char *text = in_dir(files, "text"), *missing = in_dir(files, "missing"),
                    *fifo = in_dir(files, "fifo"), *cut = in_dir(files, "cut");
    const char *paths[] = {text, missing, fifo, cut, files->dir, "/dev/null"};
    const char *words[] = {"bzImage", "No such file", "regular", "not complete", "directory", "regular"};
    g_autofree char *contents = NULL;
    gsize size;

    assert_true(g_file_get_contents(files->kernel, &contents, &size, NULL));
    tiny_write_file(cut, contents, size - 40);
    memset(contents, 'x', size);
    tiny_write_file(text, contents, size);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        VmcConfig *config = good(files);

        g_free(config->boot.kernel);
        config->boot.kernel = g_strdup(paths[i]);
        assert_fault(config, "boot.kernel", words[i]);
    }
}

static void test_no_kernel_and_too_long_a_command_line(void **state)
{
    VmcConfig *config = good(*state);

    g_clear_pointer(&config->boot.kernel, g_free);
    assert_fault(config, "boot.kernel", "bzImage");
    config = good(*state);
    config->boot.kind = VMC_BOOT_NONE;
    assert_fault(config, "boot", "nothing to boot");
    config = good(*state);
    config->boot.cmdline = g_strnfill(256, 'a');
    assert_fault(config, "boot.cmdline", "at most 255");
}

static VmcConfig *good_efi(Files *files)
{
    VmcConfig *config = vmc_config_new();

    config->boot.kind = VMC_BOOT_EFI;
    config->boot.firmware = in_dir(files, "CODE.fd");
    config->boot.variable_store = in_dir(files, "nvram.fd");
    config->boot.create_variable_store = true;
    return config;
}

static void test_firmware_and_its_store(void **state)
{
    Files *files = *state;
    VmcConfig *config = good_efi(files);
    g_autofree char *code = in_dir(files, "CODE.fd"), *variables = in_dir(files, "VARS.fd");

    assert_fault(config, "boot.firmware", "No such file");
    tiny_save_code(code, TINY_CODE_SIZE);
    config = good_efi(files);
    assert_fault(config, "boot.variableStore", "VARS.fd");
    tiny_save_variables(variables, TINY_VARIABLES_SIZE, 0);
    config = good_efi(files);
    g_autofree char *faults = faults_of(config);
    assert_string_equal(faults, "");
    config->boot.create_variable_store = false;
    assert_fault(config, "boot.variableStore", "add create");
    config = good_efi(files);
    g_clear_pointer(&config->boot.variable_store, g_free);
    assert_fault(config, "boot.variableStore", "no variable store is given");
    config = good_efi(files);
    g_free(config->boot.firmware);
    config->boot.firmware = g_strdup(variables);
    assert_fault(config, "boot.firmware", "no code at its end");
    config = good_efi(files);
    config->memory = 32ull << 20;
    assert_fault(config, "memory", "64 MiB");
    /* What goes with a kernel, without one. */
    config = good_efi(files);
    config->boot.cmdline = g_strdup("quiet");
    assert_fault(config, "boot.kernel", "belong to a kernel");
    config = good_efi(files);
    config->boot.kernel = g_strdup(files->kernel);
    config->boot.cmdline = g_strdup("quiet");
    g_autofree char *none = faults_of(config);
    assert_string_equal(none, "");
    g_free(config->boot.cmdline);
    config->boot.cmdline = g_strnfill(256, 'a');
    assert_fault(config, "boot.cmdline", "at most 255");
}

/* One cpio archive with one file, as the kernel's gen_init_cpio would write it. */
static GString *cpio_archive(void)
{
    GString *archive = g_string_new(NULL);

    g_string_append_printf(archive,
                           "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x"
                           "init",
                           1, 0100755, 0, 0, 1, 0, 1000, 0, 0, 0, 0, 5, 0);
    g_string_append_len(archive, "\0\0", 2); /* the name's NUL, and up to a multiple of 4 */
    while (archive->len % 4)
        g_string_append_c(archive, 0);
    for (unsigned i = 0; i < 1000; i++)
        g_string_append_c(archive, (char)('a' + i * 7 % 26));
    g_string_append_printf(archive,
                           "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x"
                           "TRAILER!!!",
                           0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0);
    g_string_append_c(archive, 0);
    while (archive->len % 512)
        g_string_append_c(archive, 0);
    return archive;
}

/* By the packer's own program; NULL if that is not installed. */
static GString *packed(Files *files, const char *program, const GString *plain)
{
    g_autofree char *in = in_dir(files, "plain"), *command = NULL, *out = NULL;
    gsize size;

    tiny_write_file(in, plain->str, plain->len);
    command = g_strdup_printf("sh -c '%s < %s > %s.packed'", program, in, in);
    if (!g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL))
        return NULL;
    g_free(command);
    command = g_strconcat(in, ".packed", NULL);
    if (!g_file_get_contents(command, &out, &size, NULL) || size == 0)
        return NULL;
    return g_string_new_len(out, (gssize)size);
}

static void check_initrd(Files *files, const GString *data, gsize size, bool whole)
{
    VmcConfig *config = good(files);

    config->boot.initrd = in_dir(files, "initrd");
    tiny_write_file(config->boot.initrd, data->str, size);
    if (whole)
        assert_good(config);
    else
        assert_fault(config, "boot.initrd", "end is missing");
}

static void test_a_truncated_initrd_is_noticed(void **state)
{
    static const char *const packers[] = {"gzip -c", "zstd -c -q", "xz -c", "lz4 -l -c -q"};
    GString *plain = cpio_archive();
    unsigned tried = 0;

    check_initrd(*state, plain, plain->len, true);
    check_initrd(*state, plain, 700, false);
    check_initrd(*state, plain, 60, false);
    for (size_t i = 0; i < G_N_ELEMENTS(packers); i++) {
        GString *data = packed(*state, packers[i], plain), *both;

        if (!data)
            continue;
        tried++;
        check_initrd(*state, data, data->len, true);
        check_initrd(*state, data, data->len - 9, false);
        check_initrd(*state, data, data->len / 2, false);
        both = g_string_new_len(plain->str, (gssize)plain->len); /* microcode in front, as distributions do */
        g_string_append_len(both, data->str, (gssize)data->len);
        check_initrd(*state, both, both->len, true);
        check_initrd(*state, both, both->len - 20, false);
        g_string_free(both, TRUE);
        g_string_free(data, TRUE);
    }
    g_string_free(plain, TRUE);
    assert_true(tried >= 1); /* gzip is everywhere */
}

static void test_initrds_that_are_not_there(void **state)
{
    Files *files = *state;
    VmcConfig *config = good(files);

    config->boot.initrd = in_dir(files, "missing");
    assert_fault(config, "boot.initrd", "No such file");
    config = good(files);
    config->boot.initrd = in_dir(files, "empty");
    tiny_write_file(config->boot.initrd, "", 0);
    assert_fault(config, "boot.initrd", "empty");
    config = good(files);
    config->boot.initrd = g_strdup(files->dir);
    assert_fault(config, "boot.initrd", "directory");
}

static void test_disks(void **state)
{
    Files *files = *state;
    g_autofree char *missing = in_dir(files, "missing");
    VmcConfig *config = good(files);

    add_disk(config, missing, false);
    assert_fault(config, "devices[0].path", "missing");
    assert_false(g_file_test(missing, G_FILE_TEST_EXISTS));
    config = good(files);
    add_disk(config, files->dir, false);
    assert_fault(config, "devices[0].path", "directory");
    config = good(files);
    add_disk(config, NULL, false);
    assert_fault(config, "devices[0].path", "no disk");
    config = good(files);
    add_disk(config, files->disk, false)->block.id = g_strdup("123456789012345678901");
    assert_fault(config, "devices[0].deviceId", "at most 20");
}

static VmcDeviceConfig *add_nvme(VmcConfig *config, const char *path, const char *id)
{
    VmcDeviceConfig *device = add_disk(config, path, true);

    device->kind = VMC_DEVICE_NVME;
    device->block.id = g_strdup(id);
    return device;
}

static void test_nvme_disks(void **state)
{
    static const char *const bad[] = {"", " x", "x ", "\xc3\xa4", "a\tb"};
    static const unsigned queues[] = {1, 17, UINT32_MAX};
    Files *files = *state;
    VmcConfig *config = good(files);

    /* Twice the same disk, with serial numbers of its own; and one that is only virtio-blk's. */
    add_nvme(config, files->disk, "Serial 12345");
    add_nvme(config, files->disk, NULL);
    add_nvme(config, files->disk, "one")->kind = VMC_DEVICE_VIRTIO_BLOCK;
    add_nvme(config, files->disk, "one")->block.queues = 2;
    assert_good(config);
    config = good(files);
    add_nvme(config, files->disk, "one");
    add_nvme(config, files->disk, "one");
    assert_fault(config, "devices[1].deviceId", "already that of devices[0]");
    config = good(files);
    add_nvme(config, files->disk, NULL);
    add_nvme(config, files->disk, NULL);
    assert_fault(config, "devices[1].deviceId", "already that of devices[0]");
    config = good(files);
    add_nvme(config, files->disk, "123456789012345678901");
    assert_fault(config, "devices[0].deviceId", "at most 20");
    config = good(files);
    add_nvme(config, NULL, NULL);
    assert_fault(config, "devices[0].path", "no disk is given");
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        config = good(files);
        add_nvme(config, files->disk, bad[i]);
        assert_fault(config, "devices[0].deviceId", "no serial number");
    }
    for (size_t i = 0; i < G_N_ELEMENTS(queues); i++) {
        config = good(files);
        add_nvme(config, files->disk, NULL)->block.queues = queues[i];
        assert_fault(config, "devices[0].queues", "2 to 16");
    }
}

static void test_a_disk_that_another_machine_uses(void **state)
{
    Files *files = *state;
    VmcDisk *disk = vmc_disk_open_raw(files->disk, false, NULL);
    VmcConfig *config = good(files);

    assert_non_null(disk);
    add_disk(config, files->disk, false);
    assert_fault(config, "devices[0].path", "use");
    vmc_disk_close(disk);
    config = good(files);
    add_disk(config, files->disk, false);
    assert_good(config);
}

static void test_the_same_disk_twice(void **state)
{
    Files *files = *state;
    g_autofree char *link = in_dir(files, "link");
    VmcConfig *config = good(files);

    assert_int_equal(symlink(files->disk, link), 0);
    add_disk(config, files->disk, false);
    add_disk(config, link, true);
    assert_fault(config, "devices[1]", "devices[0]");
    config = good(files);
    add_disk(config, files->disk, true);
    add_disk(config, link, true);
    assert_good(config);
}

static void test_serial_lines(void **state)
{
    Files *files = *state;
    VmcConfig *config = good(files);
    VmcDeviceConfig *device = vmc_config_add_device(config, VMC_DEVICE_UART);

    assert_fault(config, "devices[0]", "nowhere");
    config = good(files);
    device = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_CONSOLE);
    device->serial.log_path = g_build_filename(files->dir, "no", "such", "log", NULL);
    assert_fault(config, "devices[0].logFilePath", "not there");
    config = good(files);
    vmc_config_add_device(config, VMC_DEVICE_UART)->serial.log_path = g_strdup(files->dir);
    assert_fault(config, "devices[0].logFilePath", "directory");
    config = good(files);
    vmc_config_add_device(config, VMC_DEVICE_UART)->serial.fd_in = 0;
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_CONSOLE)->serial.fd_in = 0;
    assert_fault(config, "devices[1]", "only one");
    config = good(files);
    vmc_config_add_device(config, VMC_DEVICE_UART)->serial.fd_out = 9999;
    assert_fault(config, "devices[0]", "not open");
    config = good(files);
    vmc_config_add_device(config, VMC_DEVICE_UART)->serial.log_path = in_dir(files, "log");
    assert_good(config);
    device = NULL;
    {
        g_autofree char *log = in_dir(files, "log");

        assert_false(g_file_test(log, G_FILE_TEST_EXISTS)); /* a validation creates nothing */
    }
}

static VmcDeviceConfig *add_port(VmcConfig *config, const char *name)
{
    VmcDeviceConfig *device = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_CONSOLE);

    device->serial.fd_out = 1;
    device->serial.name = g_strdup(name);
    return device;
}

static void test_serial_ports(void **state)
{
    Files *files = *state;
    VmcConfig *config = good(files);

    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_CONSOLE)->serial.socket_path = in_dir(files, "sock");
    for (unsigned i = 0; i < 29; i++)
        vmc_config_add_device(config, VMC_DEVICE_VIRTIO_CONSOLE)->serial.fd_out = 1;
    assert_good(config); /* they are one PCI device */
    config = good(files);
    for (unsigned i = 0; i < 31; i++)
        vmc_config_add_device(config, VMC_DEVICE_VIRTIO_CONSOLE)->serial.fd_out = 1;
    assert_fault(config, "devices", "at most 30");
    config = good(files);
    add_port(config, "one");
    add_port(config, "two");
    add_port(config, "one");
    assert_fault(config, "devices[2].name", "devices[0]");
    config = good(files);
    add_port(config, "a/b");
    assert_fault(config, "devices[0].name", "a/b");
    config = good(files);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_CONSOLE)->serial.socket_path = g_strdup(files->disk);
    assert_fault(config, "devices[0].socketPath", "not a socket");
    config = good(files);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_CONSOLE)->serial.socket_path = in_dir(files, "no/such");
    assert_fault(config, "devices[0].socketPath", "not there");
    config = good(files);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_CONSOLE)->serial.socket_path = g_strnfill(108, 'x');
    assert_fault(config, "devices[0].socketPath", "107");
    config = good(files);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_CONSOLE)->serial.socket_path = in_dir(files, "sock");
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_CONSOLE)->serial.socket_path = in_dir(files, "sock");
    assert_fault(config, "devices[1]", "devices[0]");
}

static VmcVsockConfig *add_vsock(VmcConfig *config, unsigned port, char *path, bool connect)
{
    VmcVsockConfig *vsock = &vmc_config_add_device(config, VMC_DEVICE_VIRTIO_VSOCK)->vsock;

    *vsock = (VmcVsockConfig){.port = port, .path = path, .connect = connect};
    return vsock;
}

static void test_vsock_ports(void **state)
{
    Files *files = *state;
    VmcConfig *config = good(files);

    for (unsigned i = 1; i < 60; i++)
        add_vsock(config, i, in_dir(files, "service"), false); /* many ports to one service */
    add_vsock(config, 1, in_dir(files, "door"), true);
    assert_good(config);
    config = good(files);
    add_vsock(config, 0, in_dir(files, "door"), true);
    assert_fault(config, "devices[0].port", "1 to 4294967294");
    config = good(files);
    add_vsock(config, 5, in_dir(files, "door"), true)->listen = true;
    assert_fault(config, "devices[0]", "one of the two");
    config = good(files);
    add_vsock(config, 5, in_dir(files, "one"), true);
    add_vsock(config, 5, in_dir(files, "two"), true);
    assert_fault(config, "devices[1].port", "devices[0]");
    config = good(files);
    add_vsock(config, 5, in_dir(files, "one"), true);
    add_vsock(config, 6, in_dir(files, "one"), true);
    assert_fault(config, "devices[1].socketURL", "devices[0]");
    config = good(files);
    add_vsock(config, 5, g_strdup(files->disk), true);
    assert_fault(config, "devices[0].socketURL", "not a socket");
    config = good(files);
    add_vsock(config, 5, NULL, false);
    assert_fault(config, "devices[0].socketURL", "nowhere");
}

static VmcShareConfig *add_share(VmcConfig *config, const char *path, const char *tag)
{
    VmcShareConfig *share = &vmc_config_add_device(config, VMC_DEVICE_VIRTIO_FS)->share;

    assert_int_equal(share->uid, 1000);
    assert_int_equal(share->gid, 1000);
    share->path = g_strdup(path);
    share->tag = g_strdup(tag);
    return share;
}

static void test_shared_folders(void **state)
{
    Files *files = *state;
    VmcConfig *config = good(files);
    char *folder = g_path_get_dirname(files->disk);

    add_share(config, folder, "one");
    add_share(config, folder, "a-tag-that-has-just-as-many-as-36-by"); /* the same folder twice is fine */
    assert_good(config);
    config = good(files);
    add_share(config, files->disk, "one");
    assert_fault(config, "devices[0].sharedDir", files->disk);
    config = good(files);
    add_share(config, "/no/such/folder", "one");
    assert_fault(config, "devices[0].sharedDir", "/no/such/folder");
    config = good(files);
    add_share(config, NULL, "one");
    assert_fault(config, "devices[0].sharedDir", "no folder");
    config = good(files);
    add_share(config, folder, NULL);
    assert_fault(config, "devices[0].mountTag", "no tag");
    config = good(files);
    add_share(config, folder, "a-tag-that-has-one-more-than-36-bytes");
    assert_fault(config, "devices[0].mountTag", "at most 36");
    config = good(files);
    add_share(config, folder, "one");
    add_share(config, folder, "one");
    assert_fault(config, "devices[1].mountTag", "devices[0]");
    config = good(files);
    add_share(config, folder, "one")->queues = 17;
    assert_fault(config, "devices[0].queues", "1 to 16");
    g_free(folder);
}

static void test_one_balloon(void **state)
{
    VmcConfig *config = good(*state);

    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BALLOON);
    assert_good(config);
    config = good(*state);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BALLOON);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BALLOON);
    assert_fault(config, "devices[1]", "devices[0]");
}

static void test_smc(void **state)
{
    Files *files = *state;
    g_autofree char *path = g_build_filename(g_get_tmp_dir(), "test-config-smc-key", NULL);
    g_autofree char *key = g_strnfill(64, 'k');
    VmcConfig *config = good(files);

    assert_true(g_file_set_contents(path, key, 64, NULL));
    vmc_config_add_device(config, VMC_DEVICE_APPLE_SMC)->smc.key_file = g_strdup(path);
    assert_good(config);
    config = good(files);
    vmc_config_add_device(config, VMC_DEVICE_APPLE_SMC)->smc.key_file = g_strdup(path);
    vmc_config_add_device(config, VMC_DEVICE_APPLE_SMC)->smc.key_file = g_strdup(path);
    assert_fault(config, "devices[1]", "devices[0]");
    assert_true(g_file_set_contents(path, key, 60, NULL));
    config = good(files);
    vmc_config_add_device(config, VMC_DEVICE_APPLE_SMC)->smc.key_file = g_strdup(path);
    assert_fault(config, "devices[0].keyFile", "exactly 64");
    g_remove(path);
    if (g_file_test("/sys/devices/platform/applesmc.768", G_FILE_TEST_EXISTS))
        return;
    config = good(files);
    vmc_config_add_device(config, VMC_DEVICE_APPLE_SMC);
    assert_fault(config, "devices[0].keyFile", "no SMC");
}

static void test_displays(void **state)
{
    static const unsigned bad[][2] = {{0, 800}, {100, 800}, {1280, 100000}, {1280, 199}, {UINT32_MAX, 200}};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        VmcConfig *config = good(*state);
        VmcDeviceConfig *device = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_GPU);

        device->display.width = bad[i][0];
        device->display.height = bad[i][1];
        assert_fault(config, bad[i][0] == 1280 ? "devices[0].height" : "devices[0].width", "to 8192");
    }
}

static void test_too_many_devices(void **state)
{
    VmcConfig *config = good(*state);

    for (unsigned i = 0; i < 28; i++)
        vmc_config_add_device(config, VMC_DEVICE_VIRTIO_RNG);
    assert_fault(config, "devices", "at most 27");
    config = good(*state);
    for (unsigned i = 0; i < 5; i++)
        vmc_config_add_device(config, VMC_DEVICE_UART)->serial.fd_out = 1;
    assert_fault(config, "devices", "at most 4");
}

static VmcConfig *four_in_slots(Files *files, unsigned rng, unsigned balloon, unsigned usb)
{
    VmcConfig *config = good(files);

    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_RNG)->pci_slot = rng;
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BALLOON)->pci_slot = balloon;
    vmc_config_add_device(config, VMC_DEVICE_USB_KEYBOARD)->pci_slot = usb;
    vmc_config_add_device(config, VMC_DEVICE_USB_TABLET)->pci_slot = usb;
    return config;
}

static void test_pci_slots(void **state)
{
    assert_good(four_in_slots(*state, 0, 0, 0));
    assert_good(four_in_slots(*state, 3, 1, VMC_PCI_SLOT_MAX));
    assert_good(four_in_slots(*state, 0, 1, 0));
    assert_fault(four_in_slots(*state, 0, VMC_PCI_SLOT_MAX + 1, 0), "devices[1].pciSlot", "no PCI slot");
    assert_fault(four_in_slots(*state, 4, 4, 5), "devices[1].pciSlot", "devices[0] has slot 4 already");

    /* Both sit on one controller. */
    VmcConfig *config = four_in_slots(*state, 0, 0, 6);
    ((VmcDeviceConfig *)config->devices->pdata[3])->pci_slot = 7;
    assert_fault(config, "devices[3].pciSlot", "which has slot 6");
}

static void test_slots_that_were_given_are_taken_over(void **state)
{
    VmcConfig *config = four_in_slots(*state, 0, 0, 0), *running = vmc_config_copy(config);

    for (guint i = 0; i < running->devices->len; i++)
        ((VmcDeviceConfig *)running->devices->pdata[i])->pci_slot = 5 + MIN(i, 2);
    assert_true(vmc_config_take_pci_slots(config, running));
    assert_int_equal(((VmcDeviceConfig *)config->devices->pdata[1])->pci_slot, 6);
    assert_int_equal(((VmcDeviceConfig *)config->devices->pdata[3])->pci_slot, 7);
    assert_false(vmc_config_take_pci_slots(config, running));
    vmc_config_free(running);
    assert_good(config);
}

static void test_all_faults_come_at_once(void **state)
{
    VmcConfig *config = good(*state);
    g_autofree char *text = NULL;

    config->cpus = 0;
    config->memory = 1;
    g_free(config->boot.kernel);
    config->boot.kernel = g_strdup("/no/kernel");
    config->boot.initrd = g_strdup("/no/initrd");
    add_disk(config, "/no/disk", false);
    text = faults_of(config);
    vmc_config_free(config);
    assert_int_equal(lines(text), 5);
    assert_non_null(strstr(text, "cpus: "));
    assert_non_null(strstr(text, "\nmemory: "));
    assert_non_null(strstr(text, "\nboot.kernel: "));
    assert_non_null(strstr(text, "\nboot.initrd: "));
    assert_non_null(strstr(text, "\ndevices[0].path: "));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_good_one_has_no_faults),
        TEST(test_a_copy_has_everything),
        TEST(test_cpus),
        TEST(test_how_the_software_cpu_works),
        TEST(test_memory),
        TEST(test_kernels_that_are_none),
        TEST(test_no_kernel_and_too_long_a_command_line),
        TEST(test_firmware_and_its_store),
        TEST(test_a_truncated_initrd_is_noticed),
        TEST(test_initrds_that_are_not_there),
        TEST(test_disks),
        TEST(test_nvme_disks),
        TEST(test_a_disk_that_another_machine_uses),
        TEST(test_the_same_disk_twice),
        TEST(test_serial_lines),
        TEST(test_serial_ports),
        TEST(test_vsock_ports),
        TEST(test_shared_folders),
        TEST(test_one_balloon),
        TEST(test_smc),
        TEST(test_displays),
        TEST(test_too_many_devices),
        TEST(test_pci_slots),
        TEST(test_slots_that_were_given_are_taken_over),
        TEST(test_all_faults_come_at_once),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
