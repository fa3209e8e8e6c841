/* Boots Linux with a disk and a console on this terminal: boot_linux KERNEL INITRD DISK */
#include <stdio.h>
#include <unistd.h>
#include <vmcore/vmcore.h>

static void on_stopped(VmcMachine *machine, int reason, gpointer loop)
{
    if (reason == VMC_STOP_ERROR)
        fprintf(stderr, "boot_linux: %s\n", vmc_machine_get_error(machine)->message);
    g_main_loop_quit(loop);
}

int main(int argc, char **argv)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_autoptr(GError) error = NULL;
    VmcDeviceConfig *serial, *disk;
    VmcMachine *machine;
    VmcConfig *config;
    bool ok;

    if (argc != 4) {
        fprintf(stderr, "Usage: boot_linux KERNEL INITRD DISK\n");
        return 2;
    }
    config = vmc_config_new();
    config->cpus = 2;
    config->boot.kind = VMC_BOOT_LINUX;
    config->boot.kernel = g_strdup(argv[1]);
    config->boot.initrd = g_strdup(argv[2]);
    config->boot.cmdline = g_strdup("console=ttyS0");
    serial = vmc_config_add_device(config, VMC_DEVICE_UART);
    serial->serial.fd_in = STDIN_FILENO;
    serial->serial.fd_out = STDOUT_FILENO;
    disk = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BLOCK);
    disk->block.path = g_strdup(argv[3]);

    machine = vmc_machine_new(config, &error);
    vmc_config_free(config);
    ok = machine && g_signal_connect(machine, "stopped", G_CALLBACK(on_stopped), loop) &&
         vmc_machine_start(machine, &error);
    if (ok)
        g_main_loop_run(loop);
    else
        fprintf(stderr, "boot_linux: %s\n", error->message);
    ok = ok && vmc_machine_get_state(machine) == VMC_MACHINE_STOPPED;
    g_clear_object(&machine);
    return ok ? 0 : 1;
}
