/*
 * espalierctl as a person meets it: the real program, started with right and wrong words, on a terminal and
 * off it.
 */
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <utmp.h>

#include "block/disk.h"
#include "tests/unit/tiny_kernel.h"

#define SECONDS_MAX 20

typedef struct Rig {
    char *dir, *kernel, *loader; /* the loader's option with the kernel in it */
    char *program;
} Rig;

static int set_up(void **state)
{
    const char *build = g_getenv("ESPALIER_BUILD");
    Rig *rig = g_new0(Rig, 1);
    TinyCode code = {.n = 0};

    rig->program = g_build_filename(build ? build : "build", "espalierctl", NULL);
    rig->dir = tiny_dir();
    tiny_print(&code, "hello\n");
    tiny_power_off(&code);
    rig->kernel = tiny_kernel(rig->dir, "kernel", &code);
    rig->loader = g_strdup_printf("linux,kernel=%s", rig->kernel);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    Rig *rig = *state;

    tiny_dir_remove(rig->dir);
    g_free(rig->kernel);
    g_free(rig->loader);
    g_free(rig->program);
    g_free(rig);
    return 0;
}

/* ---- without a terminal ---- */

typedef struct Result {
    int status; /* as a shell shows it */
    char *out, *err;
} Result;

static void result_clear(Result *result)
{
    g_free(result->out);
    g_free(result->err);
}

static int shell_status(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/* Runs it to its end; `words` ends with NULL. */
static Result run(Rig *rig, const char *const *words)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    Result result = {0};
    GError *error = NULL;
    int wait_status;

    g_ptr_array_add(argv, rig->program);
    for (; *words; words++)
        g_ptr_array_add(argv, (char *)*words);
    g_ptr_array_add(argv, NULL);
    if (!g_spawn_sync(NULL, (char **)argv->pdata, NULL, G_SPAWN_DEFAULT, NULL, NULL, &result.out, &result.err,
                      &wait_status, &error))
        fail_msg("%s", error->message);
    result.status = shell_status(wait_status);
    return result;
}

#define RUN(rig, ...) run(rig, (const char *const[]){__VA_ARGS__, NULL})

static unsigned lines(const char *text)
{
    unsigned n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* Status 2, nothing on stdout, one sentence from espalierctl that mentions the word. */
static void assert_refused(Result result, const char *word)
{
    if (result.status != 2 || *result.out || lines(result.err) != 1 ||
        !g_str_has_prefix(result.err, "espalierctl: ") || !strstr(result.err, word))
        fail_msg("expected one sentence with “%s” and status 2, got %d and:\n%s%s", word, result.status,
                 result.out, result.err);
    result_clear(&result);
}

static void test_wrong_words_are_refused_with_a_sentence(void **state)
{
    Rig *rig = *state;
    g_autofree char *frob = g_strconcat(rig->loader, ",frob=1", NULL);

    assert_refused(RUN(rig, "frob"), "frob");
    assert_refused(RUN(rig, "run"), "--bootloader");
    assert_refused(RUN(rig, "run", "--frob"), "--frob");
    assert_refused(RUN(rig, "run", "frob"), "frob");
    assert_refused(RUN(rig, "run", "--cpus"), "--cpus needs a value");
    assert_refused(RUN(rig, "run", "--bootloader", frob), "frob");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--cpus", "0"), "1 to 64");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--cpus=10000"), "1 to 64");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--cpus", "-3"), "-3");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--memory", "99999999"), "this computer has");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--memory", "1"), "at least 16 MiB");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--memory", "much"), "much");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--cpu", "z80"), "z80");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--cpu", "soft:jit"), "interpreter or trans");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--cpu=soft,code-cache=4M"), "8M to 1024M");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--cpu", "soft:interpreter,lockstep"),
                   "espalierctl: --cpu: lockstep");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--cpu-stats=yes"), "leave “=yes” out");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--verbose="), "leave “=” out");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--device", "virtio-frob"), "virtio-frob");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--gdb", "1234"), "unix:FILE or tcp:PORT");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--gdb=tcp:0.0.0.0:1234"), "0.0.0.0");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--gdb", "tcp:99999,wait"), "99999");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--gdb-wait"), "--gdb unix:FILE");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--device", "virtio-rng,frob"), "frob");
    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--device", "uart,stdio", "--device",
                       "virtio-serial,stdio"),
                   "already");
}

