/*
 * Where a debugger can connect (listen.h).
 *
 * Who gets in has all of the guest, and the protocol knows no password. A Unix socket is for its user alone;
 * a port is not, but at least it is never one that another computer reaches, so only names of this computer
 * for itself are taken, and no resolver is asked what they mean.
 */
#include "gdb/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/i18n.h"
#include "base/unix_socket.h"
#include "vmcore/error.h"
#include "vmcore/gdb.h"

#define BACKLOG 4

struct VmcGdbListener {
    VmcUnixListener *unix_socket; /* or NULL: */
    int tcp;
    char *target;
};

typedef union Place {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} Place;

/* "localhost", an address of 127.0.0.0/8, or ::1, which may stand in brackets. */
static bool parse_host(const char *host, uint16_t port, Place *place)
{
    size_t n = strlen(host);
    bool bracketed = host[0] == '[' && n > 2 && host[n - 1] == ']';
    g_autofree char *bare = bracketed ? g_strndup(host + 1, n - 2) : g_strdup(host);
    const char *v4 = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;

    memset(place, 0, sizeof *place);
    if (inet_pton(AF_INET, v4, &place->v4.sin_addr) == 1) {
        place->v4.sin_family = AF_INET;
        place->v4.sin_port = htons(port);
        return ntohl(place->v4.sin_addr.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, bare, &place->v6.sin6_addr) != 1)
        return false;
    place->v6.sin6_family = AF_INET6;
    place->v6.sin6_port = htons(port);
    return IN6_IS_ADDR_LOOPBACK(&place->v6.sin6_addr);
}

static bool refuse(GError **error, const char *format, const char *what)
{
    g_autofree char *message = g_strdup_printf(format, what);

    g_set_error_literal(error, VMC_ERROR, VMC_ERROR_CONFIG, message);
    return false;
}

/* "PORT" or "HOST:PORT". */
static bool parse_tcp(const char *text, Place *place, GError **error)
{
    const char *colon = strrchr(text, ':'), *digits = colon ? colon + 1 : text;
    g_autofree char *host = g_strndup(text, colon ? (gsize)(colon - text) : 0);
    guint64 port;

    if (!g_ascii_string_to_unsigned(digits, 10, 1, 65535, &port, NULL))
        return refuse(error, _("“%s” is not a TCP port for a debugger; give one from 1 to 65535"), digits);
    if (!parse_host(colon ? host : "127.0.0.1", (uint16_t)port, place))
        return refuse(error,
                      _("“%s” is not a name of this computer for itself; a debugger is only let in by "
                        "localhost, 127.0.0.1 "
                        "or [::1]"),
                      host);
    return true;
}

/* Sets `path` or `place`. */
static bool parse(const char *address, const char **path, Place *place, GError **error)
{
    *path = NULL;
    if (g_str_has_prefix(address, "unix:")) {
        *path = address + strlen("unix:");
        return vmc_unix_path_fits(*path) ||
               refuse(error, _("“%s” cannot be the name of a socket; give one of 1 to 107 bytes"), *path);
    }
    if (g_str_has_prefix(address, "tcp:"))
        return parse_tcp(address + strlen("tcp:"), place, error);
    return refuse(error, _("“%s” does not say where a debugger is let in; write unix:FILE or tcp:PORT"),
                  address);
}

bool vmc_gdb_check_address(const char *address, GError **error)
{
    const char *path;
    Place place;

    return parse(address, &path, &place, error);
}

/* Without delay: packets are small and each waits for the one before. */
static int listen_tcp(const Place *place)
{
    socklen_t size = place->any.sa_family == AF_INET ? sizeof place->v4 : sizeof place->v6;
    int fd = socket(place->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, &place->any, size) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

VmcGdbListener *vmc_gdb_listener_new(const char *address, GError **error)
{
    VmcGdbListener *listener = g_new0(VmcGdbListener, 1);
    const char *path;
    Place place = {0};

    listener->tcp = -1;
    if (!parse(address, &path, &place, error)) {
        g_free(listener);
        return NULL;
    }
    listener->target = g_strdup(path ? path : address + strlen("tcp:"));
    if (path)
        listener->unix_socket = vmc_unix_listener_new(path, BACKLOG, error);
    else if ((listener->tcp = listen_tcp(&place)) < 0)
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("A debugger cannot be let in at “%s”: %s"),
                    address, g_strerror(errno));
    if (listener->unix_socket || listener->tcp >= 0) {
        if (!path && !strchr(listener->target, ':')) {
            char *port = listener->target;
            listener->target = g_strconcat("localhost:", port, NULL);
            g_free(port);
        }
        return listener;
    }
    vmc_gdb_listener_free(listener);
    return NULL;
}

void vmc_gdb_listener_free(VmcGdbListener *listener)
{
    if (!listener)
        return;
    vmc_unix_listener_free(listener->unix_socket);
    if (listener->tcp >= 0)
        close(listener->tcp);
    g_free(listener->target);
    g_free(listener);
}

int vmc_gdb_listener_fd(const VmcGdbListener *listener)
{
    return listener->unix_socket ? vmc_unix_listener_fd(listener->unix_socket) : listener->tcp;
}

int vmc_gdb_listener_accept(VmcGdbListener *listener)
{
    if (listener->unix_socket)
        return vmc_unix_listener_accept(listener->unix_socket);
    return accept4(listener->tcp, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

const char *vmc_gdb_listener_target(const VmcGdbListener *listener)
{
    return listener->target;
}
