/* vfkit's words on a command line: what they make, and the sentence for what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "app/vfkit.h"

static void take(EspVfkit *vfkit, const char *name, const char *value)
{
    GError *error = NULL;

    if (!esp_vfkit_option(vfkit, name, value, &error))
        fail_msg("--%s %s: %s", name, value, error->message);
}

static const VmcDeviceConfig *only_device(EspVfkit *vfkit)
{
    assert_int_equal(vfkit->config->devices->len, 1);
    return g_ptr_array_index(vfkit->config->devices, 0);
}

static void test_numbers_and_kinds(void **state)
{
    EspVfkit vfkit;

    esp_vfkit_init(&vfkit);
    assert_int_equal(vfkit.config->cpus, 1);
    assert_int_equal(vfkit.config->memory, 512ull << 20);
    take(&vfkit, "cpus", "4");
    take(&vfkit, "memory", "1000");
    take(&vfkit, "cpu", "soft");
    assert_int_equal(vfkit.config->cpus, 4);
    assert_int_equal(vfkit.config->memory, 1000ull << 20);
    assert_int_equal(vfkit.config->cpu, VMC_CPU_SOFT);
    esp_vfkit_clear(&vfkit);
}

static void test_kinds_of_cpus(void **state)
{
    static const struct {
        const char *text;
        VmcCpuKind kind;
        VmcSoftCpuConfig soft;
    } cpus[] = {
        {"auto", VMC_CPU_AUTO, {.code_cache = 0}},
        {"kvm", VMC_CPU_KVM, {.code_cache = 0}},
        {"soft:interpreter", VMC_CPU_SOFT, {.engine = VMC_ENGINE_INTERPRETER}},
        {"soft:translator", VMC_CPU_SOFT, {.engine = VMC_ENGINE_TRANSLATOR}},
        {"soft:translator,lockstep,code-cache=128M", VMC_CPU_SOFT, {VMC_ENGINE_TRANSLATOR, true, 128}},
        {"soft,code-cache=8", VMC_CPU_SOFT, {.code_cache = 8}},
        {"soft,code-cache=1024M", VMC_CPU_SOFT, {.code_cache = 1024}},
        {"soft", VMC_CPU_SOFT, {.code_cache = 0}}, /* the last word counts, and all of it */
    };
    EspVfkit vfkit;

    esp_vfkit_init(&vfkit);
    for (size_t i = 0; i < G_N_ELEMENTS(cpus); i++) {
        take(&vfkit, "cpu", cpus[i].text);
        if (vfkit.config->cpu != cpus[i].kind || vfkit.config->soft.engine != cpus[i].soft.engine ||
            vfkit.config->soft.lockstep != cpus[i].soft.lockstep ||
            vfkit.config->soft.code_cache != cpus[i].soft.code_cache)
            fail_msg("--cpu %s: kind %d, engine %d, lockstep %d, code cache %u", cpus[i].text,
                     (int)vfkit.config->cpu, (int)vfkit.config->soft.engine, vfkit.config->soft.lockstep,
                     vfkit.config->soft.code_cache);
    }
    esp_vfkit_clear(&vfkit);
}

static void test_every_device(void **state)
{
    static const struct {
        const char *text;
        VmcDeviceKind kind;
    } devices[] = {
        {"virtio-rng", VMC_DEVICE_VIRTIO_RNG},
        {"virtio-input,keyboard", VMC_DEVICE_VIRTIO_KEYBOARD},
        {"virtio-input,pointing", VMC_DEVICE_VIRTIO_TABLET},
        {"virtio-serial,stdio", VMC_DEVICE_VIRTIO_CONSOLE},
        {"uart,stdio", VMC_DEVICE_UART},
        {"virtio-gpu", VMC_DEVICE_VIRTIO_GPU},
        {"virtio-blk,path=x", VMC_DEVICE_VIRTIO_BLOCK},
        {"apple-smc", VMC_DEVICE_APPLE_SMC},
        {"apple-smc,keyFile=x", VMC_DEVICE_APPLE_SMC},
        {"nvme,path=x", VMC_DEVICE_NVME},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(devices); i++) {
        EspVfkit vfkit;
        g_autofree char *name = NULL;

        esp_vfkit_init(&vfkit);
        take(&vfkit, "device", devices[i].text);
        assert_int_equal(only_device(&vfkit)->kind, devices[i].kind);
        name = esp_vfkit_field(vfkit.config, "devices[0].path");
        assert_true(g_str_has_prefix(name, "--device "));
        assert_int_equal(strncmp(name + 9, devices[i].text, strcspn(devices[i].text, ",")), 0);
        esp_vfkit_clear(&vfkit);
    }
}

