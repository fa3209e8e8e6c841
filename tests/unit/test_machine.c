/*
 * Machines that run kernels of a few instructions: states and signals, resets, crashes, pauses, displays; two
 * at once; fifty that leave nothing behind. All of it on the software CPU and, where there is one, on KVM.
 */
#include <dirent.h>
#include <stdio.h>
#include <signal.h>

#include "machine/private.h"
#include "tests/unit/tiny_kernel.h"
#include "vmcore/vmcore.h"

#define SECONDS_MAX 20

static VmcCpuKind cpu_kind = VMC_CPU_SOFT;

/* What happened to one machine. */
typedef struct Watch {
    VmcMachine *machine;
    GString *states;
    unsigned resets, stops;
    int reason;
    GString *log;
    bool timed_out;
} Watch;

typedef struct Rig {
    char *dir;
    char *serial;
    Watch watch;
} Rig;

/* As they are before the first machine; cmocka has put its own in by then. */
static struct sigaction handlers_at_first[NSIG];

static int set_up(void **state)
{
    static bool again;
    Rig *rig = g_new0(Rig, 1);

    for (int i = 1; i < NSIG && !again; i++)
        sigaction(i, NULL, &handlers_at_first[i]);
    again = true;
    rig->dir = tiny_dir();
    rig->serial = g_build_filename(rig->dir, "serial", NULL);
    rig->watch.states = g_string_new(NULL);
    rig->watch.log = g_string_new(NULL);
    rig->watch.reason = -1;
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    Rig *rig = *state;

    g_clear_object(&rig->watch.machine);
    g_string_free(rig->watch.states, TRUE);
    g_string_free(rig->watch.log, TRUE);
    g_free(rig->serial);
    tiny_dir_remove(rig->dir);
    g_free(rig);
    return 0;
}

static void on_state(VmcMachine *machine, int state, gpointer data)
{
    Watch *watch = data;

    assert_int_equal(vmc_machine_get_state(machine), state);
    g_string_append_printf(watch->states, "%s%s", watch->states->len ? " " : "",
                           vmc_machine_state_name((VmcMachineState)state));
}

static void on_stopped(VmcMachine *machine, int reason, gpointer data)
{
    Watch *watch = data;

    watch->stops++;
    watch->reason = reason;
}

static void on_log(VmcMachine *machine, const char *line, gpointer data)
{
    g_string_append_printf(((Watch *)data)->log, "%s\n", line);
}

static void on_reset(VmcMachine *machine, gpointer data)
{
    ((Watch *)data)->resets++;
}

static void watch_machine(Watch *watch, VmcMachine *machine)
{
    watch->machine = machine;
    g_signal_connect(machine, "state-changed", G_CALLBACK(on_state), watch);
    g_signal_connect(machine, "stopped", G_CALLBACK(on_stopped), watch);
    g_signal_connect(machine, "log", G_CALLBACK(on_log), watch);
    g_signal_connect(machine, "guest-reset", G_CALLBACK(on_reset), watch);
}

/* A machine with this kernel whose COM1 is the file rig->serial. */
static VmcConfig *config_for(Rig *rig, const TinyCode *code)
{
    VmcConfig *config = vmc_config_new();

    config->memory = 16ull << 20;
    config->cpu = cpu_kind;
    config->boot.kind = VMC_BOOT_LINUX;
    config->boot.kernel = tiny_kernel(rig->dir, "kernel", code);
    vmc_config_add_device(config, VMC_DEVICE_UART)->serial.log_path = g_strdup(rig->serial);
    return config;
}

static VmcMachine *machine_for(const VmcConfig *config)
{
    GError *error = NULL;
    VmcMachine *machine = vmc_machine_new(config, &error);

    if (!machine)
        fail_msg("%s", error->message);
    return machine;
}

static void start(VmcMachine *machine)
{
    GError *error = NULL;

    if (!vmc_machine_start(machine, &error))
        fail_msg("%s", error->message);
}

