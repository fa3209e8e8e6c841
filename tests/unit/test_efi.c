/*
 * UEFI firmware's files: those of the package ovmf where it is installed, and small ones made here; whole,
 * cut short, exchanged, locked, and on a disk that is full.
 */
#include "full_disk.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "boot/efi.h"
#include "folder.h"
#include "tiny_firmware.h"
#include "vmcore/error.h"

#define OVMF "/usr/share/OVMF/"

#define CODE_SIZE TINY_CODE_SIZE
#define VARS_SIZE TINY_VARIABLES_SIZE

typedef struct Files {
    char *folder, *code, *template, *store;
    unsigned descriptors;
} Files;

static int setup_in(void **state, const char *folder)
{
    Files *f = g_new0(Files, 1);

    f->folder = folder ? g_strdup(folder) : g_dir_make_tmp("efi-XXXXXX", NULL);
    f->code = g_build_filename(f->folder, "MY_CODE_4M.fd", NULL);
    f->template = g_build_filename(f->folder, "MY_VARS_4M.fd", NULL);
    f->store = g_build_filename(f->folder, "nvram.fd", NULL);
    tiny_save_code(f->code, CODE_SIZE);
    tiny_save_variables(f->template, VARS_SIZE, 'T');
    f->descriptors = open_descriptors();
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_in(state, NULL);
}

static int teardown(void **state)
{
    Files *f = *state;

    assert_int_equal(open_descriptors(), f->descriptors);
    if (f->folder != small_folder)
        remove_folder(f->folder);
    g_free(f->folder);
    g_free(f->code);
    g_free(f->template);
    g_free(f->store);
    g_free(f);
    return 0;
}

/* ---- what is said ---- */

/* An error is one sentence that names the file and says `what`. */
static void assert_said(GError *error, int code, const char *path, const char *what)
{
    assert_non_null(error);
    if (error->domain != VMC_ERROR || (code >= 0 && error->code != code))
        fail_msg("“%s” is error %d of %s", error->message, error->code, g_quark_to_string(error->domain));
    if (!strstr(error->message, path) || !strstr(error->message, what) || strchr(error->message, '\n') ||
        g_str_has_suffix(error->message, "."))
        fail_msg("“%s” should name “%s” and say “%s”", error->message, path, what);
    g_error_free(error);
}

static void assert_no_code(const char *path, const char *what)
{
    GError *error = NULL;
    uint64_t size;

    if (vmc_efi_open_code(path, &size, &error) >= 0)
        fail_msg("“%s” was taken for firmware", path);
    assert_said(error, VMC_ERROR_IMAGE, path, what);
}

/* Both who checks and who opens. */
static void assert_no_store(const Files *f, const char *template, int code, const char *path,
                            const char *what)
{
    GError *error = NULL;
    uint64_t size;

    assert_int_equal(vmc_efi_open_variables(f->store, template, CODE_SIZE, &size, &error), -1);
    assert_said(error, code, path, what);
    error = NULL;
    assert_false(vmc_efi_check_variables(f->store, template, CODE_SIZE, &error));
    assert_said(error, code, path, what);
}

static int open_store(const Files *f, const char *template)
{
    GError *error = NULL;
    uint64_t size;
    int fd;

    if (!vmc_efi_check_variables(f->store, template, CODE_SIZE, &error))
        fail_msg("%s", error->message);
    fd = vmc_efi_open_variables(f->store, template, CODE_SIZE, &size, &error);
    if (fd < 0)
        fail_msg("%s", error->message);
    assert_int_equal(size, VARS_SIZE);
    return fd;
}

static char mark_of(int fd)
{
    char mark;

    assert_int_equal(pread(fd, &mark, 1, 100), 1);
    return mark;
}

static unsigned count_files(const char *folder)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    unsigned n = 0;

    while (g_dir_read_name(dir))
        n++;
    g_dir_close(dir);
    return n;
}

/* ---- where it is ---- */

