/*
 * The NVMe controller (see nvme.h): what it is on the PCI bus, its registers, enabling and resets, lifecycle.
 *
 * A vCPU that writes to a register leaves the value and rings; the I/O thread enables, resets and shuts down,
 * and the driver polls the status register for it, as it has to anyway (s7.6.1, s7.3.2, s7.6.2). A reset with
 * requests in flight is done when the last one has come back, so that no memory is touched behind it.
 *
 * The identity. Drivers find the controller by its class, and look at vendor and device for known faults
 * only. Of those emulators use, Linux (nvme_id_table) has quirks for QEMU's: with 8086:5845 it refuses Write
 * Zeroes and identifiers, with 1b36:0010 identifiers, since earlier versions gave all disks the same. It has
 * none for VirtualBox's, 80ee:4e56; firmware, Windows and macOS (IONVMeFamily: class 010802) look at the
 * class alone.
 */
#include "nvme/nvme_internal.h"

#include <string.h>

#define REGISTERS_BAR  0u
#define MSIX_BAR       4u
#define REGISTERS_SIZE 0x4000u
#define DOORBELLS      0x1000u

/* s3.1: offsets of the registers there are; all others read as zero. */
enum {
    REG_CAP = 0x00,
    REG_VS = 0x08,
    REG_INTMS = 0x0c,
    REG_INTMC = 0x10,
    REG_CC = 0x14,
    REG_CSTS = 0x1c,
    REG_AQA = 0x24,
    REG_ASQ = 0x28,
    REG_ACQ = 0x30,
};

#define CC_WRITABLE  0x00fffff1u
#define AQA_WRITABLE 0x0fff0fffu

/* s3.1.1: queues are contiguous, 30 s to become ready or not, the NVM command set, pages of 4 KiB. */
#define CAP ((NVME_ENTRIES_MAX - 1) | 1ull << 16 | 60ull << 24 | 1ull << 37)

/* ---- reset (I/O thread) ---- */

static void begin_reset(Nvme *nvme)
{
    nvme->resetting = true;
    vmc_block_engine_cancel(nvme->engine, true);
    vmc_block_engine_run(nvme->engine);
    vmc_nvme_if_idle(nvme);
}

/* s7.3.2: what is left. All requests are the controller's again, in whatever list they were. */
static void finish_reset(Nvme *nvme)
{
    vmc_nvme_remove_queues(nvme);
    nvme->unused = NULL;
    for (unsigned i = 0; i < NVME_REQUESTS_MAX; i++)
        vmc_nvme_release(nvme, &nvme->requests[i]);
    nvme->kept = NULL;
    nvme->kept_tail = &nvme->kept;
    nvme->resumed = nvme->report.asked = false;
    nvme->n_aers = 0;
    nvme->events = nvme->masked_types = 0;
    nvme->namespace_changed = false;
    vmc_nvme_default_features(nvme);
    nvme->shutdown_begun = false;
    nvme->resets++;
    vmc_block_engine_cancel(nvme->engine, false);
    nvme->resetting = false;
    atomic_store(&nvme->csts, 0);
}

void vmc_nvme_if_idle(Nvme *nvme)
{
    if (nvme->resetting && !nvme->in_engine)
        finish_reset(nvme);
    vmc_disk_change_begin(&nvme->changes);
}

/* ---- enabling, shutdown (I/O thread) ---- */

/* s7.6.1. With anything wrong the controller says that it failed (s9.5), until it is reset. */
static void start(Nvme *nvme, uint32_t cc, uint32_t aqa, uint64_t asq, uint64_t acq)
{
    unsigned sq_size = (aqa & 0xfff) + 1, cq_size = (aqa >> 16 & 0xfff) + 1;
    bool good = !CC_CSS(cc) && !CC_MPS(cc) && !CC_AMS(cc) && sq_size > 1 && cq_size > 1 &&
                vmc_nvme_make_cq(nvme, 0, acq, cq_size, 0, true) &&
                vmc_nvme_make_sq(nvme, 0, asq, sq_size, 0);

    atomic_store(&nvme->csts, good ? CSTS_RDY : CSTS_CFS);
}

static void set_shutdown_status(Nvme *nvme, uint32_t status)
{
    uint32_t csts = atomic_load(&nvme->csts) & ~(CSTS_SHST_BUSY | CSTS_SHST_DONE);

    atomic_store(&nvme->csts, csts | status);
}

