/*
 * KVM as a product: why it cannot be used, what its guests are told of their CPUs, and, where there is a
 * /dev/kvm, doorbells, ROM, registers it does not know, and resets.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "cpu/cpu.h"
#include "cpu/kvm/cpuid.h"
#include "cpu/kvm/open.h"
#include "cpu/soft/cpuid.h"

#define NOBODY 65534

/* ---- why not ---- */

static void assert_says(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("“%s” does not say “%s”", text, part);
}

static void assert_missing_says(VmcKvmHost host, const char *part)
{
    g_autofree char *why = vmc_kvm_why_missing("/dev/kvm", &host);

    assert_says(why, part);
}

static void test_a_missing_device_is_explained(void **state)
{
    assert_missing_says((VmcKvmHost){.capable = true, .enabled = true}, "sudo modprobe kvm_intel");
    assert_missing_says((VmcKvmHost){.amd = true, .capable = true, .enabled = true}, "sudo modprobe kvm_amd");
    assert_missing_says((VmcKvmHost){.capable = true, .enabled = true, .node = true},
                        "sudo modprobe kvm_intel");
    assert_missing_says((VmcKvmHost){.capable = true, .enabled = true, .module_loaded = true}, "container");
    assert_missing_says((VmcKvmHost){.capable = true}, "switch Intel VT-x on");
    assert_missing_says((VmcKvmHost){.amd = true, .capable = true}, "switch AMD-V (SVM) on");
    assert_missing_says((VmcKvmHost){.guest = true}, "nested virtualisation");
    assert_missing_says((VmcKvmHost){.amd = true}, "no virtualisation");
}

static char *why_not(const char *path)
{
    g_autoptr(GError) error = NULL;

    assert_int_equal(vmc_kvm_open(path, &error), -1);
    return g_strdup(error->message);
}

static void test_a_path_that_is_not_there(void **state)
{
    g_autofree char *why = why_not("/nonexistent/kvm"), *reason = NULL;

    assert_says(why, "there is no /nonexistent/kvm");
    assert_false(vmc_kvm_probe("/nonexistent/kvm", &reason));
    assert_string_equal(reason, why);
}

static char *make_file(mode_t mode)
{
    char *path = g_strdup("/tmp/test-kvm-XXXXXX");
    int fd = g_mkstemp(path);

    assert_true(fd >= 0 && fchmod(fd, mode) == 0);
    close(fd);
    return path;
}

static void test_a_file_that_is_no_kvm(void **state)
{
    g_autofree char *path = make_file(0600), *why = why_not(path), *null = why_not("/dev/null");

    assert_says(why, "is not the device of KVM");
    assert_says(null, "/dev/null is not the device of KVM");
    g_unlink(path);
}

/* What an ordinary user is told. */
static char *why_not_for_nobody(const char *path)
{
    char text[1000] = "";
    int pipe_fds[2], status;

    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        GError *error = NULL;
        const char *said = "it could be opened";

        if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
            _exit(1);
        if (vmc_kvm_open(path, &error) < 0)
            said = error->message;
        _exit(write(pipe_fds[1], said, strlen(said)) < 0);
    }
    close(pipe_fds[1]);
    assert_true(read(pipe_fds[0], text, sizeof text - 1) >= 0);
    close(pipe_fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return g_strdup(text);
}

static void test_a_user_who_may_not_is_told_which_group(void **state)
{
    const struct group *group = getgrnam("daemon");
    g_autofree char *path = make_file(0000), *why;

    if (geteuid() == 0 && group) {
        g_autofree char *sentence = NULL;

        assert_int_equal(chown(path, 0, group->gr_gid), 0);
        assert_int_equal(chmod(path, 0660), 0);
        sentence = why_not_for_nobody(path);
        assert_says(sentence, "group “daemon”");
        assert_says(sentence, "sudo usermod -aG daemon ");
        assert_says(sentence, "log out and in again");
        /* The group would not help. */
        assert_int_equal(chmod(path, 0600), 0);
    }
    why = why_not_for_nobody(path);
    assert_says(why, "sudo setfacl -m u:");
    assert_null(strstr(why, "group"));
    g_unlink(path);
}

/* ---- what CPUs say they are ---- */

typedef struct Offer {
    struct kvm_cpuid2 head;
    struct kvm_cpuid_entry2 entries[32 + VMC_KVM_CPUID_ROOM];
} Offer;

