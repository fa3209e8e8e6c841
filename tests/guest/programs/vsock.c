/*
 * A small tool for the guest half of test_vsock.py, linked statically: the guest has no libraries.
 *
 *   vsock connect PORT [CID]   standard input to the socket, the socket to standard output, until both have
 * ended vsock echo PORT COUNT      accepts COUNT connections, and sends back to each what comes until it ends
 *   vsock sink PORT COUNT      accepts COUNT connections one after the other, and prints what comes
 *   vsock many PORT COUNT      COUNT connections at once: each sends its number and wants it back
 */
#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "vsock: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_socket(void)
{
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

    if (fd < 0)
        die("socket");
    return fd;
}

static int connect_to(unsigned port, unsigned cid)
{
    struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
    int fd = open_socket();

    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die("connect");
    return fd;
}

static int listen_at(unsigned port)
{
    struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
    int fd = open_socket();

    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 128) < 0)
        die("listen");
    fprintf(stderr, "vsock: listening\n");
    return fd;
}

static void write_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0)
            die("write");
        bytes += n;
        len -= (size_t)n;
    }
}

/* Copies until `from` ends. */
static void copy(int from, int to)
{
    char bytes[65536];
    ssize_t n;

    while ((n = read(from, bytes, sizeof(bytes))) > 0)
        write_all(to, bytes, (size_t)n);
    if (n < 0)
        die("read");
}

static void talk(int fd)
{
    pid_t sender = fork();

    if (!sender) {
        copy(STDIN_FILENO, fd);
        shutdown(fd, SHUT_WR);
        _exit(0);
    }
    copy(fd, STDOUT_FILENO);
    waitpid(sender, NULL, 0);
}

static void serve(unsigned port, unsigned count, int echo)
{
    int listener = listen_at(port);

    for (unsigned i = 0; i < count; i++) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            die("accept");
        if (!echo) {
            copy(fd, STDOUT_FILENO);
        } else if (!fork()) {
            close(listener);
            copy(fd, fd);
            shutdown(fd, SHUT_WR);
            _exit(0);
        }
        close(fd);
    }
    while (wait(NULL) > 0)
        ;
}

static void many(unsigned port, unsigned count)
{
    int *fds = calloc(count, sizeof(*fds));

    for (unsigned i = 0; i < count; i++)
        fds[i] = connect_to(port, VMADDR_CID_HOST);
    for (unsigned i = 0; i < count; i++) {
        write_all(fds[i], (char *)&i, sizeof(i));
        shutdown(fds[i], SHUT_WR);
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned got = ~0u, n = 0;
        while (n < sizeof(got)) {
            ssize_t r = read(fds[i], (char *)&got + n, sizeof(got) - n);
            if (r <= 0)
                die("read");
            n += (unsigned)r;
        }
        if (got != i || read(fds[i], &got, 1) != 0) {
            fprintf(stderr, "vsock: connection %u got %u\n", i, got);
            exit(1);
        }
    }
    printf("%u connections, each with its own answer\n", count);
}

int main(int argc, char **argv)
{
    unsigned port = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    unsigned number = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;

    if (argc >= 3 && !strcmp(argv[1], "connect"))
        talk(connect_to(port, number ? number : VMADDR_CID_HOST));
    else if (argc == 4 && !strcmp(argv[1], "echo"))
        serve(port, number, 1);
    else if (argc == 4 && !strcmp(argv[1], "sink"))
        serve(port, number, 0);
    else if (argc == 4 && !strcmp(argv[1], "many"))
        many(port, number);
    else
        return 2;
    return 0;
}