static void the_template_has_the_name_of_the_code(void **state)
{
    static const struct {
        const char *code, *variables;
    } names[] = {
        {OVMF "OVMF_CODE_4M.fd", OVMF "OVMF_VARS_4M.fd"},
        {OVMF "OVMF_CODE_4M.secboot.fd", OVMF "OVMF_VARS_4M.secboot.fd"},
        {"ovmf-x86_64-code.bin", "./ovmf-x86_64-vars.bin"},
        {"/CODE/code/OVMF_CODE.fd", "/CODE/code/OVMF_VARS.fd"}, /* folders keep theirs */
        {"/CODE/ovmf.fd", NULL},
        {"OVMF.fd", NULL},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *code = NULL, *variables = NULL;
        assert_true(vmc_efi_find(names[i].code, &code, &variables, NULL));
        assert_string_equal(code, names[i].code);
        if (g_strcmp0(variables, names[i].variables))
            fail_msg("the template of “%s” is “%s”", code, variables);
    }
}

static void the_installed_firmware_is_found_and_whole(void **state)
{
    g_autofree char *code = NULL, *variables = NULL;
    g_autoptr(GError) error = NULL;
    uint64_t size = 0;

    if (!vmc_efi_find(NULL, &code, &variables, &error)) {
        assert_non_null(strstr(error->message, "ovmf"));
        skip();
    }
    int fd = vmc_efi_open_code(code, &size, &error);
    if (fd < 0)
        fail_msg("%s", error->message);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(size, st.st_size);
    close(fd);
    if (!vmc_efi_check_variables("/no such/store", variables, size, &error))
        fail_msg("%s", error->message);
}

/* All that Debian has: which variables go with which code. */
static void sizes_tell_which_variables_belong_to_which_code(void **state)
{
    static const char *const codes[] = {"OVMF_CODE.fd", "OVMF_CODE.secboot.fd", "OVMF_CODE_4M.fd",
                                        "OVMF_CODE_4M.secboot.fd"};
    static const char *const variables[] = {"OVMF_VARS.fd", "OVMF_VARS.ms.fd", "OVMF_VARS_4M.fd",
                                            "OVMF_VARS_4M.ms.fd"};

    if (access(OVMF "OVMF_CODE.fd", R_OK) || access(OVMF "OVMF_CODE_4M.fd", R_OK))
        skip();
    for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++) {
        g_autofree char *code = g_strconcat(OVMF, codes[i], NULL);
        uint64_t size;
        int fd = vmc_efi_open_code(code, &size, NULL);
        assert_true(fd >= 0);
        close(fd);
        for (unsigned n = 0; n < G_N_ELEMENTS(variables); n++) {
            g_autofree char *template = g_strconcat(OVMF, variables[n], NULL);
            GError *error = NULL;
            if (vmc_efi_check_variables("/no such/store", template, size, &error) != (i / 2 == n / 2))
                fail_msg("%s with %s: %s", codes[i], variables[n], error ? error->message : "taken");
            if (error)
                assert_said(error, VMC_ERROR_IMAGE, template, "does not go with that firmware's code");
        }
    }
}

/* ---- code ---- */

static void code_cut_short_anywhere_is_refused(void **state)
{
    Files *f = *state;
    const char *real = access(OVMF "OVMF_CODE_4M.fd", R_OK) ? f->code : OVMF "OVMF_CODE_4M.fd";
    const char *const sources[] = {f->code, real};
    g_autofree char *cut = g_build_filename(f->folder, "cut", NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(sources); i++) {
        g_autofree char *bytes = NULL;
        gsize size, step;
        assert_true(g_file_get_contents(sources[i], &bytes, &size, NULL));
        tiny_save_file(cut, bytes, size);
        /* Many lengths, whole pages and the end of the first volume among them. */
        step = MAX(size / 200 / 4096, 1) * 4096;
        for (gsize n = size - 1; n > 0; n = n % step ? n / step * step : n - step) {
            assert_int_equal(truncate(cut, (off_t)n), 0);
            assert_no_code(cut, n < 56 ? "does not begin with" : "");
        }
        for (gsize n = 99; n > 0; n--) {
            assert_int_equal(truncate(cut, (off_t)n), 0);
            assert_no_code(cut, n < 56 ? "does not begin with" : "cut short");
        }
    }
    assert_int_equal(truncate(cut, 0), 0);
    assert_no_code(cut, "it is empty");
}

