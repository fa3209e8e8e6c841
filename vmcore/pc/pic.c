/*
 * Two 8259As, the second one's INT on IR2 of the first.
 *
 * Priorities are relative to `lowest`, the level that has the lowest priority now (7 after initialisation;
 * rotation moves it). A level below 8 with priority p is (lowest + 1 + p) & 7.
 */
#include "pc/pic.h"

#include <stdatomic.h>

#include "pc/byteport.h"

#define MASTER  0
#define SLAVE   1
#define CASCADE 2

typedef struct Chip {
    uint8_t irr, isr, imr;
    uint8_t lines;     /* levels of the inputs */
    uint8_t elcr;      /* inputs that are level triggered */
    uint8_t elcr_mask; /* those that may be */
    uint8_t vector_base;
    uint8_t lowest;    /* level with the lowest priority */
    uint8_t init_step; /* 0: running; else the ICW expected next (2..4) */
    bool needs_icw4, single;
    bool read_isr, poll, special_mask, auto_eoi, rotate_on_auto_eoi, fully_nested;
    bool output; /* INT */
} Chip;

struct VmcPic {
    GMutex lock;
    VmcBus *pio;
    Chip chip[2];
    void (*intr)(void *opaque, bool level);
    void *opaque;
    _Atomic bool intr_level; /* the master's output, readable without the lock */
};

/* The priority (0 highest) of the best bit in `mask`; 8 for none. */
static unsigned best_priority(const Chip *chip, uint8_t mask)
{
    for (unsigned p = 0; p < 8; p++)
        if (mask & (1u << ((chip->lowest + 1 + p) & 7)))
            return p;
    return 8;
}

/* The level that should be served now, or -1. */
static int pending_level(const VmcPic *pic, const Chip *chip)
{
    uint8_t requests = chip->irr & ~chip->imr;
    unsigned request = best_priority(chip, requests);
    if (request == 8)
        return -1;
    /* In special mask mode, levels in service only block others while they are not masked. In special fully
     * nested mode the slave may interrupt again while its level is in service. */
    uint8_t in_service = chip->isr;
    if (chip->special_mask)
        in_service &= ~chip->imr;
    if (chip->fully_nested && chip == &pic->chip[MASTER])
        in_service &= ~(1u << CASCADE);
    if (request >= best_priority(chip, in_service))
        return -1;
    return (chip->lowest + 1 + request) & 7;
}

static void set_input(Chip *chip, unsigned level, bool high)
{
    uint8_t bit = 1u << level;
    if (chip->elcr & bit) {
        chip->irr = high ? chip->irr | bit : chip->irr & ~bit;
    } else if (high && !(chip->lines & bit)) {
        chip->irr |= bit;
    }
    chip->lines = high ? chip->lines | bit : chip->lines & ~bit;
}

/* Works out both outputs anew; lock held. */
static void update(VmcPic *pic)
{
    Chip *master = &pic->chip[MASTER], *slave = &pic->chip[SLAVE];

    slave->output = pending_level(pic, slave) >= 0;
    /* The slave's INT must make a fresh edge for each of its interrupts even while its level stays high. */
    if (!slave->output)
        master->irr &= ~(1u << CASCADE);
    else
        master->irr |= 1u << CASCADE;
    set_input(master, CASCADE, slave->output);

    bool output = pending_level(pic, master) >= 0;
    if (output != master->output) {
        master->output = output;
        atomic_store(&pic->intr_level, output);
        pic->intr(pic->opaque, output);
    }
}

/* The acknowledge of one chip: IRR -> ISR, unless level triggered, where IRR follows the line. */
static void take(Chip *chip, unsigned level)
{
    uint8_t bit = 1u << level;
    if (chip->auto_eoi) {
        if (chip->rotate_on_auto_eoi)
            chip->lowest = level;
    } else {
        chip->isr |= bit;
    }
    if (!(chip->elcr & bit))
        chip->irr &= ~bit;
}

