/*
 * Data through the NVMe controller: every form in which a driver may say where it lies (PRPs, s4.3), both
 * ways, and the other commands of the NVM command set. On a real file, and for what the host does meanwhile
 * on a small file system that is full.
 */
#include "tests/unit/full_disk.h"
#include "tests/unit/nvme_rig.h"

#include <sys/stat.h>

#define MIB (1u << 20)

static unsigned io(Nr *n, uint8_t opcode, uint64_t sector, unsigned sectors, uint64_t prp1, uint64_t prp2)
{
    NrCommand cmd = nr_io(opcode, sector, sectors, prp1, prp2);

    return nr_status(nr_command(n, 1, &cmd));
}

static void put_entry(Nr *n, uint64_t list, unsigned index, uint64_t value)
{
    ((uint64_t *)nr_host(n, list, NR_PAGE))[index] = value;
}

/* ---- PRPs ---- */

static void test_one_page_and_two(void **state)
{
    Nr *n = *state;
    uint8_t *data = nr_host(n, n->data, MIB);

    assert_int_equal(io(n, NR_READ, 5, 1, n->data, 0), 0);
    nr_expect_sectors(data, 5, 1);
    nr_expect_all(data + 512, 0, 512);
    assert_int_equal(io(n, NR_READ, 40, 8, n->data, 0), 0);
    nr_expect_sectors(data, 40, 8);
    /* The second may lie before the first. */
    assert_int_equal(io(n, NR_READ, 16, 16, n->data + 8 * NR_PAGE, n->data), 0);
    nr_expect_sectors(data + 8 * NR_PAGE, 16, 8);
    nr_expect_sectors(data, 24, 8);
    /* From within a page on, to its end and beyond. */
    assert_int_equal(io(n, NR_READ, 100, 7, n->data + 512, 0), 0);
    nr_expect_sectors(data + 512, 100, 7);
    memset(data, 0, 4 * NR_PAGE);
    assert_int_equal(io(n, NR_READ, 100, 8, n->data + 516, n->data + 2 * NR_PAGE), 0);
    nr_expect_sectors(data + 516, 100, 6);
    nr_expect_all(data + 516 + 6 * 512, 106, 508);
    nr_expect_all(data + NR_PAGE, 0, NR_PAGE);
    nr_expect_all(data + 2 * NR_PAGE, 106, 4);
    nr_expect_all(data + 2 * NR_PAGE + 4, 107, 512);
    nr_expect_all(data + 2 * NR_PAGE + 516, 0, 512);
}

/* Pages in reverse, so that none goes on from the one before. */
static void test_a_list(void **state)
{
    Nr *n = *state;
    uint64_t list = rig_alloc(&n->rig, NR_PAGE);
    uint8_t *data = nr_host(n, n->data, MIB);
    unsigned pages = MIB / NR_PAGE;

    for (unsigned offset = 0; offset <= 8; offset += 8) { /* the list may begin anywhere in its page */
        for (unsigned i = 1; i < pages; i++)
            put_entry(n, list, i - 1 + offset / 8, n->data + (pages - 1 - i) * (uint64_t)NR_PAGE);
        memset(data, 0xee, MIB);
        assert_int_equal(
            io(n, NR_READ, 9, MIB / 512, n->data + (pages - 1) * (uint64_t)NR_PAGE, list + offset), 0);
        for (unsigned i = 0; i < pages; i++)
            nr_expect_sectors(data + (pages - 1 - i) * (size_t)NR_PAGE, 9 + i * 8, 8);
    }
    for (unsigned i = 0; i < pages; i++)
        memset(data + i * (size_t)NR_PAGE, (int)(0x80 | i), NR_PAGE);
    assert_int_equal(io(n, NR_WRITE, 1000, MIB / 512, n->data + (pages - 1) * (uint64_t)NR_PAGE, list + 8),
                     0);
    for (unsigned i = 0; i < pages; i++)
        nr_expect_file(n, 1000 + i * 8, (uint8_t)(0x80 | (pages - 1 - i)), 8);
    nr_expect_file(n, 999, (uint8_t)999, 1);
    nr_expect_file(n, 1000 + MIB / 512, (uint8_t)(1000 + MIB / 512), 1);
}

