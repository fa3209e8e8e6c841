/*
 * USB storage through the xHCI, on a real file: commands of sticks and CD-ROMs, where driver and device
 * differ about data, and what happens to a request when the device is reset or pulled out meanwhile.
 */
#include "tests/unit/storage_rig.h"

#include <errno.h>

static int setup_stick(void **state)
{
    *state = storage_new(&(StorageOptions){0});
    return 0;
}

static int setup_readonly(void **state)
{
    *state = storage_new(&(StorageOptions){.readonly = true});
    return 0;
}

static int setup_cdrom(void **state)
{
    *state = storage_new(&(StorageOptions){.cdrom = true, .readonly = true});
    return 0;
}

/* ---- what a stick says ---- */

static void test_inquiry_and_capacity(void **state)
{
    Storage *s = *state;
    uint8_t *p = data_of(s);
    uint8_t capacity[10] = {READ_CAPACITY}, capacity_16[16] = {SERVICE_ACTION_IN_16, 0x10, [13] = 32};

    Result result = short_command(s, INQUIRY, 36, 36, true);
    assert_int_equal(result.status, 0);
    assert_int_equal(p[0], TYPE_DISK);
    assert_memory_equal(p + 8, "ESPALIER", 8);
    /* Less than there was room for. */
    result = short_command(s, INQUIRY, 255, 255, true);
    assert_int_equal(result.code, XR_SHORT);
    assert_int_equal(result.moved, 36);
    assert_int_equal(result.residue, 255 - 36);
    assert_int_equal(command(s, capacity, 10, 8, true).status, 0);
    assert_int_equal(p[2] << 8 | p[3], BLOCKS - 1);
    assert_int_equal(p[6] << 8 | p[7], 512);
    assert_int_equal(command(s, capacity_16, 16, 32, true).status, 0);
    assert_int_equal(p[6] << 8 | p[7], BLOCKS - 1);
    for (unsigned page = 0; page < 256; page++) {
        uint8_t vital[6] = {INQUIRY, 1, (uint8_t)page, 0, 255};
        bool known = page == 0 || page == 0x80 || page == 0x83 || page == 0xb0 || page == 0xb1;
        assert_int_equal(command(s, vital, 6, 255, true).status, !known);
        if (known)
            assert_int_equal(p[1], page);
    }
    xr_request(&s->x, &s->dev, 0xa1, 0xfe, 0, 0, 1);
    assert_int_equal(*(uint8_t *)xr_data(&s->x, 1), 0);
    uint8_t luns[12] = {REPORT_LUNS, [9] = 16};
    assert_int_equal(command(s, luns, 12, 16, true).status, 0);
    uint8_t formats[10] = {0x23, [8] = 12};
    assert_int_equal(command(s, formats, 10, 12, true).status, 0);
    assert_int_equal(p[8], 2);
}

static void test_mode_pages(void **state)
{
    Storage *s = *state;
    uint8_t *p = data_of(s);
    uint8_t six[6] = {MODE_SENSE, 0, 0x3f, 0, 192}, ten[10] = {MODE_SENSE_10, 0, 8, 0, 0, 0, 0, 0, 64};
    uint8_t saved[6] = {MODE_SENSE, 0, 0xff, 0, 192}, unknown[6] = {MODE_SENSE, 0, 0x2a, 0, 192};
    uint8_t changeable[6] = {MODE_SENSE, 0, 0x48, 0, 192};

    assert_int_equal(command(s, six, 6, 192, true).status, 0);
    assert_int_equal(p[0], 4 + 12 + 20 + 12 - 1);
    assert_int_equal(p[2], 0x10);
    assert_int_equal(command(s, ten, 10, 64, true).status, 0);
    assert_int_equal(p[1], 8 + 20 - 2);
    assert_int_equal(p[8 + 2], 4); /* a write cache */
    assert_int_equal(command(s, changeable, 6, 192, true).status, 0);
    assert_int_equal(p[4 + 2], 0);
    assert_int_equal(command(s, saved, 6, 192, true).status, 1);
    assert_int_equal(command(s, unknown, 6, 192, true).status, 1);
    assert_int_equal(sense(s), 0x052400);
    assert_int_equal(short_command(s, MODE_SELECT, 24, 24, false).status, 0);
}