static void what_was_cut_is_said(void **state)
{
    Files *f = *state;

    assert_int_equal(truncate(f->code, CODE_SIZE - 4096), 0);
    assert_no_code(f->code, "cut short");
    assert_int_equal(truncate(f->code, CODE_SIZE * 2 / 3 + 20), 0);
    assert_no_code(f->code, "cut short or added to");
    assert_int_equal(truncate(f->code, CODE_SIZE * 2 / 3), 0); /* between two volumes */
    assert_no_code(f->code, "no code at its end");
    tiny_save_code(f->code, CODE_SIZE);
    assert_int_equal(truncate(f->code, CODE_SIZE + 4096), 0);
    assert_no_code(f->code, "cut short or added to");
    tiny_save_code(f->code, CODE_SIZE - 2048);
    assert_no_code(f->code, "not a multiple of 4 KiB");
    tiny_save_code(f->code, (16u << 20) + 4096);
    assert_no_code(f->code, "larger than 16 MiB");
}

static void volumes_that_lie_are_refused(void **state)
{
    Files *f = *state;
    static const uint64_t lengths[] = {0, 1, 55, CODE_SIZE + 1, UINT64_MAX, UINT64_MAX - 55, 1ull << 63};

    for (unsigned i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autofree char *bytes = NULL;
        uint64_t le = GUINT64_TO_LE(lengths[i]);
        gsize size;
        tiny_save_code(f->code, CODE_SIZE);
        assert_true(g_file_get_contents(f->code, &bytes, &size, NULL));
        memcpy(bytes + 32, &le, 8);
        tiny_save_file(f->code, bytes, size);
        assert_no_code(f->code, lengths[i] < 56 ? "does not begin with" : "longer than the file");
    }
}

static void other_files_are_no_firmware(void **state)
{
    Files *f = *state;
    g_autofree char *zeros = g_malloc0(CODE_SIZE), *fifo = g_build_filename(f->folder, "fifo", NULL);
    g_autofree char *missing = g_build_filename(f->folder, "missing", NULL);

    assert_no_code(f->template, "no code at its end"); /* variables, given as code */
    tiny_save_file(f->code, zeros, CODE_SIZE);
    assert_no_code(f->code, "does not begin with a firmware volume");
    memcpy(zeros, "QFI\xfb", 4);
    tiny_save_file(f->code, zeros, CODE_SIZE);
    assert_no_code(f->code, "in raw format");
    assert_no_code(f->folder, "it is a directory");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_no_code(fifo, "not a regular file"); /* and nobody waits for a writer */
    assert_no_code("/dev/zero", "not a regular file");
    assert_no_code(missing, "No such file");
}

/* ---- the variable store ---- */

