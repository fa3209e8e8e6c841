/*
 * The host sleeps: what its time stamp counter makes of that, and that a machine's goes on all the same. This
 * computer does not sleep for a test, so a counter's anchor is dropped in the past: what differs then is what
 * differs after a sleep. With arguments CPU SECONDS (“soft 40”) it is put to sleep after all, which takes
 * root and a clock that can wake it: tests/guest/kvm-host has one that nobody works on.
 */
#include <stdio.h>

#include "cpu/anchor.h"
#include "cpu/soft/tsc.h"
#include "machine/private.h"
#include "tests/unit/tiny_kernel.h"
#include "vmcore/vmcore.h"

#define S    1000000000ull
#define GHZ  1000000000u
#define WAIT (20 * G_TIME_SPAN_SECOND)

/* At 1 GHz a counter's ticks are nanoseconds. */
static uint64_t lost(uint64_t tsc_before, uint64_t tsc_after, uint64_t passed_ns)
{
    VmcAnchor anchor = {.tsc = tsc_before, .at = {.boot_ns = 100 * S}};
    VmcHostTime now = {.boot_ns = 100 * S + passed_ns};

    return vmc_anchor_lost(&anchor, tsc_after, &now, GHZ);
}

static void test_a_counter_that_went_on_has_lost_nothing(void **state)
{
    assert_int_equal(lost(5 * S, 45 * S, 40 * S), 0);
    assert_int_equal(lost(5 * S, 45 * S - 90000000, 40 * S), 0);
    assert_int_equal(lost(5 * S, 46 * S, 40 * S), 0);
    assert_int_equal(lost(0, 86390 * S, 86400 * S), 0); /* a rate that is wrong by 116 in a million */
}

static void test_a_counter_that_stopped_has_lost_that_time(void **state)
{
    assert_int_equal(lost(5 * S, 7 * S, 40 * S), 38 * S);
    assert_int_equal(lost(5 * S, 5 * S, S / 2), S / 2);
}

static void test_a_counter_that_began_anew_has_lost_all_it_was(void **state)
{
    assert_int_equal(lost(3600 * S, S, 40 * S), 3639 * S);
    assert_int_equal(lost(UINT64_MAX / 2, 0, 40 * S), UINT64_MAX / 2 + 40 * S);
}

static void test_the_host_has_slept_only_if_it_has(void **state)
{
    VmcHostTime then, now;

    vmc_host_time(&then);
    g_usleep(50000);
    vmc_host_time(&now);
    assert_false(vmc_host_slept(&then, &now));
    assert_in_range(now.boot_ns - then.boot_ns, 50000000, 20 * S);
    then.slept_ns = 0;
    now.slept_ns = 40 * S;
    assert_true(vmc_host_slept(&then, &now));
}

/* ---- the software CPU's ---- */

/* What time stamp counters read is compared with this to half a second. */
static void assert_about(uint64_t ticks, uint64_t seconds, uint64_t hz)
{
    assert_in_range(ticks, seconds * hz, seconds * hz + hz / 2);
}

/* As if the anchor were so much older, and the host had slept since; its counter stood still. */
static void sleep_for(VmcCpuVm *vm, uint64_t ns)
{
    g_mutex_lock(&vm->tsc.lock);
    vm->tsc.anchor.at.boot_ns -= ns;
    vm->tsc.anchor.at.slept_ns -= ns;
    g_mutex_unlock(&vm->tsc.lock);
}

static void test_the_guests_counter_goes_on_by_a_sleep(void **state)
{
    VmcCpuVm vm = {0};

    vmc_soft_tsc_init(&vm);
    vmc_soft_tsc_load(&vm, 7 * vm.tsc_hz);
    sleep_for(&vm, 40 * S);
    assert_about(vmc_soft_tsc_now(&vm), 7, vm.tsc_hz);
    vmc_soft_keep_time(&vm); /* came before the machine heard of it */
    vmc_soft_slept(&vm);
    assert_about(vmc_soft_tsc_now(&vm), 47, vm.tsc_hz);
    vmc_soft_slept(&vm); /* told twice */
    vmc_soft_keep_time(&vm);
    assert_about(vmc_soft_tsc_now(&vm), 47, vm.tsc_hz);
    vmc_soft_tsc_clear(&vm);
}

static void test_the_guests_counter_does_not_run_back_with_the_hosts(void **state)
{
    VmcCpuVm vm = {0};

    vmc_soft_tsc_init(&vm);
    vmc_soft_tsc_load(&vm, 7 * vm.tsc_hz);
    sleep_for(&vm, 40 * S);
    /* The host's was far above what it is now. */
    vm.tsc.anchor.tsc += 1ull << 60;
    vm.tsc.floor += 1ull << 60;
    vm.tsc.start += 1ull << 60;
    assert_about(vmc_soft_tsc_now(&vm), 47, vm.tsc_hz); /* nobody has told */
    vmc_soft_slept(&vm);
    assert_about(vmc_soft_tsc_now(&vm), 47, vm.tsc_hz);
    vmc_soft_tsc_clear(&vm);
}

/* ---- a machine ---- */