/* What a host with many CPUs of two threads each might offer. */
static struct kvm_cpuid2 *offer(Offer *room, bool amd)
{
    const struct kvm_cpuid_entry2 entries[] = {
        {.function = 0, .eax = 0x1f, .ebx = amd ? 0x68747541 : 0x756e6547},
        {.function = 1, .ebx = 0x17200800, .ecx = 0x00202001, .edx = 0x178bfbff},
        {.function = 4, .index = 0, .flags = 1, .eax = 0x7c004121},
        {.function = 4, .index = 1, .flags = 1, .eax = 0x7c0fc163},
        {.function = 4, .index = 2, .flags = 1},
        {.function = 0xb, .index = 0, .flags = 1, .eax = 1, .ebx = 2, .ecx = 0x100, .edx = 0x17},
        {.function = 0xb, .index = 1, .flags = 1, .eax = 6, .ebx = 64, .ecx = 0x201, .edx = 0x17},
        {.function = 0x1f, .index = 0, .flags = 1, .eax = 1, .ebx = 2, .ecx = 0x100, .edx = 0x17},
        {.function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b},
        {.function = 0x40000001, .eax = 0x01007afb},
        {.function = 0x80000000, .eax = 0x8000001e},
        {.function = 0x80000001, .ecx = amd ? 0x00400003 : 1},
        {.function = 0x80000008, .eax = 0x3030, .ebx = 7, .ecx = amd ? 0x603f : 0},
        {.function = 0x8000001d, .index = 0, .flags = 1, .eax = 0x4121},
        {.function = 0x8000001d, .index = 3, .flags = 1, .eax = 0x7c163},
        {.function = 0x8000001e, .eax = 0x17, .ebx = 0x10b, .ecx = 0x100},
    };

    memset(room, 0, sizeof *room);
    room->head.nent = G_N_ELEMENTS(entries);
    memcpy(room->entries, entries, sizeof entries);
    return &room->head;
}

static struct kvm_cpuid_entry2 leaf_of(const Offer *o, uint32_t leaf, uint32_t sub)
{
    for (unsigned i = 0; i < o->head.nent; i++)
        if (o->entries[i].function == leaf && o->entries[i].index == sub)
            return o->entries[i];
    return (struct kvm_cpuid_entry2){0};
}

static struct kvm_cpuid_entry2 software_says(VmcCpu *cpu, uint32_t leaf, uint32_t sub)
{
    cpu->gpr[VMC_RAX] = leaf;
    cpu->gpr[VMC_RCX] = sub;
    vmc_cpuid(cpu);
    return (struct kvm_cpuid_entry2){.eax = (uint32_t)cpu->gpr[VMC_RAX],
                                     .ebx = (uint32_t)cpu->gpr[VMC_RBX],
                                     .ecx = (uint32_t)cpu->gpr[VMC_RCX],
                                     .edx = (uint32_t)cpu->gpr[VMC_RDX]};
}

static void assert_same_topology(VmcCpu *cpu, const Offer *o)
{
    struct kvm_cpuid_entry2 soft = software_says(cpu, 1, 0), kvm = leaf_of(o, 1, 0);

    assert_int_equal(kvm.ebx >> 16, soft.ebx >> 16);
    assert_int_equal(kvm.edx & 1u << 28, soft.edx & 1u << 28);
    assert_int_equal(leaf_of(o, 4, 0).eax >> 26, software_says(cpu, 4, 0).eax >> 26);
    assert_int_equal(leaf_of(o, 4, 0).eax >> 14 & 0xfff, 0);
    assert_int_equal(leaf_of(o, 4, 1).eax >> 14 & 0xfff, software_says(cpu, 4, 3).eax >> 14 & 0xfff);
    for (uint32_t sub = 0; sub < 3; sub++) {
        soft = software_says(cpu, 0xb, sub);
        for (uint32_t leaf = 0xb; leaf <= 0x1f; leaf += 0x14) {
            kvm = leaf_of(o, leaf, sub);
            assert_int_equal(kvm.eax, soft.eax);
            assert_int_equal(kvm.ebx, soft.ebx);
            assert_int_equal(kvm.ecx, soft.ecx);
            assert_int_equal(kvm.edx, soft.edx);
        }
    }
}

