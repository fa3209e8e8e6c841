/* PCI: configuration space, BARs and interrupts of devices with plain registers, as guest software sees them.
 */
#include "tests/unit/virtio_rig.h"

/* A device whose registers are a few bytes of memory, in a BAR of each kind. */
typedef struct Card {
    VmcPciDevice pci;
    uint8_t registers[6][64];
    unsigned resets, masters, hooks;
} Card;

#define BAR_IO     0u
#define BAR_MEMORY 1u
#define BAR_WIDE   2u /* and 3 */
#define BAR_MSIX   4u

static uint64_t card_read(VmcPciDevice *dev, unsigned bar, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, &((Card *)dev)->registers[bar][offset % 56], size);
    return value;
}

static void card_write(VmcPciDevice *dev, unsigned bar, uint64_t offset, unsigned size, uint64_t value)
{
    memcpy(&((Card *)dev)->registers[bar][offset % 56], &value, size);
}

static void card_written(VmcPciDevice *dev, unsigned offset, unsigned size)
{
    ((Card *)dev)->hooks++;
}

static void card_master(VmcPciDevice *dev, bool on)
{
    ((Card *)dev)->masters += on;
}

static void card_reset(VmcPciDevice *dev)
{
    ((Card *)dev)->resets++;
}

static void card_free(VmcPciDevice *dev)
{
    vmc_pci_device_clear(dev);
    g_free(dev);
}

static const VmcPciDeviceOps card_ops = {
    .name = "card",
    .bar_read = card_read,
    .bar_write = card_write,
    .config_written = card_written,
    .bus_master = card_master,
    .reset = card_reset,
    .free = card_free,
};

static Card *card_new(unsigned vectors)
{
    Card *card = g_new0(Card, 1);
    VmcPciIdentity identity = {0x1234, 0x5678, 0x9abc, 0xdef0, 0x058001, 7};

    vmc_pci_device_init(&card->pci, &card_ops, &identity);
    card->pci.config[PCI_INTERRUPT_PIN] = 1;
    vmc_pci_device_add_bar(&card->pci, BAR_IO, 32, true, false, false);
    vmc_pci_device_add_bar(&card->pci, BAR_MEMORY, 0x10000, false, false, false);
    vmc_pci_device_add_bar(&card->pci, BAR_WIDE, 1ull << 33, false, true, true);
    if (vectors)
        vmc_pci_device_add_msix(&card->pci, BAR_MSIX, vectors);
    return card;
}

static Card *card_of(Rig *rig)
{
    return (Card *)rig->dev;
}

static int setup(void **state)
{
    Rig *rig = g_new0(Rig, 1);

    rig_init(rig);
    rig->dev = &card_new(70)->pci;
    assert_true(vmc_pci_bus_add(rig->pci, rig->dev, 3, 0));
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    rig_clear(*state);
    g_free(*state);
    return 0;
}

static void set_bar(Rig *rig, unsigned bar, uint32_t value)
{
    rig_set_config(rig, PCI_BASE_ADDRESS_0 + 4 * bar, 4, value);
}

static uint32_t get_bar(Rig *rig, unsigned bar)
{
    return rig_config(rig, PCI_BASE_ADDRESS_0 + 4 * bar, 4);
}

static void decode(Rig *rig, unsigned command)
{
    rig_set_config(rig, PCI_COMMAND, 2, command);
}

