/*
 * virtio-9p and requests that take their time: locks that somebody else has, flushes, a reset meanwhile.
 */
#include "tests/unit/p9_rig.h"

/* ---- locks and flushing ---- */

#define LOCK_FORM "dbdqqds"

static int lock(P9 *p, unsigned fid, unsigned type, unsigned process)
{
    int err = ask(p, LOCK, LOCK_FORM, fid, type, 0, UINT64_C(0), UINT64_C(0), process, "guest");

    return err ? err : (int)get(p, 1);
}

static void wait_for_lock(P9 *p, unsigned slot, unsigned fid, unsigned process)
{
    send_slot(p, slot, LOCK, LOCK_FORM, fid, 1, 1, UINT64_C(0), UINT64_C(0), process, "guest");
}

static void waiting_for_a_lock_holds_nobody_up(void **state)
{
    enum { WAITERS = 12 };
    P9 *p = *state;
    struct vring_used_elem used;
    Attr attr;

    create(p, 1, "f");
    assert_int_equal(lock(p, 1, 1, 1), 0);
    assert_int_equal(lock(p, 1, 1, 2), 1);
    assert_int_equal(lock(p, 1, 3, 2), -EINVAL);
    assert_int_equal(ask(p, LOCK, LOCK_FORM, 1, 1, 0, UINT64_MAX, UINT64_MAX, 1, "guest"), -EINVAL);
    assert_int_equal(ask(p, GETLOCK, "dbqqds", 1, 0, UINT64_C(5), UINT64_C(1), 2, "guest"), 0);
    assert_int_equal(get(p, 1), 1);
    assert_int_equal(get(p, 8), 0);
    assert_int_equal(get(p, 8), 0);
    /* What Linux asks when none of its own is in the way. */
    assert_int_equal(ask(p, GETLOCK, "dbqqds", 1, 2, UINT64_C(5), UINT64_C(1), 2, "guest"), 0);
    assert_int_equal(get(p, 1), 2);
    for (unsigned i = 0; i < WAITERS; i++)
        wait_for_lock(p, i, 1, 10 + i);
    assert_false(rig_wait_used(&p->rig, QUEUE, &used, WAITING));
    assert_int_equal(write_file(p, 1, 0, "text", 4), 4);
    assert_int_equal(getattr(p, 1, &attr), 0);
    /* Each in turn gets it, when the one before gives it up. */
    send_slot(p, SLOTS - 1, LOCK, LOCK_FORM, 1, 2, 0, UINT64_C(0), UINT64_C(0), 1, "guest");
    for (unsigned i = 0, got = 0; got < WAITERS; i++) {
        used = take_used(p);
        assert_int_equal(used.len, 8);
        for (unsigned n = 0; n < WAITERS; n++) {
            uint8_t *answer = rig_host(&p->rig, p->in + ROOM + 1024 * n, 8);
            if (!answer[0])
                continue;
            assert_int_equal(answer[4], LOCK + 1);
            assert_int_equal(answer[7], 0);
            memset(answer, 0, 8);
            got++;
            send_slot(p, SLOTS - 1, LOCK, LOCK_FORM, 1, 2, 0, UINT64_C(0), UINT64_C(0), 10 + n, "guest");
        }
        assert_true(i < 2 * WAITERS + 2);
    }
}

/* The places in the queue are also for the one that will unlock. */
static void only_so_many_wait(void **state)
{
    enum { WAITERS = 32 };
    P9 *p = *state;
    struct vring_used_elem used;

    create(p, 1, "f");
    assert_int_equal(lock(p, 1, 1, 1), 0);
    for (unsigned i = 0; i < WAITERS; i++)
        wait_for_lock(p, i, 1, 10 + i);
    assert_false(rig_wait_used(&p->rig, QUEUE, &used, WAITING));
    for (unsigned i = 0; i < 3; i++) {
        wait_for_lock(p, WAITERS, 1, 9);
        used = take_used(p);
        assert_int_equal(slot_answer(p, WAITERS, used.len, LOCK, p->tag), 0);
        assert_int_equal(get(p, 1), 1);
    }
    /* One is given up: there is room for another. */
    send_slot(p, WAITERS, FLUSH, "w", p->tag - 3 - WAITERS + 1);
    take_used(p), take_used(p);
    wait_for_lock(p, 0, 1, 9);
    assert_false(rig_wait_used(&p->rig, QUEUE, &used, WAITING));
}

