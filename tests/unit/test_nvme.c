/*
 * The NVMe controller as a guest uses it, on a real file: what it says of itself, its queues and interrupts,
 * and its admin commands. Data is moved in test_nvme_io.c; what a hostile guest does is in
 * test_nvme_hostile.c.
 */
#include "tests/unit/nvme_rig.h"

static unsigned identify(Nr *n, unsigned what, uint32_t nsid)
{
    return nr_admin(n, &(NrCommand){.opcode = NR_IDENTIFY, .nsid = nsid, .prp1 = n->data, .dw10 = what});
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p)
{
    return get32(p) | (uint64_t)get32(p + 4) << 32;
}

/* ---- what it is ---- */

static void test_on_the_bus(void **state)
{
    Nr *n = *state;
    uint64_t cap = vmc_bus_read(n->rig.mmio, n->bar + NR_CAP, 8);

    assert_int_equal(rig_config(&n->rig, PCI_CLASS_REVISION, 4) >> 8, 0x010802);
    assert_int_equal(rig_config(&n->rig, PCI_BASE_ADDRESS_0, 1) & 7, PCI_BASE_ADDRESS_MEM_TYPE_64);
    assert_int_equal(cap & 0xffff, 1023); /* queues of 1024 */
    assert_int_equal(cap >> 16 & 1, 1);   /* contiguous */
    assert_true((cap >> 24 & 0xff) > 0);  /* time to become ready */
    assert_int_equal(cap >> 32 & 15, 0);  /* doorbells lie close */
    assert_int_equal(cap >> 37 & 1, 1);   /* the NVM command set */
    assert_int_equal(cap >> 48, 0);       /* pages of 4 KiB */
    assert_int_equal(nr_read(n, NR_VS), 0x10400);
    assert_int_equal(vmc_bus_read(n->rig.mmio, n->bar + NR_VS + 2, 1), 1);
    assert_int_equal(nr_read(n, 0x38), 0); /* no memory buffer */
    assert_int_equal(nr_read(n, NR_CC), NR_ENABLE);
}

static void test_identify_controller(void **state)
{
    Nr *n = *state;
    uint8_t *p = nr_host(n, n->data, NR_PAGE);

    memset(p, 0xff, NR_PAGE);
    assert_int_equal(identify(n, 1, 0), 0);
    assert_int_equal(get16(p), rig_config(&n->rig, PCI_VENDOR_ID, 2));
    assert_memory_equal(p + 4, "pear-tree           ", 20);
    assert_memory_equal(p + 24, "Espalier NVMe                           ", 40);
    assert_int_equal(p[77], 8); /* a mebibyte at a time */
    assert_int_equal(get32(p + 80), 0x10400);
    assert_int_equal(p[111], 1);
    assert_int_equal(p[512], 0x66);
    assert_int_equal(p[513], 0x44);
    assert_int_equal(get32(p + 516), 1);
    assert_int_equal(get16(p + 520), 1 | 4 | 8); /* Compare, Dataset Management, Write Zeroes */
    assert_int_equal(p[525] & 1, 1);             /* a cache */
    assert_memory_equal(p + 768, "nqn.", 4);
    assert_non_null(memchr(p + 768, 0, 224));
}