/* Its first CPU writes its time stamp counter to 60000h for ever. */
static VmcMachine *start_clock(const char *dir, VmcCpuKind kind)
{
    VmcConfig *config = vmc_config_new();
    TinyCode code = {.n = 0};
    GError *error = NULL;

    TINY(&code, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09,
         0xd0); /* rdtsc; shl $32, %rdx; or %rdx, %rax */
    TINY(&code, 0x48, 0x89, 0x04, 0x25, 0x00, 0x00, 0x06, 0x00, 0xeb,
         0xed); /* mov %rax, 0x60000; jmp to rdtsc */
    config->memory = 16ull << 20;
    config->cpu = kind;
    config->cpus = 3; /* two of which are never woken */
    config->boot.kind = VMC_BOOT_LINUX;
    config->boot.kernel = tiny_kernel(dir, "kernel", &code);
    VmcMachine *machine = vmc_machine_new(config, &error);
    vmc_config_free(config);
    if (!machine || !vmc_machine_start(machine, &error))
        fail_msg("%s", error->message);
    return machine;
}

/* The machine hears of a sleep, as host_sleep.c tells it, and its clock is right soon. */
static void sleep_and_look(VmcMachine *machine)
{
    VmcGuest *guest = machine->guest;
    uint64_t before = vmc_cpu_soft.tsc_now(guest->vm), hz = guest->vm->tsc_hz;
    int64_t end = g_get_monotonic_time() + WAIT;

    sleep_for(guest->vm, 40 * S);
    vmc_vcpus_request_wake(&guest->vcpus);
    while (vmc_cpu_soft.tsc_now(guest->vm) - before < 40 * hz) {
        assert_true(g_get_monotonic_time() < end);
        g_usleep(1000);
    }
}

static void test_a_machine_hears_of_it_whether_it_runs_or_not(void **state)
{
    char *dir = tiny_dir();
    VmcMachine *machine = start_clock(dir, VMC_CPU_SOFT);

    for (unsigned i = 0; i < 10; i++) {
        sleep_and_look(machine);
        assert_true(vmc_machine_pause(machine, NULL));
        sleep_and_look(machine);
        assert_int_equal(vmc_machine_get_state(machine), VMC_MACHINE_PAUSED);
        assert_true(vmc_machine_resume(machine, NULL));
    }
    vmc_machine_stop(machine);
    g_object_unref(machine);
    tiny_dir_remove(dir);
}

/* ---- a computer that sleeps ---- */

static VmcCpuKind sleeping_kind;
static unsigned sleeping_seconds;

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    ssize_t n = write(fd, text, strlen(text));

    if (n < 0)
        fail_msg("cannot write to %s", path);
    close(fd);
}

/* What the guest says it is; its CPU may be slow. */
static double guest_seconds(VmcMachine *machine)
{
    volatile uint64_t *tsc = (uint64_t *)vmc_memory_host(machine->guest->memory, 0x60000, 8);
    uint64_t before = *tsc;
    int64_t end = g_get_monotonic_time() + WAIT;

    for (; *tsc == before; g_usleep(1000))
        assert_true(g_get_monotonic_time() < end);
    return (double)*tsc / (double)machine->guest->backend->tsc_hz(machine->guest->vm);
}

static void test_a_guest_loses_no_time_by_it(void **state)
{
    g_autofree char *alarm = g_strdup_printf("+%u", sleeping_seconds);
    char *dir = tiny_dir();
    VmcMachine *machine = start_clock(dir, sleeping_kind);
    VmcHostTime then, now;

    guest_seconds(machine);
    double before = guest_seconds(machine);
    uint64_t tsc = __rdtsc();
    vmc_host_time(&then);
    write_text("/sys/class/rtc/rtc0/wakealarm", "0");
    write_text("/sys/class/rtc/rtc0/wakealarm", alarm);
    write_text("/sys/power/state", "mem");
    g_usleep(500000);
    guest_seconds(machine); /* what is there may be older */
    double guest = guest_seconds(machine) - before;
    tsc = __rdtsc() - tsc;
    vmc_host_time(&now);
    double host = (double)(now.boot_ns - then.boot_ns) / 1e9;
    printf("the host says %.2f s, of which it slept %.2f, its counter %.2f, the guest %.2f\n", host,
           (double)(now.slept_ns - then.slept_ns) / 1e9,
           (double)tsc / (double)machine->guest->backend->tsc_hz(machine->guest->vm), guest);
    assert_true(now.slept_ns - then.slept_ns > sleeping_seconds * S / 2);
    assert_true(guest > host - 1 && guest < host + 1);
    vmc_machine_stop(machine);
    g_object_unref(machine);
    tiny_dir_remove(dir);
}

static int sleep_really(const char *cpu, const char *seconds)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_guest_loses_no_time_by_it)};

    sleeping_kind = g_str_equal(cpu, "kvm") ? VMC_CPU_KVM : VMC_CPU_SOFT;
    sleeping_seconds = (unsigned)atoi(seconds);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_counter_that_went_on_has_lost_nothing),
        cmocka_unit_test(test_a_counter_that_stopped_has_lost_that_time),
        cmocka_unit_test(test_a_counter_that_began_anew_has_lost_all_it_was),
        cmocka_unit_test(test_the_host_has_slept_only_if_it_has),
        cmocka_unit_test(test_the_guests_counter_goes_on_by_a_sleep),
        cmocka_unit_test(test_the_guests_counter_does_not_run_back_with_the_hosts),
        cmocka_unit_test(test_a_machine_hears_of_it_whether_it_runs_or_not),
    };

    return argc == 3 ? sleep_really(argv[1], argv[2]) : cmocka_run_group_tests(tests, NULL, NULL);
}
