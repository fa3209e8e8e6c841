/*
 * What KVM has of a machine as bytes (base/state.h): the chips in the kernel and the clock, and of each CPU
 * its registers, extended state, model-specific registers, local APIC and events that are on their way.
 *
 * Structures of KVM go into the file as they are: they are its binary interface, and both ends are x86. KVM
 * checks what it is given; what it refuses ends the load.
 *
 * The order of loading is that of dependence: the APIC's base before the APIC, the extended state behind the
 * x87 part of it that set_state writes, the TSC deadline behind the APIC's timer mode, events last.
 *
 * Source: Documentation/virt/kvm/api.rst of Linux 6.1.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/i18n.h"
#include "cpu/kvm/kvm.h"

#define MSRS_MAX         1024u
#define MSR_TSC          0x10u
#define MSR_TSC_DEADLINE 0x6e0u
#define XSAVE_MAX        (64u << 10)
#define TSC_TOLERANCE    2000u /* one in so many; see cpu/soft/save.c */

static void put_struct(VmcStateWriter *w, int fd, unsigned long request, void *data, size_t size,
                       const char *what)
{
    if (ioctl(fd, request, data) < 0)
        vmc_state_refuse(w, _("The machine cannot be saved: KVM does not give out all of its state (%s): %s"),
                         what, g_strerror(errno));
    vmc_state_put_bytes(w, data, size);
}

static bool set_struct(VmcStateReader *r, int fd, unsigned long request, const void *data, const char *what)
{
    if (vmc_state_ok(r) && ioctl(fd, request, data) < 0)
        return vmc_state_fail(r, "KVM does not take %s: %s", what, g_strerror(errno));
    return vmc_state_ok(r);
}

/* ---- the machine ---- */

/* A guest goes by what CPUID told it at its boot. */
char *vmc_kvm_describe(VmcCpuVm *vm)
{
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[256];
    } cpuid = {.head.nent = 256};
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);

    if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0)
        cpuid.head.nent = 0;
    for (unsigned i = 0; i < MIN(cpuid.head.nent, 256u); i++) {
        struct kvm_cpuid_entry2 *e = &cpuid.entries[i];
        if (e->function == 0xb || e->function == 0x1f || e->function == 1)
            e->ebx = e->edx = e->function == 1 ? e->edx : 0; /* on which CPU of the host we are just now */
        g_checksum_update(sum, (const guchar *)e, offsetof(struct kvm_cpuid_entry2, padding));
    }
    return g_strdup_printf("the host's CPUs through KVM, of the kind %.8s", g_checksum_get_string(sum));
}

void vmc_kvm_save_vm(VmcCpuVm *vm, VmcStateWriter *w)
{
    struct kvm_pit_state2 pit = {0};
    struct kvm_clock_data clock = {0};

    vmc_kvm_settle_messages(vm);
    vmc_state_begin(w, "kvm", 1);
    vmc_state_put_u64(w, vm->model.tsc_hz);
    for (unsigned i = 0; i < 3; i++) {
        struct kvm_irqchip chip = {.chip_id = i};
        put_struct(w, vm->vm_fd, KVM_GET_IRQCHIP, &chip, sizeof(chip), "an interrupt controller");
    }
    put_struct(w, vm->vm_fd, KVM_GET_PIT2, &pit, sizeof(pit), "its timer");
    put_struct(w, vm->vm_fd, KVM_GET_CLOCK, &clock, sizeof(clock), "its clock");
    vmc_state_end(w);
}