static void a_store_is_made_of_the_template(void **state)
{
    Files *f = *state;
    struct stat st;

    int fd = open_store(f, f->template);
    assert_int_equal(mark_of(fd), 'T');
    assert_int_equal(pwrite(fd, "M", 1, 100), 1);
    close(fd);
    assert_int_equal(stat(f->store, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(count_files(f->folder), 3); /* nothing else is left */
    fd = open_store(f, f->template);
    assert_int_equal(mark_of(fd), 'M'); /* and not made again */
    close(fd);
    assert_int_equal(g_chmod(f->template, 0400), 0);
    assert_int_equal(g_remove(f->store), 0);
    fd = open_store(f, f->template); /* of a package's file, which is read-only */
    assert_int_equal(pwrite(fd, "M", 1, 100), 1);
    close(fd);
}

static void only_where_it_is_asked_for(void **state)
{
    Files *f = *state;

    assert_no_store(f, NULL, VMC_ERROR_CONFIG, f->store, "add create");
    assert_int_equal(count_files(f->folder), 2);
}

/* Twenty threads ask for the same one at once: one has it, and it is whole. */
static gpointer create_and_leave(gpointer data)
{
    Files *f = data;
    GError *error = NULL;
    uint64_t size;
    int fd = vmc_efi_open_variables(f->store, f->template, CODE_SIZE, &size, &error);

    if (fd < 0) {
        bool busy = strstr(error->message, "in use") != NULL;
        g_error_free(error);
        return GINT_TO_POINTER(busy ? 0 : -1);
    }
    if (pwrite(fd, "M", 1, 100) != 1)
        return GINT_TO_POINTER(-1);
    return GINT_TO_POINTER(fd);
}

static void one_that_came_meanwhile_is_kept(void **state)
{
    Files *f = *state;
    GThread *threads[20];
    unsigned got = 0;
    int held = -1;

    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("create", create_and_leave, f);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        int fd = GPOINTER_TO_INT(g_thread_join(threads[i]));
        assert_true(fd >= 0);
        if (fd) {
            held = fd; /* until all have tried */
            got++;
        }
    }
    assert_int_equal(got, 1);
    close(held);
    assert_int_equal(count_files(f->folder), 3);
    int fd = open_store(f, NULL);
    assert_int_equal(mark_of(fd), 'M');
    close(fd);
}

static void a_template_that_does_not_fit_makes_nothing(void **state)
{
    Files *f = *state;
    g_autofree char *missing = g_build_filename(f->folder, "VARS", NULL);

    assert_no_store(f, missing, VMC_ERROR_CONFIG, missing, "copy the one that goes with the firmware");
    tiny_save_variables(f->template, 2 * VARS_SIZE, 'T');
    assert_no_store(f, f->template, VMC_ERROR_IMAGE, f->template, "does not go with that firmware's code");
    tiny_save_code(f->template, VARS_SIZE);
    assert_int_equal(truncate(f->template, VARS_SIZE / 2), 0);
    assert_no_store(f, f->template, VMC_ERROR_IMAGE, f->template, "does not go with");
    assert_int_equal(truncate(f->template, VARS_SIZE), 0);
    assert_no_store(f, f->template, VMC_ERROR_IMAGE, f->template, "cut short");
    assert_int_equal(count_files(f->folder), 2);
}

static void a_store_of_the_wrong_size_is_refused_and_kept(void **state)
{
    Files *f = *state;
    static const unsigned sizes[] = {VARS_SIZE - 4096, VARS_SIZE + 4096, VARS_SIZE / 2, 100, 4096,
                                     2 * VARS_SIZE};

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree char *before = NULL, *after = NULL;
        gsize size;
        tiny_save_variables(f->store, sizes[i] < 200 ? 200 : sizes[i], 'M');
        assert_int_equal(truncate(f->store, sizes[i]), 0);
        assert_true(g_file_get_contents(f->store, &before, NULL, NULL));
        assert_no_store(f, f->template, VMC_ERROR_IMAGE, f->store, "does not go with that firmware's code");
        assert_true(g_file_get_contents(f->store, &after, &size, NULL));
        assert_int_equal(size, sizes[i]);
        assert_memory_equal(before, after, size);
    }
}

/* The sizes add up, but the file is not what it says. */
static void a_store_that_is_not_whole_is_refused(void **state)
{
    Files *f = *state;
    g_autofree char *zeros = g_malloc0(VARS_SIZE);

    tiny_save_variables(f->store, VARS_SIZE * 2, 'M');
    assert_int_equal(truncate(f->store, VARS_SIZE), 0);
    assert_no_store(f, NULL, VMC_ERROR_IMAGE, f->store, "cut short");
    tiny_save_variables(f->store, VARS_SIZE / 2, 'M');
    assert_int_equal(truncate(f->store, VARS_SIZE), 0);
    assert_no_store(f, NULL, VMC_ERROR_IMAGE, f->store, "cut short or added to");
    tiny_save_file(f->store, zeros, VARS_SIZE);
    assert_no_store(f, NULL, VMC_ERROR_IMAGE, f->store, "does not begin with a firmware volume");
    tiny_save_file(f->store, "", 0);
    assert_no_store(f, f->template, VMC_ERROR_IMAGE, f->store, "it is empty");
}