static void test_bytes_go_and_come_back(void **state)
{
    Storage *s = *state;
    uint8_t *p = data_of(s), *wanted = g_malloc(300000), *seen = g_malloc(300000);

    /* Larger than the device's own buffer, and not on its boundaries. */
    unsigned count = 300000 / 512;
    for (unsigned i = 0; i < count * 512; i++)
        wanted[i] = (uint8_t)(i * 7 + i / 512);
    memcpy(p, wanted, count * 512);
    assert_int_equal(write_blocks(s, 3, count).status, 0);
    uint8_t synchronize[10] = {SYNCHRONIZE_CACHE};
    assert_int_equal(command(s, synchronize, 10, 0, false).status, 0);
    assert_int_equal(s->gate->flushes, 1);
    assert_int_equal(pread(s->fd, seen, count * 512, 3 * 512), count * 512);
    assert_memory_equal(seen, wanted, count * 512);
    memset(p, 0, SIZE);
    Result result = read_blocks(s, 3, count, 512);
    assert_int_equal(result.status, 0);
    assert_int_equal(result.residue, 0);
    assert_memory_equal(p, wanted, count * 512);
    /* Other lengths of the same command. */
    uint8_t six[6] = {READ_6, 0, 0, 4, 1}, twelve[12] = {READ_12, 0, 0, 0, 0, 5, 0, 0, 0, 1};
    uint8_t sixteen[16] = {READ_16, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1};
    uint8_t fua[16] = {WRITE_16, 8, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1};
    assert_int_equal(command(s, six, 6, 512, true).status, 0);
    assert_memory_equal(p, wanted + 512, 512);
    assert_int_equal(command(s, twelve, 12, 512, true).status, 0);
    assert_memory_equal(p, wanted + 1024, 512);
    assert_int_equal(command(s, sixteen, 16, 512, true).status, 0);
    assert_memory_equal(p, wanted + 1536, 512);
    assert_int_equal(command(s, fua, 16, 512, false).status, 0);
    assert_int_equal(s->gate->flushes, 2);
    uint8_t verify[10] = {VERIFY, [7] = 4}, compare[10] = {VERIFY, 2, [8] = 1};
    assert_int_equal(command(s, verify, 10, 0, false).status, 0);
    assert_int_equal(command(s, compare, 10, 512, false).status, 1);
    g_free(wanted);
    g_free(seen);
}

static void test_a_transfer_of_many_trbs(void **state)
{
    Storage *s = *state;
    uint8_t cdb[10] = {READ_10, [7] = 4}; /* 1024 blocks: twice the device's buffer */
    Result result = {0};

    send_cbw(s, cdb, 10, 512 * 1024, true);
    uint64_t last = 0;
    for (unsigned i = 0; i < 8; i++)
        last = xr_put(&s->x, &s->dev.rings[3], s->data + 65536 * i, 65536,
                      1 << 10 | 1 << 2 | (i < 7 ? 16 : 1 << 5));
    xr_ring_endpoint(&s->x, &s->dev, 3);
    XrTrb event = xr_event(&s->x);
    assert_int_equal(event.parameter, last);
    assert_int_equal(event.status, XR_SUCCESS << 24);
    take_csw(s, &result);
    assert_int_equal(result.status, 0);
    for (unsigned i = 0; i < 512 * 1024; i += 4096)
        assert_int_equal(data_of(s)[i], i >> 12);
}

/* ---- what is refused ---- */

static void test_beyond_the_end(void **state)
{
    Storage *s = *state;

    Result result = read_blocks(s, BLOCKS - 1, 2, 512);
    assert_int_equal(result.status, 1);
    assert_int_equal(result.code, XR_STALL);
    assert_int_equal(result.residue, 1024);
    assert_int_equal(sense(s), 0x052100);
    assert_int_equal(sense(s), 0);
    assert_int_equal(write_blocks(s, UINT32_MAX, 8).status, 1);
    assert_int_equal(sense(s), 0x052100);
    uint8_t far[16] = {READ_16, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1};
    assert_int_equal(command(s, far, 16, 512, true).status, 1);
    uint8_t many[12] = {READ_12, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff};
    assert_int_equal(command(s, many, 12, 512, true).status, 1);
    assert_int_equal(read_blocks(s, BLOCKS - 1, 1, 512).status, 0);
    assert_int_equal(short_command(s, 0xee, 0, 0, false).status, 1);
    assert_int_equal(sense(s), 0x052000);
}

