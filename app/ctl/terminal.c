/*
 * Keeps the terminal usable.
 *
 * A raw terminal left behind is a shell one cannot type into, so there are three nets. Every normal end goes
 * through atexit. A signal that ends the program goes through a handler that restores the terminal and raises
 * the signal again, so that the shell sees the true cause and a sanitizer or a core dump its crash. And for
 * SIGKILL, which nobody can handle, a small child waits at a pipe: if the pipe ends without a word, the
 * program is gone, and the child restores the terminal itself.
 *
 * Output processing stays on (OPOST), as messages to stderr share the terminal with the guest.
 */
#include "app/ctl/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <glib.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define CTRL_A 1

static struct {
    bool guarded;
    struct termios before;
    volatile sig_atomic_t raw;
    int watchdog_pipe;
    pid_t watchdog;
    struct sigaction old[NSIG];

    int relay_fd;
    bool escaped; /* the last key was Ctrl-A */
    void (*quit)(void *data);
    void *quit_data;
} terminal = {.watchdog_pipe = -1, .relay_fd = -1};

/* Signals that end a program and that nothing else here handles. */
static const int ending_signals[] = {SIGSEGV, SIGBUS,  SIGILL,  SIGFPE,  SIGABRT, SIGSYS,    SIGTRAP, SIGQUIT,
                                     SIGALRM, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF};

/* At once: waiting for output to drain first would hang if nobody reads it. */
static void apply(const struct termios *modes)
{
    while (tcsetattr(STDIN_FILENO, TCSANOW, modes) < 0 && errno == EINTR)
        ;
}

static void apply_raw(void)
{
    struct termios modes = terminal.before;

    modes.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    modes.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    modes.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
    modes.c_cflag |= CS8;
    modes.c_cc[VMIN] = 1;
    modes.c_cc[VTIME] = 0;
    apply(&modes);
}

void esp_terminal_raw(void)
{
    if (!terminal.guarded)
        return;
    terminal.raw = 1;
    apply_raw();
}

void esp_terminal_restore(void)
{
    if (terminal.guarded && terminal.raw) {
        terminal.raw = 0;
        apply(&terminal.before);
    }
}

/* Tells the watchdog that all is in order: it must not touch the terminal once the shell has it back. */
static void release_watchdog(void)
{
    ssize_t written;

    if (terminal.watchdog_pipe < 0)
        return;
    written = write(terminal.watchdog_pipe, "", 1);
    (void)written;
}

/* Restores and lets the signal do what it would have done. Raised again, it arrives when this handler
 * returns. */
static void on_ending_signal(int signal_number)
{
    int saved = errno;

    esp_terminal_restore();
    release_watchdog();
    sigaction(signal_number, &terminal.old[signal_number], NULL);
    raise(signal_number);
    errno = saved;
}

/* Stopped from outside (Ctrl-Z is the guest's): hands the terminal back before and takes it again after. */
static void on_stop_signal(int signal_number)
{
    int saved = errno;
    struct sigaction ours;
    sigset_t set;
    sig_atomic_t raw = terminal.raw;

    esp_terminal_restore();
    sigaction(signal_number, &terminal.old[signal_number], &ours);
    raise(signal_number);
    sigemptyset(&set);
    sigaddset(&set, signal_number);
    sigprocmask(SIG_UNBLOCK, &set, NULL); /* stops here */
    sigaction(signal_number, &ours, NULL);
    if (raw)
        esp_terminal_raw();
    errno = saved;
}

static void on_continue(int signal_number)
{
    int saved = errno;

    if (terminal.raw && tcgetpgrp(STDIN_FILENO) == getpgrp())
        apply_raw();
    errno = saved;
}

static void handle(int signal_number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};

    sigemptyset(&action.sa_mask);
    sigaction(signal_number, &action, &terminal.old[signal_number]);
}

/* The child. It blocks all signals, SIGTTOU among them, so that it may set the terminal from the background.
 */
static void G_GNUC_NORETURN watch(int fd)
{
    sigset_t all;
    ssize_t got;
    char byte;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    dup2(fd, STDOUT_FILENO);
    close_range(STDERR_FILENO, ~0u, 0); /* nobody shall wait for the end of our output because of us */
    do
        got = read(STDOUT_FILENO, &byte, 1);
    while (got < 0 && errno == EINTR);
    if (got == 0)
        apply(&terminal.before);
    _exit(0);
}

static void at_exit(void)
{
    esp_terminal_restore();
    release_watchdog();
    if (terminal.watchdog > 0)
        waitpid(terminal.watchdog, NULL, 0);
}

static void start_watchdog(void)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return;
    terminal.watchdog = fork();
    if (terminal.watchdog == 0) {
        close(fds[1]);
        watch(fds[0]);
    }
    close(fds[0]);
    terminal.watchdog_pipe = fds[1];
}

bool esp_terminal_guard(void)
{
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &terminal.before) < 0)
        return false;
    terminal.guarded = true;
    start_watchdog();
    atexit(at_exit);
    for (unsigned i = 0; i < G_N_ELEMENTS(ending_signals); i++)
        handle(ending_signals[i], on_ending_signal);
    handle(SIGTSTP, on_stop_signal);
    handle(SIGCONT, on_continue);
    return true;
}

/* What the guest does not take in time is lost, as on a wire: Ctrl-A x must work even then. */
static void pass_on(const char *bytes, size_t n)
{
    ssize_t written = write(terminal.relay_fd, bytes, n);

    (void)written;
}

static void take_key(char key)
{
    if (!terminal.escaped && key == CTRL_A) {
        terminal.escaped = true;
        return;
    }
    if (terminal.escaped && (key == 'x' || key == 'X'))
        terminal.quit(terminal.quit_data);
    else if (!terminal.escaped || key == CTRL_A)
        pass_on(&key, 1);
    terminal.escaped = false;
}

static gboolean on_input(int fd, GIOCondition condition, gpointer data)
{
    char keys[256];
    ssize_t got = read(fd, keys, sizeof keys);

    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return G_SOURCE_CONTINUE;
    if (got <= 0)
        return G_SOURCE_REMOVE; /* the terminal is gone; SIGHUP says the rest */
    for (ssize_t i = 0; i < got; i++)
        take_key(keys[i]);
    return G_SOURCE_CONTINUE;
}

int esp_terminal_relay(void (*quit)(void *data), void *data)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    terminal.relay_fd = fds[1];
    terminal.quit = quit;
    terminal.quit_data = data;
    g_unix_fd_add(STDIN_FILENO, G_IO_IN | G_IO_HUP | G_IO_ERR, on_input, NULL);
    return fds[0];
}