static void assert_bad_loader(Rig *rig, const char *format, const char *path, const char *word)
{
    g_autofree char *loader = g_strdup_printf(format, path);

    assert_refused(RUN(rig, "run", "--bootloader", loader), word);
}

static void test_files_that_are_not_what_they_should_be(void **state)
{
    Rig *rig = *state;
    g_autofree char *text = g_build_filename(rig->dir, "text", NULL);
    g_autofree char *initrd = g_strdup_printf("linux,kernel=%s,initrd=%%s", rig->kernel);
    char zeros[4096] = "";

    tiny_write_file(text, zeros, sizeof zeros);
    assert_bad_loader(rig, "linux,kernel=%s", "/no/such/kernel", "/no/such/kernel");
    assert_bad_loader(rig, "linux,kernel=%s", rig->dir, "directory");
    assert_bad_loader(rig, "linux,kernel=%s", text, "bzImage");
    assert_bad_loader(rig, initrd, "/no/such/initrd", "/no/such/initrd");
    tiny_write_file(text, "070701cut off here", 18);
    assert_bad_loader(rig, initrd, text, "not complete");
    tiny_write_file(text, "", 0);
    assert_bad_loader(rig, initrd, text, "empty");
}

static void assert_bad_device(Rig *rig, const char *format, const char *path, const char *word)
{
    g_autofree char *device = g_strdup_printf(format, path);

    assert_refused(RUN(rig, "run", "--bootloader", rig->loader, "--device", device), word);
}

static void test_disks_and_logs_that_cannot_be_used(void **state)
{
    Rig *rig = *state;
    g_autofree char *path = g_build_filename(rig->dir, "disk", NULL);
    char zeros[4096] = "";
    VmcDisk *disk;

    assert_bad_device(rig, "virtio-blk,path=%s", path, path);
    assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    assert_bad_device(rig, "virtio-blk,path=%s", rig->dir, "directory");
    assert_bad_device(rig, "uart,logFilePath=%s/no/log", rig->dir, "not there");
    assert_bad_device(rig, "virtio-gpu,width=%s", "9999", "8192");
    tiny_write_file(path, zeros, sizeof zeros);
    disk = vmc_disk_open_raw(path, false, NULL);
    assert_non_null(disk);
    assert_bad_device(rig, "virtio-blk,path=%s", path, path);
    vmc_disk_close(disk);
}

static void test_all_faults_come_at_once(void **state)
{
    Rig *rig = *state;
    Result result = RUN(rig, "run", "--cpus", "0", "--memory", "1", "--bootloader",
                        "linux,kernel=/no/kernel,initrd=/no/initrd", "--device", "virtio-blk,path=/no/disk");

    assert_int_equal(result.status, 2);
    assert_int_equal(lines(result.err), 5);
    assert_non_null(strstr(result.err, "espalierctl: --device virtio-blk: "));
    result_clear(&result);
}

static void test_help_and_version(void **state)
{
    static const char *const asked[][3] = {{"--help"}, {"--version"}, {"run", "--help"}};

    for (size_t i = 0; i < G_N_ELEMENTS(asked); i++) {
        Result result = run(*state, asked[i]);

        assert_int_equal(result.status, 0);
        assert_string_equal(result.err, "");
        assert_true(lines(result.out) >= 1);
        result_clear(&result);
    }
}

