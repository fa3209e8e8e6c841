/*
 * virtio-fs and requests that take their time: locks that somebody else has, interrupts, a reset or the end
 * meanwhile, several queues.
 */
#include "tests/unit/fs_rig.h"

#include <sys/file.h>

/* ---- locks ---- */

static struct fuse_lk_in lock_of(Open file, uint64_t owner, uint32_t type, bool flock)
{
    return (struct fuse_lk_in){.fh = file.fh,
                               .owner = owner,
                               .lk = {.start = 0, .end = INT64_MAX, .type = type},
                               .lk_flags = flock ? FUSE_LK_FLOCK : 0};
}

static int set_lock(Fs *f, Open file, uint64_t owner, uint32_t type)
{
    struct fuse_lk_in in = lock_of(file, owner, type, false);

    return ASK(f, FUSE_SETLK, file.nodeid, in);
}

/* Asks for a lock that another has; the request stays out, with its answer at slot `n`. */
static uint64_t wait_for_lock(Fs *f, Open file, uint64_t owner, bool flock, unsigned n)
{
    struct fuse_lk_in in = lock_of(file, owner, F_WRLCK, flock);

    return send_at(f, QUEUE, f->out + MEBI + 256 * n, f->in + MEBI + 64 * n, 16, FUSE_SETLKW, file.nodeid,
                   &in, sizeof(in), NULL, 0);
}

static int lock_answer(Fs *f, unsigned n)
{
    return answer_at(f, f->in + MEBI + 64 * n).error;
}

static void waiting_for_a_lock_holds_nobody_up(void **state)
{
    enum { WAITERS = 20 };
    Fs *f = *state;
    Open file = create(f, "file");
    struct vring_used_elem used;

    assert_int_equal(set_lock(f, file, 1, F_WRLCK), 0);
    assert_int_equal(set_lock(f, file, 2, F_WRLCK), -EAGAIN);
    for (unsigned i = 0; i < WAITERS; i++)
        wait_for_lock(f, file, 10 + i, false, i);
    assert_false(rig_wait_used(&f->rig, QUEUE, &used, WAITING));
    /* More wait than there are workers, and others are served. */
    assert_int_equal(write_file(f, file, 0, "text", 4), 4);
    assert_int_equal(lookup(f, 1, "file").nodeid, file.nodeid);
    struct fuse_lk_in probe = lock_of(file, 3, F_RDLCK, false);
    struct fuse_lk_out out;
    assert_int_equal(ASK(f, FUSE_GETLK, file.nodeid, probe), sizeof(out));
    memcpy(&out, payload(f), sizeof(out));
    assert_int_equal(out.lk.type, F_WRLCK);
    assert_int_equal(out.lk.end, INT64_MAX);
    /* Each in turn gets it, when the one before closes the file. */
    struct fuse_flush_in flush = {.fh = file.fh, .lock_owner = 1};
    assert_int_equal(ASK(f, FUSE_FLUSH, file.nodeid, flush), 0);
    bool got[WAITERS] = {false};
    for (unsigned i = 0; i < WAITERS; i++) {
        /* It may have come before the answer to what set it free. */
        if (f->others)
            f->others--;
        else
            take_used(f, QUEUE);
        unsigned who = WAITERS;
        for (unsigned n = 0; n < WAITERS; n++)
            if (!got[n] && answer_at(f, f->in + MEBI + 64 * n).len)
                who = n;
        assert_true(who < WAITERS);
        got[who] = true;
        assert_int_equal(lock_answer(f, who), 0);
        flush.lock_owner = 10 + who;
        assert_int_equal(ASK(f, FUSE_FLUSH, file.nodeid, flush), 0);
    }
}

static void an_interrupt_ends_the_waiting(void **state)
{
    Fs *f = *state;
    Open file = create(f, "file"), again = {file.nodeid, 0};
    struct fuse_interrupt_in in;

    again.fh = open_node(f, FUSE_OPEN, file.nodeid, O_RDWR).fh;
    struct fuse_lk_in lock = lock_of(file, 1, F_WRLCK, true);
    assert_int_equal(ASK(f, FUSE_SETLK, file.nodeid, lock), 0);
    for (unsigned round = 0; round < 50; round++) {
        in.unique = wait_for_lock(f, again, 2, true, 0);
        if (round % 2)
            g_usleep(round * 100); /* so that it comes while the lock is tried, too */
        /* A driver may send it before we have seen the request: then it comes to nothing and is sent again.
         */
        struct vring_used_elem used;
        do {
            send_at(f, HIPRIO, f->out, 0, 0, FUSE_INTERRUPT, 0, &in, sizeof(in), NULL, 0);
            take_used(f, HIPRIO);
        } while (!rig_wait_used(&f->rig, QUEUE, &used, WAITING));
        assert_int_equal(lock_answer(f, 0), -EINTR);
    }
    assert_int_equal(release(f, file), 0);
    wait_for_lock(f, again, 2, true, 0);
    take_used(f, QUEUE);
    assert_int_equal(lock_answer(f, 0), 0);
}