/* A list near the end of its page goes on in another, which is a whole one. */
static void test_lists_in_a_chain(void **state)
{
    Nr *n = *state;
    uint64_t first = rig_alloc(&n->rig, NR_PAGE), second = rig_alloc(&n->rig, NR_PAGE);
    uint8_t *data = nr_host(n, n->data, MIB);

    for (unsigned at = 508; at < 512; at++) {
        unsigned direct = 511 - at; /* entries in the first list, before the pointer */
        for (unsigned i = 0; i < 9; i++)
            put_entry(n, i < direct ? first : second, i < direct ? at + i : i - direct,
                      n->data + (1 + i) * (uint64_t)NR_PAGE);
        put_entry(n, first, 511, second);
        memset(data, 0xee, 12 * NR_PAGE);
        assert_int_equal(io(n, NR_READ, 77, 79, n->data + 512, first + at * 8), 0);
        nr_expect_sectors(data + 512, 77, 79);
        nr_expect_all(data + 80 * 512, 0xee, NR_PAGE);
    }
    /* With one page left the last place holds that, and is no pointer. */
    put_entry(n, first, 510, n->data + NR_PAGE);
    put_entry(n, first, 511, n->data + 2 * NR_PAGE);
    assert_int_equal(io(n, NR_READ, 3, 24, n->data, first + 510 * 8), 0);
    nr_expect_sectors(data, 3, 24);
}

static void test_prps_that_cannot_be(void **state)
{
    Nr *n = *state;
    uint64_t list = rig_alloc(&n->rig, NR_PAGE), other = rig_alloc(&n->rig, NR_PAGE);
    uint8_t *data = nr_host(n, n->data, MIB);

    memset(data, 0xee, 4 * NR_PAGE);
    assert_int_equal(io(n, NR_READ, 0, 1, n->data + 2, 0), 0x13);
    assert_int_equal(io(n, NR_READ, 0, 16, n->data, n->data + NR_PAGE + 4), 0x13);
    assert_int_equal(io(n, NR_READ, 0, 24, n->data, list + 4), 0x13);
    put_entry(n, list, 0, n->data + NR_PAGE);
    put_entry(n, list, 1, n->data + 2 * NR_PAGE + 512); /* an entry of a list within a page */
    assert_int_equal(io(n, NR_READ, 0, 24, n->data, list), 0x13);
    put_entry(n, list, 511, other + 8); /* a chained list within a page */
    assert_int_equal(io(n, NR_READ, 0, 24, n->data, list + 511 * 8), 0x13);
    const uint64_t nowhere[] = {RIG_HOLE, n->bar, RIG_RAM, UINT64_MAX - 4095, RIG_ROM};
    for (unsigned i = 0; i < G_N_ELEMENTS(nowhere); i++) {
        uint64_t at = nowhere[i];
        assert_int_equal(io(n, NR_READ, 0, 1, at, 0), 0x04);
        assert_int_equal(io(n, NR_READ, 0, 16, n->data, at), 0x04);
        put_entry(n, list, 1, at);
        assert_int_equal(io(n, NR_READ, 0, 24, n->data, list), 0x04);
        if (at == RIG_ROM)
            continue; /* may be read */
        assert_int_equal(io(n, NR_WRITE, 0, 1, at, 0), 0x04);
        assert_int_equal(io(n, NR_READ, 0, 24, n->data, at), 0x04);
        put_entry(n, list, 511, at);
        assert_int_equal(io(n, NR_READ, 0, 24, n->data, list + 511 * 8), 0x04);
    }
    nr_expect_all(data, 0xee, 4 * NR_PAGE); /* nothing was moved for any of them */
    nr_expect_file(n, 0, 0, 1);
    assert_int_equal(io(n, NR_WRITE, 0, 1, RIG_ROM, 0), 0);
    /* A list that is its own next ends when the data does. */
    put_entry(n, list, 511, list);
    for (unsigned i = 0; i < 511; i++)
        put_entry(n, list, i, n->data);
    assert_int_equal(io(n, NR_READ, 0, MIB / 512, n->data, list + 511 * 8), 0);
}