/* s7.6.2: what was written lasts when it is done. */
static void begin_shutdown(Nvme *nvme)
{
    nvme->shutdown_begun = true;
    if (nvme->cache == VMC_CACHE_UNSAFE || nvme->disk->readonly) {
        set_shutdown_status(nvme, CSTS_SHST_DONE);
        return;
    }
    set_shutdown_status(nvme, CSTS_SHST_BUSY);
    nvme->last = (VmcBlockRequest){.op = VMC_BLOCK_FLUSH};
    vmc_nvme_submit(nvme, &nvme->last);
    vmc_block_engine_run(nvme->engine);
}

void vmc_nvme_shutdown_done(Nvme *nvme)
{
    set_shutdown_status(nvme, CSTS_SHST_DONE);
}

void vmc_nvme_settle(Nvme *nvme)
{
    g_mutex_lock(&nvme->lock);
    uint32_t cc = nvme->cc, aqa = nvme->aqa;
    uint64_t asq = nvme->asq, acq = nvme->acq;
    bool reset = nvme->reset_asked;
    nvme->reset_asked = false;
    g_mutex_unlock(&nvme->lock);

    if (reset)
        begin_reset(nvme);
    vmc_nvme_if_idle(nvme);
    if (nvme->resetting)
        return;
    if ((cc & CC_EN) && !(atomic_load(&nvme->csts) & (CSTS_RDY | CSTS_CFS)))
        start(nvme, cc, aqa, asq, acq);
    if (CC_SHN(cc) && !nvme->shutdown_begun && !vmc_disk_change_pending(&nvme->changes))
        begin_shutdown(nvme);
}

/* ---- registers (vCPUs) ---- */

static uint64_t half(uint64_t value, unsigned offset)
{
    return offset & 4 ? value >> 32 : value & 0xffffffff;
}

static uint32_t read_register(Nvme *nvme, unsigned offset)
{
    switch (offset) {
    case REG_CAP:
    case REG_CAP + 4:
        return (uint32_t)half(CAP, offset);
    case REG_VS:
        return NVME_VERSION;
    case REG_INTMS:
    case REG_INTMC:
        return nvme->intms;
    case REG_CC:
        return nvme->cc;
    case REG_CSTS:
        return atomic_load(&nvme->csts);
    case REG_AQA:
        return nvme->aqa;
    case REG_ASQ:
    case REG_ASQ + 4:
        return (uint32_t)half(nvme->asq, offset);
    case REG_ACQ:
    case REG_ACQ + 4:
        return (uint32_t)half(nvme->acq, offset);
    default:
        return 0;
    }
}

static void write_cc(Nvme *nvme, uint32_t value)
{
    nvme->reset_asked |= (nvme->cc & CC_EN) && !(value & CC_EN);
    nvme->cc = value & CC_WRITABLE;
    vmc_nvme_ring_control(nvme);
}

/* s3.1.3, s3.1.4; of no meaning, and refused by nobody, while MSI-X is in use. */
static void mask_interrupts(Nvme *nvme, uint32_t set, uint32_t clear)
{
    g_mutex_lock(&nvme->irq_lock);
    nvme->intms = (nvme->intms | set) & ~clear;
    vmc_nvme_update_wire(nvme);
    g_mutex_unlock(&nvme->irq_lock);
}

/* Addresses are of whole pages; the bits below cannot be set. */
static void write_half(uint64_t *base, unsigned offset, uint32_t value)
{
    if (offset & 4)
        *base = (*base & 0xffffffff) | (uint64_t)value << 32;
    else
        *base = (*base & ~0xffffffffull) | (value & ~(NVME_PAGE - 1));
}

static void write_register(Nvme *nvme, unsigned offset, uint32_t value)
{
    bool frozen = nvme->cc & CC_EN; /* the admin queues, once they may be in use */

    switch (offset) {
    case REG_INTMS:
        mask_interrupts(nvme, value, 0);
        break;
    case REG_INTMC:
        mask_interrupts(nvme, 0, value);
        break;
    case REG_CC:
        write_cc(nvme, value);
        break;
    case REG_AQA:
        nvme->aqa = frozen ? nvme->aqa : value & AQA_WRITABLE;
        break;
    case REG_ASQ:
    case REG_ASQ + 4:
        if (!frozen)
            write_half(&nvme->asq, offset, value);
        break;
    case REG_ACQ:
    case REG_ACQ + 4:
        if (!frozen)
            write_half(&nvme->acq, offset, value);
        break;
    default:
        break;
    }
}