static void test_read_only(void **state)
{
    Storage *s = *state;
    uint8_t six[6] = {MODE_SENSE, 0, 0x3f, 0, 192};

    assert_int_equal(write_blocks(s, 0, 1).status, 1);
    assert_int_equal(sense(s), 0x072700);
    assert_int_equal(command(s, six, 6, 192, true).status, 0);
    assert_int_equal(data_of(s)[2], 0x90);
}

/* Where the driver's and the device's idea of the data differ (Bulk-Only Transport s6.7). */
static void test_phase_errors(void **state)
{
    Storage *s = *state;
    uint8_t one_block[10] = {READ_10, [8] = 1}, write_one[10] = {WRITE_10, [8] = 1};
    uint8_t ready[6] = {TEST_UNIT_READY};

    assert_int_equal(command(s, one_block, 10, 256, true).status, 2);
    assert_int_equal(command(s, one_block, 10, 512, false).status, 2);
    assert_int_equal(command(s, write_one, 10, 512, true).status, 2);
    assert_int_equal(command(s, one_block, 10, 0, false).status, 2);
    /* More room than needed, in one transfer, in another behind it, for nothing at all. */
    Result result = command(s, one_block, 10, 1024, true);
    assert_int_equal(result.status, 0);
    assert_int_equal(result.code, XR_SHORT);
    assert_int_equal(result.residue, 512);
    send_cbw(s, one_block, 10, 1024, true);
    assert_int_equal(xr_transfer(&s->x, &s->dev, 3, s->data, 512).code, XR_SUCCESS);
    assert_int_equal(xr_transfer(&s->x, &s->dev, 3, s->data, 512).code, XR_STALL);
    clear_halt(s, 3);
    take_csw(s, &result);
    assert_int_equal(result.residue, 512);
    result = command(s, ready, 6, 64, true);
    assert_int_equal(result.code, XR_STALL);
    assert_int_equal(result.status, 0);
    result = command(s, write_one, 10, 1024, false);
    assert_int_equal(result.code, XR_STALL);
    assert_int_equal(result.residue, 512);
}

static void test_a_bad_wrapper_needs_a_reset(void **state)
{
    Storage *s = *state;
    uint8_t *p = rig_host(&s->x.rig, s->cbw, 31);

    memset(p, 0, 31);
    assert_int_equal(xr_transfer(&s->x, &s->dev, 4, s->cbw, 31).code, XR_STALL);
    assert_int_equal(xr_transfer(&s->x, &s->dev, 3, s->csw, 13).code, XR_STALL);
    /* Clearing the halts alone does not help. */
    clear_halt(s, 3);
    clear_halt(s, 4);
    assert_int_equal(xr_transfer(&s->x, &s->dev, 4, s->cbw, 31).code, XR_STALL);
    xr_recover(&s->x, &s->dev, 4);
    xr_request(&s->x, &s->dev, 0x21, 0xff, 0, 0, 0);
    xr_request(&s->x, &s->dev, 2, 1, 0, 0x81, 0);
    xr_request(&s->x, &s->dev, 2, 1, 0, 2, 0);
    assert_int_equal(short_command(s, TEST_UNIT_READY, 0, 0, false).status, 0);
    assert_int_equal(xr_transfer(&s->x, &s->dev, 4, s->cbw, 30).code, XR_STALL);
}

static void test_errors_of_the_disk(void **state)
{
    Storage *s = *state;

    s->gate->error = -EIO;
    assert_int_equal(read_blocks(s, 0, 8, 512).status, 1);
    assert_int_equal(sense(s), 0x031100);
    assert_int_equal(write_blocks(s, 0, 8).status, 1);
    assert_int_equal(sense(s), 0x030c00);
    uint8_t synchronize[10] = {SYNCHRONIZE_CACHE};
    assert_int_equal(command(s, synchronize, 10, 0, false).status, 1);
    s->gate->error = -ENOSPC;
    assert_int_equal(write_blocks(s, 0, 8).status, 1);
    assert_int_equal(sense(s), 0x072707);
    s->gate->error = 0;
    assert_int_equal(read_blocks(s, 0, 8, 512).status, 0);
}