static int acknowledge_locked(VmcPic *pic)
{
    Chip *master = &pic->chip[MASTER], *slave = &pic->chip[SLAVE];
    int level = pending_level(pic, master), vector;

    if (level < 0) {
        vector = master->vector_base + 7;
    } else if (level == CASCADE) {
        int second = pending_level(pic, slave);
        if (second >= 0)
            take(slave, second);
        take(master, level);
        vector = slave->vector_base + (second >= 0 ? second : 7);
    } else {
        take(master, level);
        vector = master->vector_base + level;
    }
    update(pic);
    return vector;
}

int vmc_pic_acknowledge(VmcPic *pic)
{
    g_mutex_lock(&pic->lock);
    int vector = acknowledge_locked(pic);
    g_mutex_unlock(&pic->lock);
    return vector;
}

int vmc_pic_peek(VmcPic *pic)
{
    if (!atomic_load_explicit(&pic->intr_level, memory_order_acquire))
        return -1;
    g_mutex_lock(&pic->lock);
    Chip *chip = &pic->chip[MASTER];
    int level = pending_level(pic, chip);
    bool any = level >= 0;
    if (level == CASCADE) {
        chip = &pic->chip[SLAVE];
        level = pending_level(pic, chip);
    }
    int vector = any ? chip->vector_base + (level >= 0 ? level : 7) : -1;
    g_mutex_unlock(&pic->lock);
    return vector;
}

void vmc_pic_set_irq(VmcPic *pic, unsigned irq, bool level)
{
    if (irq > 15 || irq == CASCADE)
        return;
    g_mutex_lock(&pic->lock);
    set_input(&pic->chip[irq >> 3], irq & 7, level);
    update(pic);
    g_mutex_unlock(&pic->lock);
}

/* ICW1 starts over: edges must be seen anew, so lines that are high now do not count. */
static void begin_initialisation(Chip *chip, uint8_t icw1)
{
    chip->irr = chip->lines & chip->elcr;
    chip->isr = 0;
    chip->imr = 0;
    chip->lowest = 7;
    chip->read_isr = chip->poll = chip->special_mask = false;
    chip->auto_eoi = chip->rotate_on_auto_eoi = chip->fully_nested = false;
    chip->needs_icw4 = icw1 & 0x01;
    chip->single = icw1 & 0x02;
    chip->init_step = 2;
}

/* OCW2: end of interrupt and rotation (data sheet figure 8). */
static void write_ocw2(Chip *chip, uint8_t value)
{
    unsigned level = value & 7, command = value >> 5;

    if (command == 0 || command == 4) { /* rotate in automatic EOI mode: clear, set */
        chip->rotate_on_auto_eoi = command == 4;
        return;
    }
    if (command == 2) /* no operation */
        return;
    if (command == 6) { /* set priority */
        chip->lowest = level;
        return;
    }
    if (command == 1 || command == 5) { /* non-specific: the one in service with the highest priority */
        uint8_t in_service = chip->special_mask ? chip->isr & ~chip->imr : chip->isr;
        unsigned p = best_priority(chip, in_service);
        if (p == 8)
            return;
        level = (chip->lowest + 1 + p) & 7;
    }
    chip->isr &= ~(1u << level);
    if (command & 4)
        chip->lowest = level;
}

static void write_ocw3(Chip *chip, uint8_t value)
{
    if (value & 0x40)
        chip->special_mask = value & 0x20;
    chip->poll = value & 0x04;
    if (value & 0x02)
        chip->read_isr = value & 0x01;
}

static void write_mask_port(Chip *chip, uint8_t value)
{
    switch (chip->init_step) {
    case 0:
        chip->imr = value;
        break;
    case 2:
        chip->vector_base = value & 0xf8;
        chip->init_step = chip->single ? (chip->needs_icw4 ? 4 : 0) : 3;
        break;
    case 3: /* which input the slave is on is wired, not chosen */
        chip->init_step = chip->needs_icw4 ? 4 : 0;
        break;
    case 4:
        chip->auto_eoi = value & 0x02;
        chip->fully_nested = value & 0x10;
        chip->init_step = 0;
        break;
    }
}