static void test_options_of_devices(void **state)
{
    EspVfkit vfkit;
    const VmcDeviceConfig *device;

    esp_vfkit_init(&vfkit);
    take(&vfkit, "device", "virtio-blk,path=/a=b,deviceId=root,readonly");
    device = only_device(&vfkit);
    assert_string_equal(device->block.path, "/a=b");
    assert_string_equal(device->block.id, "root");
    assert_true(device->block.readonly);
    esp_vfkit_clear(&vfkit);

    esp_vfkit_init(&vfkit);
    take(&vfkit, "device", "virtio-gpu,height=600,width=800");
    device = only_device(&vfkit);
    assert_int_equal(device->display.width, 800);
    assert_int_equal(device->display.height, 600);
    esp_vfkit_clear(&vfkit);

    esp_vfkit_init(&vfkit);
    take(&vfkit, "device", "uart,logFilePath=/tmp/a log");
    device = only_device(&vfkit);
    assert_string_equal(device->serial.log_path, "/tmp/a log");
    assert_int_equal(device->serial.fd_out, -1);
    assert_false(vfkit.stdio_used);
    take(&vfkit, "device", "virtio-serial,stdio");
    device = g_ptr_array_index(vfkit.config->devices, 1);
    assert_int_equal(device->serial.fd_in, 0);
    assert_int_equal(device->serial.fd_out, 1);
    assert_true(vfkit.stdio_used);
    esp_vfkit_clear(&vfkit);

    esp_vfkit_init(&vfkit);
    take(&vfkit, "device", "virtio-vsock,port=5,socketURL=unix:/tmp/five,connect");
    device = only_device(&vfkit);
    assert_int_equal(device->vsock.port, 5);
    assert_string_equal(device->vsock.path, "/tmp/five");
    assert_true(device->vsock.connect);
    take(&vfkit, "device", "virtio-vsock,port=4294967294,socketURL=/tmp/unix:");
    device = g_ptr_array_index(vfkit.config->devices, 1);
    assert_int_equal(device->vsock.port, 4294967294u);
    assert_string_equal(device->vsock.path, "/tmp/unix:");
    assert_false(device->vsock.connect || device->vsock.listen);
    take(&vfkit, "device", "virtio-serial,socketPath=/tmp/port,name=org.example");
    device = g_ptr_array_index(vfkit.config->devices, 2);
    assert_string_equal(device->serial.socket_path, "/tmp/port");
    assert_string_equal(device->serial.name, "org.example");
    esp_vfkit_clear(&vfkit);
}

