/* The standard VGA: modes through ports and registers, what a driver reads, and where its memory is. */
#include "tests/unit/virtio_rig.h"

#include "display/headless.h"
#include "display/vga.h"

#define WIDTH  640u
#define HEIGHT 480u

#define INDEX 0x1ceu
#define DATA  0x1cfu

enum { ID, XRES, YRES, BPP, ENABLE, BANK, VIRT_WIDTH, VIRT_HEIGHT, X_OFFSET, Y_OFFSET, MEMORY };

typedef struct Card {
    Rig rig;
    VmcDisplay *display;
    VmcHeadless *frontend;
    VmcVga *vga;
    uint64_t mmio;
    uint8_t *video;
} Card;

static int set_up(void **state)
{
    static const uint8_t irqs[8] = {10, 10, 10, 10, 10, 10, 10, 10};
    Card *card = g_new0(Card, 1);

    rig_init(&card->rig);
    card->display = vmc_display_new(WIDTH, HEIGHT);
    card->frontend = vmc_headless_new(card->display);
    VmcVgaParams params = {card->rig.memory, card->rig.pio, card->display, WIDTH, HEIGHT};
    card->vga = vmc_vga_new(&params, NULL);
    card->rig.dev = vmc_vga_pci_new(card->vga);
    assert_true(vmc_pci_bus_add(card->rig.pci, card->rig.dev, -1, 0));
    vmc_pci_bus_assign(card->rig.pci, RIG_WINDOW, 0xe0000000, 0x1000, irqs);
    card->mmio = rig_bar(&card->rig, 2);
    card->video = rig_host(&card->rig, rig_bar(&card->rig, 0), VMC_VGA_VRAM_MIN);
    *state = card;
    return 0;
}

static int tear_down(void **state)
{
    Card *card = *state;

    rig_clear(&card->rig);
    vmc_headless_free(card->frontend);
    vmc_display_free(card->display);
    g_free(card);
    return 0;
}

static void set(Card *card, unsigned index, uint16_t value)
{
    vmc_bus_write(card->rig.pio, INDEX, 2, index);
    vmc_bus_write(card->rig.pio, DATA, 2, value);
}

static uint16_t get(Card *card, unsigned index)
{
    vmc_bus_write(card->rig.pio, INDEX, 2, index);
    return (uint16_t)vmc_bus_read(card->rig.pio, DATA, 2);
}

static void set_mode(Card *card, uint16_t width, uint16_t height, uint16_t bpp)
{
    set(card, ENABLE, 0);
    set(card, XRES, width);
    set(card, YRES, height);
    set(card, BPP, bpp);
    set(card, ENABLE, 0x41);
}

static const VmcFrame *look(Card *card)
{
    vmc_headless_update(card->frontend);
    return vmc_headless_frame(card->frontend);
}

static uint32_t pixel(const VmcFrame *frame, unsigned x, unsigned y)
{
    return ((const uint32_t *)(frame->pixels + (size_t)y * frame->stride))[x] & 0xffffff;
}

static void draw(Card *card, uint64_t at, const void *bytes, size_t n)
{
    assert_true(vmc_memory_write(card->rig.memory, rig_bar(&card->rig, 0) + at, bytes, n));
}