/* Made, watched and started. */
static VmcMachine *run_code(Rig *rig, const TinyCode *code)
{
    VmcConfig *config = config_for(rig, code);
    VmcMachine *machine = machine_for(config);

    vmc_config_free(config);
    watch_machine(&rig->watch, machine);
    start(machine);
    return machine;
}

static gboolean on_timeout(gpointer data)
{
    *(bool *)data = true;
    return G_SOURCE_CONTINUE;
}

/* Runs the main loop until *value >= n. */
static void iterate_until(const unsigned *value, unsigned n)
{
    bool timed_out = false;
    guint source = g_timeout_add_seconds(SECONDS_MAX, on_timeout, &timed_out);

    while (*value < n && !timed_out)
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(source);
    if (timed_out)
        fail_msg("waited %d seconds in vain", SECONDS_MAX);
}

static void iterate_for(unsigned ms)
{
    gint64 end = g_get_monotonic_time() + ms * 1000;

    while (g_get_monotonic_time() < end) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(1000);
    }
}

static void assert_serial(Rig *rig, const char *expected)
{
    g_autofree char *text = NULL;

    assert_true(g_file_get_contents(rig->serial, &text, NULL, NULL));
    assert_string_equal(text, expected);
}

static uint64_t guest_count(VmcMachine *machine)
{
    return *(volatile uint64_t *)vmc_memory_host(machine->guest->memory, 0x60000, 8);
}

/* Until the counting guest has begun. */
static void wait_for_count(VmcMachine *machine)
{
    for (unsigned i = 0; i < SECONDS_MAX * 1000 && guest_count(machine) == 0; i++)
        g_usleep(1000);
    assert_true(guest_count(machine) > 0);
}

static void test_a_guest_speaks_and_powers_off(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    VmcMachine *machine;

    tiny_print(&code, "hello\n");
    tiny_power_off(&code);
    machine = run_code(rig, &code);
    assert_string_equal(vmc_machine_get_cpu_backend(machine), cpu_kind == VMC_CPU_KVM ? "kvm" : "soft");
    assert_non_null(vmc_machine_get_cpu_reason(machine));
    iterate_until(&rig->watch.stops, 1);
    assert_int_equal(rig->watch.reason, VMC_STOP_GUEST_POWER_OFF);
    assert_string_equal(rig->watch.states->str, "starting running stopping stopped");
    assert_serial(rig, "hello\n");
    assert_null(vmc_machine_get_error(machine));
    assert_true(vmc_machine_get_start_latency_ns(machine) > 0);
    print_message("the first instruction ran %.1f ms after the start\n",
                  (double)vmc_machine_get_start_latency_ns(machine) / 1e6);
}

static void test_it_can_be_started_again(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    VmcMachine *machine;

    tiny_print(&code, "x");
    tiny_power_off(&code);
    machine = run_code(rig, &code);
    iterate_until(&rig->watch.stops, 1);
    start(machine);
    iterate_until(&rig->watch.stops, 2);
    assert_serial(rig, "xx"); /* appended */
}

static void assert_figures(VmcMachine *machine, unsigned cpus)
{
    unsigned n = 99;
    const VmcCpuStats *stats = vmc_machine_get_cpu_stats(machine, &n);

    assert_int_equal(n, cpus);
    if (cpus == 0) {
        assert_null(stats);
        return;
    }
    if (cpu_kind == VMC_CPU_KVM) {
        assert_true(stats[0].kernel_entries > 0 && stats[0].port_exits > 0);
        return;
    }
    assert_true(stats[0].blocks_decoded > 0 && stats[0].exits > 0 && stats[0].requests > 0);
    assert_true(stats[0].lookup_misses <= stats[0].lookups);
    for (unsigned i = 1; i < n; i++) /* nobody wakes them */
        assert_int_equal(stats[i].blocks_decoded, 0);
}