static void assert_amds_topology(const Offer *o, unsigned id, unsigned n_cpus)
{
    struct kvm_cpuid_entry2 sizes = leaf_of(o, 0x80000008, 0), self = leaf_of(o, 0x8000001e, 0);
    unsigned bits = sizes.ecx >> 12 & 15;

    assert_int_equal(sizes.ecx & 0xff, n_cpus - 1);
    assert_true(1u << bits >= n_cpus && (n_cpus == 1 || 1u << bits < 2 * n_cpus));
    assert_int_equal(self.eax, id);
    assert_int_equal(self.ebx, id); /* the core; one thread in it */
    assert_int_equal(self.ecx, 0);
    assert_int_equal(leaf_of(o, 0x80000001, 0).ecx & 2, n_cpus > 1 ? 2 : 0);
    assert_int_equal(leaf_of(o, 0x8000001d, 3).eax >> 14 & 0xfff, (1u << bits) - 1);
    assert_int_equal(leaf_of(o, 0x8000001d, 0).eax >> 14 & 0xfff, 0);
}

static void test_topology_is_that_of_the_software_cpu(void **state)
{
    for (unsigned n = 1; n <= 33; n++) {
        VmcMemory *memory = vmc_memory_new();
        VmcCpuVmParams params = {.memory = memory, .n_cpus = n, .engine = VMC_ENGINE_INTERPRETER};
        VmcCpuVm *vm = vmc_cpu_soft.vm_new(&params, NULL);

        assert_non_null(vm);
        for (unsigned id = 0; id < n; id += MAX(n - 1, 1)) {
            VmcKvmCpuidParams p = {.apic_id = id,
                                   .model = {.cpus = n, .tsc_hz = 2400000000, .apic_hz = 1000000000},
                                   .tsc_deadline = true};
            VmcCpu *cpu = vmc_cpu_soft.cpu_new(vm, id, NULL, NULL);
            Offer room;

            vmc_kvm_adjust_cpuid(offer(&room, false), &p);
            assert_same_topology(cpu, &room);
            assert_int_equal(leaf_of(&room, 0x80000008, 0).ecx, 0);
            vmc_kvm_adjust_cpuid(offer(&room, true), &p);
            assert_same_topology(cpu, &room);
            assert_amds_topology(&room, id, n);
            vmc_cpu_soft.cpu_free(cpu);
        }
        vmc_cpu_soft.vm_free(vm);
        vmc_memory_free(memory);
    }
}

static void test_clock_rates_stand_behind_kvms_own_leaves(void **state)
{
    VmcKvmCpuidParams p = {.model = {.cpus = 1, .tsc_hz = 2400000000, .apic_hz = 1000000000}};
    Offer room;

    vmc_kvm_adjust_cpuid(offer(&room, true), &p);
    assert_int_equal(leaf_of(&room, 0x40000000, 0).eax, 0x40000010);
    assert_int_equal(leaf_of(&room, 0x40000000, 0).ebx, 0x4b4d564b);
    assert_int_equal(leaf_of(&room, 0x40000001, 0).eax, 0x01007afb); /* kvmclock and the rest */
    assert_int_equal(leaf_of(&room, 0x40000010, 0).eax, 2400000);
    assert_int_equal(leaf_of(&room, 0x40000010, 0).ebx, 1000000);
    assert_int_equal(leaf_of(&room, 0x16, 0).eax, 0); /* AMD's have no such leaf */
    assert_true(leaf_of(&room, 1, 0).ecx >> 31);
    assert_false(leaf_of(&room, 1, 0).ecx >> 24 & 1);

    vmc_kvm_adjust_cpuid(offer(&room, false), &p);
    struct kvm_cpuid_entry2 crystal = leaf_of(&room, 0x15, 0);
    assert_true(crystal.eax);
    assert_int_equal((uint64_t)crystal.ecx * crystal.ebx / crystal.eax, 2400000000);
    assert_int_equal(leaf_of(&room, 0x16, 0).eax, 2400);
}