static void test_identify_namespace(void **state)
{
    Nr *n = *state;
    uint8_t *p = nr_host(n, n->data, NR_PAGE), eui64[8];

    assert_int_equal(identify(n, 0, 1), 0);
    for (unsigned i = 0; i < 3; i++) /* size, capacity, utilization */
        assert_int_equal(get64(p + 8 * i), NR_SECTORS);
    assert_int_equal(p[130], 9); /* blocks of 512 bytes */
    assert_int_equal(p[25] + p[26] + p[29], 0);
    assert_int_equal(get16(p + 64), 7); /* 4 KiB is what it likes */
    assert_int_equal(p[99], 0);         /* not write protected */
    memcpy(eui64, p + 120, 8);
    assert_int_equal(identify(n, 3, 1), 0);
    assert_memory_equal(p, ((uint8_t[]){1, 8, 0, 0}), 4);
    assert_memory_equal(p + 4, eui64, 8);
    assert_int_equal(get32(p + 12), 0);
    assert_int_equal(identify(n, 2, 0), 0);
    assert_int_equal(get32(p), 1);
    assert_int_equal(get32(p + 4), 0);
    assert_int_equal(identify(n, 2, 1), 0);
    assert_int_equal(get32(p), 0);
    for (uint32_t nsid = 0; nsid < 4; nsid += 2)
        assert_int_equal(identify(n, 0, nsid), 0x0b);
    assert_int_equal(identify(n, 0, UINT32_MAX), 0x0b);
    assert_int_equal(identify(n, 2, UINT32_MAX), 0x0b);
    assert_int_equal(identify(n, 0x40, 1), 0x02);
}

/* The identifier follows from the serial number, and from nothing else. */
static void test_identifiers(void **state)
{
    static const char *const serials[] = {"one", "one", "two"};
    uint8_t eui64[3][8];

    for (unsigned i = 0; i < 3; i++) {
        Nr *n = nr_new_with(&(NrOptions){.serial = serials[i]});
        nr_bring_up(n, 8);
        assert_int_equal(identify(n, 0, 1), 0);
        memcpy(eui64[i], nr_host(n, n->data + 120, 8), 8);
        nr_free(n);
    }
    assert_memory_equal(eui64[0], eui64[1], 8);
    assert_memory_not_equal(eui64[0], eui64[2], 8);
    assert_int_equal(eui64[0][0] & 3, 2); /* locally administered, not a group */
}

static void test_readonly_disk_is_write_protected(void **state)
{
    Nr *n = nr_new_with(&(NrOptions){.readonly = true});
    uint8_t *p = nr_host(n, n->data, NR_PAGE);

    nr_bring_up(n, 8);
    assert_int_equal(identify(n, 0, 1), 0);
    assert_int_equal(p[99], 1);
    assert_int_equal(identify(n, 1, 0), 0);
    assert_int_equal(get16(p + 520), 1); /* neither discard nor zeroes */
    assert_int_equal(nr_transfer(n, NR_WRITE, 3, 1), 0x20);
    assert_int_equal(nr_transfer(n, NR_ZEROES, 3, 1), 0x20);
    assert_int_equal(nr_transfer(n, NR_DSM, 0, 1), 0); /* without Deallocate it is a hint */
    assert_int_equal(nr_transfer(n, NR_READ, 3, 1), 0);
    nr_expect_all(p, 3, 512);
    nr_expect_file(n, 3, 3, 1);
    nr_free(n);
}

/* ---- queues ---- */

/* As many as there are, used at the same time. */
static void test_several_queues(void **state)
{
    Nr *n = *state;
    NrCompletion done = nr_command(n, 0, &(NrCommand){.opcode = NR_GET_FEATURES, .dw10 = 7});

    assert_int_equal(done.result, 3 << 16 | 3); /* four of each */
    for (unsigned id = 2; id <= 4; id++)
        nr_create(n, id, 1024 >> id, true);
    for (unsigned i = 0; i < 40; i++) {
        NrQueue *q = &n->queues[1 + i % 4];
        NrCommand cmd = nr_io(NR_READ, i, 1, n->data + i * 512, 0);
        nr_send(n, q, &cmd);
    }
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(nr_await(n, &n->queues[1 + i % 4]).status, 0);
    nr_expect_sectors(nr_host(n, n->data, 40 * 512), 0, 40);
    for (unsigned id = 1; id <= 4; id++)
        assert_true(n->rig.interrupts[id] > 0);
}

