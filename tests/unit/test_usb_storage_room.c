/*
 * USB storage and a host that has no room for what is written to a stick: the write waits until the user has
 * made some and the machine is resumed, and whoever wants to be rid of the stick meanwhile does not wait. And
 * errors of the disk, of which the user hears too.
 */
#include "tests/unit/full_disk.h"
#include "tests/unit/storage_rig.h"

#include <linux/usb/ch11.h>
#include <linux/usb/ch9.h>

#include "usb/hid.h"

typedef struct Full {
    Heard *heard;
    Storage *s;
} Full;

/* A stick of which nothing has been written yet, on a host's disk that is full. */
static int setup_full(void **state)
{
    if (!small_folder)
        return 0;
    Full *full = g_new0(Full, 1);
    full->heard = heard_new();
    full->s =
        storage_new(&(StorageOptions){.folder = small_folder, .sparse = true, .hooks = &full->heard->hooks});
    fill_small_disk();
    *state = full;
    return 0;
}

static int teardown_full(void **state)
{
    Full *full = *state;

    if (!full)
        return 0;
    void *storage = full->s;
    teardown(&storage);
    heard_free(full->heard);
    g_free(full);
    g_autofree char *path = ballast_path();
    g_remove(path);
    resize_small_disk(SMALL_BYTES);
    return 0;
}

static Full *full_of(void **state)
{
    if (!*state) {
        print_message("no small file system can be mounted here\n");
        skip();
    }
    return *state;
}

/* Command and data of a write of eight blocks; returns where the driver waits for its status. */
static uint64_t send_write(Storage *s, uint8_t lba, uint8_t what)
{
    uint8_t cdb[10] = {WRITE_10, [5] = lba, [8] = 8};

    memset(data_of(s), what, 4096);
    send_cbw(s, cdb, 10, 4096, false);
    assert_int_equal(xr_transfer(&s->x, &s->dev, 4, s->data, 4096).code, XR_SUCCESS);
    return xr_queue(&s->x, &s->dev, 3, s->csw, 13);
}

static void expect_status(Storage *s, uint64_t waiting, uint8_t status)
{
    XrTrb event = xr_event(&s->x);

    assert_int_equal(event.parameter, waiting);
    assert_int_equal(xr_code(event), XR_SUCCESS);
    assert_int_equal(((uint8_t *)rig_host(&s->x.rig, s->csw, 13))[12], status);
}

static void expect_file(Storage *s, unsigned lba, uint8_t what)
{
    uint8_t seen[4096];

    assert_int_equal(pread(s->fd, seen, sizeof(seen), lba * 512), sizeof(seen));
    for (unsigned i = 0; i < sizeof(seen); i++)
        if (seen[i] != what)
            fail_msg("byte %u is %#x, not %#x", i, seen[i], what);
}

static void resume(Storage *s)
{
    vmc_pci_bus_resumed(s->x.rig.pci);
}

/* ---- it goes on ---- */

static void test_a_write_without_room_waits(void **state)
{
    Full *full = full_of(state);
    Storage *s = full->s;

    uint64_t status = send_write(s, 8, 0xaa);
    await_heard(full->heard, &full->heard->attentions, 1);
    expect_sentence(full->heard, s->path, "no room");
    xr_expect_quiet(&s->x, 0);
    /* Still no room: the user hears of it again, the guest of nothing. */
    resume(s);
    await_heard(full->heard, &full->heard->attentions, 2);
    xr_expect_quiet(&s->x, 0);
    make_room();
    resume(s);
    expect_status(s, status, 0);
    expect_file(s, 0, 0);
    expect_file(s, 8, 0xaa);
    assert_int_equal(full->heard->attentions, 2);
    assert_int_equal(full->heard->logs, 0);
}

/* A write of more than the device's buffer: the rest of it stays in the guest, and then waits in turn. */
static void test_a_long_write_waits_piece_by_piece(void **state)
{
    Full *full = full_of(state);
    Storage *s = full->s;
    uint8_t cdb[10] = {WRITE_10, [7] = 3}; /* one and a half */

    for (unsigned i = 0; i < 384; i++)
        memset(data_of(s) + i * 1024, (int)i / 4 + 1, 1024);
    send_cbw(s, cdb, 10, 384 * 1024, false);
    uint64_t last = 0;
    for (unsigned i = 0; i < 6; i++)
        last = xr_put(&s->x, &s->dev.rings[4], s->data + 65536 * i, 65536,
                      1 << 10 | 1 << 2 | (i < 5 ? 16 : 1 << 5));
    xr_ring_endpoint(&s->x, &s->dev, 4);
    await_heard(full->heard, &full->heard->attentions, 1);
    xr_expect_quiet(&s->x, 0);
    make_room(); /* as much as the buffer, no more */
    resume(s);
    assert_int_equal(xr_event(&s->x).parameter, last);
    uint64_t status = xr_queue(&s->x, &s->dev, 3, s->csw, 13);
    await_heard(full->heard, &full->heard->attentions, 2);
    xr_expect_quiet(&s->x, 0);
    resize_small_disk(2 * SMALL_BYTES);
    resume(s);
    expect_status(s, status, 0);
    for (unsigned i = 0; i < 96; i++)
        expect_file(s, i * 8, (uint8_t)(i + 1));
}

