/*
 * What a CPU of KVM's has counted: our own entries and exits, and what the kernel says in its binary
 * statistics (since Linux 5.14; before that these stay 0).
 *
 * Source: Documentation/virt/kvm/api.rst of Linux 6.1, section 4.133 (KVM_GET_STATS_FD).
 */
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cpu/kvm/kvm.h"

/* More than any kernel has, so that a header that makes no sense is not believed. */
#define NAME_SIZE_MAX 256u
#define N_STATS_MAX   1024u

static const struct {
    const char *name; /* as the kernel calls it */
    size_t field;     /* in VmcCpuStats */
} wanted[] = {
    {"exits", offsetof(VmcCpuStats, kernel_exits)},
    {"halt_exits", offsetof(VmcCpuStats, halts)},
    {"irq_injections", offsetof(VmcCpuStats, interrupts)},
};

static bool read_at(int fd, void *buf, size_t size, uint64_t at)
{
    return pread(fd, buf, size, (off_t)at) == (ssize_t)size;
}

static void take(int fd, const struct kvm_stats_header *header, const struct kvm_stats_desc *desc,
                 const char *name, VmcCpuStats *stats)
{
    uint64_t value;

    for (unsigned i = 0; i < G_N_ELEMENTS(wanted); i++)
        if (strcmp(name, wanted[i].name) == 0 && desc->size == 1 &&
            read_at(fd, &value, sizeof value, (uint64_t)header->data_offset + desc->offset))
            memcpy((char *)stats + wanted[i].field, &value, sizeof value);
}

static void take_kernels(int fd, VmcCpuStats *stats)
{
    struct kvm_stats_header header;
    struct {
        struct kvm_stats_desc desc;
        char name[NAME_SIZE_MAX + 1];
    } entry = {0};

    if (!read_at(fd, &header, sizeof header, 0) || header.name_size > NAME_SIZE_MAX ||
        header.num_desc > N_STATS_MAX)
        return;
    for (uint32_t i = 0; i < header.num_desc; i++) {
        size_t size = sizeof entry.desc + header.name_size;

        if (!read_at(fd, &entry, size, header.desc_offset + (uint64_t)i * size))
            return;
        /* Where the flexible array of the kernel's struct begins. */
        const char *name = (const char *)&entry + sizeof entry.desc;
        take(fd, &header, &entry.desc, name, stats);
    }
}

bool vmc_kvm_get_stats(VmcCpu *cpu, VmcCpuStats *stats)
{
    int fd = ioctl(cpu->fd, KVM_GET_STATS_FD, NULL);

    *stats = cpu->stats;
    if (fd >= 0) {
        take_kernels(fd, stats);
        close(fd);
    }
    return true;
}