/* The tail goes around, and the phase with it; more commands than the queue has entries, all told of. */
static void test_a_queue_goes_around(void **state)
{
    Nr *n = *state;
    NrQueue *q = nr_create(n, 2, 5, true);

    for (unsigned i = 0; i < 33; i++) {
        NrCommand cmd = nr_io(NR_READ, i, 1, n->data, 0);
        assert_int_equal(nr_command(n, 2, &cmd).status, 0);
        nr_expect_all(nr_host(n, n->data, 512), (uint8_t)i, 512);
    }
    assert_int_equal(q->head, 33 % 5);
}

/* Two submission queues may share a completion queue, of any vector. */
static void test_shared_completion_queue(void **state)
{
    Nr *n = *state;
    NrQueue *two = nr_queue(n, 2, 16), *three = nr_queue(n, 3, 16);
    NrCommand read = nr_io(NR_READ, 9, 1, n->data, 0);
    NrCompletion done;

    assert_int_equal(nr_create_cq(n, two, 4), 0);
    assert_int_equal(nr_create_sq(n, two, 2), 0);
    assert_int_equal(nr_create_sq(n, three, 2), 0);
    uint16_t cid = nr_send(n, three, &read);
    assert_true(nr_wait(n, two, &done, NR_WAIT));
    assert_int_equal(done.sq, 3);
    assert_int_equal(done.cid, cid);
    assert_int_equal(done.status, 0);
    assert_int_equal(n->rig.interrupts[4], 1);
    /* It is not deleted while either uses it. */
    for (unsigned id = 2; id <= 3; id++) {
        assert_int_equal(nr_admin(n, &(NrCommand){.opcode = NR_DELETE_CQ, .dw10 = 2}), 0x10c);
        assert_int_equal(nr_admin(n, &(NrCommand){.opcode = NR_DELETE_SQ, .dw10 = id}), 0);
    }
    assert_int_equal(nr_admin(n, &(NrCommand){.opcode = NR_DELETE_CQ, .dw10 = 2}), 0);
    assert_int_equal(nr_admin(n, &(NrCommand){.opcode = NR_DELETE_CQ, .dw10 = 2}), 0x101);
    nr_create(n, 2, 16, true);
}

static unsigned create(Nr *n, uint8_t opcode, uint64_t at, uint32_t dw10, uint32_t dw11)
{
    return nr_admin(n, &(NrCommand){.opcode = opcode, .prp1 = at, .dw10 = dw10, .dw11 = dw11});
}

static void test_queues_that_cannot_be(void **state)
{
    Nr *n = *state;
    uint64_t at = n->data;

    for (unsigned i = 0; i < 2; i++) {
        uint8_t opcode = i ? NR_CREATE_SQ : NR_CREATE_CQ;
        uint32_t more = i ? 1 << 16 | 1 : 2 << 16 | 3;
        assert_int_equal(create(n, opcode, at, 15 << 16, more), 0x101);     /* the admin queue */
        assert_int_equal(create(n, opcode, at, 15 << 16 | 1, more), 0x101); /* there already */
        assert_int_equal(create(n, opcode, at, 15 << 16 | 5, more), 0x101); /* too many */
        assert_int_equal(create(n, opcode, at, 15 << 16 | 0xffff, more), 0x101);
        assert_int_equal(create(n, opcode, at, 2, more), 0x102);                 /* one entry */
        assert_int_equal(create(n, opcode, at, 1024 << 16 | 2, more), 0x102);    /* one too many */
        assert_int_equal(create(n, opcode, at, 15 << 16 | 2, more & ~1u), 0x02); /* not contiguous */
        assert_int_equal(create(n, opcode, at + 8, 15 << 16 | 2, more), 0x13);   /* within a page */
        assert_int_equal(create(n, opcode, RIG_HOLE, 15 << 16 | 2, more), 0x02); /* no memory */
        assert_int_equal(create(n, opcode, n->bar, 15 << 16 | 2, more), 0x02);   /* its own registers */
        assert_int_equal(create(n, opcode, RIG_RAM - 4096, 1023 << 16 | 2, more), 0x02);
        assert_int_equal(create(n, opcode, UINT64_MAX - 4095, 1023 << 16 | 2, more), 0x02);
    }
    assert_int_equal(create(n, NR_CREATE_CQ, RIG_ROM, 15 << 16 | 2, 3), 0x02);
    assert_int_equal(create(n, NR_CREATE_CQ, at, 15 << 16 | 2, 5 << 16 | 3), 0x108); /* no such vector */
    assert_int_equal(create(n, NR_CREATE_SQ, at, 15 << 16 | 2, 1), 0x100);           /* the admin queue's */
    assert_int_equal(create(n, NR_CREATE_SQ, at, 15 << 16 | 2, 2 << 16 | 1), 0x100);
    assert_int_equal(create(n, NR_DELETE_SQ, 0, 0, 0), 0x101);
    assert_int_equal(create(n, NR_DELETE_SQ, 0, 2, 0), 0x101);
    assert_int_equal(create(n, NR_DELETE_CQ, 0, 0, 0), 0x101);
    assert_int_equal(create(n, NR_DELETE_CQ, 0, 0xffff, 0), 0x101);
    nr_create(n, 2, 1024, true);
}