static void test_figures_of_the_cpus_are_those_of_the_last_run(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    VmcMachine *machine;
    VmcConfig *config;
    unsigned n;

    tiny_print(&code, "y");
    tiny_power_off(&code);
    config = config_for(rig, &code);
    config->cpus = 2;
    config->soft.engine = VMC_ENGINE_INTERPRETER;
    machine = machine_for(config);
    vmc_config_free(config);
    assert_null(vmc_machine_get_cpu_stats(machine, &n));
    assert_int_equal(n, 0);
    assert_null(vmc_machine_get_cpu_engine(machine));
    watch_machine(&rig->watch, machine);
    for (unsigned run = 1; run <= 2; run++) {
        start(machine);
        assert_null(vmc_machine_get_cpu_stats(machine, &n)); /* it runs */
        if (cpu_kind == VMC_CPU_SOFT)
            assert_string_equal(vmc_machine_get_cpu_engine(machine), "interpreter");
        else
            assert_null(vmc_machine_get_cpu_engine(machine));
        iterate_until(&rig->watch.stops, run);
        assert_figures(machine, 2);
    }
}

static void test_a_reset_by_the_guest_goes_on_by_itself(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    tiny_print(&code, "b");
    tiny_unless_boots(&code, 3, 10); /* skips the reset, of ten bytes */
    tiny_reset(&code);
    tiny_power_off(&code);
    run_code(rig, &code);
    iterate_until(&rig->watch.stops, 1);
    assert_int_equal(rig->watch.reason, VMC_STOP_GUEST_POWER_OFF);
    assert_int_equal(rig->watch.resets, 2);
    assert_serial(rig, "bbb");
    assert_string_equal(rig->watch.states->str, "starting running stopping stopped");
}

static void test_a_reset_with_more_cpus(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    VmcConfig *config;

    tiny_unless_boots(&code, 5, 10);
    tiny_reset(&code);
    tiny_power_off(&code);
    config = config_for(rig, &code);
    config->cpus = 4;
    watch_machine(&rig->watch, machine_for(config));
    vmc_config_free(config);
    start(rig->watch.machine);
    iterate_until(&rig->watch.stops, 1);
    assert_int_equal(rig->watch.resets, 4);
}

static void test_a_triple_fault_is_a_reset(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    tiny_print(&code, "t");
    tiny_unless_boots(&code, 2, 2);
    tiny_triple_fault(&code);
    tiny_power_off(&code);
    run_code(rig, &code);
    iterate_until(&rig->watch.stops, 1);
    assert_int_equal(rig->watch.reason, VMC_STOP_GUEST_POWER_OFF);
    assert_int_equal(rig->watch.resets, 1);
    assert_serial(rig, "tt");
    assert_non_null(strstr(rig->watch.log->str, "triple fault"));
}

static void test_triple_faults_without_end_stop_the_machine(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    VmcMachine *machine;

    tiny_triple_fault(&code);
    machine = run_code(rig, &code);
    iterate_until(&rig->watch.stops, 1);
    assert_int_equal(rig->watch.reason, VMC_STOP_ERROR);
    assert_string_equal(rig->watch.states->str, "starting running in error");
    assert_int_equal(rig->watch.resets, 2);
    assert_non_null(strstr(vmc_machine_get_error(machine)->message, "triple fault three times"));
    vmc_machine_stop(machine);
    assert_int_equal(vmc_machine_get_state(machine), VMC_MACHINE_STOPPED);
}

static void test_a_reset_that_fails_is_an_error(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    g_autofree char *kernel = g_build_filename(rig->dir, "kernel", NULL);
    VmcMachine *machine;

    /* Waits for the power button, then resets; by then its kernel's file is gone. */
    TINY(&code, 0x66, 0xba, 0x00, 0x06, 0x66, 0xed, 0xf6, 0xc4, 0x01, 0x74, 0xf9);
    tiny_reset(&code);
    machine = run_code(rig, &code);
    assert_int_equal(g_remove(kernel), 0);
    assert_true(vmc_machine_request_stop(machine, NULL));
    iterate_until(&rig->watch.stops, 1);
    assert_int_equal(rig->watch.reason, VMC_STOP_ERROR);
    assert_int_equal(vmc_machine_get_state(machine), VMC_MACHINE_ERROR);
    assert_non_null(strstr(vmc_machine_get_error(machine)->message, kernel));
}