/* Memory above 4 GiB. */
static void test_high_memory(void **state)
{
    Nr *n = *state;

    assert_int_equal(io(n, NR_READ, 50, 16, RIG_HIGH + NR_PAGE, RIG_HIGH + RIG_RAM - NR_PAGE), 0);
    nr_expect_sectors(nr_host(n, RIG_HIGH + NR_PAGE, NR_PAGE), 50, 8);
    nr_expect_sectors(nr_host(n, RIG_HIGH + RIG_RAM - NR_PAGE, NR_PAGE), 58, 8);
}

/* ---- ranges ---- */

static void test_ranges(void **state)
{
    Nr *n = *state;
    NrCommand cmd = nr_io(NR_READ, 0, 1, n->data, 0);

    assert_int_equal(nr_transfer(n, NR_READ, NR_SECTORS - 1, 1), 0);
    assert_int_equal(nr_transfer(n, NR_READ, NR_SECTORS - 1, 2), 0x80);
    assert_int_equal(nr_transfer(n, NR_READ, NR_SECTORS, 1), 0x80);
    assert_int_equal(nr_transfer(n, NR_WRITE, UINT64_MAX, 1), 0x80);
    assert_int_equal(nr_transfer(n, NR_WRITE, UINT64_MAX, 2), 0x80);
    assert_int_equal(nr_transfer(n, NR_READ, UINT64_MAX / 512, 1), 0x80);
    assert_int_equal(nr_transfer(n, NR_READ, 1ull << 55, 1), 0x80);
    assert_int_equal(nr_transfer(n, NR_ZEROES, NR_SECTORS - 1, 2), 0x80);
    assert_int_equal(nr_transfer(n, NR_COMPARE, NR_SECTORS - 1, 2), 0x80);
    assert_int_equal(nr_transfer(n, NR_READ, 0, MIB / 512 + 1), 0x02); /* more than MDTS */
    assert_int_equal(nr_transfer(n, NR_WRITE, 0, MIB / 512 + 1), 0x02);
    cmd.nsid = 2;
    assert_int_equal(nr_status(nr_command(n, 1, &cmd)), 0x0b);
    cmd.nsid = UINT32_MAX;
    assert_int_equal(nr_status(nr_command(n, 1, &cmd)), 0x0b);
    cmd.nsid = 1;
    cmd.flags = 0x40; /* SGL */
    assert_int_equal(nr_status(nr_command(n, 1, &cmd)), 0x02);
    cmd.flags = 1; /* fused */
    assert_int_equal(nr_status(nr_command(n, 1, &cmd)), 0x02);
    for (unsigned opcode = 0; opcode < 256; opcode++)
        if (opcode > 9 || opcode == 3 || opcode == 4 || opcode == 6 || opcode == 7)
            assert_int_equal(nr_transfer(n, (uint8_t)opcode, 0, 1), 0x01);
}

/* ---- zeroes, deallocating, comparing ---- */

static void test_write_zeroes(void **state)
{
    Nr *n = *state;

    assert_int_equal(nr_transfer(n, NR_ZEROES, 10, 3), 0);
    nr_expect_file(n, 9, 9, 1);
    nr_expect_file(n, 10, 0, 3);
    nr_expect_file(n, 13, 13, 1);
    /* All of it at once, and the space with it. */
    NrCommand cmd = nr_io(NR_ZEROES, 0, NR_SECTORS, 0, 0);
    cmd.dw12 |= 1u << 25;
    assert_int_equal(nr_status(nr_command(n, 1, &cmd)), 0);
    nr_expect_file(n, 0, 0, NR_SECTORS);
    struct stat st;
    assert_int_equal(stat(n->path, &st), 0);
    assert_int_equal(st.st_blocks, 0);
}