/* ---- interrupts ---- */

/* Without MSI-X the wire is up until the last completion has been seen, or is masked. */
static void test_the_wire(void **state)
{
    Nr *n = nr_new_with(&(NrOptions){0});
    NrCommand read = nr_io(NR_READ, 1, 1, n->data, 0);
    NrCompletion done;

    nr_enable(n, 8);
    NrQueue *q = nr_create(n, 1, 8, false);
    assert_false(n->rig.intx);
    nr_send(n, q, &read);
    nr_send(n, q, &read);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(nr_wait(n, q, &done, NR_WAIT));
        while (i == 0 && !nr_peek(n, q, &done))
            g_usleep(100);
        assert_int_equal(n->rig.intx, i == 0);
    }
    nr_write(n, NR_INTMS, 1);
    assert_int_equal(nr_read(n, NR_INTMS), 1);
    nr_send(n, q, &read);
    while (!nr_peek(n, q, &done))
        g_usleep(100);
    g_usleep(5000);
    assert_false(n->rig.intx);
    nr_write(n, NR_INTMC, 1);
    assert_true(n->rig.intx);
    nr_write(n, NR_INTMS, 1);
    assert_false(n->rig.intx);
    nr_write(n, NR_INTMC, 1);
    nr_seen(n, q);
    assert_false(n->rig.intx);
    /* A reset takes it down. */
    nr_send(n, q, &read);
    while (!nr_peek(n, q, &done) || !n->rig.intx)
        g_usleep(100);
    nr_disable(n);
    assert_false(n->rig.intx);
    nr_free(n);
}

static void test_a_queue_without_interrupts(void **state)
{
    Nr *n = *state;
    NrQueue *q = nr_queue(n, 2, 8);
    NrCommand read = nr_io(NR_READ, 1, 1, n->data, 0);
    NrCompletion done;

    assert_int_equal(create(n, NR_CREATE_CQ, q->cq, 7 << 16 | 2, 2 << 16 | 1), 0);
    assert_int_equal(nr_create_sq(n, q, 2), 0);
    nr_send(n, q, &read);
    while (!nr_peek(n, q, &done))
        g_usleep(100);
    g_usleep(5000);
    assert_int_equal(n->rig.interrupts[2], 0);
}

/* ---- features ---- */

static NrCompletion get_feature(Nr *n, uint32_t dw10, uint32_t dw11)
{
    return nr_command(n, 0, &(NrCommand){.opcode = NR_GET_FEATURES, .dw10 = dw10, .dw11 = dw11});
}

static unsigned set_feature(Nr *n, uint32_t dw10, uint32_t dw11)
{
    return nr_admin(n, &(NrCommand){.opcode = NR_SET_FEATURES, .dw10 = dw10, .dw11 = dw11});
}