static void test_the_power_button_reaches_the_guest(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    VmcMachine *machine;

    TINY(&code, 0x66, 0xba, 0x00, 0x06, 0x66, 0xed, 0xf6, 0xc4, 0x01, 0x74, 0xf9);
    tiny_power_off(&code);
    machine = run_code(rig, &code);
    iterate_for(20);
    assert_int_equal(rig->watch.stops, 0);
    assert_true(vmc_machine_request_stop(machine, NULL));
    iterate_until(&rig->watch.stops, 1);
    assert_int_equal(rig->watch.reason, VMC_STOP_GUEST_POWER_OFF);
}

static void test_nothing_runs_while_paused(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    VmcMachine *machine;

    tiny_count(&code);
    machine = run_code(rig, &code);
    wait_for_count(machine);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t before;

        assert_true(vmc_machine_pause(machine, NULL));
        before = guest_count(machine);
        g_usleep(2000);
        assert_true(guest_count(machine) == before);
        assert_true(vmc_machine_resume(machine, NULL));
        for (unsigned ms = 0; ms < SECONDS_MAX * 1000 && guest_count(machine) == before; ms++)
            g_usleep(1000);
        assert_true(guest_count(machine) > before);
    }
    assert_true(vmc_machine_pause(machine, NULL));
    vmc_machine_stop(machine);
    assert_int_equal(rig->watch.reason, VMC_STOP_REQUESTED);
    assert_int_equal(rig->watch.stops, 1);
}

static void test_a_sleeping_guest_can_be_paused_and_stopped(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    VmcConfig *config;

    TINY(&code, 0xfa, 0xf4, 0xeb, 0xfd); /* cli; hlt; again */
    config = config_for(rig, &code);
    config->cpus = 3; /* two of which were never woken */
    watch_machine(&rig->watch, machine_for(config));
    vmc_config_free(config);
    start(rig->watch.machine);
    iterate_for(10);
    assert_true(vmc_machine_pause(rig->watch.machine, NULL));
    assert_true(vmc_machine_resume(rig->watch.machine, NULL));
    vmc_machine_stop(rig->watch.machine);
    assert_string_equal(rig->watch.states->str,
                        "starting running pausing paused resuming running stopping stopped");
}

static void assert_refused(bool ok, GError **error, const char *word)
{
    assert_false(ok);
    assert_true(g_error_matches(*error, VMC_ERROR, VMC_ERROR_STATE));
    assert_non_null(strstr((*error)->message, word));
    g_clear_error(error);
}

static void test_what_a_state_does_not_allow_is_refused(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    GError *error = NULL;
    VmcConfig *config;
    VmcMachine *machine;

    tiny_count(&code);
    config = config_for(rig, &code);
    machine = rig->watch.machine = machine_for(config);
    vmc_config_free(config);
    assert_refused(vmc_machine_pause(machine, &error), &error, "stopped, not running");
    assert_refused(vmc_machine_resume(machine, &error), &error, "not paused");
    assert_refused(vmc_machine_request_stop(machine, &error), &error, "stopped");
    vmc_machine_stop(machine);
    vmc_machine_send_key(machine, 30, true);
    vmc_machine_send_pointer(machine, 1, 1);
    start(machine);
    assert_refused(vmc_machine_start(machine, &error), &error, "running");
    assert_refused(vmc_machine_resume(machine, &error), &error, "running");
    vmc_machine_send_key(machine, 30, true); /* there is no keyboard */
    vmc_machine_send_wheel(machine, 1, 0);
    vmc_machine_stop(machine);
}

static void stop_it(VmcMachine *machine, int state, gpointer data)
{
    if (state == GPOINTER_TO_INT(data))
        vmc_machine_stop(machine);
}