/* Narrow reads see their part of a register. */
static uint64_t bar_read(VmcPciDevice *pci, unsigned bar, uint64_t offset, unsigned size)
{
    Nvme *nvme = (Nvme *)pci;
    unsigned at = (unsigned)offset & ~3u;

    g_mutex_lock(&nvme->lock);
    uint64_t value = read_register(nvme, at);
    if (size == 8)
        value |= (uint64_t)read_register(nvme, at + 4) << 32;
    g_mutex_unlock(&nvme->lock);
    return value >> (8 * (offset & 3));
}

/* s3: registers are written whole, those of 64 bits also in halves. */
static void bar_write(VmcPciDevice *pci, unsigned bar, uint64_t offset, unsigned size, uint64_t value)
{
    Nvme *nvme = (Nvme *)pci;

    if (size < 4 || offset % size)
        return;
    if (offset >= DOORBELLS) {
        if (size == 4)
            vmc_nvme_doorbell(nvme, (unsigned)(offset - DOORBELLS) / 4, (uint32_t)value);
        return;
    }
    g_mutex_lock(&nvme->lock);
    write_register(nvme, (unsigned)offset, (uint32_t)value);
    if (size == 8)
        write_register(nvme, (unsigned)offset + 4, (uint32_t)(value >> 32));
    g_mutex_unlock(&nvme->lock);
}

static void bus_master(VmcPciDevice *pci, bool on)
{
    Nvme *nvme = (Nvme *)pci;

    atomic_store(&nvme->dma, on);
    vmc_nvme_ring_control(nvme);
}

/* ---- lifecycle ---- */

static void power_on(void *data)
{
    begin_reset(data);
}

static void clear_registers(Nvme *nvme)
{
    g_mutex_lock(&nvme->lock);
    nvme->cc = nvme->aqa = 0;
    nvme->asq = nvme->acq = 0;
    nvme->reset_asked = false;
    g_mutex_unlock(&nvme->lock);
    mask_interrupts(nvme, 0, UINT32_MAX);
}

/* No vCPU runs: here it is right to wait for what is in flight. */
static void pci_reset(VmcPciDevice *pci)
{
    Nvme *nvme = (Nvme *)pci;

    clear_registers(nvme);
    vmc_io_call_sync(nvme->io, power_on, nvme);
    if (nvme->resetting) {
        vmc_block_engine_drain(nvme->engine);
        vmc_io_call_sync(nvme->io, power_on, nvme);
    }
}

static void resume(void *data)
{
    Nvme *nvme = data;

    nvme->report.asked = false;
    nvme->resumed = true;
    vmc_nvme_serve(nvme);
}

static void pci_resumed(VmcPciDevice *pci)
{
    Nvme *nvme = (Nvme *)pci;

    vmc_io_call_sync(nvme->io, resume, nvme);
}

static void pci_free(VmcPciDevice *pci)
{
    Nvme *nvme = (Nvme *)pci;

    if (nvme->engine)
        pci_reset(pci);
    vmc_block_engine_free(nvme->engine);
    vmc_doorbell_free(nvme->bell);
    for (unsigned i = 0; i < NVME_REQUESTS_MAX; i++) {
        g_free(nvme->requests[i].data.iov);
        g_free(nvme->requests[i].data.spans);
    }
    vmc_disk_close(nvme->disk);
    vmc_pci_device_clear(&nvme->pci);
    g_mutex_clear(&nvme->irq_lock);
    g_mutex_clear(&nvme->lock);
    g_free(nvme);
}

static const VmcPciDeviceOps pci_ops = {
    .name = "nvme",
    .bar_read = bar_read,
    .bar_write = bar_write,
    .bus_master = bus_master,
    .reset = pci_reset,
    .resumed = pci_resumed,
    .free = pci_free,
    .hold = vmc_nvme_hold,
    .release = vmc_nvme_unhold,
    .save = vmc_nvme_save,
    .load = vmc_nvme_load,
};

/* s2.3: power management, of which a driver sees the states and nothing happens; s2.5: PCI Express, as an
 * endpoint integrated into the root complex. */