static void real_variables_of_another_firmware_are_refused(void **state)
{
    Files *f = *state;
    GError *error = NULL;
    uint64_t size, code_size;

    if (access(OVMF "OVMF_VARS.fd", R_OK) || access(OVMF "OVMF_CODE_4M.fd", R_OK))
        skip();
    int code = vmc_efi_open_code(OVMF "OVMF_CODE_4M.fd", &code_size, NULL);
    assert_true(code >= 0);
    close(code);
    int fd = vmc_efi_open_variables(f->store, OVMF "OVMF_VARS_4M.fd", code_size, &size, &error);
    assert_true(fd >= 0);
    close(fd);
    g_autofree char *bytes = NULL;
    assert_true(g_file_get_contents(OVMF "OVMF_VARS.fd", &bytes, &size, NULL)); /* of 2 MiB */
    tiny_save_file(f->store, bytes, size);
    assert_int_equal(vmc_efi_open_variables(f->store, NULL, code_size, &size, &error), -1);
    assert_said(error, VMC_ERROR_IMAGE, f->store,
                "131072 bytes does not go with that firmware's code of 3653632");
}

static void other_files_are_no_store(void **state)
{
    Files *f = *state;

    assert_int_equal(g_mkdir(f->store, 0700), 0);
    assert_no_store(f, f->template, VMC_ERROR_IMAGE, f->store, "it is a directory");
    assert_int_equal(g_rmdir(f->store), 0);
    assert_int_equal(mkfifo(f->store, 0600), 0);
    assert_no_store(f, f->template, VMC_ERROR_IMAGE, f->store, "not a regular file");
    assert_int_equal(g_remove(f->store), 0);
    assert_int_equal(symlink("/dev/null", f->store), 0);
    assert_no_store(f, f->template, VMC_ERROR_IMAGE, f->store, "not a regular file");
    assert_int_equal(g_remove(f->store), 0);
    g_free(f->store);
    f->store = g_build_filename(f->folder, "nowhere", "nvram.fd", NULL);
    GError *error = NULL;
    uint64_t size;
    assert_int_equal(vmc_efi_open_variables(f->store, f->template, CODE_SIZE, &size, &error), -1);
    assert_said(error, VMC_ERROR_RESOURCE, f->store, "cannot be created: No such file");
}

static void a_link_leads_to_the_store(void **state)
{
    Files *f = *state;
    g_autofree char *elsewhere = g_build_filename(f->folder, "elsewhere", NULL);
    GError *error = NULL;
    uint64_t size;

    assert_int_equal(symlink("elsewhere", f->store), 0);
    /* It leads nowhere yet: nothing is put in the link's place, nor where it points. */
    assert_int_equal(vmc_efi_open_variables(f->store, f->template, CODE_SIZE, &size, &error), -1);
    assert_said(error, -1, f->store, "No such file");
    error = NULL;
    assert_int_equal(count_files(f->folder), 3);
    tiny_save_variables(elsewhere, VARS_SIZE, 'E');
    int fd = open_store(f, NULL);
    assert_int_equal(mark_of(fd), 'E');
    /* The lock is on the file, by whatever name. */
    assert_int_equal(vmc_efi_open_variables(elsewhere, NULL, CODE_SIZE, &size, &error), -1);
    assert_said(error, VMC_ERROR_RESOURCE, elsewhere, "in use by another virtual machine");
    close(fd);
}