/* The guest's own eject stands behind the write in the line. */
static void test_eject_comes_after_the_write(void **state)
{
    Full *full = full_of(state);
    Storage *s = full->s;

    uint64_t status = send_write(s, 0, 0xab);
    await_heard(full->heard, &full->heard->attentions, 1);
    uint8_t eject[6] = {START_STOP, [4] = 2};
    queue_cbw(s, eject, 6, 0, false);
    xr_expect_quiet(&s->x, 0);
    make_room();
    resume(s);
    expect_status(s, status, 0);
    expect_file(s, 0, 0xab);
    assert_int_equal(xr_code(xr_event(&s->x)), XR_SUCCESS);
    Result result;
    take_csw(s, &result);
    assert_int_equal(result.status, 0);
    assert_int_equal(short_command(s, TEST_UNIT_READY, 0, 0, false).status, 1);
    assert_int_equal(sense(s), 0x023a02);
}

/* All root ports of its speed are taken. */
static void plug_behind_a_hub(Storage *s)
{
    Xr *x = &s->x;
    XrDevice hub;

    vmc_xhci_detach(x->rig.dev, s->usb);
    for (unsigned i = 0; i < 3; i++)
        assert_true(vmc_xhci_attach(x->rig.dev, vmc_usb_tablet_new(), NULL));
    s->usb->super = false;
    assert_true(vmc_xhci_attach(x->rig.dev, s->usb, NULL));
    xr_reset_port(x, 4);
    xr_address(x, &hub, 4, 0);
    xr_request(x, &hub, 0, USB_REQ_SET_CONFIGURATION, 1, 0, 0);
    xr_request(x, &hub, 0x23, USB_REQ_SET_FEATURE, USB_PORT_FEAT_RESET, 1, 0);
    bring_up_at(s, 4, 1);
}

static void test_behind_a_hub(void **state)
{
    Full *full = full_of(state);
    Storage *s = full->s;

    plug_behind_a_hub(s);
    uint64_t status = send_write(s, 8, 0xac);
    await_heard(full->heard, &full->heard->attentions, 1);
    make_room();
    resume(s);
    expect_status(s, status, 0);
    expect_file(s, 8, 0xac);
}

/* ---- it is given up ---- */

/* What Linux does when a command has taken too long: the port is reset, the device set up again. */
static void test_reset_lets_go(void **state)
{
    Full *full = full_of(state);
    Storage *s = full->s;

    send_write(s, 0, 0xcc);
    await_heard(full->heard, &full->heard->attentions, 1);
    xr_start(&s->x);
    bring_up(s);
    assert_int_equal(read_blocks(s, 0, 8, 512).status, 0);
    expect_file(s, 0, 0);
    resume(s); /* nothing is left of it */
    assert_int_equal(short_command(s, TEST_UNIT_READY, 0, 0, false).status, 0);
    expect_file(s, 0, 0);
    uint64_t status = send_write(s, 8, 0xcd);
    await_heard(full->heard, &full->heard->attentions, 2);
    make_room();
    resume(s);
    expect_status(s, status, 0);
    expect_file(s, 8, 0xcd);
}

/* Bulk-Only Mass Storage Reset (s3.1): the transfers end, the next command is taken. */
static void test_mass_storage_reset_lets_go(void **state)
{
    Full *full = full_of(state);
    Storage *s = full->s;

    send_write(s, 0, 0xdd);
    await_heard(full->heard, &full->heard->attentions, 1);
    xr_request(&s->x, &s->dev, 0x21, 0xff, 0, 0, 0);
    queue_cbw(s, (uint8_t[6]){TEST_UNIT_READY}, 6, 0, false);
    /* The transfer that waited for the old status gets the new one. */
    assert_int_equal(xr_code(xr_event(&s->x)), XR_SUCCESS);
    assert_int_equal(xr_code(xr_event(&s->x)), XR_SUCCESS);
    uint8_t *p = rig_host(&s->x.rig, s->csw, 13);
    assert_memory_equal(p + 4, &s->tag, 4);
    assert_int_equal(p[12], 0);
    expect_file(s, 0, 0);
}

