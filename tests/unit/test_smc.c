/* The SMC by its ports: as Linux' driver asks it, all that can go wrong, and where its key comes from. */
#include "tests/unit/pc_rig.h"

#include <glib/gstdio.h>
#include <sys/stat.h>

#include "pc/smc.h"

#define DATA    0x300
#define COMMAND 0x304
#define RESULT  0x31e

#define READ     0x10
#define WRITE    0x11
#define BY_INDEX 0x12
#define TYPE     0x13

#define READY 0x01
#define BUSY  0x04

/* Not Apple's. */
static const char osk[VMC_SMC_OSK_SIZE + 1] =
    "0123456789abcdef the first half. ABCDEFGHIJKLMN the second half.";

typedef struct Bench {
    Rig rig;
    VmcSmc *smc;
    char *folder;
} Bench;

static int setup(void **state)
{
    Bench *b = g_new0(Bench, 1);
    rig_up(&b->rig);
    b->smc = vmc_smc_new(b->rig.pio, osk);
    b->folder = g_dir_make_tmp("smc-XXXXXX", NULL);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    Bench *b = *state;
    GDir *dir = g_dir_open(b->folder, 0, NULL);
    for (const char *name; (name = g_dir_read_name(dir));) {
        char *path = g_build_filename(b->folder, name, NULL);
        g_remove(path);
        g_free(path);
    }
    g_dir_close(dir);
    g_rmdir(b->folder);
    g_free(b->folder);
    vmc_smc_free(b->smc);
    rig_down(&b->rig);
    g_free(b);
    return 0;
}

static uint8_t status(Bench *b)
{
    return in8(&b->rig, COMMAND);
}

/* A command with its argument and length; false, with the controller idle again, if it was refused. */
static bool ask(Bench *b, uint8_t command, const void *argument, uint8_t length)
{
    out8(&b->rig, COMMAND, command);
    assert_int_equal(status(b), 0x0c);
    for (unsigned i = 0; i < 4; i++) {
        out8(&b->rig, DATA, ((const uint8_t *)argument)[i]);
        assert_int_equal(status(b), BUSY);
    }
    out8(&b->rig, DATA, length);
    if (status(b))
        return true;
    assert_int_not_equal(in8(&b->rig, RESULT), 0);
    return false;
}

static unsigned take(Bench *b, uint8_t *bytes)
{
    unsigned n = 0;
    while (status(b) & READY) {
        assert_int_equal(status(b), BUSY | READY);
        assert_true(n < 32);
        bytes[n++] = in8(&b->rig, DATA);
    }
    assert_int_equal(status(b), 0);
    assert_int_equal(in8(&b->rig, RESULT), 0);
    return n;
}

static void assert_key(Bench *b, const char *key, const void *value, unsigned size)
{
    uint8_t bytes[32];
    if (!ask(b, READ, key, (uint8_t)size))
        fail_msg("there is no key %s", key);
    assert_int_equal(take(b, bytes), size);
    assert_memory_equal(bytes, value, size);
}

static void keys_have_their_values(void **state)
{
    Bench *b = *state;
    assert_key(b, "REV ", "\x01\x13\x0f\x00\x00\x03", 6);
    assert_key(b, "OSK0", osk, 32);
    assert_key(b, "OSK1", osk + 32, 32);
    assert_key(b, "NATJ", "\0", 1);
    assert_key(b, "MSSP", "\0", 1);
    assert_key(b, "MSSD", "\3", 1);
    assert_key(b, "FNum", "\0", 1);
}

/* Linux counts by #KEY, names each key and asks what it is; it searches them by halves. */
static void keys_can_be_counted_in_order(void **state)
{
    Bench *b = *state;
    uint8_t count[4], name[32], info[32], before[4] = {0};
    assert_true(ask(b, READ, "#KEY", 4));
    assert_int_equal(take(b, count), 4);
    assert_int_equal(count[0] | count[1] | count[2], 0);
    assert_true(count[3] >= 5);
    for (uint8_t i = 0; i < count[3]; i++) {
        assert_true(ask(b, BY_INDEX, (uint8_t[4]){0, 0, 0, i}, 4));
        assert_int_equal(take(b, name), 4);
        assert_true(memcmp(before, name, 4) < 0);
        memcpy(before, name, 4);
        assert_true(ask(b, TYPE, name, 6));
        assert_int_equal(take(b, info), 6);
        assert_true(info[0] >= 1 && info[0] <= 32 && info[5] & 0x80);
        assert_true(ask(b, READ, name, info[0]));
        assert_int_equal(take(b, info + 6), info[0]);
    }
    assert_false(ask(b, BY_INDEX, count, 4));
    assert_int_equal(in8(&b->rig, RESULT), 0xb8);
    assert_false(ask(b, BY_INDEX, "\xff\xff\xff\xff", 4));
    assert_int_equal(in8(&b->rig, RESULT), 0xb8);
    assert_true(ask(b, TYPE, "OSK0", 6)); /* not counted, and there */
    assert_int_equal(take(b, info), 6);
    assert_memory_equal(info,
                        "\x20"
                        "ch8*",
                        5);
}