static void chip_write(VmcPic *pic, unsigned which, unsigned port, uint8_t value)
{
    Chip *chip = &pic->chip[which];
    g_mutex_lock(&pic->lock);
    if (port == 1)
        write_mask_port(chip, value);
    else if (value & 0x10)
        begin_initialisation(chip, value);
    else if (value & 0x08)
        write_ocw3(chip, value);
    else
        write_ocw2(chip, value);
    update(pic);
    g_mutex_unlock(&pic->lock);
}

/* The poll command turns the next read into an acknowledge: bit 7 says whether there was one, bits 2:0 which.
 */
static uint8_t poll_read(VmcPic *pic, Chip *chip)
{
    int level = pending_level(pic, chip);
    chip->poll = false;
    if (level < 0)
        return 0;
    take(chip, level);
    update(pic);
    return 0x80 | level;
}

static uint8_t chip_read(VmcPic *pic, unsigned which, unsigned port)
{
    Chip *chip = &pic->chip[which];
    uint8_t value;
    g_mutex_lock(&pic->lock);
    if (chip->poll)
        value = poll_read(pic, chip);
    else if (port == 1)
        value = chip->imr;
    else
        value = chip->read_isr ? chip->isr : chip->irr;
    g_mutex_unlock(&pic->lock);
    return value;
}

static uint8_t master_byte_read(void *opaque, unsigned offset)
{
    return chip_read(opaque, MASTER, offset);
}

static void master_byte_write(void *opaque, unsigned offset, uint8_t value)
{
    chip_write(opaque, MASTER, offset, value);
}

static uint8_t slave_byte_read(void *opaque, unsigned offset)
{
    return chip_read(opaque, SLAVE, offset);
}

static void slave_byte_write(void *opaque, unsigned offset, uint8_t value)
{
    chip_write(opaque, SLAVE, offset, value);
}

static uint64_t master_read(void *opaque, uint64_t offset, unsigned size)
{
    return vmc_bytes_read(master_byte_read, opaque, offset, size);
}

static void master_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    vmc_bytes_write(master_byte_write, opaque, offset, size, value);
}

static uint64_t slave_read(void *opaque, uint64_t offset, unsigned size)
{
    return vmc_bytes_read(slave_byte_read, opaque, offset, size);
}

static void slave_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    vmc_bytes_write(slave_byte_write, opaque, offset, size, value);
}

/* An input that becomes level triggered asserts as long as its line is high; one that becomes edge triggered
 * keeps what it latched. Lock held. */
static void set_elcr_locked(Chip *chip, uint8_t value)
{
    uint8_t became_level = ~chip->elcr & value & chip->elcr_mask;
    chip->elcr = value & chip->elcr_mask;
    chip->irr = (chip->irr & ~became_level) | (chip->lines & became_level);
}

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcPic *pic = opaque;
    uint64_t value = 0;
    g_mutex_lock(&pic->lock);
    for (unsigned i = 0; i < size && offset + i < 2; i++)
        value |= (uint64_t)pic->chip[offset + i].elcr << (8 * i);
    g_mutex_unlock(&pic->lock);
    return value;
}

static void elcr_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcPic *pic = opaque;
    g_mutex_lock(&pic->lock);
    for (unsigned i = 0; i < size && offset + i < 2; i++)
        set_elcr_locked(&pic->chip[offset + i], value >> (8 * i));
    update(pic);
    g_mutex_unlock(&pic->lock);
}

void vmc_pic_set_elcr(VmcPic *pic, uint16_t mask)
{
    elcr_write(pic, 0, 2, mask);
}

void vmc_pic_reset(VmcPic *pic)
{
    g_mutex_lock(&pic->lock);
    for (unsigned i = 0; i < 2; i++) {
        Chip *chip = &pic->chip[i];
        begin_initialisation(chip, 0);
        chip->init_step = 0;
        chip->vector_base = 0;
        chip->elcr = 0;
        chip->irr = 0;
        chip->imr = 0xff; /* undefined on hardware; quiet is the safe choice without a BIOS */
    }
    update(pic);
    g_mutex_unlock(&pic->lock);
}

