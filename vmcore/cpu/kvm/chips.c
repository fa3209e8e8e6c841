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

#include "cpu/kvm/kvm.h"

#define APIC_BASE_DEFAULT 0xfee00000ull
#define APIC_BASE_ENABLED (1ull << 11)
#define APIC_BASE_BSP     (1ull << 8)

static bool keep_chips(VmcCpuVm *vm, GError **error)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(vm->chips); i++) {
        vm->chips[i].chip_id = i;
        if (vmc_kvm_ioctl(vm->vm_fd, KVM_GET_IRQCHIP, &vm->chips[i], "read an interrupt controller", error) <
            0)
            return false;
    }
    return vmc_kvm_ioctl(vm->vm_fd, KVM_GET_PIT2, &vm->pit, "read a timer", error) >= 0;
}

bool vmc_kvm_make_chips(VmcCpuVm *vm, GError **error)
{
    uint64_t identity = VMC_KVM_IDENTITY_ADDRESS;
    /* The PIT answers port 61h too, so that its gate and output work. */
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};

    vm->any_length = ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD_ANY_LENGTH) > 0;
    return vmc_kvm_ioctl(vm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity, "place its identity page", error) >=
               0 &&
           vmc_kvm_ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, (void *)VMC_KVM_TSS_ADDRESS, "place its TSS", error) >=
               0 &&
           vmc_kvm_ioctl(vm->vm_fd, KVM_CREATE_IRQCHIP, NULL, "make interrupt controllers", error) >= 0 &&
           vmc_kvm_ioctl(vm->vm_fd, KVM_CREATE_PIT2, &pit, "make a timer", error) >= 0 &&
           vmc_kvm_make_routes(vm, error) && keep_chips(vm, error);
}

void vmc_kvm_reset_chips(VmcCpuVm *vm)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(vm->chips); i++)
        vmc_kvm_ioctl(vm->vm_fd, KVM_SET_IRQCHIP, &vm->chips[i], "reset an interrupt controller", NULL);
    vmc_kvm_ioctl(vm->vm_fd, KVM_SET_PIT2, &vm->pit, "reset a timer", NULL);
}

bool vmc_kvm_keep_apic(VmcCpu *cpu, GError **error)
{
    return vmc_kvm_ioctl(cpu->fd, KVM_GET_LAPIC, &cpu->apic, "read a local APIC", error) >= 0;
}

/* Its base first: that says how KVM_SET_LAPIC is to be read. */
void vmc_kvm_reset_apic(VmcCpu *cpu)
{
    struct kvm_sregs sregs = {0};

    if (vmc_kvm_ioctl(cpu->fd, KVM_GET_SREGS, &sregs, "read a CPU's system registers", NULL) < 0)
        return;
    sregs.apic_base = APIC_BASE_DEFAULT | APIC_BASE_ENABLED | (cpu->index == 0 ? APIC_BASE_BSP : 0);
    vmc_kvm_ioctl(cpu->fd, KVM_SET_SREGS, &sregs, "set a CPU's system registers", NULL);
    vmc_kvm_ioctl(cpu->fd, KVM_SET_LAPIC, &cpu->apic, "reset a local APIC", NULL);
}

/* For the kernel's PIT an HPET in its place is a flag of its state. */
void vmc_kvm_mute_pit(VmcCpuVm *vm, bool muted)
{
    struct kvm_pit_state2 pit = {0};

    if (vmc_kvm_ioctl(vm->vm_fd, KVM_GET_PIT2, &pit, "read a timer", NULL) < 0)
        return;
    pit.flags = (pit.flags & ~(uint32_t)KVM_PIT_FLAGS_HPET_LEGACY) | (muted ? KVM_PIT_FLAGS_HPET_LEGACY : 0);
    vmc_kvm_ioctl(vm->vm_fd, KVM_SET_PIT2, &pit, "mute a timer", NULL);
}

/* ---- interrupts ---- */

void vmc_kvm_set_gsi(VmcCpuVm *vm, unsigned gsi, bool level)
{
    struct kvm_irq_level line = {.irq = gsi, .level = level};

    vmc_kvm_ioctl(vm->vm_fd, KVM_IRQ_LINE, &line, "set an interrupt line", NULL);
}

/* ---- doorbells ---- */

static bool set_doorbell(VmcCpuVm *vm, uint64_t address, int fd, uint32_t flags)
{
    /* Writes of any size ring, as on the bus; where KVM cannot that, those of the 16 bits that drivers use.
     */
    struct kvm_ioeventfd bell = {.addr = address, .len = vm->any_length ? 0 : 2, .fd = fd, .flags = flags};

    return vmc_kvm_ioctl(vm->vm_fd, KVM_IOEVENTFD, &bell, "set a doorbell", NULL) >= 0;
}

bool vmc_kvm_add_doorbell(VmcCpuVm *vm, uint64_t address, int fd)
{
    return set_doorbell(vm, address, fd, 0);
}

void vmc_kvm_remove_doorbell(VmcCpuVm *vm, uint64_t address, int fd)
{
    set_doorbell(vm, address, fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}