static void a_store_in_use_is_left_alone(void **state)
{
    Files *f = *state;
    GError *error = NULL;
    uint64_t size;

    int fd = open_store(f, f->template);
    assert_int_equal(vmc_efi_open_variables(f->store, f->template, CODE_SIZE, &size, &error), -1);
    assert_said(error, VMC_ERROR_RESOURCE, f->store, "in use by another virtual machine; each needs one");
    assert_true(vmc_efi_check_variables(f->store, NULL, CODE_SIZE, NULL)); /* which does not lock */
    assert_int_equal(vmc_efi_open_variables(f->store, f->template, CODE_SIZE, &size, NULL), -1);
    close(fd);
    close(open_store(f, NULL));
}

static void a_store_that_is_read_only_is_told_before_the_start(void **state)
{
    Files *f = *state;

    if (!geteuid()) {
        print_message("root may write to anything\n");
        skip();
    }
    tiny_save_variables(f->store, VARS_SIZE, 'M');
    assert_int_equal(g_chmod(f->store, 0400), 0);
    assert_no_store(f, NULL, VMC_ERROR_RESOURCE, f->store, "cannot be opened for writing");
}

/* ---- no room ---- */

static void a_limit_on_files_leaves_no_half_store(void **state)
{
    Files *f = *state;
    struct rlimit old, low;
    GError *error = NULL;
    uint64_t size;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = (struct rlimit){VARS_SIZE / 2 + 100, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    int fd = vmc_efi_open_variables(f->store, f->template, CODE_SIZE, &size, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(fd, -1);
    assert_said(error, VMC_ERROR_RESOURCE, f->store, "cannot be created: File too large");
    assert_int_equal(count_files(f->folder), 2);
}

static int setup_on_small_disk(void **state)
{
    if (!small_folder)
        return 0;
    resize_small_disk(SMALL_BYTES);
    return setup_in(state, small_folder);
}

static int teardown_on_small_disk(void **state)
{
    return small_folder ? teardown(state) : 0;
}

static void a_full_disk_leaves_no_half_store(void **state)
{
    Files *f = *state;
    GError *error = NULL;
    uint64_t size;

    if (!small_folder) {
        print_message("no file system of our own can be mounted here\n");
        skip();
    }
    fill_small_disk();
    for (unsigned room = 0; room < VARS_SIZE; room += 4096) { /* the first bytes may fit */
        g_autofree char *ballast = ballast_path();
        struct stat st;
        assert_int_equal(stat(ballast, &st), 0);
        assert_int_equal(truncate(ballast, st.st_size - (room ? 4096 : 0)), 0);
        assert_int_equal(vmc_efi_open_variables(f->store, f->template, CODE_SIZE, &size, &error), -1);
        assert_said(error, VMC_ERROR_RESOURCE, f->store, "cannot be created: No space left");
        error = NULL;
        assert_int_equal(count_files(f->folder), 3); /* the ballast is the third */
    }
    make_room();
    close(open_store(f, f->template));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_template_has_the_name_of_the_code),
        T(the_installed_firmware_is_found_and_whole),
        T(sizes_tell_which_variables_belong_to_which_code),
        T(code_cut_short_anywhere_is_refused),
        T(what_was_cut_is_said),
        T(volumes_that_lie_are_refused),
        T(other_files_are_no_firmware),
        T(a_store_is_made_of_the_template),
        T(only_where_it_is_asked_for),
        T(one_that_came_meanwhile_is_kept),
        T(a_template_that_does_not_fit_makes_nothing),
        T(a_store_of_the_wrong_size_is_refused_and_kept),
        T(a_store_that_is_not_whole_is_refused),
        T(real_variables_of_another_firmware_are_refused),
        T(other_files_are_no_store),
        T(a_link_leads_to_the_store),
        T(a_store_in_use_is_left_alone),
        T(a_store_that_is_read_only_is_told_before_the_start),
        T(a_limit_on_files_leaves_no_half_store),
    };
    const struct CMUnitTest without_room[] = {
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_no_half_store, setup_on_small_disk,
                                        teardown_on_small_disk),
    };

    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mount_small(); /* which may give a user rights that these tests are about */
    failed += cmocka_run_group_tests(without_room, NULL, NULL);
    if (small_folder)
        unmount_small();
    return failed;
}