static void what_can_be_written_is_kept_until_reset(void **state)
{
    Bench *b = *state;
    assert_true(ask(b, WRITE, "NATJ", 1));
    assert_int_equal(status(b), BUSY);
    out8(&b->rig, DATA, 2);
    assert_int_equal(status(b), 0);
    assert_int_equal(in8(&b->rig, RESULT), 0);
    assert_key(b, "NATJ", "\2", 1);
    assert_false(ask(b, WRITE, "OSK0", 32));
    assert_int_equal(in8(&b->rig, RESULT), 0x86);
    assert_false(ask(b, WRITE, "NATJ", 2));
    assert_int_equal(in8(&b->rig, RESULT), 0x87);
    assert_false(ask(b, WRITE, "NATJ", 0));
    assert_false(ask(b, WRITE, "none", 1));
    assert_int_equal(in8(&b->rig, RESULT), 0x84);
    vmc_smc_reset(b->smc);
    assert_key(b, "NATJ", "\0", 1);
    assert_key(b, "OSK0", osk, 32);
}

static void errors_have_their_codes(void **state)
{
    Bench *b = *state;
    assert_false(ask(b, READ, "none", 4));
    assert_int_equal(in8(&b->rig, RESULT), 0x84);
    assert_false(ask(b, TYPE, "none", 6));
    assert_int_equal(in8(&b->rig, RESULT), 0x84);
    out8(&b->rig, COMMAND, 0x14);
    assert_int_equal(status(b), 0x08);
    assert_int_equal(in8(&b->rig, RESULT), 0x82);
    out8(&b->rig, DATA, 'x'); /* of no command */
    assert_int_equal(status(b), 0);
    assert_int_equal(in8(&b->rig, RESULT), 0x81);
    assert_key(b, "MSSD", "\3", 1); /* which clears it */
}

/* How Linux frees a controller that is stuck in the middle of something: a command, which is lost. */
static void interrupted_command_leaves_it_usable(void **state)
{
    Bench *b = *state;
    for (unsigned bytes = 0; bytes < 7; bytes++) {
        out8(&b->rig, COMMAND, READ);
        for (unsigned i = 0; i < MIN(bytes, 5); i++)
            out8(&b->rig, DATA, (uint8_t) "OSK0 "[i]);
        for (unsigned i = 5; i < bytes; i++)
            in8(&b->rig, DATA);
        out8(&b->rig, COMMAND, READ);
        assert_int_equal(status(b), 0x08);
        assert_int_equal(in8(&b->rig, RESULT), 0x80);
        assert_key(b, "REV ", "\x01\x13\x0f\x00\x00\x03", 6);
    }
    assert_true(ask(b, WRITE, "NATJ", 1));
    out8(&b->rig, COMMAND, READ); /* instead of the value */
    assert_key(b, "NATJ", "\0", 1);
}

/* Reading more than there is repeats the last byte, writing where there is something to read ends it. */
static void out_of_turn_accesses_do_no_harm(void **state)
{
    Bench *b = *state;
    uint8_t bytes[32];
    assert_true(ask(b, READ, "MSSD", 200));
    assert_int_equal(take(b, bytes), 1);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(in8(&b->rig, DATA), 3);
    assert_true(ask(b, READ, "OSK0", 32));
    out8(&b->rig, DATA, 'x');
    assert_int_equal(status(b), 0);
    assert_int_equal(in8(&b->rig, RESULT), 0x81);
    assert_int_equal(in8(&b->rig, 0x310), 0xff);
    assert_int_equal(vmc_bus_read(b->rig.pio, DATA, 4) >> 8, 0xffffff);
}

