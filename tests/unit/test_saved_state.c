/* The file of a saved machine: memory comes back as it was, holes as holes, and no damage goes unnoticed. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "machine/saved_state.h"
#include "tests/unit/folder.h"
#include "vmcore/error.h"

#define PAGE     4096u
#define PAGES    64u
#define STATE    "what the devices know"
#define HIGH_RAM (1ull << 32)

typedef struct Bench {
    char *folder, *path;
} Bench;

static int set_up(void **state)
{
    Bench *b = g_new0(Bench, 1);

    b->folder = g_dir_make_tmp("saved-state-XXXXXX", NULL);
    b->path = g_build_filename(b->folder, "state", NULL);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    Bench *b = *state;

    remove_folder(b->folder);
    g_free(b->path);
    g_free(b->folder);
    g_free(b);
    return 0;
}

static VmcMemory *two_slots(unsigned pages)
{
    VmcMemory *memory = vmc_memory_new();

    assert_true(vmc_memory_add(memory, "low", 0, (uint64_t)pages * PAGE, false, NULL));
    assert_true(vmc_memory_add(memory, "high", HIGH_RAM, 4 * PAGE, false, NULL));
    return memory;
}

static void poke(VmcMemory *memory, uint64_t gpa, uint8_t value)
{
    assert_true(vmc_memory_write(memory, gpa, &value, 1));
}

static uint8_t peek(VmcMemory *memory, uint64_t gpa)
{
    uint8_t value = 0xee;

    assert_true(vmc_memory_read(memory, gpa, &value, 1));
    return value;
}

/* Ends of pages and of slots, a page touched and zero, and holes between. */
static VmcMemory *odd_memory(void)
{
    VmcMemory *memory = two_slots(PAGES);

    poke(memory, 0, 1);
    poke(memory, 3 * PAGE - 1, 2);
    poke(memory, 3 * PAGE, 3);
    poke(memory, 10 * PAGE + 5, 0);
    poke(memory, PAGES * PAGE - 1, 4);
    poke(memory, HIGH_RAM + 2 * PAGE, 5);
    return memory;
}

static void write_file(Bench *b, VmcMemory *memory)
{
    g_autoptr(GBytes) state = g_bytes_new_static(STATE, strlen(STATE));
    g_autoptr(GError) error = NULL;

    assert_true(vmc_saved_state_write(b->path, state, memory, NULL, &error));
    assert_null(error);
}

static uint64_t blocks_of(VmcMemory *memory)
{
    struct stat st;

    fstat(memory->slots[0].fd, &st);
    return (uint64_t)st.st_blocks;
}