bool vmc_kvm_load_vm(VmcCpuVm *vm, uint64_t elapsed_ns, VmcStateReader *r)
{
    struct kvm_pit_state2 pit;
    struct kvm_clock_data clock, now = {0};

    if (!vmc_state_enter(r, "kvm", 1))
        return false;
    uint64_t hz = vmc_state_get_u64(r),
             apart = hz > vm->model.tsc_hz ? hz - vm->model.tsc_hz : vm->model.tsc_hz - hz;
    if (vmc_state_ok(r) && apart > vm->model.tsc_hz / TSC_TOLERANCE)
        vmc_state_fail(r,
                       _("it is of a computer whose time stamp counter runs at %" PRIu64
                         " MHz, and that of this one does at %" PRIu64),
                       hz / 1000000, vm->model.tsc_hz / 1000000);
    for (unsigned i = 0; i < 3; i++) {
        struct kvm_irqchip chip;
        vmc_state_get_bytes(r, &chip, sizeof(chip));
        if (vmc_state_check(r, chip.chip_id == i, "an interrupt controller"))
            set_struct(r, vm->vm_fd, KVM_SET_IRQCHIP, &chip, "an interrupt controller");
    }
    vmc_state_get_bytes(r, &pit, sizeof(pit));
    set_struct(r, vm->vm_fd, KVM_SET_PIT2, &pit, "its timer");
    vmc_state_get_bytes(r, &clock, sizeof(clock));
    now.clock = clock.clock + elapsed_ns;
    vm->away_ns = elapsed_ns;
    set_struct(r, vm->vm_fd, KVM_SET_CLOCK, &now, "its clock");
    return vmc_state_leave(r);
}

/* ---- model-specific registers ---- */

/* All that KVM says make up a CPU; some of them this host may not have after all. */
static void save_msrs(VmcCpu *cpu, VmcStateWriter *w)
{
    g_autofree struct kvm_msr_list *list = g_malloc0(sizeof(*list) + MSRS_MAX * sizeof(list->indices[0]));
    g_autoptr(GArray) values = g_array_new(FALSE, FALSE, sizeof(struct kvm_msr_entry));

    list->nmsrs = MSRS_MAX;
    if (ioctl(cpu->vm->kvm_fd, KVM_GET_MSR_INDEX_LIST, list) < 0) {
        vmc_state_refuse(w, _("The machine cannot be saved: KVM does not say which registers there are: %s"),
                         g_strerror(errno));
        return;
    }
    for (uint32_t i = 0; i < list->nmsrs; i++) {
        struct kvm_msr_entry entry = {.index = list->indices[i]};
        uint64_t value;
        if (vmc_kvm_get_msr(cpu, entry.index, &value)) {
            entry.data = value;
            g_array_append_val(values, entry);
        }
    }
    vmc_state_put_u32(w, values->len);
    for (guint i = 0; i < values->len; i++) {
        const struct kvm_msr_entry *entry = &g_array_index(values, struct kvm_msr_entry, i);
        vmc_state_put_u32(w, entry->index);
        vmc_state_put_u64(w, entry->data);
    }
}

/* What cannot be set but is so already is no matter: many are constants of the host. */
static void load_msrs(VmcCpu *cpu, VmcStateReader *r)
{
    uint32_t n = vmc_state_get_u32_max(r, MSRS_MAX);
    uint64_t deadline = 0;

    for (uint32_t i = 0; i < n && vmc_state_ok(r); i++) {
        uint32_t index = vmc_state_get_u32(r);
        uint64_t value = vmc_state_get_u64(r), now;
        if (!vmc_state_ok(r))
            return;
        if (index == MSR_TSC)
            value += (uint64_t)((unsigned __int128)cpu->vm->away_ns * cpu->vm->model.tsc_hz / 1000000000u);
        if (index == MSR_TSC_DEADLINE)
            deadline = value;
        else if (!vmc_kvm_set_msr(cpu, index, value) && (!vmc_kvm_get_msr(cpu, index, &now) || now != value))
            vmc_state_fail(r, "KVM does not take register %#x of a CPU", index);
    }
    if (deadline && vmc_state_ok(r))
        vmc_state_check(r, vmc_kvm_set_msr(cpu, MSR_TSC_DEADLINE, deadline), "a deadline");
}

/* ---- CPUs ---- */