typedef struct Range {
    uint32_t attributes, sectors;
    uint64_t sector;
} Range;

static unsigned deallocate(Nr *n, const Range *ranges, unsigned count, uint32_t attributes)
{
    NrCommand cmd = {.opcode = NR_DSM, .nsid = 1, .prp1 = n->data, .dw10 = count - 1, .dw11 = attributes};

    memcpy(nr_host(n, n->data, NR_PAGE), ranges, count * sizeof(*ranges));
    return nr_status(nr_command(n, 1, &cmd));
}

static void test_deallocate(void **state)
{
    Nr *n = *state;
    const Range ranges[] = {{0, 64, 64}, {0, 0, 5}, {0, 128, 256}, {0, 0, NR_SECTORS}};
    const Range wrong[] = {{0, 8, 800}, {0, 2, NR_SECTORS - 1}};
    const Range beyond[] = {{0, UINT32_MAX, UINT64_MAX}};
    Range many[256];
    struct stat before, after;

    assert_int_equal(stat(n->path, &before), 0);
    assert_int_equal(deallocate(n, ranges, 4, 1 << 2), 0);
    nr_expect_file(n, 63, 63, 1);
    nr_expect_file(n, 64, 0, 64);
    nr_expect_file(n, 128, 128, 1);
    nr_expect_file(n, 256, 0, 128);
    nr_expect_file(n, 5, 5, 1);
    assert_int_equal(stat(n->path, &after), 0);
    assert_true(after.st_blocks <= before.st_blocks - 192);
    /* All are looked at before the first is touched. */
    assert_int_equal(deallocate(n, wrong, 2, 1 << 2), 0x80);
    assert_int_equal(deallocate(n, beyond, 1, 1 << 2), 0x80);
    nr_expect_file(n, 800, 800 & 0xff, 1);
    assert_int_equal(deallocate(n, wrong, 1, 0), 0); /* a hint of another kind */
    nr_expect_file(n, 800, 800 & 0xff, 1);
    for (unsigned i = 0; i < 256; i++)
        many[i] = (Range){0, 8, 1024 + 8 * i};
    assert_int_equal(deallocate(n, many, 256, 1 << 2), 0);
    nr_expect_file(n, 1024, 0, 2048);
    nr_expect_file(n, 3072, 3072 & 0xff, 1);
}

static void test_compare(void **state)
{
    Nr *n = *state;
    uint64_t list = rig_alloc(&n->rig, NR_PAGE);
    uint8_t *data = nr_host(n, n->data, MIB);

    for (unsigned i = 1; i < MIB / NR_PAGE; i++)
        put_entry(n, list, i - 1, n->data + i * (uint64_t)NR_PAGE);
    assert_int_equal(io(n, NR_READ, 600, MIB / 512, n->data, list), 0);
    assert_int_equal(io(n, NR_COMPARE, 600, MIB / 512, n->data, list), 0);
    data[MIB - 1] ^= 1;
    assert_int_equal(io(n, NR_COMPARE, 600, MIB / 512, n->data, list), 0x285);
    assert_int_equal(io(n, NR_COMPARE, 600, MIB / 512 - 1, n->data, list), 0);
    data[0] ^= 1;
    assert_int_equal(io(n, NR_COMPARE, 600, 1, n->data, 0), 0x285);
}

static void test_flush(void **state)
{
    Nr *n = *state;
    NrCommand cmd = {.opcode = NR_FLUSH, .nsid = 1};

    assert_int_equal(nr_command(n, 1, &cmd).status, 0);
    cmd.nsid = UINT32_MAX;
    assert_int_equal(nr_command(n, 1, &cmd).status, 0);
    cmd.nsid = 0;
    assert_int_equal(nr_status(nr_command(n, 1, &cmd)), 0x0b);
}

/* ---- many at once ---- */