static const VmcRegionOps master_ops = {master_read, master_write};
static const VmcRegionOps slave_ops = {slave_read, slave_write};
static const VmcRegionOps elcr_ops = {elcr_read, elcr_write};

VmcPic *vmc_pic_new(VmcBus *pio, void (*intr)(void *opaque, bool level), void *opaque)
{
    VmcPic *pic = g_new0(VmcPic, 1);
    g_mutex_init(&pic->lock);
    pic->pio = pio;
    pic->intr = intr;
    pic->opaque = opaque;
    /* IRQ 0, 1, 2, 8 and 13 are edge triggered by design of the PC. */
    pic->chip[MASTER].elcr_mask = 0xf8;
    pic->chip[SLAVE].elcr_mask = 0xde;
    vmc_pic_reset(pic);
    vmc_bus_add(pio, "pic master", 0x20, 2, &master_ops, pic);
    vmc_bus_add(pio, "pic slave", 0xa0, 2, &slave_ops, pic);
    vmc_bus_add(pio, "elcr", 0x4d0, 2, &elcr_ops, pic);
    return pic;
}

void vmc_pic_free(VmcPic *pic)
{
    if (!pic)
        return;
    vmc_bus_remove(pic->pio, 0x20, &master_ops, pic);
    vmc_bus_remove(pic->pio, 0xa0, &slave_ops, pic);
    vmc_bus_remove(pic->pio, 0x4d0, &elcr_ops, pic);
    g_mutex_clear(&pic->lock);
    g_free(pic);
}

static void save_chip(const Chip *chip, VmcStateWriter *w)
{
    const uint8_t bytes[] = {chip->irr,  chip->isr,         chip->imr,    chip->lines,
                             chip->elcr, chip->vector_base, chip->lowest, chip->init_step};
    const bool flags[] = {chip->needs_icw4,   chip->single,   chip->read_isr,           chip->poll,
                          chip->special_mask, chip->auto_eoi, chip->rotate_on_auto_eoi, chip->fully_nested,
                          chip->output};

    vmc_state_put_bytes(w, bytes, sizeof bytes);
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
        vmc_state_put_bool(w, flags[i]);
}

static void load_chip(Chip *chip, VmcStateReader *r)
{
    uint8_t *bytes[] = {&chip->irr,  &chip->isr,         &chip->imr,    &chip->lines,
                        &chip->elcr, &chip->vector_base, &chip->lowest, &chip->init_step};
    bool *flags[] = {&chip->needs_icw4,   &chip->single,   &chip->read_isr,           &chip->poll,
                     &chip->special_mask, &chip->auto_eoi, &chip->rotate_on_auto_eoi, &chip->fully_nested,
                     &chip->output};

    for (unsigned i = 0; i < G_N_ELEMENTS(bytes); i++)
        *bytes[i] = vmc_state_get_u8(r);
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
        *flags[i] = vmc_state_get_bool(r);
    vmc_state_check(r, !(chip->elcr & ~chip->elcr_mask), "which inputs are level triggered");
    vmc_state_check(r, !(chip->vector_base & 7), "the vector base");
    vmc_state_check(r, chip->lowest < 8, "the lowest priority");
    vmc_state_check(r, chip->init_step <= 4 && chip->init_step != 1, "how far it is initialised");
}

void vmc_pic_save(VmcPic *pic, VmcStateWriter *w)
{
    vmc_state_begin(w, "pic", 1);
    save_chip(&pic->chip[MASTER], w);
    save_chip(&pic->chip[SLAVE], w);
    vmc_state_end(w);
}

bool vmc_pic_load(VmcPic *pic, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "pic", 1))
        return false;
    load_chip(&pic->chip[MASTER], r);
    load_chip(&pic->chip[SLAVE], r);
    atomic_store(&pic->intr_level, pic->chip[MASTER].output);
    return vmc_state_leave(r);
}