static void add_capabilities(Nvme *nvme)
{
    VmcPciDevice *pci = &nvme->pci;
    unsigned pm = vmc_pci_device_add_capability(pci, 0x01, 8);

    pci->config[pm + 2] = 0x03;   /* version 1.2 */
    pci->config[pm + 4] = 0x08;   /* nothing is lost in D3hot */
    pci->writable[pm + 4] = 0x03; /* the state */
    vmc_pci_device_add_msix(pci, MSIX_BAR, nvme->pairs);
    unsigned px = vmc_pci_device_add_capability(pci, 0x10, 0x3c);
    pci->config[px + 2] = 0x92; /* version 2, integrated endpoint */
    pci->config[px + 5] = 0x80; /* role-based error reporting */
}

static bool idle(void *opaque)
{
    return !((Nvme *)opaque)->in_engine;
}

static void changed(void *opaque)
{
    Nvme *nvme = opaque;
    bool larger = nvme->size != nvme->disk->size;

    nvme->size = nvme->disk->size;
    if (!larger)
        return;
    nvme->namespace_changed = true;
    vmc_nvme_raise(nvme, NVME_EVENT_NAMESPACE);
}

/* The serial number as it is told, and an identifier that follows from it. An EUI-64 needs a company; locally
 * administered addresses from 52:54:00 on are what network cards of machines have, too. */
static void name(Nvme *nvme, const char *serial)
{
    size_t len = strnlen(serial, sizeof(nvme->serial));
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    uint8_t digest[32];
    gsize n = sizeof(digest);

    memset(nvme->serial, ' ', sizeof(nvme->serial));
    memcpy(nvme->serial, serial, len);
    g_checksum_update(sum, (const guchar *)serial, (gssize)len);
    g_checksum_get_digest(sum, digest, &n);
    memcpy(nvme->eui64, digest, sizeof(nvme->eui64));
    nvme->eui64[0] = 0x52;
    nvme->eui64[1] = 0x54;
    nvme->eui64[2] = 0x00;
}

static Nvme *allocate(const VmcNvmeParams *params)
{
    Nvme *nvme = g_new0(Nvme, 1);
    VmcPciIdentity identity = {
        .vendor = NVME_VENDOR,
        .device = NVME_DEVICE,
        .subsystem_vendor = NVME_VENDOR,
        .subsystem = NVME_DEVICE,
        .class_code = 0x010802,
    };

    nvme->memory = params->memory;
    nvme->io = params->io;
    nvme->disk = params->disk;
    nvme->size = params->disk->size;
    nvme->cache = params->cache;
    nvme->report = (VmcDiskReport){.disk = params->disk, .hooks = params->hooks};
    nvme->pairs = CLAMP(params->queues, 1, VMC_NVME_QUEUES_MAX) + 1;
    g_mutex_init(&nvme->lock);
    g_mutex_init(&nvme->irq_lock);
    name(nvme, params->serial);
    vmc_pci_device_init(&nvme->pci, &pci_ops, &identity);
    nvme->pci.config[0x3d] = 1; /* INTA */
    vmc_pci_device_add_bar(&nvme->pci, REGISTERS_BAR, REGISTERS_SIZE, false, true, false);
    add_capabilities(nvme);
    return nvme;
}

static void batch_done(void *opaque)
{
    Nvme *nvme = opaque;

    vmc_nvme_if_idle(nvme);
    vmc_nvme_notify(nvme);
    vmc_nvme_serve(nvme);
}

VmcPciDevice *vmc_nvme_new(const VmcNvmeParams *params)
{
    Nvme *nvme = allocate(params);
    VmcBlockEngineParams engine = {
        .io = params->io,
        .disk = params->disk,
        .depth = NVME_REQUESTS_MAX,
        .done = vmc_nvme_io_done,
        .batch = batch_done,
        .opaque = nvme,
    };

    nvme->bell = vmc_doorbell_new(params->io, vmc_nvme_serve, nvme);
    nvme->engine = nvme->bell ? vmc_block_engine_new(&engine) : NULL;
    if (!nvme->engine) {
        pci_free(&nvme->pci);
        return NULL;
    }
    nvme->changes = (VmcDiskChanges){nvme->io, nvme->disk, nvme->engine, idle, changed, nvme, .change = NULL};
    finish_reset(nvme);
    return &nvme->pci;
}

uint64_t vmc_nvme_eui64(VmcPciDevice *dev)
{
    uint64_t eui64;

    memcpy(&eui64, ((Nvme *)dev)->eui64, sizeof(eui64));
    return GUINT64_FROM_BE(eui64);
}

VmcDiskChanges *vmc_nvme_changes(VmcPciDevice *dev)
{
    return dev && dev->ops == &pci_ops ? &((Nvme *)dev)->changes : NULL;
}
