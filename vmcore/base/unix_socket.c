/*
 * Unix stream sockets with a name.
 *
 * A name outlives the program that made it when that is killed, so one that is found is asked: a connection
 * that is refused says that nobody is behind it. The mode is set before the name exists (Linux takes it from
 * the unnamed socket), so nobody else gets in between.
 */
#include "base/unix_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/i18n.h"
#include "vmcore/error.h"

struct VmcUnixListener {
    int fd;
    char *path;
    dev_t device; /* of the name we made */
    ino_t inode;
};

bool vmc_unix_path_fits(const char *path)
{
    return *path && strlen(path) < sizeof(((struct sockaddr_un *)NULL)->sun_path);
}

static bool make_address(const char *path, struct sockaddr_un *address)
{
    if (!vmc_unix_path_fits(path)) {
        errno = ENAMETOOLONG;
        return false;
    }
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, strlen(path));
    return true;
}

static int new_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int vmc_unix_connect(const char *path)
{
    struct sockaddr_un address;
    int fd, result;

    if (!make_address(path, &address))
        return -1;
    fd = new_socket();
    if (fd < 0)
        return -1;
    do
        result = connect(fd, (struct sockaddr *)&address, sizeof(address));
    while (result < 0 && errno == EINTR);
    if (result < 0) {
        int err = errno;
        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

/* Removes a socket nobody listens on. False: what is there is not ours to remove. */
static bool remove_dead(const char *path, GError **error)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return true;
    if (!S_ISSOCK(st.st_mode)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("“%s” exists and is not a socket; give another path or remove it"), path);
        return false;
    }
    int fd = vmc_unix_connect(path);
    if (fd >= 0 || errno != ECONNREFUSED) {
        if (fd >= 0)
            close(fd);
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("Another program listens on the socket “%s”; give another path or end that program"),
                    path);
        return false;
    }
    unlink(path);
    return true;
}

static bool bind_and_listen(VmcUnixListener *listener, int backlog)
{
    struct sockaddr_un address;
    struct stat st;

    if (!make_address(listener->path, &address) || fchmod(listener->fd, 0600) < 0 ||
        bind(listener->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return false;
    if (lstat(listener->path, &st) < 0)
        return false;
    listener->device = st.st_dev;
    listener->inode = st.st_ino;
    return listen(listener->fd, backlog) == 0;
}

VmcUnixListener *vmc_unix_listener_new(const char *path, int backlog, GError **error)
{
    if (!vmc_unix_path_fits(path)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("The name “%s” is too long for a socket; give one of 1 to 107 bytes"), path);
        return NULL;
    }
    if (!remove_dead(path, error))
        return NULL;
    VmcUnixListener *listener = g_new0(VmcUnixListener, 1);
    listener->path = g_strdup(path);
    listener->fd = new_socket();
    if (listener->fd >= 0 && bind_and_listen(listener, backlog))
        return listener;
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("The socket “%s” cannot be made: %s"), path,
                g_strerror(errno));
    vmc_unix_listener_free(listener);
    return NULL;
}

void vmc_unix_listener_free(VmcUnixListener *listener)
{
    struct stat st;

    if (!listener)
        return;
    if (listener->inode && lstat(listener->path, &st) == 0 && st.st_dev == listener->device &&
        st.st_ino == listener->inode)
        unlink(listener->path);
    if (listener->fd >= 0)
        close(listener->fd);
    g_free(listener->path);
    g_free(listener);
}

int vmc_unix_listener_fd(const VmcUnixListener *listener)
{
    return listener->fd;
}

int vmc_unix_listener_accept(VmcUnixListener *listener)
{
    return accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