static void test_identity(void **state)
{
    Rig *rig = *state;

    assert_int_equal(rig_config(rig, PCI_VENDOR_ID, 4), 0x56781234);
    assert_int_equal(rig_config(rig, PCI_DEVICE_ID, 2), 0x5678);
    assert_int_equal(rig_config(rig, PCI_CLASS_REVISION, 4), 0x05800107);
    assert_int_equal(rig_config(rig, PCI_SUBSYSTEM_VENDOR_ID, 4), 0xdef09abc);
    assert_int_equal(rig_config(rig, PCI_HEADER_TYPE, 1), 0);
    rig_set_config(rig, PCI_VENDOR_ID, 4, 0);
    assert_int_equal(rig_config(rig, PCI_VENDOR_ID, 2), 0x1234);

    /* Nobody there, no such register, no such size. */
    assert_int_equal(vmc_pci_bus_config_read(rig->pci, 4 << 3, 0, 4), 0xffffffff);
    assert_int_equal(vmc_pci_bus_config_read(rig->pci, 4 << 3, 0, 2), 0xffff);
    assert_int_equal(vmc_pci_bus_config_read(rig->pci, 3 << 3 | 1, 0, 1), 0xff);
    assert_int_equal(rig_config(rig, 4094, 4), 0xffffffff);
    assert_int_equal(rig_config(rig, 4096, 1), 0xff);
    assert_int_equal(rig_config(rig, 0xfffffffe, 4), 0xffffffff);
    assert_int_equal(vmc_pci_bus_config_read(rig->pci, 0x10000, 0, 4), 0xffffffff);
    rig_set_config(rig, 4095, 4, 0xffffffff);
    rig_set_config(rig, 0, 3, 0xffffffff);
    assert_int_equal(rig_config(rig, 4092, 4), 0);
}