static void garbage_does_no_harm(void **state)
{
    Bench *b = *state;
    GRand *rand = g_rand_new_with_seed(1);
    static const uint16_t ports[] = {DATA, DATA, DATA, COMMAND, RESULT, 0x305};
    static const char *const letters = "OSK01NATJMSSDREV #KEY\x10\x11\x12\x13";
    for (unsigned i = 0; i < 500000; i++) {
        uint16_t port = ports[g_rand_int_range(rand, 0, G_N_ELEMENTS(ports))];
        unsigned size = 1u << g_rand_int_range(rand, 0, 3);
        if (g_rand_boolean(rand))
            vmc_bus_read(b->rig.pio, port, size);
        else if (port == COMMAND)
            out8(&b->rig, port, (uint8_t)g_rand_int_range(rand, 0x0f, 0x15));
        else
            vmc_bus_write(b->rig.pio, port, size, (uint8_t)letters[g_rand_int_range(rand, 0, 25)]);
    }
    g_rand_free(rand);
    out8(&b->rig, COMMAND, READ);
    if (status(b) == 0x08)
        out8(&b->rig, COMMAND, 0); /* was interrupted: now it is not */
    vmc_smc_reset(b->smc);
    assert_key(b, "OSK1", osk + 32, 32);
}

/* ---- the key ---- */

static void key_file_may_have_white_space_around_it(void **state)
{
    Bench *b = *state;
    char *path = g_build_filename(b->folder, "key", NULL), found[VMC_SMC_OSK_SIZE];
    static const char *const around[][2] = {{"", ""}, {"", "\n"}, {" \t\r\n", "\r\n\n"}};
    for (unsigned i = 0; i < G_N_ELEMENTS(around); i++) {
        char *text = g_strconcat(around[i][0], osk, around[i][1], NULL);
        GError *error = NULL;
        assert_true(g_file_set_contents(path, text, -1, NULL));
        memset(found, 0, sizeof(found));
        if (!vmc_smc_osk_from_file(path, found, &error))
            fail_msg("%s", error->message);
        assert_memory_equal(found, osk, sizeof(found));
        g_free(text);
    }
    g_free(path);
}

static void assert_no_key(const char *path, const char *expected)
{
    char found[VMC_SMC_OSK_SIZE];
    GError *error = NULL;
    assert_false(vmc_smc_osk_from_file(path, found, &error));
    if (!strstr(error->message, expected) || !strstr(error->message, path))
        fail_msg("expected “%s”, saw: %s", expected, error->message);
    g_error_free(error);
}

static void bad_key_files_are_named(void **state)
{
    Bench *b = *state;
    char *path = g_build_filename(b->folder, "key", NULL), *pipe = g_build_filename(b->folder, "pipe", NULL);
    char text[5000];
    assert_no_key(path, "No such file");
    assert_no_key(b->folder, "Is a directory");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_no_key(pipe, "no regular file");
    assert_true(g_file_set_contents(path, osk, 63, NULL));
    assert_no_key(path, "has 63 characters");
    assert_true(g_file_set_contents(path, "", 0, NULL));
    assert_no_key(path, "has 0 characters");
    memset(text, 'x', sizeof(text));
    assert_true(g_file_set_contents(path, text, 65, NULL));
    assert_no_key(path, "has 65 characters");
    assert_true(g_file_set_contents(path, text, sizeof(text), NULL));
    assert_no_key(path, "more than");
    text[20] = '\0';
    assert_true(g_file_set_contents(path, text, 64, NULL));
    assert_no_key(path, "64 printable characters");
    g_free(path);
    g_free(pipe);
}

static void put_file(Bench *b, const char *name, const char *text)
{
    char *path = g_build_filename(b->folder, name, NULL);
    assert_true(g_file_set_contents(path, text, -1, NULL));
    g_free(path);
}

static void host_that_is_no_mac_or_does_not_tell(void **state)
{
    Bench *b = *state;
    char found[VMC_SMC_OSK_SIZE];
    GError *error = NULL;
    assert_false(vmc_smc_osk_from_host("/no/such/folder", found, &error));
    assert_non_null(strstr(error->message, "no SMC"));
    g_clear_error(&error);
    put_file(b, "key_count", "2\n"); /* a driver's folder whose keys are others */
    put_file(b, "key_at_index", "0\n");
    put_file(b, "key_at_index_name", "ALV0");
    put_file(b, "key_at_index_data", "x");
    assert_false(vmc_smc_osk_from_host(b->folder, found, &error));
    assert_non_null(strstr(error->message, "keyFile="));
    g_clear_error(&error);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(keys_have_their_values),
        T(keys_can_be_counted_in_order),
        T(what_can_be_written_is_kept_until_reset),
        T(errors_have_their_codes),
        T(interrupted_command_leaves_it_usable),
        T(out_of_turn_accesses_do_no_harm),
        T(garbage_does_no_harm),
        T(key_file_may_have_white_space_around_it),
        T(bad_key_files_are_named),
        T(host_that_is_no_mac_or_does_not_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