static void test_it_is_what_drivers_look_for(void **state)
{
    Card *card = *state;

    assert_int_equal(rig_config(&card->rig, PCI_VENDOR_ID, 4), 0x11111234);
    assert_int_equal(rig_config(&card->rig, PCI_CLASS_REVISION, 4), 0x03000002);
    assert_int_equal(rig_config(&card->rig, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
    assert_int_equal(rig_config(&card->rig, PCI_BASE_ADDRESS_0, 4) & 15, 8); /* prefetchable */
    assert_int_equal(get(card, ID), 0xb0c5);
    assert_int_equal(get(card, MEMORY), VMC_VGA_VRAM_MIN >> 16);
    set(card, ID, 0xb0c2);
    assert_int_equal(get(card, ID), 0xb0c2);
    set(card, ID, 0x1234);
    assert_int_equal(get(card, ID), 0xb0c2);
    set(card, ENABLE, 2);
    assert_int_equal(get(card, BPP), 32);
    assert_true(get(card, XRES) >= 8192);
    assert_int_equal(vmc_bus_read(card->rig.mmio, card->mmio + 0x600, 4), 8);
    assert_int_equal(vmc_bus_read(card->rig.mmio, card->mmio + 0x604, 4), 0x1e1e1e1e);
    assert_int_equal(vmc_bus_read(card->rig.mmio, card->mmio, 8), 0x00ffffffffffff00);
    assert_int_equal(vmc_bus_read(card->rig.mmio, card->mmio + 0x3fc, 4), 0);
}

static void test_a_mode_shows_what_is_drawn(void **state)
{
    Card *card = *state;
    uint32_t colour = 0x123456;

    set_mode(card, 800, 600, 32);
    assert_int_equal(look(card)->width, 800);
    draw(card, (10 * 800 + 20) * 4, &colour, 4);
    assert_int_equal(pixel(look(card), 20, 10), 0x123456);
    assert_true(vmc_display_needs_polling(card->display));
    set(card, ENABLE, 0);
    assert_int_equal(pixel(look(card), 20, 10), 0);
    set(card, ENABLE, 0x81); /* without clearing */
    assert_int_equal(pixel(look(card), 20, 10), 0x123456);
    set(card, ENABLE, 0);
    set(card, ENABLE, 0x01);
    assert_int_equal(pixel(look(card), 20, 10), 0);
}

static void test_the_page_of_registers_does_the_same(void **state)
{
    Card *card = *state;
    static const uint16_t mode[] = {1024, 768, 32, 0x41};

    for (unsigned i = 0; i < 4; i++)
        vmc_bus_write(card->rig.mmio, card->mmio + 0x502 + 2 * i, 2, mode[i]);
    assert_int_equal(look(card)->width, 1024);
    assert_int_equal(get(card, YRES), 768);
    assert_int_equal(vmc_bus_read(card->rig.mmio, card->mmio + 0x502, 4), 768u << 16 | 1024);
    assert_int_equal(vmc_bus_read(card->rig.mmio, card->mmio + 0x50e, 2), VMC_VGA_VRAM_MIN / 4096);
}

static void test_every_depth(void **state)
{
    static const struct {
        uint16_t bpp;
        uint8_t bytes[4];
        unsigned n;
        uint32_t colour;
    } depths[] = {
        {15, {0x00, 0x7c}, 2, 0xff0000},
        {16, {0xe0, 0x07}, 2, 0x00ff00},
        {24, {0x33, 0x22, 0x11}, 3, 0x112233},
        {32, {0x33, 0x22, 0x11, 0x77}, 4, 0x112233},
    };
    Card *card = *state;

    for (unsigned i = 0; i < G_N_ELEMENTS(depths); i++) {
        set_mode(card, WIDTH, HEIGHT, depths[i].bpp);
        look(card);
        draw(card, (uint64_t)(WIDTH + 5) * depths[i].n, depths[i].bytes, depths[i].n);
        assert_int_equal(pixel(look(card), 5, 1), depths[i].colour);
    }
    set_mode(card, WIDTH, HEIGHT, 8); /* is not drawn */
    assert_int_equal(pixel(look(card), 5, 1), 0);
}

static void test_panning(void **state)
{
    Card *card = *state;
    uint32_t colour = 0xabcdef;

    set_mode(card, 320, 200, 32);
    set(card, VIRT_WIDTH, 400);
    set(card, X_OFFSET, 30);
    set(card, Y_OFFSET, 100);
    draw(card, (107 * 400 + 35) * 4, &colour, 4);
    assert_int_equal(pixel(look(card), 5, 7), 0xabcdef);
    assert_int_equal(look(card)->width, 320);
}

/* A picture never reaches beyond the memory. */
static void test_modes_that_do_not_fit(void **state)
{
    Card *card = *state;

    set_mode(card, 4096, 4096, 32); /* 64 MiB of 16 */
    assert_int_equal(look(card)->height, 1024);
    set(card, VIRT_WIDTH, 0xffff);
    assert_int_equal(look(card)->height, VMC_VGA_VRAM_MIN / (0xffff * 4));
    set(card, Y_OFFSET, 0xffff);
    look(card);
    set_mode(card, 0, 0, 32);
    look(card);
    set_mode(card, 0xffff, 1, 32);
    look(card);
    set_mode(card, WIDTH, HEIGHT, 32);
    assert_int_equal(look(card)->height, HEIGHT);
}

static void test_the_picture_moves_with_its_bar(void **state)
{
    Card *card = *state;
    uint32_t colour = 0x00ff00;

    set_mode(card, WIDTH, HEIGHT, 32);
    look(card);
    rig_set_config(&card->rig, PCI_BASE_ADDRESS_0, 4, 0xd8000000);
    assert_ptr_equal(vmc_memory_host(card->rig.memory, 0xd8000000, 1), card->video);
    draw(card, 0, &colour, 4);
    assert_int_equal(pixel(look(card), 0, 0), 0x00ff00);
}

static void test_old_ports_remember(void **state)
{
    Card *card = *state;
    VmcBus *pio = card->rig.pio;

    vmc_bus_write(pio, 0x3d4, 2, 0x420a); /* index and data in one */
    vmc_bus_write(pio, 0x3d4, 1, 0x0a);
    assert_int_equal(vmc_bus_read(pio, 0x3d5, 1), 0x42);
    vmc_bus_write(pio, 0x3c8, 1, 2);
    for (unsigned i = 0; i < 3; i++)
        vmc_bus_write(pio, 0x3c9, 1, 10 + i);
    vmc_bus_write(pio, 0x3c7, 1, 2);
    assert_int_equal(vmc_bus_read(pio, 0x3c7, 1), 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(vmc_bus_read(pio, 0x3c9, 1), 10 + i);
    vmc_bus_read(pio, 0x3da, 1); /* then the next is an index */
    vmc_bus_write(pio, 0x3c0, 1, 0x13);
    vmc_bus_write(pio, 0x3c0, 1, 0x55);
    assert_int_equal(vmc_bus_read(pio, 0x3c1, 1), 0x55);
    assert_int_not_equal(vmc_bus_read(pio, 0x3da, 1),
                         vmc_bus_read(pio, 0x3da, 1)); /* a retrace comes and goes */
    vmc_bus_write(card->rig.mmio, card->mmio + 0x404, 2, 0x3301);
    vmc_bus_write(pio, 0x3c4, 1, 1);
    assert_int_equal(vmc_bus_read(pio, 0x3c5, 1), 0x33);
}

static void test_reset_and_end(void **state)
{
    Card *card = *state;
    uint32_t colour = 0x445566;

    set_mode(card, 800, 600, 32);
    vmc_pci_bus_reset(card->rig.pci);
    assert_int_equal(get(card, ENABLE), 0);
    look(card);
    VmcHeadlessNews news;
    vmc_headless_news(card->frontend, &news);
    assert_false(news.on);
    vmc_vga_set_mode(card->vga);
    vmc_headless_news(card->frontend, &news);
    assert_true(news.on);
    assert_int_equal(news.width, WIDTH);
    memcpy(card->video, &colour, 4);
    vmc_display_release(card->display); /* the machine ends: its last picture stays */
    vmc_pci_bus_reset(card->rig.pci);
    assert_int_equal(pixel(look(card), 0, 0), 0x445566);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_it_is_what_drivers_look_for),
        TEST(test_a_mode_shows_what_is_drawn),
        TEST(test_the_page_of_registers_does_the_same),
        TEST(test_every_depth),
        TEST(test_panning),
        TEST(test_modes_that_do_not_fit),
        TEST(test_the_picture_moves_with_its_bar),
        TEST(test_old_ports_remember),
        TEST(test_reset_and_end),
    };

    return cmocka_run_group_tests_name("vga", tests, NULL, NULL);
}