static void memory_comes_back_with_its_holes(void **state)
{
    Bench *b = *state;
    VmcMemory *from = odd_memory(), *to = two_slots(PAGES);
    struct stat st;

    write_file(b, from);
    assert_int_equal(stat(b->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(st.st_size < 6 * (off_t)PAGE); /* five pages that are not zero */
    VmcSavedState *saved = vmc_saved_state_open(b->path, NULL);
    assert_non_null(saved);
    gsize n;
    const void *bytes = g_bytes_get_data(vmc_saved_state_get(saved), &n);
    assert_int_equal(n, strlen(STATE));
    assert_memory_equal(bytes, STATE, n);
    assert_true(vmc_saved_state_load_memory(saved, to, NULL, NULL));
    vmc_saved_state_close(saved);
    for (unsigned i = 0; i < 2; i++)
        assert_memory_equal(from->slots[i].host, to->slots[i].host, from->slots[i].size);
    assert_int_equal(peek(to, HIGH_RAM + 2 * PAGE), 5);
    vmc_memory_free(to);
    to = two_slots(PAGES);
    saved = vmc_saved_state_open(b->path, NULL);
    assert_true(vmc_saved_state_load_memory(saved, to, NULL, NULL));
    vmc_saved_state_close(saved);
    assert_true(blocks_of(to) <= 4 * PAGE / 512);
    vmc_memory_free(from);
    vmc_memory_free(to);
}

static void more_memory_than_a_chunk_comes_back(void **state)
{
    Bench *b = *state;
    unsigned pages = 5000;
    VmcMemory *from = two_slots(pages), *to = two_slots(pages);

    for (unsigned i = 0; i < pages; i++)
        if (i % 7)
            poke(from, (uint64_t)i * PAGE + i % PAGE, (uint8_t)(i % 255 + 1));
    write_file(b, from);
    VmcSavedState *saved = vmc_saved_state_open(b->path, NULL);
    assert_true(vmc_saved_state_load_memory(saved, to, NULL, NULL));
    vmc_saved_state_close(saved);
    assert_memory_equal(from->slots[0].host, to->slots[0].host, from->slots[0].size);
    vmc_memory_free(from);
    vmc_memory_free(to);
}

/* Opens the file and loads memory; false with the sentence when either is refused. */
static bool load(const char *path, VmcMemory *memory, GError **error)
{
    VmcSavedState *saved = vmc_saved_state_open(path, error);
    bool good = saved && vmc_saved_state_load_memory(saved, memory, NULL, error);

    vmc_saved_state_close(saved);
    return good;
}

static void assert_refused(const char *path, VmcMemory *memory, const char *what)
{
    g_autoptr(GError) error = NULL;

    if (load(path, memory, &error))
        fail_msg("a file %s was taken", what);
    if (!g_error_matches(error, VMC_ERROR, VMC_ERROR_IMAGE) || !strstr(error->message, path))
        fail_msg("a file %s was refused with “%s”", what, error->message);
}

static void a_file_cut_short_anywhere_is_refused(void **state)
{
    Bench *b = *state;
    VmcMemory *from = odd_memory(), *to = two_slots(PAGES);
    struct stat st;

    write_file(b, from);
    assert_int_equal(stat(b->path, &st), 0);
    for (off_t size = st.st_size - 1; size >= 0; size -= size > 600 && size < st.st_size - 600 ? 97 : 1) {
        g_autofree char *what = g_strdup_printf("cut to %d bytes", (int)size);
        assert_int_equal(truncate(b->path, size), 0);
        assert_refused(b->path, to, what);
    }
    vmc_memory_free(from);
    vmc_memory_free(to);
}

static void a_bit_flipped_anywhere_is_noticed(void **state)
{
    Bench *b = *state;
    VmcMemory *from = odd_memory(), *to = two_slots(PAGES);
    g_autofree char *bytes = NULL;
    gsize n;

    write_file(b, from);
    assert_true(g_file_get_contents(b->path, &bytes, &n, NULL));
    int fd = open(b->path, O_WRONLY | O_CLOEXEC);
    for (gsize i = 0; i < n; i++) {
        g_autofree char *what = g_strdup_printf("with a bit of byte %zu flipped", i);
        char flipped = (char)(bytes[i] ^ 1 << i % 8);
        assert_int_equal(pwrite(fd, &flipped, 1, (off_t)i), 1);
        assert_refused(b->path, to, what);
        assert_int_equal(pwrite(fd, &bytes[i], 1, (off_t)i), 1);
    }
    close(fd);
    assert_true(load(b->path, to, NULL));
    vmc_memory_free(from);
    vmc_memory_free(to);
}

static void other_memory_is_not_written_beyond(void **state)
{
    Bench *b = *state;
    VmcMemory *from = odd_memory(), *to = two_slots(PAGES / 2);

    write_file(b, from);
    assert_refused(b->path, to, "of more memory");
    vmc_memory_free(from);
    vmc_memory_free(to);
}

static void what_is_appended_is_noticed(void **state)
{
    Bench *b = *state;
    VmcMemory *from = odd_memory(), *to = two_slots(PAGES);

    write_file(b, from);
    int fd = open(b->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    assert_refused(b->path, to, "with something behind its end");
    vmc_memory_free(from);
    vmc_memory_free(to);
}

static void what_is_no_saved_state_is_named(void **state)
{
    Bench *b = *state;
    VmcMemory *to = two_slots(PAGES);
    g_autoptr(GError) error = NULL;

    assert_false(load(b->path, to, &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_RESOURCE));
    assert_non_null(strstr(error->message, "cannot be opened: No such file"));
    assert_refused(b->folder, to, "that is a folder");
    assert_true(g_file_set_contents(b->path, "#!/bin/sh\necho not a saved state at all\n", -1, NULL));
    assert_refused(b->path, to, "that is something else");
    vmc_memory_free(to);
}

static void a_write_that_fails_leaves_what_was_there(void **state)
{
    Bench *b = *state;
    VmcMemory *from = odd_memory(), *to = two_slots(PAGES);
    g_autoptr(GBytes) bytes = g_bytes_new_static(STATE, strlen(STATE));
    g_autoptr(GCancellable) cancel = g_cancellable_new();
    g_autoptr(GError) error = NULL;
    g_autofree char *nowhere = g_build_filename(b->folder, "nowhere", "state", NULL);

    write_file(b, from);
    g_cancellable_cancel(cancel);
    assert_false(vmc_saved_state_write(b->path, bytes, from, cancel, &error));
    assert_true(g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED));
    g_clear_error(&error);
    assert_true(load(b->path, to, NULL));
    assert_false(vmc_saved_state_write(nowhere, bytes, from, NULL, &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_RESOURCE));
    GDir *dir = g_dir_open(b->folder, 0, NULL);
    assert_string_equal(g_dir_read_name(dir), "state");
    assert_null(g_dir_read_name(dir)); /* nothing beside it */
    g_dir_close(dir);
    vmc_memory_free(from);
    vmc_memory_free(to);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(memory_comes_back_with_its_holes),     CASE(more_memory_than_a_chunk_comes_back),
        CASE(a_file_cut_short_anywhere_is_refused), CASE(a_bit_flipped_anywhere_is_noticed),
        CASE(other_memory_is_not_written_beyond),   CASE(what_is_appended_is_noticed),
        CASE(what_is_no_saved_state_is_named),      CASE(a_write_that_fails_leaves_what_was_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