static void a_lock_of_a_program_on_the_host_is_waited_for(void **state)
{
    Fs *f = *state;
    Open file = create(f, "file");
    struct vring_used_elem used;

    int fd = open(at(f, "file"), O_RDWR);
    struct flock fl = {.l_type = F_WRLCK};
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
    wait_for_lock(f, file, 1, false, 0);
    assert_false(rig_wait_used(&f->rig, QUEUE, &used, WAITING));
    close(fd);
    take_used(f, QUEUE);
    assert_int_equal(lock_answer(f, 0), 0);
}

static void a_reset_ends_waiting_and_forgets_everything(void **state)
{
    Fs *f = *state;
    unsigned before = 0;

    for (unsigned round = 0; round < 5; round++) {
        Open file = create(f, "file");
        assert_int_equal(set_lock(f, file, 1, F_WRLCK), 0);
        for (unsigned i = 0; i < 8; i++)
            wait_for_lock(f, file, 2 + i, false, i);
        struct fuse_statfs_out out;
        assert_int_equal(ask(f, FUSE_STATFS, 1, NULL, 0, NULL, 0), sizeof(out));
        /* And some that are under way. */
        for (unsigned i = 0; i < 8; i++)
            send_at(f, QUEUE, f->out + 4096 * i, f->in + 4096 * i, 4096, FUSE_STATFS, 1, NULL, 0, NULL, 0);
        f->rig.next_free = f->in + IN; /* the rings of the round before */
        rig_bring_up(&f->rig, RIG_FEATURES, 2, SIZE);
        assert_int_equal(ask(f, FUSE_STATFS, 1, NULL, 0, NULL, 0), -EIO);
        say_init(f);
        assert_int_equal(read_file(f, file, 0, 1), -EBADF);
        for (int64_t end = g_get_monotonic_time() + RIG_TIMEOUT; before && open_descriptors() > before;
             g_usleep(1000))
            assert_true(g_get_monotonic_time() < end);
        f->others = 0;
        before = before ? before : open_descriptors() + 2;
    }
}

static void the_device_goes_away_with_requests_waiting(void **state)
{
    Fs *f = *state;
    Open file = create(f, "file");

    assert_int_equal(set_lock(f, file, 1, F_WRLCK), 0);
    for (unsigned i = 0; i < 8; i++)
        wait_for_lock(f, file, 2 + i, false, i);
    for (unsigned i = 0; i < 8; i++)
        send_at(f, QUEUE, f->out + 4096 * i, f->in + 4096 * i, 4096, FUSE_STATFS, 1, NULL, 0, NULL, 0);
}

static void all_queues_are_served_at_once(void **state)
{
    Fs *f = *state = plug(false, VMC_SHARE_CACHE_AUTO, 3);
    unsigned done = 0;

    rig_bring_up(&f->rig, RIG_FEATURES, 4, 128);
    say_init(f);
    put(f, "a", "text");
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 120; i++) {
            unsigned q = 1 + i % 3;
            uint64_t slot = f->in + 1024 * i;
            send_at(f, &f->rig.queues[q], f->out + 1024 * i, slot, 1024, FUSE_LOOKUP, 1, "a", 2, NULL, 0);
        }
        for (unsigned i = 0; i < 120; i++) {
            take_used(f, &f->rig.queues[1 + i % 3]);
            done++;
        }
        for (unsigned i = 0; i < 120; i++)
            assert_int_equal(answer_at(f, f->in + 1024 * i).error, 0);
    }
    assert_int_equal(done, 2400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(waiting_for_a_lock_holds_nobody_up),
        CASE(an_interrupt_ends_the_waiting),
        CASE(a_lock_of_a_program_on_the_host_is_waited_for),
        CASE(a_reset_ends_waiting_and_forgets_everything),
        CASE(the_device_goes_away_with_requests_waiting),
        PLAIN(all_queues_are_served_at_once),
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
