/*
 * Interrupts' ways into the guest: where GSIs lead, and messages (MSI, MSI-X).
 *
 * A message goes in one of two ways. KVM_SIGNAL_MSI takes address and data as they are: one system call,
 * nothing to set up and nothing to give back. A wire is an eventfd that KVM listens to (irqfd) and a GSI
 * above the IOAPIC's that the routing table leads to the message. A write to it is one system call as well,
 * so a thread of ours gains nothing by it; but whoever has the descriptor can send, and none of these can by
 * an ioctl of this VM's: an io_uring whose last step is the write, a back end in the kernel, one in another
 * process. So what sends the same message again and again, a vector of a PCI device, has a wire
 * (pci/msix.c), from its first message on, as a new one costs a rewrite of the table, for which KVM waits
 * until nobody reads the old one. What has its message in a register of its own and sends little (the HPET)
 * uses KVM_SIGNAL_MSI, and so do vectors for which no wire is left: there are VMC_KVM_WIRES_MAX, as each
 * takes one of the process's file descriptors, or as many as KVM has routes for.
 *
 * KVM delivers what is for one CPU before the write returns, and leaves the rest to a worker. Taking a wire
 * away waits for that, so a message written before is in the local APIC then; that is how a save finds all of
 * them there.
 *
 * Source: Documentation/virt/kvm/api.rst of Linux 6.1, KVM_SET_GSI_ROUTING, KVM_IRQFD, KVM_SIGNAL_MSI.
 */
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/i18n.h"
#include "cpu/kvm/kvm.h"

#define CHIP_GSIS   24u
#define CHIP_ROUTES (16u + CHIP_GSIS - 1)

/* GSI 0..15 go to the 8259s and the IOAPIC, 16..23 to the IOAPIC; the timer's GSI 0 is IOAPIC pin 2, as the
 * MADT says. */
static void add_chip_routes(struct kvm_irq_routing *routing)
{
    for (unsigned gsi = 0; gsi < CHIP_GSIS; gsi++) {
        if (gsi < 16)
            routing->entries[routing->nr++] = (struct kvm_irq_routing_entry){
                .gsi = gsi,
                .type = KVM_IRQ_ROUTING_IRQCHIP,
                .u.irqchip = {.irqchip = gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
                              .pin = gsi & 7},
            };
        if (gsi != 2) /* the cascade; its pin is the timer's */
            routing->entries[routing->nr++] = (struct kvm_irq_routing_entry){
                .gsi = gsi,
                .type = KVM_IRQ_ROUTING_IRQCHIP,
                .u.irqchip = {.irqchip = KVM_IRQCHIP_IOAPIC, .pin = gsi == 0 ? 2 : gsi},
            };
    }
}

/* Has KVM take over all of the table. */
static bool set_routes(VmcCpuVm *vm, GError **error)
{
    g_autofree struct kvm_irq_routing *routing =
        g_malloc0(sizeof(*routing) + (CHIP_ROUTES + VMC_KVM_WIRES_MAX) * sizeof(routing->entries[0]));

    add_chip_routes(routing);
    for (unsigned i = 0; i < vm->n_wires; i++) {
        const VmcKvmWire *wire = &vm->wires[i];
        if (wire->fd >= 0)
            routing->entries[routing->nr++] = (struct kvm_irq_routing_entry){
                .gsi = CHIP_GSIS + i,
                .type = KVM_IRQ_ROUTING_MSI,
                .u.msi = {.address_lo = (uint32_t)wire->address,
                          .address_hi = (uint32_t)(wire->address >> 32),
                          .data = wire->data},
            };
    }
    return vmc_kvm_ioctl(vm->vm_fd, KVM_SET_GSI_ROUTING, routing, N_("KVM cannot route interrupts: %s"),
                         error) >= 0;
}