static void giving_a_file_back_gives_up_its_locks(void **state)
{
    P9 *p = *state;

    create(p, 1, "f");
    assert_int_equal(walk(p, 0, 2, "f"), 0);
    assert_int_equal(lock(p, 2, 1, 1), -EBADF);
    assert_int_equal(ask(p, LOPEN, "dd", 2, O_RDWR), 0);
    assert_int_equal(lock(p, 2, 1, 1), 0);
    assert_int_equal(lock(p, 1, 1, 2), 1);
    assert_int_equal(clunk(p, 2), 0);
    assert_int_equal(lock(p, 1, 1, 2), 0);
}

static void a_flush_ends_the_waiting(void **state)
{
    P9 *p = *state;
    struct vring_used_elem used;

    create(p, 1, "f");
    assert_int_equal(lock(p, 1, 1, 1), 0);
    assert_int_equal(ask(p, FLUSH, "w", 4711), 0);
    for (unsigned round = 0; round < 50; round++) {
        uint16_t head = (uint16_t)(p->rig.queues[0].next_desc);
        wait_for_lock(p, 0, 1, 2);
        uint16_t tag = p->tag;
        if (round % 2)
            g_usleep(round * 100); /* so that it comes while the lock is tried, too */
        uint16_t flush_head = send_slot(p, 1, FLUSH, "w", tag);
        used = take_used(p);
        assert_int_equal(used.id, head);
        assert_int_equal(slot_answer(p, 0, used.len, LOCK, tag), -EINTR);
        used = take_used(p);
        assert_int_equal(used.id, flush_head);
        assert_int_equal(slot_answer(p, 1, used.len, FLUSH, p->tag), 0);
    }
}

/* Of requests that are being done the answer comes, and before that to the flush. */
static void a_flush_is_answered_after_what_it_names(void **state)
{
    P9 *p = *state;
    Attr attr;

    for (unsigned round = 0; round < 30; round++) {
        uint16_t heads[2 * 8], order[2 * 8];
        for (unsigned i = 0; i < 8; i++) {
            heads[2 * i] = send_slot(p, 2 * i, STATFS, "d", 0);
            heads[2 * i + 1] = send_slot(p, 2 * i + 1, FLUSH, "w", p->tag);
        }
        for (unsigned i = 0; i < 16; i++)
            order[i] = (uint16_t)take_used(p).id;
        for (unsigned i = 0; i < 8; i++) {
            unsigned request = 16, flush = 16;
            for (unsigned n = 0; n < 16; n++) {
                request = order[n] == heads[2 * i] ? n : request;
                flush = order[n] == heads[2 * i + 1] ? n : flush;
            }
            assert_true(request < flush && flush < 16);
        }
    }
    assert_int_equal(getattr(p, 0, &attr), 0);
}

static void a_reset_ends_waiting_and_forgets_everything(void **state)
{
    P9 *p = *state;
    Attr attr;

    for (unsigned round = 0; round < 5; round++) {
        create(p, 1, "f");
        assert_int_equal(lock(p, 1, 1, 1), 0);
        for (unsigned i = 0; i < 8; i++)
            wait_for_lock(p, i, 1, 2 + i);
        assert_int_equal(getattr(p, 1, &attr), 0);
        for (unsigned i = 8; i < 16; i++)
            send_slot(p, i, STATFS, "d", 0);
        p->rig.next_free = p->in + ROOM + 1024 * SLOTS; /* the rings of the round before */
        rig_bring_up(&p->rig, RIG_FEATURES | 1, 1, SIZE);
        assert_int_equal(getattr(p, 1, &attr), -EIO);
        attach(p);
        assert_int_equal(read_file(p, 1, 0, 1), -EBADF);
    }
    /* And the device goes away with some out. */
    create(p, 1, "f");
    assert_int_equal(lock(p, 1, 1, 1), 0);
    wait_for_lock(p, 0, 1, 2);
    send_slot(p, 1, FLUSH, "w", p->tag);
    for (unsigned i = 2; i < 10; i++)
        send_slot(p, i, STATFS, "d", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(waiting_for_a_lock_holds_nobody_up),      CASE(only_so_many_wait),
        CASE(giving_a_file_back_gives_up_its_locks),   CASE(a_flush_ends_the_waiting),
        CASE(a_flush_is_answered_after_what_it_names), CASE(a_reset_ends_waiting_and_forgets_everything),
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