static void test_quotes_and_commas(void **state)
{
    static const struct {
        const char *text, *cmdline, *initrd;
    } loaders[] = {
        {"linux,kernel=K,cmdline=\"console=ttyS0,115200 quiet\"", "console=ttyS0,115200 quiet", NULL},
        {"linux,kernel=K,cmdline='console=ttyS0,115200',initrd=I", "console=ttyS0,115200", "I"},
        {"linux,\"cmdline=console=ttyS0,115200\",kernel=K", "console=ttyS0,115200", NULL},
        {"linux,kernel=K,cmdline=\"a=\\\"b,c\\\" d\\\\e\",initrd=I", "a=\"b,c\" d\\e", "I"},
        /* The shell has taken the quotes away. */
        {"linux,kernel=K,cmdline=console=ttyS0,115200 root=/dev/vda", "console=ttyS0,115200 root=/dev/vda",
         NULL},
        {"linux,kernel=K,cmdline=console=ttyS0,115200,initrd=I", "console=ttyS0,115200", "I"},
        {"linux,kernel=K,cmdline=dyndbg=\"file a +p\" b,initrd=I", "dyndbg=\"file a +p\" b", "I"},
        {"linux,kernel='K',initrd=\"I\"", NULL, "I"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(loaders); i++) {
        EspVfkit vfkit;

        esp_vfkit_init(&vfkit);
        take(&vfkit, "bootloader", loaders[i].text);
        assert_int_equal(vfkit.config->boot.kind, VMC_BOOT_LINUX);
        assert_string_equal(vfkit.config->boot.kernel, "K");
        if (g_strcmp0(vfkit.config->boot.cmdline, loaders[i].cmdline) != 0)
            fail_msg("%s: the command line is “%s”", loaders[i].text, vfkit.config->boot.cmdline);
        if (g_strcmp0(vfkit.config->boot.initrd, loaders[i].initrd) != 0)
            fail_msg("%s: the initrd is “%s”", loaders[i].text, vfkit.config->boot.initrd);
        esp_vfkit_clear(&vfkit);
    }
}

static void test_efi(void **state)
{
    static const struct {
        const char *text;
        VmcBootConfig boot;
    } loaders[] = {
        {"efi,variable-store=V", {.variable_store = (char *)"V"}},
        {"efi,create,variable-store=/a=b", {.variable_store = (char *)"/a=b", .create_variable_store = true}},
        {"efi,variable-store=\"V,create\"", {.variable_store = (char *)"V,create"}},
        {"efi,variable-store=V,create,firmware=F",
         {.variable_store = (char *)"V", .create_variable_store = true, .firmware = (char *)"F"}},
        {"efi,variable-store=V,kernel=K,initrd=I,cmdline=console=ttyS0,115200 quiet",
         {.variable_store = (char *)"V",
          .kernel = (char *)"K",
          .initrd = (char *)"I",
          .cmdline = (char *)"console=ttyS0,115200 quiet"}},
        {"efi,variable-store=V,kernel=K,cmdline=console=ttyS0,115200,create",
         {.variable_store = (char *)"V",
          .create_variable_store = true,
          .kernel = (char *)"K",
          .cmdline = (char *)"console=ttyS0,115200"}},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(loaders); i++) {
        const VmcBootConfig *wanted = &loaders[i].boot;
        EspVfkit vfkit;
        g_autofree char *field = NULL;

        esp_vfkit_init(&vfkit);
        take(&vfkit, "bootloader", loaders[i].text);
        const VmcBootConfig *boot = &vfkit.config->boot;
        assert_int_equal(boot->kind, VMC_BOOT_EFI);
        if (g_strcmp0(boot->variable_store, wanted->variable_store) ||
            g_strcmp0(boot->firmware, wanted->firmware) || g_strcmp0(boot->kernel, wanted->kernel) ||
            g_strcmp0(boot->initrd, wanted->initrd) || g_strcmp0(boot->cmdline, wanted->cmdline) ||
            boot->create_variable_store != wanted->create_variable_store)
            fail_msg(
                "%s: variable store “%s”, create %d, firmware “%s”, kernel “%s”, initrd “%s”, cmdline “%s”",
                loaders[i].text, boot->variable_store, boot->create_variable_store, boot->firmware,
                boot->kernel, boot->initrd, boot->cmdline);
        field = esp_vfkit_field(vfkit.config, "boot.variableStore");
        assert_string_equal(field, "--bootloader");
        esp_vfkit_clear(&vfkit);
    }
}

static void test_what_is_wrong_is_said(void **state)
{
    static const struct {
        const char *option, *value, *word;
    } wrong[] = {
        {"cpus", "two", "whole number, not “two”"},
        {"cpus", "-1", "whole number, not “-1”"},
        {"cpus", "", "whole number"},
        {"cpus", "99999999999999999999999", "smaller"},
        {"memory", "1G", "not “1G”"},
        {"memory", "99999999999999999", "smaller"},
        {"cpu", "tcg", "auto, kvm or soft"},
        {"cpu", "", "auto, kvm or soft"},
        {"cpu", "softer", "auto, kvm or soft"},
        {"cpu", ":interpreter", "auto, kvm or soft"},
        {"cpu", "soft:", "no engine “”; give interpreter or translator"},
        {"cpu", "soft:jit,lockstep", "no engine “jit”; give interpreter or translator"},
        {"cpu", "soft:translator=1", "no engine “translator=1”"},
        {"cpu", "soft:interpreter:translator", "interpreter or translator"},
        {"cpu", "kvm:translator", "only the software CPU has engines; leave “:translator” out"},
        {"cpu", "auto,lockstep", "no option “lockstep”; it takes no options"},
        {"cpu", "soft,turbo", "no option “turbo”; it takes lockstep, code-cache="},
        {"cpu", "soft,lockstep=1", "lockstep takes no value"},
        {"cpu", "soft,lockstep,lockstep", "twice"},
        {"cpu", "soft,", "empty item"},
        {"cpu", "soft,code-cache", "code-cache needs a value"},
        {"cpu", "soft,code-cache=", "code-cache needs a value"},
        {"cpu", "soft,code-cache=0", "“0”; give 8M to 1024M"},
        {"cpu", "soft,code-cache=7M", "8M to 1024M"},
        {"cpu", "soft,code-cache=1025M", "8M to 1024M"},
        {"cpu", "soft,code-cache=1G", "“1G”; give 8M to 1024M"},
        {"cpu", "soft,code-cache=-64M", "8M to 1024M"},
        {"cpu", "soft,code-cache=64MM", "8M to 1024M"},
        {"cpu", "soft,code-cache=M", "8M to 1024M"},
        {"cpu", "soft,code-cache=99999999999999999999999M", "8M to 1024M"},
        {"bootloader", "bios,firmware=x", "there is no “bios” here; give one of linux, efi"},
        {"bootloader", "efi", "there is no variable store; add variable-store=FILE"},
        {"bootloader", "efi,create", "there is no variable store; add variable-store=FILE"},
        {"bootloader", "efi=x,variable-store=x", "there is no “efi”"},
        {"bootloader", "efi,variable-store=", "variable-store needs a value"},
        {"bootloader", "efi,variable-store", "variable-store needs a value"},
        {"bootloader", "efi,variable-store=x,create=yes", "create takes no value; leave “=yes” out"},
        {"bootloader", "efi,variable-store=x,create,create", "create is given twice"},
        {"bootloader", "efi,variable-store=x,firmware", "firmware needs a value"},
        {"bootloader", "efi,variable-store=x,vars=y",
         "no option “vars”; it takes variable-store=, create, firmware=, kernel=, initrd=, cmdline="},
        {"bootloader", "linux,kernel=x,create", "no option “create”"},
        {"bootloader", "linux", "kernel=FILE"},
        {"bootloader", "linux,kernel=", "kernel needs a value"},
        {"bootloader", "linux,kernel", "kernel needs a value"},
        {"bootloader", "linux,kernel=a,kernel=b", "twice"},
        {"bootloader", "linux,kernel=a,frob=b", "no option “frob”; it takes kernel=, initrd=, cmdline="},
        {"bootloader", "linux,kernel=\"a", "closing quote"},
        {"bootloader", "linux,cmdline=\"a\"b", "right behind"},
        {"bootloader", "linux,kernel=a,", "empty item"},
        {"bootloader", "", "empty item"},
        {"device", "virtio-frob", "no “virtio-frob” here; give one of uart, virtio-serial, virtio-blk, "},
        {"device", "virtio-rng=1", "no “virtio-rng”"},
        {"device", "virtio-rng,fast", "no option “fast”; it takes no options"},
        {"device", "virtio-blk", "path=FILE"},
        {"device", "virtio-blk,path=a,readonly=1", "readonly takes no value"},
        {"device", "virtio-blk,path=a,path=b", "twice"},
        {"device", "virtio-serial", "one of stdio, logFilePath=FILE or socketPath=SOCKET"},
        {"device", "uart,stdio,logFilePath=x", "either stdio or logFilePath"},
        {"device", "virtio-input", "either keyboard or pointing"},
        {"device", "virtio-input,keyboard,pointing", "either keyboard or pointing"},
        {"device", "virtio-gpu,width=many", "width takes a whole number"},
        {"cpu-model", "486", "no model “486”"},
        {"frob", "1", "no option --frob"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        GError *error = NULL;
        EspVfkit vfkit;

        esp_vfkit_init(&vfkit);
        if (esp_vfkit_option(&vfkit, wrong[i].option, wrong[i].value, &error))
            fail_msg("--%s %s was taken", wrong[i].option, wrong[i].value);
        assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_CONFIG));
        if (!strstr(error->message, wrong[i].word) || strchr(error->message, '\n'))
            fail_msg("--%s %s: “%s” does not say “%s”", wrong[i].option, wrong[i].value, error->message,
                     wrong[i].word);
        assert_int_equal(vfkit.config->devices->len, 0);
        assert_int_equal(vfkit.config->cpu, VMC_CPU_AUTO);
        assert_false(vfkit.config->soft.lockstep);
        g_error_free(error);
        esp_vfkit_clear(&vfkit);
    }
}