/* Whoever made the host: xnu knows Intel's only. */
static void test_the_macos_model_is_intels_on_any_host(void **state)
{
    VmcKvmCpuidParams p = {
        .apic_id = 5,
        .model = {.model = VMC_CPU_MODEL_MACOS, .cpus = 6, .tsc_hz = 2400000000, .apic_hz = 1000000000}};
    Offer room;

    vmc_kvm_adjust_cpuid(offer(&room, true), &p);
    assert_int_equal(leaf_of(&room, 0, 0).ebx, 0x756e6547);
    assert_int_equal(leaf_of(&room, 0, 0).eax, 0x16);
    assert_int_equal(leaf_of(&room, 1, 0).eax, vmc_cpu_model_signature(&p.model));
    assert_int_equal(leaf_of(&room, 1, 0).ebx >> 24, 5);
    assert_true(leaf_of(&room, 4, 0).eax & 31); /* AMD's have no such leaf */
    assert_true(leaf_of(&room, 4, 3).flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
    assert_int_equal(leaf_of(&room, 0xb, 1).ebx, 2); /* 6 CPUs: three packages of two */
    assert_int_equal(leaf_of(&room, 0x40000010, 0).eax, 2400000);
    assert_true(leaf_of(&room, 0x80000007, 0).edx & 1u << 8);
}

/* ---- with a CPU ---- */

#define CODE      0x8000u
#define PORT_STOP 0xf4
#define DEVICE    0x90000000u
#define ROM       0xfff00000u
#define ROM_SIZE  0x10000u

#define PORT_WIRE 0xf6

typedef struct Machine {
    const VmcCpuBackend *backend;
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    VmcCpuVm *vm;
    VmcCpu *cpu;
    uint64_t written, written_at;
    unsigned n_written;
    int wire; /* an eventfd that the guest has written to by PORT_WIRE */
    GString *log;
} Machine;

static void stop_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Machine *m = opaque;

    m->backend->kick(m->cpu);
}

static void wire_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Machine *m = opaque;
    const uint64_t one = 1;

    assert_int_equal(write(m->wire, &one, sizeof(one)), sizeof(one));
}

static void device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Machine *m = opaque;

    m->written = value;
    m->written_at = offset;
    m->n_written++;
}

static void log_line(void *opaque, const char *line)
{
    Machine *m = opaque;

    g_string_append_printf(m->log, "%s\n", line);
}

static void machine_init_with_model(Machine *m, const VmcCpuBackend *backend, VmcCpuModel model)
{
    static const VmcRegionOps stop_ops = {.write = stop_write}, device_ops = {.write = device_write},
                              wire_ops = {.write = wire_write};
    GError *error = NULL;

    memset(m, 0, sizeof *m);
    m->backend = backend;
    m->log = g_string_new(NULL);
    m->memory = vmc_memory_new();
    m->pio = vmc_bus_new("pio");
    m->mmio = vmc_bus_new("mmio");
    vmc_bus_add(m->pio, "stop", PORT_STOP, 1, &stop_ops, m);
    vmc_bus_add(m->pio, "wire", PORT_WIRE, 1, &wire_ops, m);
    vmc_bus_add(m->mmio, "device", DEVICE, 4096, &device_ops, m);
    vmc_bus_add(m->mmio, "under ROM", ROM, ROM_SIZE, &device_ops, m);
    assert_true(vmc_memory_add(m->memory, "ram", 0, 1u << 20, false, NULL));
    assert_true(vmc_memory_add(m->memory, "rom", ROM, ROM_SIZE, true, NULL));
    VmcCpuVmParams params = {.memory = m->memory,
                             .pio = m->pio,
                             .mmio = m->mmio,
                             .n_cpus = 1,
                             .model = model,
                             .log = log_line,
                             .log_opaque = m};
    m->vm = backend->vm_new(&params, &error);
    assert_null(error);
    m->cpu = backend->cpu_new(m->vm, 0, NULL, &error);
    assert_null(error);
}

static void machine_init(Machine *m, const VmcCpuBackend *backend)
{
    machine_init_with_model(m, backend, VMC_CPU_MODEL_HOST);
}

static void machine_clear(Machine *m)
{
    m->backend->cpu_free(m->cpu);
    m->backend->vm_free(m->vm);
    vmc_bus_free(m->pio);
    vmc_bus_free(m->mmio);
    vmc_memory_free(m->memory);
    g_string_free(m->log, TRUE);
}