static void test_power_off_is_status_0(void **state)
{
    Rig *rig = *state;
    Result result = RUN(rig, "run", "--cpu", "soft", "--bootloader", rig->loader, "--device", "uart,stdio");

    assert_int_equal(result.status, 0);
    assert_string_equal(result.out, "hello\n");
    assert_string_equal(result.err, "");
    result_clear(&result);
}

static void test_verbose_says_which_cpu_and_why(void **state)
{
    Rig *rig = *state;
    Result result = RUN(rig, "run", "-v", "--bootloader", rig->loader);

    assert_int_equal(result.status, 0);
    assert_non_null(strstr(result.err, "espalierctl: CPU: "));
    result_clear(&result);
}

static void test_the_environment_chooses_an_engine_where_nobody_else_does(void **state)
{
    g_autofree char *before = g_strdup(g_getenv("ESPALIER_CPU_ENGINE"));
    Rig *rig = *state;
    Result result;

    g_setenv("ESPALIER_CPU_ENGINE", "steam", TRUE);
    assert_refused(RUN(rig, "run", "--cpu", "soft", "--bootloader", rig->loader), "ESPALIER_CPU_ENGINE");
    result = RUN(rig, "run", "-v", "--cpu", "soft:interpreter", "--bootloader", rig->loader);
    assert_int_equal(result.status, 0);
    assert_non_null(strstr(result.err, "CPU: soft, interpreter ("));
    result_clear(&result);
    g_setenv("ESPALIER_CPU_ENGINE", "interpreter", TRUE);
    result = RUN(rig, "run", "-v", "--cpu", "soft", "--bootloader", rig->loader);
    assert_int_equal(result.status, 0);
    assert_non_null(strstr(result.err, "CPU: soft, interpreter ("));
    result_clear(&result);
    if (before)
        g_setenv("ESPALIER_CPU_ENGINE", before, TRUE);
    else
        g_unsetenv("ESPALIER_CPU_ENGINE");
}

static char *loader_of(Rig *rig, const TinyCode *code)
{
    g_autofree char *kernel = tiny_kernel(rig->dir, "other", code);

    return g_strdup_printf("linux,kernel=%s", kernel);
}

static void test_a_reboot_reboots(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    g_autofree char *loader = NULL;
    Result result;

    tiny_print(&code, "b");
    tiny_unless_boots(&code, 3, 10);
    tiny_reset(&code);
    tiny_power_off(&code);
    loader = loader_of(rig, &code);
    result = RUN(rig, "run", "--cpu", "soft", "--bootloader", loader, "--device", "uart,stdio");
    assert_int_equal(result.status, 0);
    assert_string_equal(result.out, "bbb");
    result_clear(&result);
}

static void test_a_machine_that_fails_is_status_1(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    g_autofree char *loader = NULL;
    Result result;

    tiny_triple_fault(&code);
    loader = loader_of(rig, &code);
    result = RUN(rig, "run", "--cpu", "soft", "--bootloader", loader);
    assert_int_equal(result.status, 1);
    assert_non_null(strstr(result.err, "triple fault three times"));
    result_clear(&result);
}

static void test_cpu_stats_come_when_the_machine_has_stopped(void **state)
{
    static const char *const others[] = {"translated", "host code", "lockstep"};
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    g_autofree char *loader = NULL;

    tiny_triple_fault(&code);
    loader = loader_of(rig, &code);
    for (unsigned fails = 0; fails < 2; fails++) {
        Result result = RUN(rig, "run", "--cpu-stats", "--cpu", "soft:interpreter", "--cpus", "2",
                            "--bootloader", fails ? loader : rig->loader);
        const char *table = strstr(result.err, "espalierctl: CPU figures (soft, interpreter):\n");

        assert_int_equal(result.status, fails);
        assert_string_equal(result.out, "");
        assert_non_null(table);
        assert_true(fails || table == result.err);
        assert_true(lines(table) >= 8);
        assert_non_null(strstr(table, "  blocks decoded  "));
        assert_non_null(strstr(table, "  CPU 1\n"));
        for (size_t i = 0; i < G_N_ELEMENTS(others); i++)
            assert_null(strstr(table, others[i]));
        result_clear(&result);
    }
}