static void test_a_handler_may_stop_the_machine(void **state)
{
    static const VmcMachineState when[] = {VMC_MACHINE_STARTING, VMC_MACHINE_RUNNING,  VMC_MACHINE_PAUSING,
                                           VMC_MACHINE_PAUSED,   VMC_MACHINE_RESUMING, VMC_MACHINE_STOPPING};
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    VmcConfig *config;

    tiny_count(&code);
    config = config_for(rig, &code);
    for (size_t i = 0; i < G_N_ELEMENTS(when); i++) {
        VmcMachine *machine = machine_for(config);

        g_signal_connect(machine, "state-changed", G_CALLBACK(stop_it), GINT_TO_POINTER(when[i]));
        if (vmc_machine_start(machine, NULL) && vmc_machine_pause(machine, NULL))
            vmc_machine_resume(machine, NULL);
        vmc_machine_stop(machine);
        assert_int_equal(vmc_machine_get_state(machine), VMC_MACHINE_STOPPED);
        assert_null(machine->guest);
        g_object_unref(machine);
    }
    vmc_config_free(config);
}

static unsigned entries(const char *path)
{
    DIR *dir = opendir(path);
    unsigned n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static unsigned mappings(void)
{
    g_autofree char *maps = NULL;
    unsigned n = 0;

    assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    for (const char *at = maps; (at = strstr(at, "vmc-")); at++)
        n++;
    return n;
}

static void test_a_failed_start_leaves_nothing(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    g_autofree char *disk = g_build_filename(rig->dir, "disk", NULL);
    GError *error = NULL;
    unsigned fds, threads;
    VmcConfig *config;
    VmcMachine *machine;

    tiny_power_off(&code);
    tiny_write_file(disk, code.bytes, sizeof code.bytes);
    config = config_for(rig, &code);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BLOCK)->block.path = g_strdup(disk);
    machine = machine_for(config);
    watch_machine(&rig->watch, machine);
    vmc_config_free(config);
    assert_int_equal(g_remove(disk), 0);
    fds = entries("/proc/self/fd");
    threads = entries("/proc/self/task");
    assert_false(vmc_machine_start(machine, &error));
    assert_non_null(strstr(error->message, disk));
    g_clear_error(&error);
    assert_int_equal(vmc_machine_get_state(machine), VMC_MACHINE_ERROR);
    assert_string_equal(rig->watch.states->str, "starting in error");
    assert_false(g_file_test(rig->serial, G_FILE_TEST_EXISTS));
    assert_int_equal(entries("/proc/self/fd"), fds);
    assert_int_equal(entries("/proc/self/task"), threads);
    assert_int_equal(mappings(), 0);
    tiny_write_file(disk, code.bytes, sizeof code.bytes); /* mended, it starts */
    start(machine);
    iterate_until(&rig->watch.stops, 1);
    assert_null(vmc_machine_get_error(machine));
}

static void test_a_bad_config_makes_no_machine(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    VmcConfig *config = config_for(rig, &code);
    GError *error = NULL;

    config->cpus = 0;
    assert_null(vmc_machine_new(config, &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_CONFIG));
    assert_true(g_str_has_prefix(error->message, "cpus: "));
    g_error_free(error);
    vmc_config_free(config);
}

static void test_two_machines_do_not_notice_each_other(void **state)
{
    Rig *rig = *state;
    TinyCode counting = {.n = 0}, crashing = {.n = 0};
    g_autofree char *kernel = NULL;
    Watch other = {.states = g_string_new(NULL), .log = g_string_new(NULL)};
    VmcConfig *config;
    VmcMachine *machine;
    uint64_t before;

    tiny_count(&counting);
    machine = run_code(rig, &counting);
    wait_for_count(machine);

    tiny_triple_fault(&crashing);
    kernel = tiny_kernel(rig->dir, "crashing", &crashing);
    config = vmc_config_new();
    config->memory = 32ull << 20;
    config->cpu = cpu_kind;
    config->boot.kind = VMC_BOOT_LINUX;
    config->boot.kernel = g_strdup(kernel);
    watch_machine(&other, machine_for(config));
    vmc_config_free(config);
    start(other.machine);
    iterate_until(&other.stops, 1);
    assert_int_equal(vmc_machine_get_state(other.machine), VMC_MACHINE_ERROR);
    g_object_unref(other.machine);
    g_string_free(other.states, TRUE);
    g_string_free(other.log, TRUE);

    before = guest_count(machine);
    for (unsigned ms = 0; ms < SECONDS_MAX * 1000 && guest_count(machine) == before; ms++)
        g_usleep(1000);
    assert_true(guest_count(machine) > before);
    assert_int_equal(vmc_machine_get_state(machine), VMC_MACHINE_RUNNING);
}