/* Runs flat 32-bit code with EAX = 12345678H. */
static VmcCpuExit run_code(Machine *m, const uint8_t *code, size_t size, VmcCpuState *state)
{
    VmcCpuExit exit;
    GError *error = NULL;

    assert_true(vmc_memory_write(m->memory, CODE, code, size));
    vmc_cpu_state_reset(state);
    state->rip = CODE;
    state->cr0 = 0x31;
    state->gpr[VMC_RAX] = 0x12345678;
    for (unsigned i = 0; i < VMC_SEG_COUNT; i++)
        state->seg[i] = (VmcSegment){.limit = 0xffffffff, .selector = 0x10, .attr = 0xc093};
    state->seg[VMC_CS] = (VmcSegment){.limit = 0xffffffff, .selector = 8, .attr = 0xc09b};
    m->backend->reset(m->cpu);
    assert_true(m->backend->set_state(m->cpu, state, NULL));
    exit = m->backend->run(m->cpu, &error);
    assert_null(error);
    m->backend->get_state(m->cpu, state);
    return exit;
}

#define RUN(m, state, ...)                                                                                   \
    run_code(m, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), state)
#define OUT_STOP 0xe6, PORT_STOP, 0xf4 /* out PORT_STOP, al; hlt */

static void need_kvm(void)
{
    if (access("/dev/kvm", R_OK | W_OK) != 0) {
        print_message("no usable /dev/kvm\n");
        skip();
    }
}

static uint64_t rings(int fd)
{
    uint64_t n = 0;

    return read(fd, &n, sizeof n) == sizeof n ? n : 0;
}

static void ring_at_device(Machine *m)
{
    VmcCpuState state;

    /* mov [DEVICE + 8], eax; mov [DEVICE + 8], ax; mov [DEVICE + 12], eax */
    assert_int_equal(
        RUN(m, &state, 0xa3, 8, 0, 0, 0x90, 0x66, 0xa3, 8, 0, 0, 0x90, 0xa3, 12, 0, 0, 0x90, OUT_STOP),
        VMC_EXIT_KICKED);
}

static void test_a_doorbell_is_rung_without_an_exit(void **state)
{
    int bell;
    Machine m;

    need_kvm();
    bell = eventfd(0, EFD_NONBLOCK);
    machine_init(&m, &vmc_cpu_kvm);
    ring_at_device(&m);
    assert_int_equal(m.n_written, 3);
    assert_int_equal(rings(bell), 0);

    m.n_written = 0;
    assert_true(vmc_cpu_kvm.add_doorbell(m.vm, DEVICE + 8, bell));
    assert_false(vmc_cpu_kvm.add_doorbell(m.vm, DEVICE + 8, bell));
    ring_at_device(&m);
    assert_int_equal(rings(bell), 2);
    assert_int_equal(m.n_written, 1);
    assert_int_equal(m.written_at, 12);

    m.n_written = 0;
    vmc_cpu_kvm.remove_doorbell(m.vm, DEVICE + 8, bell);
    ring_at_device(&m);
    assert_int_equal(m.n_written, 3);
    assert_int_equal(rings(bell), 0);
    machine_clear(&m);
    close(bell);
}

/* Which of vectors 32..63 wait in the guest's local APIC after it was told of by the wire. */
static uint32_t waiting_after_wire(Machine *m)
{
    VmcCpuState state;

    /* mov dword [fee000f0h], 1ffh; out PORT_WIRE, al; mov eax, [fee00210h] */
    assert_int_equal(RUN(m, &state, 0xc7, 0x05, 0xf0, 0, 0xe0, 0xfe, 0xff, 1, 0, 0, 0xe6, PORT_WIRE, 0xa1,
                         0x10, 2, 0xe0, 0xfe, OUT_STOP),
                     VMC_EXIT_KICKED);
    return (uint32_t)state.gpr[VMC_RAX];
}

#define MESSAGE 0xfee00000u /* to CPU 0 */

