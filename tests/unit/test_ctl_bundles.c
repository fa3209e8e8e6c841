/* espalierctl with whole machines: what it does, what it says, and with which exit status. */
#include "machine_rig.h"

#include <sys/wait.h>

#define CTL "espalierctl"

typedef struct Ran {
    int status;
    char *out, *err;
} Ran;

static void ran_clear(Ran *ran)
{
    g_free(ran->out);
    g_free(ran->err);
}

/* The library of these commands is `rig_dir`/data/espalier/machines. */
static Ran ctl(const char *first, ...)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    g_autofree char *program =
        g_build_filename(g_getenv("ESPALIER_BUILD") ? g_getenv("ESPALIER_BUILD") : "build", CTL, NULL);
    g_autofree char *data = rig_path("data", NULL);
    g_auto(GStrv) env = g_environ_setenv(g_get_environ(), "XDG_DATA_HOME", data, TRUE);
    Ran ran = {0};
    va_list args;
    int wait_status;

    g_ptr_array_add(words, program);
    va_start(args, first);
    for (const char *word = first; word; word = va_arg(args, const char *))
        g_ptr_array_add(words, (char *)word);
    va_end(args);
    g_ptr_array_add(words, NULL);
    assert_true(g_spawn_sync(NULL, (char **)words->pdata, env, 0, NULL, NULL, &ran.out, &ran.err,
                             &wait_status, NULL));
    ran.status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
    return ran;
}

static void expect(Ran ran, int status, const char *out, const char *err)
{
    if (ran.status != status || (out && !strstr(ran.out, out)) || (err && !strstr(ran.err, err)))
        fail_msg("status %d, “%s”, “%s”; it should have been %d, “%s”, “%s”", ran.status, ran.out, ran.err,
                 status, out ? out : "", err ? err : "");
    ran_clear(&ran);
}

static void machines_are_kept_and_go_back(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2);

    rig_write(path, 0, 'a');
    expect(ctl("snapshot", path, "Before", NULL), 0, NULL, NULL);
    expect(ctl("snapshot", path, "Before", NULL), 1, NULL, "already a snapshot");
    rig_write(path, 0, 'b');
    expect(ctl("snapshots", path, NULL), 0, "Before", NULL);
    expect(ctl("go-back", path, "Before", NULL), 0, NULL, NULL);
    assert_int_equal(rig_read(path, 0), 'a');
    expect(ctl("go-back", path, "Never", NULL), 1, NULL, "Never");
    expect(ctl("forget", path, "Before", NULL), 0, NULL, NULL);
    expect(ctl("snapshots", path, NULL), 0, "", NULL);
}

static void machines_are_cloned_renamed_and_exchanged(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2), *clone = rig_path("Two.espalier", NULL);
    g_autofree char *file = rig_path("two.espalier.tar.zst", NULL);

    rig_write(path, 0, 'a');
    expect(ctl("clone", "--linked", path, "Two", NULL), 0, NULL, NULL);
    assert_int_equal(rig_read(clone, 0), 'a');
    expect(ctl("trash", path, NULL), 1, NULL, "linked duplicate “Two”");
    expect(ctl("rename", clone, "Zwei", NULL), 0, NULL, NULL);
    expect(ctl("rename", clone, "", NULL), 1, NULL, "cannot be the name");
    expect(ctl("export", clone, file, NULL), 0, NULL, NULL);
    expect(ctl("export", clone, file, NULL), 1, NULL, "File exists");
    expect(ctl("import", "--new-identity", "--name", "Drei", file, NULL), 0, "Drei", NULL);
    expect(ctl("snapshots", "Drei", NULL), 0, NULL, NULL);
    expect(ctl("import", "/nowhere", NULL), 1, NULL, "“nowhere” cannot be imported");
}

static void wrong_words_are_told(void **state)
{
    expect(ctl("clone", NULL), 2, NULL, "clone");
    expect(ctl("export", "no such machine", "file", NULL), 2, NULL, "no machine “no such machine”");
    expect(ctl("clone", "--help", NULL), 0, "--linked", NULL);
}

static void the_computer_is_checked(void **state)
{
    expect(ctl("check", NULL), 0, "Processor: ", NULL);
    expect(ctl("check", "--json", NULL), 0, "\"id\" : \"cpu\"", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(machines_are_kept_and_go_back),
        RIG_TEST(machines_are_cloned_renamed_and_exchanged),
        RIG_TEST(wrong_words_are_told),
        RIG_TEST(the_computer_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