/* ---- on a terminal ---- */

typedef struct Terminal {
    int master, slave;
    pid_t pid;
    struct termios before;
    GString *shown;
} Terminal;

/* Starts it as the leader of a session of its own on a new terminal. */
static Terminal on_terminal(Rig *rig, const TinyCode *code, const char *device)
{
    Terminal t = {.shown = g_string_new(NULL)};
    g_autofree char *loader = loader_of(rig, code);

    assert_int_equal(openpty(&t.master, &t.slave, NULL, NULL, NULL), 0);
    assert_int_equal(tcgetattr(t.slave, &t.before), 0);
    t.pid = fork();
    assert_true(t.pid >= 0);
    if (t.pid == 0) {
        login_tty(t.slave);
        close(t.master);
        /* What the tests' own starter ignores (nohup, a job in a script's background) is not meant for it. */
        for (int n = 1; n < SIGRTMIN; n++)
            signal(n, SIG_DFL);
        execl(rig->program, "espalierctl", "run", "--cpu", "soft", "--bootloader", loader, "--device", device,
              NULL);
        _exit(127);
    }
    return t;
}

/* Whether the terminal passes keys on at once and unseen. */
static bool is_raw(Terminal *t)
{
    struct termios now;

    assert_int_equal(tcgetattr(t->slave, &now), 0);
    return !(now.c_lflag & (ICANON | ECHO | ISIG));
}

static void assert_as_before(Terminal *t)
{
    struct termios now;

    assert_int_equal(tcgetattr(t->slave, &now), 0);
    assert_int_equal(now.c_iflag, t->before.c_iflag);
    assert_int_equal(now.c_oflag, t->before.c_oflag);
    assert_int_equal(now.c_cflag, t->before.c_cflag);
    assert_int_equal(now.c_lflag, t->before.c_lflag);
}

/* Reads what is shown until `word` is there. */
static void wait_for(Terminal *t, const char *word)
{
    gint64 end = g_get_monotonic_time() + SECONDS_MAX * G_USEC_PER_SEC;

    while (!strstr(t->shown->str, word)) {
        struct pollfd poll_fd = {t->master, POLLIN, 0};
        char bytes[256];

        if (g_get_monotonic_time() > end)
            fail_msg("“%s” did not come; there was: %s", word, t->shown->str);
        if (poll(&poll_fd, 1, 100) == 1) {
            ssize_t got = read(t->master, bytes, sizeof bytes);

            if (got > 0)
                g_string_append_len(t->shown, bytes, got);
        }
    }
}

static void type(Terminal *t, const char *keys)
{
    assert_int_equal(write(t->master, keys, strlen(keys)), strlen(keys));
}

static int wait_for_end(Terminal *t)
{
    int wait_status = 0;

    for (unsigned ms = 0; ms < SECONDS_MAX * 1000; ms++) {
        if (waitpid(t->pid, &wait_status, WNOHANG) == t->pid) {
            t->pid = 0;
            return shell_status(wait_status);
        }
        g_usleep(1000);
    }
    fail_msg("it does not end");
    return -1;
}

static void terminal_close(Terminal *t)
{
    close(t->master);
    close(t->slave);
    g_string_free(t->shown, TRUE);
}

/* Says "up", then sends back every key plus 0x20: 'a' is told from Ctrl-A by that. */
static void echo_code(TinyCode *code)
{
    tiny_out(code, 0x3fc, 3); /* MCR: DTR, RTS; before that nothing is received */
    tiny_print(code, "up\n");
    TINY(code, 0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7); /* until LSR bit 0 */
    TINY(code, 0x66, 0xba, 0xf8, 0x03, 0xec, 0x04, 0x20, 0xee, 0xeb, 0xed);
}