static void test_a_wire_sends_its_message(void **state)
{
    Machine m;

    need_kvm();
    machine_init(&m, &vmc_cpu_kvm);
    m.wire = vmc_cpu_kvm.wire_msi(m.vm, -1, MESSAGE, 33);
    assert_true(m.wire >= 0);
    assert_int_equal(waiting_after_wire(&m), 1u << 1);
    /* Another message by the same one. */
    assert_int_equal(vmc_cpu_kvm.wire_msi(m.vm, m.wire, MESSAGE, 44), m.wire);
    assert_int_equal(waiting_after_wire(&m), 1u << 12);
    /* One of its own. */
    int first = m.wire;
    m.wire = vmc_cpu_kvm.wire_msi(m.vm, -1, MESSAGE, 55);
    assert_true(m.wire >= 0 && m.wire != first);
    assert_int_equal(waiting_after_wire(&m), 1u << 23);
    vmc_cpu_kvm.unwire_msi(m.vm, m.wire);
    m.wire = first;
    assert_int_equal(waiting_after_wire(&m), 1u << 12);
    /* Saving settles them and leaves them as they are. */
    VmcStateWriter *w = vmc_state_writer_new();
    vmc_cpu_kvm.save_vm(m.vm, w);
    vmc_state_writer_free(w);
    assert_int_equal(waiting_after_wire(&m), 1u << 12);
    machine_clear(&m);
}

static void test_wires_are_not_endless(void **state)
{
    g_autoptr(GArray) wires = g_array_new(FALSE, FALSE, sizeof(int));
    Machine m;
    int wire;

    need_kvm();
    machine_init(&m, &vmc_cpu_kvm);
    while ((wire = vmc_cpu_kvm.wire_msi(m.vm, -1, MESSAGE, 33)) >= 0)
        g_array_append_val(wires, wire);
    assert_in_range(wires->len, 64, 512);
    vmc_cpu_kvm.unwire_msi(m.vm, g_array_index(wires, int, 7));
    m.wire = vmc_cpu_kvm.wire_msi(m.vm, -1, MESSAGE, 40);
    assert_true(m.wire >= 0);
    assert_int_equal(waiting_after_wire(&m), 1u << 8);
    machine_clear(&m);
}

/* A ROM is read like memory, and what is written to it goes to the bus. */
static void rom_is_read_and_not_written(const VmcCpuBackend *backend)
{
    uint32_t there = 0xcafef00d;
    VmcCpuState state;
    Machine m;

    machine_init(&m, backend);
    memcpy(m.memory->slots[1].host + 0x100, &there, 4);
    /* mov [ROM + 100h], eax; mov eax, [ROM + 100h] */
    assert_int_equal(RUN(&m, &state, 0xa3, 0, 1, 0xf0, 0xff, 0xa1, 0, 1, 0xf0, 0xff, OUT_STOP),
                     VMC_EXIT_KICKED);
    assert_int_equal(state.gpr[VMC_RAX], 0xcafef00d);
    assert_int_equal(m.n_written, 1);
    assert_int_equal(m.written_at, 0x100);
    assert_int_equal(m.written, 0x12345678);
    machine_clear(&m);
}

static void test_rom_on_the_software_cpu(void **state)
{
    rom_is_read_and_not_written(&vmc_cpu_soft);
}

static void test_rom_on_kvm(void **state)
{
    need_kvm();
    rom_is_read_and_not_written(&vmc_cpu_kvm);
}

static void test_an_unknown_register_is_told_once(void **state)
{
    VmcCpuState cpu;
    Machine m;

    need_kvm();
    machine_init(&m, &vmc_cpu_kvm);
    /* mov ecx, 4b0f0f0fh; rdmsr: #GP, and there is no handler */
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(RUN(&m, &cpu, 0xb9, 0x0f, 0x0f, 0x0f, 0x4b, 0x0f, 0x32, OUT_STOP),
                         VMC_EXIT_SHUTDOWN);
    assert_string_equal(m.log->str,
                        "CPU 0 read the model-specific register 0x4b0f0f0f, which it does not have\n");
    g_string_truncate(m.log, 0);
    assert_int_equal(RUN(&m, &cpu, 0xb9, 0x0f, 0x0f, 0x0f, 0x4b, 0x31, 0xd2, 0x0f, 0x30, OUT_STOP),
                     VMC_EXIT_SHUTDOWN);
    assert_string_equal(m.log->str,
                        "CPU 0 wrote 0x12345678 to the model-specific register 0x4b0f0f0f, which it does "
                        "not have\n");
    machine_clear(&m);
}