static void test_pulled_out(void **state)
{
    Full *full = full_of(state);
    Storage *s = full->s;

    uint64_t status = send_write(s, 0, 0xee);
    await_heard(full->heard, &full->heard->attentions, 1);
    vmc_xhci_detach(s->x.rig.dev, s->usb);
    XrTrb event = xr_event(&s->x);
    assert_int_equal(event.parameter, status);
    assert_int_equal(xr_code(event), XR_TRANSACTION_ERROR);
    vmc_usb_device_free(s->usb); /* without waiting for room */
    assert_true(s->gone);
    resume(s);
    expect_file(s, 0, 0);
}

static void test_machine_ends(void **state)
{
    Full *full = full_of(state);

    send_write(full->s, 0, 0xff);
    await_heard(full->heard, &full->heard->attentions, 1);
    /* The rest is teardown's. */
}

/* ---- what does not wait ---- */

static void test_without_anybody_to_ask(void **state)
{
    Full *full = full_of(state);
    Storage *s = storage_new(&(StorageOptions){.folder = small_folder, .sparse = true});
    void *own = s;

    assert_int_equal(write_blocks(s, 0, 8).status, 1);
    assert_int_equal(sense(s), 0x072707);
    assert_int_equal(full->heard->attentions, 0);
    teardown(&own);
}

/* A flush for which there was no room has lost data: no use to try again. */
static void test_a_flush_without_room_fails(void **state)
{
    Heard *heard = heard_new();
    Storage *s = storage_new(&(StorageOptions){.hooks = &heard->hooks});
    uint8_t synchronize[10] = {SYNCHRONIZE_CACHE};
    void *own = s;

    s->gate->flush_error = -ENOSPC;
    assert_int_equal(command(s, synchronize, 10, 0, false).status, 1);
    expect_sentence(heard, s->path, "Flushing disk");
    /* Nor behind a write with Force Unit Access, which itself was done. */
    uint8_t fua[10] = {WRITE_10, 8, [8] = 8};
    memset(data_of(s), 0x99, 4096);
    assert_int_equal(command(s, fua, 10, 4096, false).status, 1);
    expect_file(s, 0, 0x99);
    assert_int_equal(heard->attentions, 0);
    teardown(&own);
    heard_free(heard);
}

static void test_an_error_is_told_once(void **state)
{
    Heard *heard = heard_new();
    Storage *s = storage_new(&(StorageOptions){.hooks = &heard->hooks});
    void *own = s;

    assert_int_equal(read_blocks(s, BLOCKS, 1, 512).status, 1);
    assert_int_equal(heard->logs, 0); /* the guest's own mistake */
    assert_int_equal(ftruncate(s->fd, 10 * 512), 0);
    assert_int_equal(read_blocks(s, 20, 1, 512).status, 1);
    expect_sentence(heard, s->path, "Reading from disk");
    expect_sentence(heard, s->path, g_strerror(EIO));
    expect_sentence(heard, s->path, "byte 10240");
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(read_blocks(s, 20, 1, 512).status, 1);
    assert_int_equal(heard->logs, 1);
    assert_int_equal(heard->attentions, 0);
    teardown(&own);
    heard_free(heard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_write_without_room_waits, setup_full, teardown_full),
        cmocka_unit_test_setup_teardown(test_a_long_write_waits_piece_by_piece, setup_full, teardown_full),
        cmocka_unit_test_setup_teardown(test_eject_comes_after_the_write, setup_full, teardown_full),
        cmocka_unit_test_setup_teardown(test_behind_a_hub, setup_full, teardown_full),
        cmocka_unit_test_setup_teardown(test_reset_lets_go, setup_full, teardown_full),
        cmocka_unit_test_setup_teardown(test_mass_storage_reset_lets_go, setup_full, teardown_full),
        cmocka_unit_test_setup_teardown(test_pulled_out, setup_full, teardown_full),
        cmocka_unit_test_setup_teardown(test_machine_ends, setup_full, teardown_full),
        cmocka_unit_test_setup_teardown(test_without_anybody_to_ask, setup_full, teardown_full),
        cmocka_unit_test(test_a_flush_without_room_fails),
        cmocka_unit_test(test_an_error_is_told_once),
    };
    bool mounted = mount_small();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    if (mounted)
        unmount_small();
    return failed;
}