static void test_features(void **state)
{
    static const struct {
        uint32_t feature, first, then;
    } features[] = {
        {0x01, 7, 3 << 24 | 2}, /* arbitration */
        {0x05, 0, 100},         /* error recovery */
        {0x06, 1, 0},           /* write cache */
        {0x08, 0, 0x0203},      /* interrupt coalescing */
        {0x0a, 0, 1},           /* write atomicity */
        {0x0b, 0, 0x100},       /* asynchronous events */
    };
    Nr *n = *state;

    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
        assert_int_equal(get_feature(n, features[i].feature, 0).result, features[i].first);
        assert_int_equal(set_feature(n, features[i].feature, features[i].then), 0);
        assert_int_equal(get_feature(n, features[i].feature, 0).result, features[i].then);
        assert_int_equal(set_feature(n, 1u << 31 | features[i].feature, features[i].then), 0x10d);
    }
    assert_int_equal(get_feature(n, 0x02, 0).status, 0); /* power: there is state 0 */
    assert_int_equal(set_feature(n, 0x02, 0), 0);
    assert_int_equal(set_feature(n, 0x02, 1), 0x02);
    assert_int_equal(get_feature(n, 0x04, 0).result, 343); /* temperature, over and under */
    assert_int_equal(set_feature(n, 0x04, 1 << 20 | 250), 0);
    assert_int_equal(get_feature(n, 0x04, 1 << 20).result, 250);
    assert_int_equal(set_feature(n, 0x04, 3 << 16 | 250), 0x02); /* no such sensor */
    assert_int_equal(get_feature(n, 0x09, 2).result, 2);         /* vectors */
    assert_int_equal(set_feature(n, 0x09, 1 << 16 | 2), 0);
    assert_int_equal(get_feature(n, 0x09, 2).result, 1 << 16 | 2);
    assert_int_equal(set_feature(n, 0x09, 5), 0x02);
    assert_int_equal(nr_status(get_feature(n, 0x09, 5)), 0x02);
    assert_int_equal(set_feature(n, 0x07, 7 << 16 | 7), 0x0c); /* queues: they are in use */
    for (unsigned unknown = 0; unknown < 256; unknown += 3 + 9 * (unknown < 12))
        assert_int_equal(nr_status(get_feature(n, unknown, 0)), unknown == 0 || unknown > 11 ? 0x02 : 0);
    assert_int_equal(set_feature(n, 0x80, 0), 0x02);
}

static void test_number_of_queues(void **state)
{
    Nr *n = nr_new_with(&(NrOptions){.queues = 2});
    NrCommand cmd = {.opcode = NR_SET_FEATURES, .dw10 = 7, .dw11 = 63 << 16 | 63};

    nr_enable_msix(n);
    nr_enable(n, 8);
    assert_int_equal(nr_command(n, 0, &cmd).result, 1 << 16 | 1);
    cmd.dw11 = 0xffff;
    assert_int_equal(nr_admin(n, &cmd), 0x02);
    nr_free(n);
}

/* A disk that writes through has no cache to switch off. */
static void test_no_cache(void **state)
{
    Nr *n = nr_new_with(&(NrOptions){.cache = VMC_CACHE_WRITE_THROUGH});

    nr_bring_up(n, 8);
    assert_int_equal(identify(n, 1, 0), 0);
    assert_int_equal(*(uint8_t *)nr_host(n, n->data + 525, 1) & 1, 0);
    assert_int_equal(set_feature(n, 0x06, 0), 0x02);
    assert_int_equal(nr_status(get_feature(n, 0x06, 0)), 0x02);
    nr_free(n);
}

/* ---- logs and events ---- */

static unsigned get_log(Nr *n, unsigned page, unsigned bytes, uint64_t offset, bool retain)
{
    memset(nr_host(n, n->data, 2 * NR_PAGE), 0xee, 2 * NR_PAGE);
    return nr_admin(n, &(NrCommand){.opcode = NR_GET_LOG,
                                    .nsid = UINT32_MAX,
                                    .prp1 = n->data,
                                    .prp2 = n->data + NR_PAGE,
                                    .dw10 = (bytes / 4 - 1) << 16 | (unsigned)retain << 15 | page,
                                    .dw12 = (uint32_t)offset,
                                    .dw13 = (uint32_t)(offset >> 32)});
}