static unsigned long resident_kib(void)
{
    unsigned long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
    fclose(file);
    return resident * 4;
}

static void test_fifty_machines_leave_nothing(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    unsigned fds = 0, threads = 0;
    unsigned long resident = 0;
    VmcConfig *config;

    tiny_count(&code);
    config = config_for(rig, &code);
    config->cpus = 2;
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_RNG);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_KEYBOARD);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_TABLET);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_GPU)->display.width = 640;
    ((VmcDeviceConfig *)g_ptr_array_index(config->devices, 4))->display.height = 480;
    for (unsigned i = 0; i < 50; i++) {
        VmcMachine *machine = machine_for(config);

        start(machine);
        if (i % 5 == 0)
            wait_for_count(machine);
        if (i % 2)
            vmc_machine_stop(machine);
        g_object_unref(machine); /* which stops it, too */
        if (i == 4) {            /* caches are warm */
            fds = entries("/proc/self/fd");
            threads = entries("/proc/self/task");
            resident = resident_kib();
        }
    }
    vmc_config_free(config);
    assert_int_equal(entries("/proc/self/fd"), fds);
    assert_int_equal(entries("/proc/self/task"), threads);
    assert_int_equal(mappings(), 0);
    print_message("45 machines later: %ld KiB more\n", (long)(resident_kib() - resident));
#ifndef __SANITIZE_ADDRESS__ /* which keeps freed memory for a while */
    assert_true((long)(resident_kib() - resident) < 8192);
#endif
}

static void test_the_display_shows_what_the_guest_paints(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    VmcDeviceConfig *device;
    VmcConfig *config;
    VmcDisplay *display;
    VmcFrame frame;
    bool painted = false;

    TINY(&code, 0xbb, 0x00, 0x00, 0x00, 0xc0);       /* mov $0xc0000000, %ebx: the first BAR */
    TINY(&code, 0xc7, 0x03, 0x44, 0x33, 0x22, 0x00); /* movl $0x223344, (%rbx) */
    TINY(&code, 0xc7, 0x83, 0x00, 0x0a, 0x02, 0x00); /* movl $0x556677, 0x20a00(%rbx) */
    TINY(&code, 0x77, 0x66, 0x55, 0x00);
    tiny_count(&code);
    config = config_for(rig, &code);
    device = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_GPU);
    device->display.width = 640;
    device->display.height = 480;
    watch_machine(&rig->watch, machine_for(config));
    vmc_config_free(config);
    display = vmc_machine_get_display(rig->watch.machine, 0);
    assert_non_null(display);
    assert_null(vmc_machine_get_display(rig->watch.machine, 1));
    assert_true(vmc_display_collect(display, &frame)); /* all of it, black, before it ever ran */
    assert_int_equal(frame.width, 640);
    assert_int_equal(frame.height, 480);
    assert_int_equal(frame.damage[0].width, 640);
    assert_int_equal(frame.damage[0].height, 480);
    assert_false(vmc_display_collect(display, &frame));
    start(rig->watch.machine);
    wait_for_count(rig->watch.machine);
    assert_true(vmc_display_collect(display, &frame));
    for (unsigned i = 0; i < frame.n_damage; i++)
        painted |= frame.damage[i].x == 0 && frame.damage[i].y == 0 && frame.damage[i].width == 64 &&
                   frame.damage[i].height == 16;
    assert_true(painted);
    assert_int_equal(frame.n_damage, 2);
    assert_int_equal(*(uint32_t *)frame.pixels, 0x223344);
    assert_int_equal(*(uint32_t *)(frame.pixels + 0x20a00), 0x556677);
    assert_false(vmc_display_collect(display, &frame));
    vmc_machine_stop(rig->watch.machine);
    vmc_display_refresh(display);
    assert_true(vmc_display_collect(display, &frame)); /* its last picture stays */
    assert_int_equal(*(uint32_t *)frame.pixels, 0x223344);
}