static void test_eject_and_load(void **state)
{
    Storage *s = *state;

    assert_int_equal(short_command(s, ALLOW_MEDIUM_REMOVAL, 1, 0, false).status, 0);
    assert_int_equal(short_command(s, START_STOP, 2, 0, false).status, 1);
    assert_int_equal(sense(s), 0x055302);
    assert_int_equal(short_command(s, ALLOW_MEDIUM_REMOVAL, 0, 0, false).status, 0);
    assert_int_equal(short_command(s, START_STOP, 2, 0, false).status, 0);
    assert_int_equal(s->gate->flushes, 1);
    assert_int_equal(short_command(s, TEST_UNIT_READY, 0, 0, false).status, 1);
    assert_int_equal(sense(s), 0x023a02);
    assert_int_equal(read_blocks(s, 0, 1, 512).status, 1);
    assert_int_equal(short_command(s, START_STOP, 3, 0, false).status, 0);
    assert_int_equal(short_command(s, TEST_UNIT_READY, 0, 0, false).status, 1);
    assert_int_equal(sense(s), 0x062800);
    assert_int_equal(short_command(s, TEST_UNIT_READY, 0, 0, false).status, 0);
}

/* ---- CD-ROM ---- */

static void test_cdrom(void **state)
{
    Storage *s = *state;
    uint8_t *p = data_of(s);
    uint8_t capacity[10] = {READ_CAPACITY}, toc[10] = {READ_TOC, 0, [8] = 20},
            msf[10] = {READ_TOC, 2, [8] = 20};
    uint8_t config[10] = {0x46, [8] = 128}, one[10] = {0x46, 2, 0, 0x10, [8] = 128},
            event[10] = {0x4a, 1, 0, 0, 0x10, [8] = 8};
    uint8_t disc[10] = {0x51, [8] = 34}, session[10] = {READ_TOC, 0, 1, [8] = 12},
            full[10] = {READ_TOC, 0, 2, [8] = 20};

    assert_int_equal(short_command(s, INQUIRY, 36, 36, true).status, 0);
    assert_int_equal(p[0], TYPE_ROM);
    assert_int_equal(command(s, capacity, 10, 8, true).status, 0);
    assert_int_equal(p[2] << 8 | p[3], SIZE / 2048 - 1);
    assert_int_equal(p[6] << 8 | p[7], 2048);
    assert_int_equal(read_blocks(s, 6, 2, 2048).status, 0);
    assert_int_equal(p[0], 3);
    assert_int_equal(p[2048], 3);
    assert_int_equal(command(s, toc, 10, 20, true).status, 0);
    assert_int_equal(p[1], 18);
    assert_int_equal(p[4 + 8 + 2], 0xaa);
    assert_int_equal(p[4 + 8 + 6] << 8 | p[4 + 8 + 7], SIZE / 2048);
    assert_int_equal(command(s, msf, 10, 20, true).status, 0);
    assert_int_equal(p[4 + 6], 2); /* seconds */
    assert_int_equal(command(s, session, 10, 12, true).status, 0);
    assert_int_equal(command(s, full, 10, 20, true).status, 1);
    assert_int_equal(command(s, config, 10, 128, true).status, 0);
    assert_int_equal(p[6] << 8 | p[7], 8);
    assert_int_equal(command(s, one, 10, 128, true).moved, 8 + 12);
    assert_int_equal(command(s, event, 10, 8, true).status, 0);
    assert_int_equal(p[5], 2);
    assert_int_equal(command(s, disc, 10, 34, true).status, 0);
    assert_int_equal(write_blocks(s, 0, 4).status, 1);
    assert_int_equal(sense(s), 0x052000);
    assert_int_equal(short_command(s, START_STOP, 2, 0, false).status, 0);
    assert_int_equal(command(s, event, 10, 8, true).status, 0);
    assert_int_equal(p[5], 1);
}

/* ---- when it is taken away ---- */

static void test_reset_while_the_disk_is_slow(void **state)
{
    Storage *s = *state;
    uint8_t cdb[10] = {READ_10, [8] = 8};

    set_gate(s->gate, true);
    send_cbw(s, cdb, 10, 4096, true);
    xr_queue(&s->x, &s->dev, 3, s->data, 4096);
    await_waiting(s->gate);
    /* The controller's reset does not wait for the disk. */
    xr_start(&s->x);
    bring_up(s);
    queue_cbw(s, (uint8_t[6]){TEST_UNIT_READY}, 6, 0, false);
    xr_expect_quiet(&s->x, 0); /* the device is still at it */
    memset(data_of(s), 0xee, 4096);
    set_gate(s->gate, false);
    assert_int_equal(xr_code(xr_event(&s->x)), XR_SUCCESS);
    Result result;
    take_csw(s, &result);
    assert_int_equal(result.status, 0);
    assert_int_equal(data_of(s)[0], 0xee); /* nothing of the old request came */
    assert_int_equal(read_blocks(s, 8, 8, 512).status, 0);
    assert_int_equal(data_of(s)[0], 1);
}