static void test_logs(void **state)
{
    Nr *n = *state;
    uint8_t *p = nr_host(n, n->data, 2 * NR_PAGE);

    assert_int_equal(nr_transfer(n, NR_READ, 0, 16), 0);
    assert_int_equal(nr_transfer(n, NR_WRITE, 0, 1), 0);
    assert_int_equal(get_log(n, 2, 512, 0, false), 0); /* SMART */
    assert_int_equal(p[0], 0);
    assert_int_equal(get16(p + 1), 300);
    assert_int_equal(get64(p + 32), 1); /* a begun thousand of sectors */
    assert_int_equal(get64(p + 64), 1);
    assert_int_equal(get64(p + 80), 1);
    assert_int_equal(p[512], 0xee);
    assert_int_equal(get_log(n, 2, 16, 64, false), 0);
    assert_int_equal(get64(p), 1);
    assert_int_equal(p[16], 0xee);
    assert_int_equal(get_log(n, 3, 512, 0, false), 0); /* firmware */
    assert_int_equal(p[0], 1);
    assert_int_equal(nr_transfer(n, NR_READ, NR_SECTORS, 1), 0x80);
    assert_int_equal(get_log(n, 1, 64, 0, false), 0); /* errors, the newest first */
    assert_int_equal(get64(p), 1);
    assert_int_equal(get16(p + 8), 1);
    assert_int_equal(get16(p + 12) >> 1, 0x80);
    assert_int_equal(get64(p + 16), NR_SECTORS);
    assert_int_equal(get_log(n, 0x70, 512, 0, false), 0x109);
    assert_int_equal(get_log(n, 2, 512, 512, false), 0x02);
    assert_int_equal(get_log(n, 2, 512, UINT64_MAX - 3, false), 0x02);
    assert_int_equal(get_log(n, 2, 8192, 0, false), 0); /* more than there is */
    assert_int_equal(p[512], 0xee);
}

static uint16_t request_event(Nr *n)
{
    return nr_send(n, &n->queues[0], &(NrCommand){.opcode = NR_EVENT});
}

static void test_events_of_doorbells(void **state)
{
    Nr *n = *state;
    NrQueue *admin = &n->queues[0];
    uint16_t cid = request_event(n);
    NrCompletion done;

    assert_false(nr_wait(n, admin, &done, 20000));
    nr_doorbell(n, 3, false, 1); /* of a queue that is not there */
    done = nr_await(n, admin);
    assert_int_equal(done.cid, cid);
    assert_int_equal(done.result, 1 << 16 | 0 << 8 | 0);
    /* Silent until the log is read, whatever else happens. */
    cid = request_event(n);
    for (unsigned i = 0; i < 50; i++)
        nr_doorbell(n, 1, false, 64 + i);
    assert_false(nr_wait(n, admin, &done, 20000));
    nr_send(n, admin, &(NrCommand){.opcode = NR_GET_LOG, .prp1 = n->data, .dw10 = 15 << 16 | 1});
    assert_int_equal(nr_await(n, admin).status, 0);
    nr_doorbell(n, 1, true, 5); /* nothing was there to be seen */
    done = nr_await(n, admin);
    assert_int_equal(done.cid, cid);
    assert_int_equal(done.result, 1 << 16 | 1 << 8 | 0);
    /* The queue is none the worse. */
    assert_int_equal(nr_transfer(n, NR_READ, 7, 1), 0);
}