static void test_ctrl_a(void **state)
{
    TinyCode code = {.n = 0};
    Terminal t;

    echo_code(&code);
    t = on_terminal(*state, &code, "uart,stdio");
    wait_for(&t, "up\r\n");
    assert_true(is_raw(&t));
    type(&t, "AB\x01\x01\x03"
             "C"); /* Ctrl-A Ctrl-A is one Ctrl-A, Ctrl-C is the guest's */
    wait_for(&t, "ab!#c");
    type(&t, "\x01qD");
    wait_for(&t, "cd"); /* Ctrl-A q is nothing */
    type(&t, "\x01x");
    assert_int_equal(wait_for_end(&t), 0);
    assert_as_before(&t);
    terminal_close(&t);
}

static void test_the_terminal_is_given_back_after_a_power_off(void **state)
{
    TinyCode code = {.n = 0};
    Terminal t;

    tiny_print(&code, "up\n");
    tiny_power_off(&code);
    t = on_terminal(*state, &code, "uart,stdio");
    wait_for(&t, "up");
    assert_int_equal(wait_for_end(&t), 0);
    assert_as_before(&t);
    terminal_close(&t);
}

static void test_the_terminal_is_given_back_after_signals(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGSEGV, SIGABRT, SIGUSR1, SIGKILL};

    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
        TinyCode code = {.n = 0};
        Terminal t;
        int status;

        echo_code(&code);
        t = on_terminal(*state, &code, "uart,stdio");
        wait_for(&t, "up\r\n");
        assert_true(is_raw(&t));
        kill(t.pid, signals[i]);
        status = wait_for_end(&t);
#ifdef __SANITIZE_ADDRESS__
        if (signals[i] != SIGSEGV) /* which the sanitizer reports in its own way */
#endif
            assert_int_equal(status, 128 + signals[i]);
        /* After SIGKILL another process does it, a little later. */
        for (unsigned ms = 0; signals[i] == SIGKILL && ms < 5000 && is_raw(&t); ms++)
            g_usleep(1000);
        assert_as_before(&t);
        terminal_close(&t);
    }
}

static void test_a_terminal_without_stdio_is_left_alone(void **state)
{
    Rig *rig = *state;
    TinyCode code = {.n = 0};
    g_autofree char *log = g_strdup_printf("uart,logFilePath=%s/log", rig->dir);
    g_autofree char *path = g_build_filename(rig->dir, "log", NULL);
    Terminal t;

    echo_code(&code);
    t = on_terminal(rig, &code, log);
    for (unsigned ms = 0; ms < SECONDS_MAX * 1000; ms++) {
        g_autofree char *text = NULL;

        if (g_file_get_contents(path, &text, NULL, NULL) && strcmp(text, "up\n") == 0)
            break;
        g_usleep(1000);
    }
    assert_as_before(&t);
    type(&t, "\x03"); /* Ctrl-C is ours */
    assert_int_equal(wait_for_end(&t), 128 + SIGINT);
    assert_as_before(&t);
    terminal_close(&t);
}