static void test_things_there_can_be_only_one_of(void **state)
{
    GError *error = NULL;
    EspVfkit vfkit;

    esp_vfkit_init(&vfkit);
    take(&vfkit, "device", "uart,stdio");
    assert_false(esp_vfkit_option(&vfkit, "device", "virtio-serial,stdio", &error));
    assert_non_null(strstr(error->message, "already"));
    g_clear_error(&error);
    take(&vfkit, "bootloader", "linux,kernel=a");
    assert_false(esp_vfkit_option(&vfkit, "bootloader", "linux,kernel=b", &error));
    assert_non_null(strstr(error->message, "twice"));
    g_clear_error(&error);
    assert_false(esp_vfkit_option(&vfkit, "bootloader", "efi,variable-store=x", &error));
    assert_non_null(strstr(error->message, "twice"));
    assert_int_equal(vfkit.config->boot.kind, VMC_BOOT_LINUX);
    g_clear_error(&error);
    esp_vfkit_clear(&vfkit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_and_kinds),     cmocka_unit_test(test_kinds_of_cpus),
        cmocka_unit_test(test_every_device),          cmocka_unit_test(test_options_of_devices),
        cmocka_unit_test(test_quotes_and_commas),     cmocka_unit_test(test_efi),
        cmocka_unit_test(test_what_is_wrong_is_said), cmocka_unit_test(test_things_there_can_be_only_one_of),
    };

    return cmocka_run_group_tests_name("vfkit", tests, NULL, NULL);
}