typedef struct Apart {
    Rig *rig;
    const VmcConfig *config;
    unsigned stops;
    GThread *thread, *stopped_on;
} Apart;

static void on_stopped_apart(VmcMachine *machine, int reason, gpointer data)
{
    Apart *apart = data;

    apart->stopped_on = g_thread_self();
    apart->stops++;
}

static gpointer own_thread(gpointer data)
{
    Apart *apart = data;
    GMainContext *context = g_main_context_new();
    gint64 end = g_get_monotonic_time() + SECONDS_MAX * G_USEC_PER_SEC;
    VmcMachine *machine;

    g_main_context_push_thread_default(context);
    machine = machine_for(apart->config);
    g_signal_connect(machine, "stopped", G_CALLBACK(on_stopped_apart), apart);
    start(machine);
    while (!apart->stops && g_get_monotonic_time() < end) {
        g_main_context_iteration(context, FALSE);
        g_usleep(1000);
    }
    g_object_unref(machine);
    g_main_context_pop_thread_default(context);
    g_main_context_unref(context);
    return NULL;
}

static void test_signals_come_on_the_owners_context(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    VmcConfig *config;
    Apart apart = {.rig = rig};
    GThread *thread;

    tiny_power_off(&code);
    config = config_for(rig, &code);
    apart.config = config;
    thread = g_thread_new("owner", own_thread, &apart);
    g_thread_join(thread);
    vmc_config_free(config);
    assert_int_equal(apart.stops, 1);
    assert_ptr_equal(apart.stopped_on, thread);
}

static void test_the_library_installs_no_signal_handler(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};

    tiny_count(&code);
    assert_true(vmc_machine_pause(run_code(rig, &code), NULL));
    for (int i = 1; i < NSIG; i++) {
        struct sigaction now = {0};

        sigaction(i, NULL, &now);
        if (now.sa_handler != handlers_at_first[i].sa_handler)
            fail_msg("signal %d has a new handler", i);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_guest_speaks_and_powers_off),
        TEST(test_it_can_be_started_again),
        TEST(test_figures_of_the_cpus_are_those_of_the_last_run),
        TEST(test_a_reset_by_the_guest_goes_on_by_itself),
        TEST(test_a_reset_with_more_cpus),
        TEST(test_a_triple_fault_is_a_reset),
        TEST(test_triple_faults_without_end_stop_the_machine),
        TEST(test_a_reset_that_fails_is_an_error),
        TEST(test_the_power_button_reaches_the_guest),
        TEST(test_nothing_runs_while_paused),
        TEST(test_a_sleeping_guest_can_be_paused_and_stopped),
        TEST(test_what_a_state_does_not_allow_is_refused),
        TEST(test_a_handler_may_stop_the_machine),
        TEST(test_a_failed_start_leaves_nothing),
        TEST(test_a_bad_config_makes_no_machine),
        TEST(test_two_machines_do_not_notice_each_other),
        TEST(test_fifty_machines_leave_nothing),
        TEST(test_the_display_shows_what_the_guest_paints),
        TEST(test_signals_come_on_the_owners_context),
        TEST(test_the_library_installs_no_signal_handler),
    };
    int failed = cmocka_run_group_tests_name("machine, software CPU", tests, NULL, NULL);
    if (access("/dev/kvm", R_OK | W_OK) == 0) {
        cpu_kind = VMC_CPU_KVM;
        failed += cmocka_run_group_tests_name("machine, KVM", tests, NULL, NULL);
    } else {
        print_message("note: no usable /dev/kvm, so KVM is not tested\n");
    }
    return failed;
}