static void test_stopped_and_continued(void **state)
{
    TinyCode code = {.n = 0};
    Terminal t;
    int wait_status;

    echo_code(&code);
    t = on_terminal(*state, &code, "uart,stdio");
    wait_for(&t, "up\r\n");
    kill(t.pid, SIGTSTP);
    /* The leader of an orphaned group is not stopped by SIGTSTP; a stop cannot be refused. */
    kill(t.pid, SIGSTOP);
    assert_int_equal(waitpid(t.pid, &wait_status, WUNTRACED), t.pid);
    assert_true(WIFSTOPPED(wait_status));
    assert_int_equal(tcsetattr(t.slave, TCSANOW, &t.before), 0); /* as a shell would */
    kill(t.pid, SIGCONT);
    for (unsigned ms = 0; ms < 5000 && !is_raw(&t); ms++)
        g_usleep(1000);
    assert_true(is_raw(&t));
    type(&t, "A");
    wait_for(&t, "a");
    type(&t, "\x01x");
    assert_int_equal(wait_for_end(&t), 0);
    assert_as_before(&t);
    terminal_close(&t);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- disks ---- */

static void assert_done(Result result, const char *word)
{
    if (result.status || *result.err || !strstr(result.out, word))
        fail_msg("expected “%s”, got %d and:\n%s%s", word, result.status, result.out, result.err);
    result_clear(&result);
}

static void assert_failed(Result result, const char *word)
{
    if (result.status != 1 || lines(result.err) != 1 || !strstr(result.err, word))
        fail_msg("expected one sentence with “%s”, got %d and:\n%s%s", word, result.status, result.out,
                 result.err);
    result_clear(&result);
}

static void test_disks(void **state)
{
    Rig *rig = *state;
    g_autofree char *disk = g_build_filename(rig->dir, "d.qcow2", NULL);
    g_autofree char *clone = g_build_filename(rig->dir, "c.qcow2", NULL);

    assert_done(RUN(rig, "disk", "--help"), "delete-snapshot");
    assert_refused(RUN(rig, "disk"), "no command");
    assert_refused(RUN(rig, "disk", "shrink", disk), "“shrink”");
    assert_refused(RUN(rig, "disk", "create", disk, "12X"), "“12X”");
    assert_refused(RUN(rig, "disk", "create", disk), "no size");
    assert_refused(RUN(rig, "disk", "create", disk, "1G", "more"), "FILE SIZE");
    assert_refused(RUN(rig, "disk", "create", disk, "1G", "--cluster-size", "x"), "cluster");
    assert_refused(RUN(rig, "disk", "create", disk, "1G", "--colour"), "--colour");
    assert_failed(RUN(rig, "disk", "create", disk, "1G", "--format", "vdi"), "raw or qcow2");
    assert_failed(RUN(rig, "disk", "info", disk), disk);
    assert_done(RUN(rig, "disk", "create", disk, "1G"), "");
    assert_failed(RUN(rig, "disk", "create", disk, "1G"), "there already");
    assert_done(RUN(rig, "disk", "info", disk), "1.0");
    assert_done(RUN(rig, "disk", "snapshot", disk, "first day"), "");
    assert_failed(RUN(rig, "disk", "snapshot", disk, "first day"), "already has a snapshot");
    assert_done(RUN(rig, "disk", "snapshots", disk), "first day");
    assert_done(RUN(rig, "disk", "info", disk), "d.snapshot-1.qcow2 (qcow2)");
    assert_done(RUN(rig, "disk", "clone", disk, clone, "--snapshot", "first day"), "");
    assert_failed(RUN(rig, "disk", "delete-snapshot", disk, "first day"), clone);
    assert_done(RUN(rig, "disk", "go-back", disk, "first day"), "");
    assert_failed(RUN(rig, "disk", "go-back", disk, "second day"), "second day");
    g_remove(clone);
    assert_done(RUN(rig, "disk", "delete-snapshot", disk, "first day"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_wrong_words_are_refused_with_a_sentence),
        TEST(test_files_that_are_not_what_they_should_be),
        TEST(test_disks_and_logs_that_cannot_be_used),
        TEST(test_all_faults_come_at_once),
        TEST(test_help_and_version),
        TEST(test_power_off_is_status_0),
        TEST(test_verbose_says_which_cpu_and_why),
        TEST(test_the_environment_chooses_an_engine_where_nobody_else_does),
        TEST(test_cpu_stats_come_when_the_machine_has_stopped),
        TEST(test_a_reboot_reboots),
        TEST(test_a_machine_that_fails_is_status_1),
        TEST(test_ctrl_a),
        TEST(test_the_terminal_is_given_back_after_a_power_off),
        TEST(test_the_terminal_is_given_back_after_signals),
        TEST(test_a_terminal_without_stdio_is_left_alone),
        TEST(test_stopped_and_continued),
        cmocka_unit_test_setup_teardown(test_disks, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("espalierctl", tests, NULL, NULL);
}