bool vmc_kvm_make_routes(VmcCpuVm *vm, GError **error)
{
    int routes = ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING);
    bool wires = ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD) > 0;

    vm->max_wires =
        wires && routes > (int)CHIP_ROUTES ? MIN((unsigned)routes - CHIP_ROUTES, VMC_KVM_WIRES_MAX) : 0;
    return set_routes(vm, error);
}

void vmc_kvm_clear_routes(VmcCpuVm *vm)
{
    for (unsigned i = 0; i < vm->n_wires; i++)
        if (vm->wires[i].fd >= 0)
            close(vm->wires[i].fd);
    vm->n_wires = 0;
}

void vmc_kvm_send_msi(VmcCpuVm *vm, uint64_t address, uint32_t data)
{
    struct kvm_msi msi = {
        .address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32), .data = data};

    vmc_kvm_ioctl(vm->vm_fd, KVM_SIGNAL_MSI, &msi, "KVM cannot send an interrupt: %s", NULL);
}

/* ---- wires ---- */

/* Has KVM listen to a wire, or no more. */
static bool listen_to(VmcCpuVm *vm, const VmcKvmWire *wire, bool on)
{
    struct kvm_irqfd irqfd = {.fd = (uint32_t)wire->fd,
                              .gsi = CHIP_GSIS + (uint32_t)(wire - vm->wires),
                              .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN};

    return vmc_kvm_ioctl(vm->vm_fd, KVM_IRQFD, &irqfd, "KVM cannot listen to an eventfd: %s", NULL) >= 0;
}

/* The wire with this descriptor, -1: one that is free; or NULL. */
static VmcKvmWire *find(VmcCpuVm *vm, int fd)
{
    for (unsigned i = 0; i < vm->n_wires; i++)
        if (vm->wires[i].fd == fd)
            return &vm->wires[i];
    if (fd >= 0 || vm->n_wires == vm->max_wires)
        return NULL;
    vm->wires[vm->n_wires] = (VmcKvmWire){.fd = -1};
    return &vm->wires[vm->n_wires++];
}

/* Its route stays until the table is written for another one: nothing leads there. */
static void take_away(VmcCpuVm *vm, VmcKvmWire *wire)
{
    listen_to(vm, wire, false);
    close(wire->fd);
    wire->fd = -1;
}

int vmc_kvm_wire_msi(VmcCpuVm *vm, int fd, uint64_t address, uint32_t data)
{
    g_mutex_lock(&vm->wires_lock);
    VmcKvmWire *wire = find(vm, fd);
    if (wire) {
        wire->address = address;
        wire->data = data;
        if (fd < 0)
            wire->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        /* A message that KVM does not take would be in the way of all other routes. */
        if (wire->fd >= 0 && (!set_routes(vm, NULL) || (fd < 0 && !listen_to(vm, wire, true))))
            take_away(vm, wire);
    }
    fd = wire ? wire->fd : -1;
    g_mutex_unlock(&vm->wires_lock);
    return fd;
}

void vmc_kvm_unwire_msi(VmcCpuVm *vm, int fd)
{
    g_mutex_lock(&vm->wires_lock);
    VmcKvmWire *wire = fd < 0 ? NULL : find(vm, fd);
    if (wire)
        take_away(vm, wire);
    g_mutex_unlock(&vm->wires_lock);
}

void vmc_kvm_settle_messages(VmcCpuVm *vm)
{
    g_mutex_lock(&vm->wires_lock);
    for (unsigned i = 0; i < vm->n_wires; i++) {
        uint64_t told;
        if (vm->wires[i].fd < 0)
            continue;
        listen_to(vm, &vm->wires[i], false);
        /* Kernels before 5.11 leave in it what they have delivered, and would deliver it again. */
        if (read(vm->wires[i].fd, &told, sizeof(told)) < 0)
            told = 0;
        listen_to(vm, &vm->wires[i], true);
    }
    g_mutex_unlock(&vm->wires_lock);
}
