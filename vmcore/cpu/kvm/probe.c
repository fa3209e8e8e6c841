/*
 * Is there a KVM worth using? (DESIGN.md section 3.)
 *
 * A nested /dev/kvm can run guest kernels by emulating them instruction by instruction: everything works, a
 * thousand times too slow, until an instruction the emulator does not know. So the probe runs a loop of a few
 * thousand instructions in 32-bit protected mode at privilege 0 and looks at the clock. Real hardware needs
 * microseconds.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/i18n.h"
#include "base/io.h"
#include "cpu/kvm/kvm.h"

#define ITERATIONS 4000u
#define MIN_MIPS   20.0

/* mov ecx, ITERATIONS; 1: dec ecx; jnz 1b; hlt */
static const uint8_t loop_code[] = {0xb9, ITERATIONS & 0xff, ITERATIONS >> 8, 0, 0, 0x49, 0x75, 0xfd, 0xf4};

struct probe {
    int kvm, vm, cpu;
    void *page;
    struct kvm_run *run;
    size_t run_size;
};

static void probe_clear(struct probe *p)
{
    if (p->run && p->run != MAP_FAILED)
        munmap(p->run, p->run_size);
    if (p->page && p->page != MAP_FAILED)
        munmap(p->page, VMC_PAGE_SIZE);
    if (p->cpu >= 0)
        close(p->cpu);
    if (p->vm >= 0)
        close(p->vm);
    if (p->kvm >= 0)
        close(p->kvm);
}

/* A machine of one page and one CPU in flat 32-bit mode, ready to run loop_code. */
static bool probe_setup(struct probe *p, GError **error)
{
    p->vm = vmc_kvm_new_machine(p->kvm, error);
    if (p->vm < 0)
        return false;
    p->page = mmap(NULL, VMC_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int size = vmc_kvm_ioctl(p->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL,
                             N_("KVM cannot tell its run area's size: %s"), error);
    if (p->page == MAP_FAILED || size <= 0)
        return false;
    memcpy(p->page, loop_code, sizeof loop_code);
    struct kvm_userspace_memory_region region = {
        .guest_phys_addr = 0x1000, .memory_size = VMC_PAGE_SIZE, .userspace_addr = (uint64_t)p->page};
    if (vmc_kvm_ioctl(p->vm, KVM_SET_TSS_ADDR, (void *)VMC_KVM_TSS_ADDRESS,
                      N_("KVM cannot place its TSS: %s"), error) < 0 ||
        vmc_kvm_ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &region, N_("KVM cannot map guest memory: %s"),
                      error) < 0)
        return false;
    p->cpu = vmc_kvm_ioctl(p->vm, KVM_CREATE_VCPU, NULL, N_("KVM cannot make a CPU: %s"), error);
    if (p->cpu < 0)
        return false;
    p->run_size = (size_t)size;
    p->run = mmap(NULL, p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->cpu, 0);

    struct kvm_sregs sregs = {0};
    struct kvm_regs regs = {.rip = 0x1000, .rflags = 2};
    if (p->run == MAP_FAILED ||
        vmc_kvm_ioctl(p->cpu, KVM_GET_SREGS, &sregs, N_("KVM cannot read a CPU: %s"), error) < 0)
        return false;
    struct kvm_segment flat = {
        .limit = 0xffffffffu, .selector = 0x10, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
    sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = flat;
    flat.type = 11;
    flat.selector = 8;
    sregs.cs = flat;
    sregs.cr0 |= 1;
    return vmc_kvm_ioctl(p->cpu, KVM_SET_SREGS, &sregs, N_("KVM cannot set a CPU: %s"), error) >= 0 &&
           vmc_kvm_ioctl(p->cpu, KVM_SET_REGS, &regs, N_("KVM cannot set a CPU: %s"), error) >= 0;
}

/* Million instructions per second of the loop; 0 if it did not reach its HLT. */
static double probe_speed(struct probe *p)
{
    uint64_t start = vmc_now_ns();
    for (unsigned tries = 0; tries < 100; tries++) {
        int r = ioctl(p->cpu, KVM_RUN, 0);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0 || p->run->exit_reason != KVM_EXIT_HLT)
            return 0;
        uint64_t ns = vmc_now_ns() - start;
        return 2.0 * ITERATIONS * 1000.0 / (double)MAX(ns, 1u);
    }
    return 0;
}

bool vmc_kvm_probe(const char *path, char **reason)
{
    g_autoptr(GError) error = NULL;
    struct probe p = {.kvm = vmc_kvm_open(path, &error), .vm = -1, .cpu = -1};
    bool good = false;
    if (p.kvm < 0) {
        *reason = g_strdup(error->message);
    } else if (!probe_setup(&p, &error)) {
        *reason = g_strdup(error ? error->message : _("KVM ran out of memory"));
    } else {
        double mips = probe_speed(&p);
        good = mips >= MIN_MIPS;
        if (good)
            *reason =
                g_strdup_printf(_("KVM works (%.0f million instructions a second in a first loop)"), mips);
        else if (mips > 0)
            *reason = g_strdup_printf(
                _("%s emulates kernel code (%.1f million instructions a second), which is "
                  "slower than the software "
                  "CPU; this computer is a virtual machine without real nested virtualisation"),
                path, mips);
        else
            *reason = g_strdup_printf(_("%s cannot run even a small loop"), path);
    }
    probe_clear(&p);
    return good;
}

bool vmc_cpu_kvm_probe(char **reason)
{
    return vmc_kvm_probe(VMC_KVM_DEVICE, reason);
}