static void test_sizing(void **state)
{
    Rig *rig = *state;

    for (unsigned bar = 0; bar < 6; bar++)
        set_bar(rig, bar, 0xffffffff);
    assert_int_equal(get_bar(rig, BAR_IO), 0xffffffe1);
    assert_int_equal(get_bar(rig, BAR_MEMORY), 0xffff0000);
    assert_int_equal(get_bar(rig, BAR_WIDE), 0x0000000c);
    assert_int_equal(get_bar(rig, BAR_WIDE + 1), 0xfffffffe);
    assert_int_equal(get_bar(rig, BAR_MSIX), 0xfffff000);
    assert_int_equal(get_bar(rig, 5), 0);
    /* Sizing with decoding on must not put 64 KiB over the top of the address space. */
    decode(rig, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
    assert_true(card_of(rig)->pci.bars[BAR_MEMORY].mapped_at == UINT64_MAX);
    assert_int_equal(vmc_bus_read(rig->mmio, 0xffff0000, 4), 0xffffffff);
    set_bar(rig, BAR_MEMORY, 0);
    assert_true(card_of(rig)->pci.bars[BAR_MEMORY].mapped_at == UINT64_MAX);
}

static void test_moving(void **state)
{
    Rig *rig = *state;
    Card *card = card_of(rig);

    card->registers[BAR_MEMORY][4] = 0x42;
    set_bar(rig, BAR_MEMORY, 0xd0000000);
    assert_int_equal(vmc_bus_read(rig->mmio, 0xd0000004, 1), 0xff);
    decode(rig, PCI_COMMAND_MEMORY);
    assert_int_equal(vmc_bus_read(rig->mmio, 0xd0000004, 1), 0x42);
    set_bar(rig, BAR_MEMORY, 0xd1230000);
    assert_int_equal(vmc_bus_read(rig->mmio, 0xd0000004, 1), 0xff);
    assert_int_equal(vmc_bus_read(rig->mmio, 0xd1230004, 1), 0x42);
    vmc_bus_write(rig->mmio, 0xd1230008, 4, 0xcafef00d);
    assert_int_equal(vmc_bus_read(rig->mmio, 0xd1230008, 4), 0xcafef00d);
    decode(rig, 0);
    assert_int_equal(vmc_bus_read(rig->mmio, 0xd1230004, 1), 0xff);

    /* One byte of a BAR at a time, as some old software does. */
    decode(rig, PCI_COMMAND_MEMORY);
    rig_set_config(rig, PCI_BASE_ADDRESS_0 + 4 * BAR_MEMORY + 3, 1, 0xd2);
    assert_int_equal(vmc_bus_read(rig->mmio, 0xd2230004, 1), 0x42);

    /* 64-bit, above 4 GiB; and one that would reach round the end is not there. */
    card->registers[BAR_WIDE][0] = 0x77;
    set_bar(rig, BAR_WIDE, 0);
    set_bar(rig, BAR_WIDE + 1, 0x40);
    assert_int_equal(vmc_bus_read(rig->mmio, 0x4000000000, 1), 0x77);
    set_bar(rig, BAR_WIDE + 1, 0xfffffffe);
    assert_true(card->pci.bars[BAR_WIDE].mapped_at == UINT64_MAX);

    card->registers[BAR_IO][1] = 0x55;
    set_bar(rig, BAR_IO, 0xc001);
    assert_int_equal(vmc_bus_read(rig->pio, 0xc001, 1), 0xff);
    decode(rig, PCI_COMMAND_IO);
    assert_int_equal(vmc_bus_read(rig->pio, 0xc001, 1), 0x55);
    set_bar(rig, BAR_IO, 0x10c001); /* beyond the 64 KiB of ports */
    assert_int_equal(vmc_bus_read(rig->pio, 0xc001, 1), 0xff);
    assert_true(card->pci.bars[BAR_IO].mapped_at == UINT64_MAX);
}

/* BARs move while another CPU is using them: either answer is right, a crash is not. */
static gpointer use_bars(gpointer data)
{
    Rig *rig = data;

    for (unsigned i = 0; i < 200000; i++) {
        uint64_t got = vmc_bus_read(rig->mmio, i & 1 ? 0xd0000000 : 0xd8000000, 4);
        if (got != 0xffffffff && got != 0x11223344)
            return GUINT_TO_POINTER((guint)got);
    }
    return NULL;
}

static void test_moving_under_load(void **state)
{
    Rig *rig = *state;
    static const uint8_t value[4] = {0x44, 0x33, 0x22, 0x11};

    memcpy(card_of(rig)->registers[BAR_MEMORY], value, 4);
    decode(rig, PCI_COMMAND_MEMORY);
    GThread *thread = g_thread_new("cpu", use_bars, rig);
    for (unsigned i = 0; i < 5000; i++)
        set_bar(rig, BAR_MEMORY, i & 1 ? 0xd0000000 : 0xd8000000);
    assert_null(g_thread_join(thread));
}

static void test_capabilities(void **state)
{
    Rig *rig = *state;
    unsigned a = vmc_pci_device_add_capability(rig->dev, PCI_CAP_ID_VNDR, 5);
    unsigned b = vmc_pci_device_add_capability(rig->dev, PCI_CAP_ID_PM, 8);

    assert_true(rig_config(rig, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
    unsigned at = rig_config(rig, PCI_CAPABILITY_LIST, 1);
    assert_int_equal(rig_config(rig, at, 1), PCI_CAP_ID_MSIX);
    at = rig_config(rig, at + 1, 1);
    assert_int_equal(at, a);
    assert_int_equal(rig_config(rig, at, 1), PCI_CAP_ID_VNDR);
    at = rig_config(rig, at + 1, 1);
    assert_int_equal(at, b);
    assert_int_equal(at % 4, 0);
    assert_int_equal(rig_config(rig, at + 1, 1), 0);
    rig_set_config(rig, b, 4, 0);
    assert_int_equal(card_of(rig)->hooks, 1);
    assert_int_equal(rig_config(rig, b, 1), PCI_CAP_ID_PM);
}

/* ---- MSI-X ---- */

#define TABLE 0xe0000000ull
#define PBA   (TABLE + 2048)

static unsigned sent(Rig *rig, unsigned data)
{
    g_mutex_lock(&rig->lock);
    unsigned n = rig->interrupts[data];
    g_mutex_unlock(&rig->lock);
    return n;
}

static void set_control(Rig *rig, unsigned flags)
{
    rig_set_config(rig, rig->msix_cap + PCI_MSIX_FLAGS, 2, flags);
}

static void set_entry(Rig *rig, unsigned n, unsigned data, bool masked)
{
    vmc_bus_write(rig->mmio, TABLE + 16 * n, 8, RIG_MSI);
    vmc_bus_write(rig->mmio, TABLE + 16 * n + 8, 4, data);
    vmc_bus_write(rig->mmio, TABLE + 16 * n + 12, 4, masked);
}

static void place_msix(Rig *rig)
{
    rig->msix_cap = rig_config(rig, PCI_CAPABILITY_LIST, 1);
    assert_int_equal(rig_config(rig, rig->msix_cap, 1), PCI_CAP_ID_MSIX);
    assert_int_equal(rig_config(rig, rig->msix_cap + PCI_MSIX_FLAGS, 2), 69);
    assert_int_equal(rig_config(rig, rig->msix_cap + PCI_MSIX_TABLE, 4), BAR_MSIX);
    assert_int_equal(rig_config(rig, rig->msix_cap + PCI_MSIX_PBA, 4), 2048 | BAR_MSIX);
    set_bar(rig, BAR_MSIX, TABLE);
    decode(rig, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_int_equal(card_of(rig)->masters, 1);
}

static void test_msix_masks(void **state)
{
    Rig *rig = *state;
    VmcPciDevice *dev = rig->dev;

    place_msix(rig);
    assert_int_equal(vmc_bus_read(rig->mmio, TABLE + 12, 4), 1); /* masked at power-on */
    set_entry(rig, 0, 1, false);
    vmc_pci_msix_notify(dev, 0);
    assert_int_equal(sent(rig, 1), 0); /* not enabled: lost */
    set_control(rig, PCI_MSIX_FLAGS_ENABLE);
    assert_true(vmc_pci_msix_enabled(dev));
    assert_int_equal(sent(rig, 1), 0);
    vmc_pci_msix_notify(dev, 0);
    assert_int_equal(sent(rig, 1), 1);

    /* The vector's own mask. */
    set_entry(rig, 66, 2, true);
    vmc_pci_msix_notify(dev, 66);
    vmc_pci_msix_notify(dev, 66);
    assert_int_equal(sent(rig, 2), 0);
    assert_true(vmc_bus_read(rig->mmio, PBA + 8, 8) == 1ull << 2);
    assert_int_equal(vmc_bus_read(rig->mmio, PBA + 8, 4), 1 << 2);
    vmc_bus_write(rig->mmio, PBA + 8, 4, 0); /* read-only */
    assert_int_equal(vmc_bus_read(rig->mmio, PBA + 8, 4), 1 << 2);
    vmc_bus_write(rig->mmio, TABLE + 16 * 66 + 12, 4, 0);
    assert_int_equal(sent(rig, 2), 1); /* once for both */
    assert_int_equal(vmc_bus_read(rig->mmio, PBA + 8, 8), 0);

    /* The function's mask. */
    set_control(rig, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    vmc_pci_msix_notify(dev, 0);
    vmc_pci_msix_notify(dev, 66);
    assert_int_equal(sent(rig, 1), 1);
    assert_int_equal(vmc_bus_read(rig->mmio, PBA, 8), 1);
    set_control(rig, PCI_MSIX_FLAGS_ENABLE);
    assert_int_equal(sent(rig, 1), 2);
    assert_int_equal(sent(rig, 2), 2);

    /* No message without Bus Master Enable, and none forgotten. */
    decode(rig, PCI_COMMAND_MEMORY);
    vmc_pci_msix_notify(dev, 0);
    assert_int_equal(sent(rig, 1), 2);
    decode(rig, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_int_equal(sent(rig, 1), 3);

    /* Vectors there are not. */
    vmc_pci_msix_notify(dev, 70);
    vmc_pci_msix_notify(dev, 0xffff);
}

/* How often a wire has sent this message since it was asked. */
static uint64_t sent_by_wire(Rig *rig, unsigned wire, unsigned data)
{
    uint64_t n = 0;

    assert_int_equal(rig->wires[wire].address, RIG_MSI);
    assert_int_equal(rig->wires[wire].data, data);
    return read(rig->wires[wire].fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void test_msix_wires(void **state)
{
    Rig *rig = *state;
    VmcPciDevice *dev = rig->dev;

    rig->max_wires = 2;
    place_msix(rig);
    set_control(rig, PCI_MSIX_FLAGS_ENABLE);
    set_entry(rig, 0, 1, false);
    set_entry(rig, 69, 2, false);
    set_entry(rig, 5, 3, false);
    assert_int_equal(rig->times_wired, 0); /* until it sends */
    vmc_pci_msix_notify(dev, 69);
    vmc_pci_msix_notify(dev, 69);
    vmc_pci_msix_notify(dev, 0);
    assert_int_equal(sent_by_wire(rig, 0, 2), 2);
    assert_int_equal(sent_by_wire(rig, 1, 1), 1);

    /* None is left for this one. */
    vmc_pci_msix_notify(dev, 5);
    assert_int_equal(sent(rig, 3), 1);
    assert_int_equal(rig->times_wired, 2);

    /* Masked and unmasked, with the same message written again. */
    set_entry(rig, 0, 1, true);
    vmc_pci_msix_notify(dev, 0);
    assert_int_equal(sent_by_wire(rig, 1, 1), 0);
    assert_int_equal(vmc_bus_read(rig->mmio, PBA, 4), 1);
    vmc_bus_write(rig->mmio, TABLE + 12, 4, 0);
    assert_int_equal(sent_by_wire(rig, 1, 1), 1);
    assert_int_equal(rig->times_wired, 2);

    /* Another message, by the same wire. */
    set_entry(rig, 69, 4, false);
    vmc_pci_msix_notify(dev, 69);
    assert_int_equal(sent_by_wire(rig, 0, 4), 1);
    assert_int_equal(rig->times_wired, 3);
    assert_int_equal(sent(rig, 1) + sent(rig, 2) + sent(rig, 4), 0);

    /* Given back, and had anew; by a reset, too. */
    set_control(rig, 0);
    assert_int_equal(rig->wires[0].fd + rig->wires[1].fd, 0);
    set_control(rig, PCI_MSIX_FLAGS_ENABLE);
    vmc_pci_msix_notify(dev, 5);
    assert_int_equal(sent_by_wire(rig, 0, 3), 1);
    vmc_pci_bus_reset(rig->pci);
    assert_int_equal(rig->wires[0].fd, 0);
}

static void test_msix_table(void **state)
{
    Rig *rig = *state;

    place_msix(rig);
    vmc_bus_write(rig->mmio, TABLE + 16, 8, 0x123456789abcdef3);
    vmc_bus_write(rig->mmio, TABLE + 24, 8, 0xffffffff76543210);
    assert_true(vmc_bus_read(rig->mmio, TABLE + 16, 8) == 0x123456789abcdef0);
    assert_int_equal(vmc_bus_read(rig->mmio, TABLE + 20, 4), 0x12345678);
    assert_int_equal(vmc_bus_read(rig->mmio, TABLE + 24, 4), 0x76543210);
    assert_int_equal(vmc_bus_read(rig->mmio, TABLE + 28, 4), 1);
    assert_int_equal(vmc_bus_read(rig->mmio, TABLE + 25, 1), 0x32);
    /* Narrow or crooked writes are dropped, and what lies behind the table is nothing. */
    vmc_bus_write(rig->mmio, TABLE + 24, 2, 0);
    vmc_bus_write(rig->mmio, TABLE + 26, 4, 0);
    vmc_bus_write(rig->mmio, TABLE + 28, 8, 0);
    assert_int_equal(vmc_bus_read(rig->mmio, TABLE + 24, 4), 0x76543210);
    vmc_bus_write(rig->mmio, TABLE + 70 * 16, 4, 0xffffffff);
    assert_int_equal(vmc_bus_read(rig->mmio, TABLE + 70 * 16, 8), 0);
    assert_int_equal(vmc_bus_read(rig->mmio, TABLE + 4088, 8), 0);
    /* Only Enable and Function Mask of the control word can be changed. */
    set_control(rig, 0xffff);
    assert_int_equal(rig_config(rig, rig->msix_cap + PCI_MSIX_FLAGS, 2), 0xc000 | 69);
}

/* ---- INTx ---- */

static bool wire(Rig *rig)
{
    g_mutex_lock(&rig->lock);
    bool level = rig->intx;
    g_mutex_unlock(&rig->lock);
    return level;
}

static void test_intx(void **state)
{
    Rig *rig = *state;
    Card *other = card_new(0);

    /* Eight slots on, so on the same wire. */
    assert_true(vmc_pci_bus_add(rig->pci, &other->pci, 11, 0));
    vmc_pci_intx(rig->dev, true);
    vmc_pci_intx(rig->dev, true);
    vmc_pci_intx(&other->pci, true);
    assert_true(wire(rig));
    assert_true(rig_config(rig, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    assert_int_equal(rig_config(rig, PCI_COMMAND, 4) >> 16, rig_config(rig, PCI_STATUS, 2));
    vmc_pci_intx(rig->dev, false);
    assert_false(rig_config(rig, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    assert_true(wire(rig));
    vmc_pci_intx(&other->pci, false);
    assert_false(wire(rig));
    assert_int_equal(rig->intx_rises, 1);

    /* Interrupt Disable and MSI-X take it off the wire, not off the device. */
    vmc_pci_intx(rig->dev, true);
    decode(rig, PCI_COMMAND_INTX_DISABLE);
    assert_false(wire(rig));
    assert_true(rig_config(rig, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    decode(rig, 0);
    assert_true(wire(rig));
    rig->msix_cap = rig_config(rig, PCI_CAPABILITY_LIST, 1);
    set_control(rig, PCI_MSIX_FLAGS_ENABLE);
    assert_false(wire(rig));
    set_control(rig, 0);
    assert_true(wire(rig));
    vmc_pci_bus_reset(rig->pci);
    assert_false(wire(rig));
}

/* ---- the bus ---- */

static void test_reset(void **state)
{
    Rig *rig = *state;

    place_msix(rig);
    set_entry(rig, 0, 1, true);
    set_control(rig, PCI_MSIX_FLAGS_ENABLE);
    vmc_pci_msix_notify(rig->dev, 0);
    rig_set_config(rig, PCI_INTERRUPT_LINE, 1, 9);
    vmc_pci_bus_reset(rig->pci);
    assert_int_equal(card_of(rig)->resets, 1);
    assert_int_equal(rig_config(rig, PCI_COMMAND, 2), 0);
    assert_int_equal(rig_config(rig, PCI_INTERRUPT_LINE, 1), 0);
    assert_int_equal(get_bar(rig, BAR_MSIX), 0);
    assert_int_equal(get_bar(rig, BAR_WIDE), 12);
    assert_int_equal(vmc_bus_read(rig->mmio, TABLE, 4), 0xffffffff);
    assert_false(vmc_pci_msix_enabled(rig->dev));
    set_bar(rig, BAR_MSIX, TABLE);
    decode(rig, PCI_COMMAND_MEMORY);
    assert_int_equal(vmc_bus_read(rig->mmio, PBA, 4), 0);
    assert_int_equal(vmc_bus_read(rig->mmio, TABLE + 8, 8), 1ull << 32);
}

static void test_assign(void **state)
{
    Rig *rig = *state;
    static const uint8_t lines[8] = {16, 17, 18, 19, 20, 21, 22, 23};
    Card *more[40];
    unsigned n = 0;

    while (n < 40) {
        Card *card = card_new(1);
        if (!vmc_pci_bus_add(rig->pci, &card->pci, -1, 0)) {
            card_free(&card->pci);
            break;
        }
        more[n++] = card;
    }
    assert_int_equal(n, 30); /* slots 1 to 31 but for 3 */
    assert_int_equal(more[0]->pci.devfn, 1 << 3);
    assert_int_equal(more[29]->pci.devfn, 31 << 3);

    vmc_pci_bus_assign(rig->pci, 0xd0000000, 0xd0400000, 0x1000, lines);
    assert_int_equal(rig_config(rig, PCI_INTERRUPT_LINE, 1), lines[3]);
    assert_int_equal(rig_config(rig, PCI_COMMAND, 2), PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
    /* No room for 8 GiB below 4 GiB: left out. Everything else has a place, no two the same. */
    assert_int_equal(get_bar(rig, BAR_WIDE), 12);
    GHashTable *seen = g_hash_table_new(NULL, NULL);
    for (unsigned i = 0; i < n; i++)
        for (unsigned bar = 0; bar < 6; bar++) {
            const VmcPciBar *b = &more[i]->pci.bars[bar];
            if (!b->size || bar == BAR_WIDE)
                continue;
            assert_true(b->mapped_at != UINT64_MAX && b->mapped_at % b->size == 0);
            assert_true(b->io ? b->mapped_at >= 0x1000
                              : b->mapped_at >= 0xd0000000 && b->mapped_at < 0xd0400000);
            assert_true(g_hash_table_add(seen, GSIZE_TO_POINTER(b->mapped_at)));
        }
    g_hash_table_unref(seen);
}

static void test_functions(void **state)
{
    Rig *rig = *state;
    Card *one = card_new(0);
    Card *taken = card_new(0);

    assert_true(vmc_pci_bus_add(rig->pci, &one->pci, 3, 1));
    assert_int_equal(rig_config(rig, PCI_HEADER_TYPE, 1), 0x80);
    assert_int_equal(vmc_pci_bus_config_read(rig->pci, 3 << 3 | 1, PCI_HEADER_TYPE, 1), 0);
    vmc_pci_bus_reset(rig->pci);
    assert_int_equal(rig_config(rig, PCI_HEADER_TYPE, 1), 0x80);
    assert_false(vmc_pci_bus_add(rig->pci, &taken->pci, 3, 1));
    card_free(&taken->pci);
}

/* A BAR that is memory takes its slot with it, and does without a place where something else is. */
static void test_a_bar_of_memory(void **state)
{
    Rig *rig = *state;
    Card *card = card_new(0);
    unsigned slot;
    uint32_t value = 0;

    assert_true(vmc_memory_add_movable(rig->memory, "video", 0x10000, &slot, NULL));
    vmc_pci_device_set_bar_memory(&card->pci, BAR_MEMORY, rig->memory, slot);
    assert_true(vmc_pci_bus_add(rig->pci, &card->pci, 5, 0));
    rig->dev = &card->pci;
    set_bar(rig, BAR_MEMORY, 0xd0000000);
    assert_null(vmc_memory_host(rig->memory, 0xd0000000, 4));
    decode(rig, PCI_COMMAND_MEMORY);
    assert_true(vmc_memory_write(rig->memory, 0xd0000000, "abc", 4));
    assert_int_equal(vmc_pci_device_bar_address(&card->pci, BAR_MEMORY), 0xd0000000);
    set_bar(rig, BAR_MEMORY, 0xffffffff); /* is being sized */
    assert_null(vmc_memory_host(rig->memory, 0xd0000000, 4));
    set_bar(rig, BAR_MEMORY, 0x10000); /* onto RAM */
    assert_true(vmc_memory_read(rig->memory, 0x10000, &value, 4));
    assert_int_equal(value, 0);
    set_bar(rig, BAR_MEMORY, 0xd1230000);
    assert_string_equal(vmc_memory_host(rig->memory, 0xd1230000, 4), "abc");
    decode(rig, 0);
    assert_null(vmc_memory_host(rig->memory, 0xd1230000, 4));
}

/* Any byte anywhere: the device and its bus stay in one piece. */
static void test_garbage(void **state)
{
    Rig *rig = *state;
    GRand *rand = g_rand_new_with_seed(2);

    for (unsigned i = 0; i < 50000; i++) {
        rig_set_config(rig, g_rand_int(rand) % 80, 1u << g_rand_int(rand) % 3, g_rand_int(rand));
        rig_config(rig, g_rand_int(rand) % 4100, 1u << g_rand_int(rand) % 3);
        if (i % 16 == 0)
            vmc_pci_msix_notify(rig->dev, g_rand_int(rand) % 80);
    }
    g_rand_free(rand);
    vmc_pci_bus_reset(rig->pci);
    assert_int_equal(rig_config(rig, PCI_VENDOR_ID, 4), 0x56781234);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moving, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moving_under_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_capabilities, setup, teardown),
        cmocka_unit_test_setup_teardown(test_msix_masks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_msix_wires, setup, teardown),
        cmocka_unit_test_setup_teardown(test_msix_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_intx, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_assign, setup, teardown),
        cmocka_unit_test_setup_teardown(test_functions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_bar_of_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
