/*
 * What is in the kernel beside the CPUs: local APICs, IOAPIC, 8259s and PIT, the lines that lead to them, and
 * doorbells. A doorbell is a write that rings an eventfd in the kernel (ioeventfd): a queue's CPU goes on at
 * once, and the I/O thread wakes up. The way back is in routes.c.
 *
 * A guest's reset puts all of it back as it was when it was made, which is KVM's own power-on state: there is
 * no ioctl for a RESET.
 *
 * Source: Documentation/virt/kvm/api.rst of Linux 6.1.
 */
#include <sys/ioctl.h>

#include "base/i18n.h"
#include "cpu/kvm/kvm.h"

#define APIC_BASE_DEFAULT 0xfee00000ull
#define APIC_BASE_ENABLED (1ull << 11)
#define APIC_BASE_BSP     (1ull << 8)

static bool keep_chips(VmcCpuVm *vm, GError **error)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(vm->chips); i++) {
        vm->chips[i].chip_id = i;
        if (vmc_kvm_ioctl(vm->vm_fd, KVM_GET_IRQCHIP, &vm->chips[i],
                          N_("KVM cannot read an interrupt controller: %s"), error) < 0)
            return false;
    }
    return vmc_kvm_ioctl(vm->vm_fd, KVM_GET_PIT2, &vm->pit, N_("KVM cannot read a timer: %s"), error) >= 0;
}

bool vmc_kvm_make_chips(VmcCpuVm *vm, GError **error)
{
    uint64_t identity = VMC_KVM_IDENTITY_ADDRESS;
    /* The PIT answers port 61h too, so that its gate and output work. */
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};

    vm->any_length = ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD_ANY_LENGTH) > 0;
    return vmc_kvm_ioctl(vm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity,
                         N_("KVM cannot place its identity page: %s"), error) >= 0 &&
           vmc_kvm_ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, (void *)VMC_KVM_TSS_ADDRESS,
                         N_("KVM cannot place its TSS: %s"), error) >= 0 &&
           vmc_kvm_ioctl(vm->vm_fd, KVM_CREATE_IRQCHIP, NULL, N_("KVM cannot make interrupt controllers: %s"),
                         error) >= 0 &&
           vmc_kvm_ioctl(vm->vm_fd, KVM_CREATE_PIT2, &pit, N_("KVM cannot make a timer: %s"), error) >= 0 &&
           vmc_kvm_make_routes(vm, error) && keep_chips(vm, error);
}

void vmc_kvm_reset_chips(VmcCpuVm *vm)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(vm->chips); i++)
        vmc_kvm_ioctl(vm->vm_fd, KVM_SET_IRQCHIP, &vm->chips[i],
                      "KVM cannot reset an interrupt controller: %s", NULL);
    vmc_kvm_ioctl(vm->vm_fd, KVM_SET_PIT2, &vm->pit, "KVM cannot reset a timer: %s", NULL);
}

bool vmc_kvm_keep_apic(VmcCpu *cpu, GError **error)
{
    return vmc_kvm_ioctl(cpu->fd, KVM_GET_LAPIC, &cpu->apic, N_("KVM cannot read a local APIC: %s"), error) >=
           0;
}

/* Its base first: that says how KVM_SET_LAPIC is to be read. */
void vmc_kvm_reset_apic(VmcCpu *cpu)
{
    struct kvm_sregs sregs = {0};

    if (vmc_kvm_ioctl(cpu->fd, KVM_GET_SREGS, &sregs, "KVM cannot read a CPU's system registers: %s", NULL) <
        0)
        return;
    sregs.apic_base = APIC_BASE_DEFAULT | APIC_BASE_ENABLED | (cpu->index == 0 ? APIC_BASE_BSP : 0);
    vmc_kvm_ioctl(cpu->fd, KVM_SET_SREGS, &sregs, "KVM cannot set a CPU's system registers: %s", NULL);
    vmc_kvm_ioctl(cpu->fd, KVM_SET_LAPIC, &cpu->apic, "KVM cannot reset a local APIC: %s", NULL);
}

/* For the kernel's PIT an HPET in its place is a flag of its state. */
void vmc_kvm_mute_pit(VmcCpuVm *vm, bool muted)
{
    struct kvm_pit_state2 pit = {0};

    if (vmc_kvm_ioctl(vm->vm_fd, KVM_GET_PIT2, &pit, "KVM cannot read a timer: %s", NULL) < 0)
        return;
    pit.flags = (pit.flags & ~(uint32_t)KVM_PIT_FLAGS_HPET_LEGACY) | (muted ? KVM_PIT_FLAGS_HPET_LEGACY : 0);
    vmc_kvm_ioctl(vm->vm_fd, KVM_SET_PIT2, &pit, "KVM cannot mute a timer: %s", NULL);
}

/* ---- interrupts ---- */

void vmc_kvm_set_gsi(VmcCpuVm *vm, unsigned gsi, bool level)
{
    struct kvm_irq_level line = {.irq = gsi, .level = level};

    vmc_kvm_ioctl(vm->vm_fd, KVM_IRQ_LINE, &line, "KVM cannot set an interrupt line: %s", NULL);
}

/* ---- doorbells ---- */

static bool set_doorbell(VmcCpuVm *vm, uint64_t address, int fd, uint32_t flags)
{
    /* Writes of any size ring, as on the bus; where KVM cannot that, those of the 16 bits that drivers use.
     */
    struct kvm_ioeventfd bell = {.addr = address, .len = vm->any_length ? 0 : 2, .fd = fd, .flags = flags};

    return vmc_kvm_ioctl(vm->vm_fd, KVM_IOEVENTFD, &bell, "KVM cannot set a doorbell: %s", NULL) >= 0;
}

bool vmc_kvm_add_doorbell(VmcCpuVm *vm, uint64_t address, int fd)
{
    return set_doorbell(vm, address, fd, 0);
}

void vmc_kvm_remove_doorbell(VmcCpuVm *vm, uint64_t address, int fd)
{
    set_doorbell(vm, address, fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}