/* Of any size that KVM_CAP_XSAVE2 says, or the 4 KiB it always has. */
static size_t xsave_size(const VmcCpu *cpu)
{
#ifdef KVM_CAP_XSAVE2
    int size = ioctl(cpu->vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
    if (size > (int)sizeof(struct kvm_xsave))
        return MIN((size_t)size, XSAVE_MAX);
#endif
    return sizeof(struct kvm_xsave);
}

static void save_xsave(VmcCpu *cpu, VmcStateWriter *w)
{
    size_t size = xsave_size(cpu);
    g_autofree void *area = g_malloc0(size);
    unsigned long request = KVM_GET_XSAVE;

#ifdef KVM_GET_XSAVE2
    if (size > sizeof(struct kvm_xsave))
        request = KVM_GET_XSAVE2;
#endif
    vmc_state_put_u32(w, (uint32_t)size);
    put_struct(w, cpu->fd, request, area, size, "the vector registers");
}

static void load_xsave(VmcCpu *cpu, VmcStateReader *r)
{
    size_t size = xsave_size(cpu);
    g_autofree void *area = g_malloc0(size);

    if (!vmc_state_check(r, vmc_state_get_u32(r) == size, "how large the vector registers are"))
        return;
    vmc_state_get_bytes(r, area, size);
    set_struct(r, cpu->fd, KVM_SET_XSAVE, area, "the vector registers");
}

void vmc_kvm_save_cpu(VmcCpu *cpu, VmcStateWriter *w)
{
    VmcCpuState state;
    struct kvm_xcrs xcrs = {0};
    struct kvm_lapic_state lapic = {0};
    struct kvm_mp_state mp = {0};
    struct kvm_vcpu_events events = {0};

    vmc_kvm_get_state(cpu, &state);
    vmc_state_begin(w, "kvm", 1);
    vmc_cpu_state_save(&state, w);
    put_struct(w, cpu->fd, KVM_GET_XCRS, &xcrs, sizeof(xcrs), "XCR0");
    save_xsave(cpu, w);
    put_struct(w, cpu->fd, KVM_GET_LAPIC, &lapic, sizeof(lapic), "a local APIC");
    save_msrs(cpu, w);
    put_struct(w, cpu->fd, KVM_GET_MP_STATE, &mp, sizeof(mp), "what a CPU waits for");
    put_struct(w, cpu->fd, KVM_GET_VCPU_EVENTS, &events, sizeof(events), "events of a CPU");
    vmc_state_end(w);
}

bool vmc_kvm_load_cpu(VmcCpu *cpu, VmcStateReader *r)
{
    VmcCpuState state;
    struct kvm_xcrs xcrs;
    struct kvm_lapic_state lapic;
    struct kvm_mp_state mp;
    struct kvm_vcpu_events events;
    g_autoptr(GError) error = NULL;

    if (!vmc_state_enter(r, "kvm", 1) || !vmc_cpu_state_load(&state, r))
        return false;
    if (!vmc_kvm_set_state(cpu, &state, &error))
        return vmc_state_fail(r, "%s", error->message);
    vmc_state_get_bytes(r, &xcrs, sizeof(xcrs));
    set_struct(r, cpu->fd, KVM_SET_XCRS, &xcrs, "XCR0");
    load_xsave(cpu, r);
    vmc_state_get_bytes(r, &lapic, sizeof(lapic));
    set_struct(r, cpu->fd, KVM_SET_LAPIC, &lapic, "a local APIC");
    load_msrs(cpu, r);
    vmc_state_get_bytes(r, &mp, sizeof(mp));
    set_struct(r, cpu->fd, KVM_SET_MP_STATE, &mp, "what a CPU waits for");
    vmc_state_get_bytes(r, &events, sizeof(events));
    set_struct(r, cpu->fd, KVM_SET_VCPU_EVENTS, &events, "events of a CPU");
    return vmc_state_leave(r);
}