/* Those that KVM knows as well as those that it does not. */
static void test_registers_of_a_model_are_answered(void **state)
{
    static const struct {
        uint8_t msr[2];
    } known[] = {{{0x35, 0}}, {{0xce, 0}}, {{0x98, 1}}};
    VmcCpuModelParams model = {.model = VMC_CPU_MODEL_MACOS, .cpus = 1};
    VmcCpuState cpu;
    Machine m;

    need_kvm();
    machine_init_with_model(&m, &vmc_cpu_kvm, VMC_CPU_MODEL_MACOS);
    model.tsc_hz = vmc_cpu_kvm.tsc_hz(m.vm);
    for (unsigned i = 0; i < G_N_ELEMENTS(known); i++) {
        uint64_t wanted = 0;

        assert_true(vmc_cpu_model_read_msr(&model, known[i].msr[0] | known[i].msr[1] << 8, &wanted));
        assert_int_equal(RUN(&m, &cpu, 0xb9, known[i].msr[0], known[i].msr[1], 0, 0, 0x0f, 0x32, OUT_STOP),
                         VMC_EXIT_KICKED);
        assert_int_equal((uint32_t)cpu.gpr[VMC_RAX] | (uint64_t)cpu.gpr[VMC_RDX] << 32, wanted);
    }
    assert_string_equal(m.log->str, "");
    machine_clear(&m);
}

/* What a guest has set up in the kernel's chips is gone after its reset. */
static void test_a_reset_reaches_the_chips_in_the_kernel(void **state)
{
    VmcCpuState cpu;
    Machine m;

    need_kvm();
    machine_init(&m, &vmc_cpu_kvm);
    /* mov dword [fee000f0h], 1ffh: the local APIC is on; mov al, 0; out 21h, al: so are the 8259's inputs */
    assert_int_equal(RUN(&m, &cpu, 0xc7, 0x05, 0xf0, 0, 0xe0, 0xfe, 0xff, 1, 0, 0, 0xb0, 0, 0xe6, 0x21, 0xa1,
                         0xf0, 0, 0xe0, 0xfe, OUT_STOP),
                     VMC_EXIT_KICKED);
    assert_int_equal(cpu.gpr[VMC_RAX], 0x1ff);
    /* xor eax, eax; in al, 21h; shl eax, 16; or eax, [fee000f0h] */
    assert_int_equal(
        RUN(&m, &cpu, 0x31, 0xc0, 0xe4, 0x21, 0xc1, 0xe0, 16, 0x0b, 0x05, 0xf0, 0, 0xe0, 0xfe, OUT_STOP),
        VMC_EXIT_KICKED);
    assert_int_equal(cpu.gpr[VMC_RAX] & 0xffff, 0xff);
    machine_clear(&m);
}

static void test_exits_are_counted(void **state)
{
    VmcCpuStats stats;
    Machine m;

    need_kvm();
    machine_init(&m, &vmc_cpu_kvm);
    ring_at_device(&m);
    assert_true(vmc_cpu_kvm.get_stats(m.cpu, &stats));
    assert_int_equal(stats.memory_exits, 3);
    assert_int_equal(stats.port_exits, 1);
    assert_true(stats.kernel_entries >= 4);
    if (stats.kernel_exits == 0)
        print_message("note: this kernel has no binary statistics\n");
    else
        assert_true(stats.kernel_exits >= 4);
    machine_clear(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_missing_device_is_explained),
        cmocka_unit_test(test_a_path_that_is_not_there),
        cmocka_unit_test(test_a_file_that_is_no_kvm),
        cmocka_unit_test(test_a_user_who_may_not_is_told_which_group),
        cmocka_unit_test(test_topology_is_that_of_the_software_cpu),
        cmocka_unit_test(test_clock_rates_stand_behind_kvms_own_leaves),
        cmocka_unit_test(test_the_macos_model_is_intels_on_any_host),
        cmocka_unit_test(test_rom_on_the_software_cpu),
        cmocka_unit_test(test_rom_on_kvm),
        cmocka_unit_test(test_a_doorbell_is_rung_without_an_exit),
        cmocka_unit_test(test_a_wire_sends_its_message),
        cmocka_unit_test(test_wires_are_not_endless),
        cmocka_unit_test(test_an_unknown_register_is_told_once),
        cmocka_unit_test(test_registers_of_a_model_are_answered),
        cmocka_unit_test(test_a_reset_reaches_the_chips_in_the_kernel),
        cmocka_unit_test(test_exits_are_counted),
    };

    return cmocka_run_group_tests_name("KVM", tests, NULL, NULL);
}