static void test_event_requests_have_a_limit(void **state)
{
    Nr *n = *state;
    NrQueue *admin = &n->queues[0];
    uint16_t cids[4];

    for (unsigned i = 0; i < 4; i++)
        cids[i] = request_event(n);
    request_event(n);
    assert_int_equal(nr_status(nr_await(n, admin)), 0x105);
    /* Abort finds one that is held, and nothing else. */
    nr_send(n, admin, &(NrCommand){.opcode = NR_ABORT, .dw10 = (uint32_t)cids[2] << 16});
    NrCompletion aborted = nr_await(n, admin), done = nr_await(n, admin);
    assert_int_equal(aborted.cid, cids[2]);
    assert_int_equal(aborted.status, 0x07);
    assert_int_equal(done.result, 0);
    done = nr_command(n, 0, &(NrCommand){.opcode = NR_ABORT, .dw10 = (uint32_t)cids[2] << 16});
    assert_int_equal(done.result, 1);
    done = nr_command(n, 0, &(NrCommand){.opcode = NR_ABORT, .dw10 = (uint32_t)cids[1] << 16 | 1});
    assert_int_equal(done.result, 1);
    request_event(n);
    request_event(n);
    assert_int_equal(nr_status(nr_await(n, admin)), 0x105);
}

static void test_temperature(void **state)
{
    Nr *n = *state;

    assert_int_equal(set_feature(n, 0x0b, 1 << 1), 0);
    request_event(n);
    nr_send(n, &n->queues[0], &(NrCommand){.opcode = NR_SET_FEATURES, .dw10 = 4, .dw11 = 290});
    assert_int_equal(nr_await(n, &n->queues[0]).status, 0);
    assert_int_equal(nr_await(n, &n->queues[0]).result, 2 << 16 | 1 << 8 | 1);
    assert_int_equal(get_log(n, 2, 512, 0, false), 0);
    assert_int_equal(*(uint8_t *)nr_host(n, n->data, 1), 1 << 1);
}

/* The disk grows: told once, in the log, and in what the namespace is. */
static void test_growing(void **state)
{
    Nr *n = *state;
    uint8_t *p = nr_host(n, n->data, NR_PAGE);
    VmcDiskChanges *disk = vmc_nvme_changes(n->rig.dev);
    GError *error = NULL;

    assert_int_equal(set_feature(n, 0x0b, 1 << 8), 0);
    request_event(n);
    assert_true(vmc_disk_change_size(disk, 2 * NR_SECTORS * 512, &error));
    assert_int_equal(nr_await(n, &n->queues[0]).result, 4 << 16 | 0 << 8 | 2);
    assert_int_equal(get_log(n, 4, NR_PAGE, 0, true), 0);
    assert_int_equal(get32(p), 1);
    assert_int_equal(get_log(n, 4, NR_PAGE, 0, false), 0);
    assert_int_equal(get32(p), 1);
    assert_int_equal(get_log(n, 4, NR_PAGE, 0, false), 0);
    assert_int_equal(get32(p), 0);
    assert_int_equal(identify(n, 0, 1), 0);
    assert_int_equal(get64(p), 2 * NR_SECTORS);
    assert_int_equal(nr_transfer(n, NR_WRITE, 2 * NR_SECTORS - 1, 1), 0);
    assert_int_equal(nr_transfer(n, NR_WRITE, 2 * NR_SECTORS, 1), 0x80);
    assert_false(vmc_disk_change_size(disk, 512, &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_CONFIG));
    g_clear_error(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_on_the_bus, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_identify_controller, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_identify_namespace, nr_setup, nr_teardown),
        cmocka_unit_test(test_identifiers),
        cmocka_unit_test(test_readonly_disk_is_write_protected),
        cmocka_unit_test_setup_teardown(test_several_queues, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_a_queue_goes_around, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_shared_completion_queue, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_queues_that_cannot_be, nr_setup, nr_teardown),
        cmocka_unit_test(test_the_wire),
        cmocka_unit_test_setup_teardown(test_a_queue_without_interrupts, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_features, nr_setup, nr_teardown),
        cmocka_unit_test(test_number_of_queues),
        cmocka_unit_test(test_no_cache),
        cmocka_unit_test_setup_teardown(test_logs, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_events_of_doorbells, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_event_requests_have_a_limit, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_temperature, nr_setup, nr_teardown),
        cmocka_unit_test_setup_teardown(test_growing, nr_setup, nr_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