static gpointer open_soon(gpointer data)
{
    g_usleep(30000);
    set_gate(data, false);
    return NULL;
}

static void test_pulled_out_while_writing(void **state)
{
    Storage *s = *state;
    uint8_t cdb[10] = {WRITE_10, [7] = 2}; /* 256 KiB: the device's whole buffer */
    uint8_t seen[512];

    memset(data_of(s), 0x77, 512 * 1024);
    set_gate(s->gate, true);
    send_cbw(s, cdb, 10, 256 * 1024, false);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(xr_transfer(&s->x, &s->dev, 4, s->data, 65536).code, XR_SUCCESS);
    uint64_t status = xr_queue(&s->x, &s->dev, 3, s->csw, 13);
    await_waiting(s->gate);
    vmc_xhci_detach(s->x.rig.dev, s->usb);
    XrTrb event = xr_event(&s->x);
    assert_int_equal(event.parameter, status);
    assert_int_equal(xr_code(event), XR_TRANSACTION_ERROR);
    assert_false(xr_portsc(&s->x, 5) & 1);
    /* Freeing waits for the disk, which gets what it was given. */
    GThread *opener = g_thread_new("opener", open_soon, s->gate);
    assert_false(s->gone);
    vmc_usb_device_free(s->usb);
    assert_true(s->gone);
    g_thread_join(opener);
    assert_int_equal(pread(s->fd, seen, 512, 100 * 512), 512);
    assert_int_equal(seen[0], 0x77);
    /* Another one in its place. */
    s->gone = false;
    s->usb = new_device(s, false, false);
    assert_true(vmc_xhci_attach(s->x.rig.dev, s->usb, NULL));
    assert_int_equal(xr_portsc(&s->x, 5) & 3, 3);
    assert_int_equal(xr_command(&s->x, 0, 10, s->dev.slot, 0), XR_SUCCESS);
    bring_up(s);
    assert_int_equal(read_blocks(s, 100, 1, 512).status, 0);
    assert_int_equal(data_of(s)[0], 0x77);
}

static void test_machine_ends_while_reading(void **state)
{
    Storage *s = *state;
    uint8_t cdb[10] = {READ_10, [8] = 8};

    set_gate(s->gate, true);
    send_cbw(s, cdb, 10, 4096, true);
    xr_queue(&s->x, &s->dev, 3, s->data, 4096);
    await_waiting(s->gate);
    g_thread_unref(g_thread_new("opener", open_soon, s->gate));
    /* The rest is teardown's. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_inquiry_and_capacity, setup_stick, teardown),
        cmocka_unit_test_setup_teardown(test_mode_pages, setup_stick, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_go_and_come_back, setup_stick, teardown),
        cmocka_unit_test_setup_teardown(test_a_transfer_of_many_trbs, setup_stick, teardown),
        cmocka_unit_test_setup_teardown(test_beyond_the_end, setup_stick, teardown),
        cmocka_unit_test_setup_teardown(test_read_only, setup_readonly, teardown),
        cmocka_unit_test_setup_teardown(test_phase_errors, setup_stick, teardown),
        cmocka_unit_test_setup_teardown(test_a_bad_wrapper_needs_a_reset, setup_stick, teardown),
        cmocka_unit_test_setup_teardown(test_errors_of_the_disk, setup_stick, teardown),
        cmocka_unit_test_setup_teardown(test_eject_and_load, setup_stick, teardown),
        cmocka_unit_test_setup_teardown(test_cdrom, setup_cdrom, teardown),
        cmocka_unit_test_setup_teardown(test_reset_while_the_disk_is_slow, setup_stick, teardown),
        cmocka_unit_test_setup_teardown(test_pulled_out_while_writing, setup_stick, teardown),
        cmocka_unit_test_setup_teardown(test_machine_ends_while_reading, setup_stick, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