/* A full queue of 1024, more than are worked on at a time; each comes back once, with its own data. */
static void test_many_in_flight(void **state)
{
    Nr *n = *state;
    NrQueue *q = nr_create(n, 2, 1024, true);
    uint64_t area = rig_alloc(&n->rig, 1023 * 512);
    uint8_t seen[1023] = {0};
    uint16_t first = n->next_cid;

    for (unsigned i = 0; i < 1023; i++) {
        NrCommand cmd = nr_io(NR_READ, i * 3, 1, area + i * 512ull, 0);
        nr_put(n, q, &cmd);
        if (i % 100 == 0)
            nr_doorbell(n, 2, false, q->tail);
    }
    nr_doorbell(n, 2, false, q->tail);
    for (unsigned i = 0; i < 1023; i++) {
        NrCompletion done = nr_await(n, q);
        unsigned which = (uint16_t)(done.cid - first);
        assert_int_equal(done.status, 0);
        assert_true(which < 1023 && !seen[which]++);
        nr_expect_all(nr_host(n, area + which * 512ull, 512), (uint8_t)(which * 3), 512);
    }
}

/* ---- the host's side ---- */

static void test_an_error_is_told_once(void **state)
{
    Heard *heard = heard_new();
    Nr *n = nr_new_with(&(NrOptions){.hooks = &heard->hooks});

    nr_bring_up(n, 64);
    assert_int_equal(truncate(n->path, 10 * 512), 0);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(nr_transfer(n, NR_READ, 20, 1), 0x281);
    await_heard(heard, &heard->logs, 1);
    expect_sentence(heard, n->path, "Reading from disk");
    assert_int_equal(heard->logs, 1);
    assert_int_equal(nr_transfer(n, NR_READ, 9, 1), 0);
    nr_free(n);
    heard_free(heard);
}

static void test_a_write_without_room_waits(void **state)
{
    NrCompletion done;

    if (!small_folder)
        skip();
    Heard *heard = heard_new();
    Nr *n = nr_new_with(&(NrOptions){.folder = small_folder, .sparse = true, .hooks = &heard->hooks});
    NrQueue *q = (nr_bring_up(n, 64), &n->queues[1]);
    NrCommand cmd = nr_io(NR_WRITE, 8, 8, n->data, 0);
    fill_small_disk();
    memset(nr_host(n, n->data, NR_PAGE), 0xaa, NR_PAGE);
    nr_send(n, q, &cmd);
    await_heard(heard, &heard->attentions, 1);
    expect_sentence(heard, n->path, "no room");
    assert_false(nr_wait(n, q, &done, 20000));
    cmd = nr_io(NR_READ, 100, 1, n->data + NR_PAGE, 0); /* reads go on */
    nr_send(n, q, &cmd);
    assert_int_equal(nr_await(n, q).status, 0);
    vmc_pci_bus_resumed(n->rig.pci);
    await_heard(heard, &heard->attentions, 2);
    assert_false(nr_wait(n, q, &done, 20000));
    make_room();
    vmc_pci_bus_resumed(n->rig.pci);
    assert_int_equal(nr_await(n, q).status, 0);
    nr_expect_file(n, 8, 0xaa, 8);
    /* A reset lets go of one that waits. */
    fill_small_disk();
    cmd = nr_io(NR_WRITE, 64, 8, n->data, 0);
    nr_send(n, q, &cmd);
    await_heard(heard, &heard->attentions, 3);
    nr_disable(n);
    make_room();
    vmc_pci_bus_resumed(n->rig.pci);
    nr_enable(n, 8);
    nr_create(n, 1, 8, true);
    nr_expect_file(n, 64, 0, 8);
    assert_int_equal(nr_transfer(n, NR_WRITE, 64, 8), 0);
    nr_free(n);
    heard_free(heard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_page_and_two, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_a_list, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_lists_in_a_chain, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_prps_that_cannot_be, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_high_memory, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_ranges, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_write_zeroes, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_deallocate, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_compare, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_flush, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_many_in_flight, nr_setup, nr_teardown),
        cmocka_unit_test(test_an_error_is_told_once),
        cmocka_unit_test(test_a_write_without_room_waits),
    };

    bool mounted = mount_small();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    if (mounted)
        unmount_small();
    return failed;
}
