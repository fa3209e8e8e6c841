/*
 * The WebDAV port: a guest that sends records, whole requests and parts of them, for a folder with links and
 * a FIFO in it, while the host offers files, files become shorter, and the guest names some on its clipboard.
 *
 * covers: vmcore/agent/webdav.c vmcore/agent/webdav_file.c vmcore/agent/webdav_get.c
 * vmcore/agent/webdav_lock.c vmcore/agent/exports.c vmcore/agent/file_list.c
 */
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/webdav.h"
#include "fs/internal.h"
#include "tests/fuzz/input.h"

#define WAIT_US   (30 * 1000) /* for an answer */
#define FILE_SIZE 100000
#define SECRET    "Secret-Of-The-Host"

typedef struct World {
    FuzzInput in;
    VmcPort *port;
    VmcExports *exports;
    VmcExport *offered;
    char *offer; /* the path that the guest was told */
    uint64_t client;
    GMutex lock; /* guards the rest */
    GCond news;  /* of `ended` */
    GByteArray *got;
    size_t room;
    bool ended; /* `client` */
} World;

static VmcIo *io;
static char *top, *shared, *outside;

/* ---- the folder ---- */

static void write_file(const char *dir, const char *name, const char *text, off_t size)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, text, strlen(text)) < 0 || ftruncate(fd, size) < 0)
        abort();
    close(fd);
}

static void remove_all(const char *path, bool itself)
{
    GDir *dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *below = g_build_filename(path, name, NULL);
        remove_all(below, true);
    }
    if (dir)
        g_dir_close(dir);
    if (itself)
        g_remove(path);
}

static void fill(void)
{
    static const char *const links[][2] = {
        {"up", ".."}, {"l", "../outside"}, {"d/l", "/etc"}, {"x/l", "../../outside"}};

    remove_all(shared, false);
    for (unsigned i = 0; i < 2; i++) {
        g_autofree char *dir = g_build_filename(shared, i ? "x" : "d", NULL);
        g_mkdir(dir, 0700);
        write_file(dir, "f", "deep", 4);
    }
    write_file(shared, "f", "file", 4);
    write_file(shared, "big", "large", FILE_SIZE);
    for (unsigned i = 0; i < G_N_ELEMENTS(links); i++) {
        g_autofree char *link = g_build_filename(shared, links[i][0], NULL);
        if (symlink(links[i][1], link) < 0)
            abort();
    }
    g_autofree char *fifo = g_build_filename(shared, "p", NULL);
    if (mkfifo(fifo, 0600) < 0)
        abort();
}

static void check_outside(void)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents(outside, &text, NULL, NULL) || strcmp(text, SECRET) != 0)
        abort();
}

static void remove_top(void)
{
    remove_all(top, true);
}

static GLogWriterOutput no_log(GLogLevelFlags level, const GLogField *fields, gsize n, gpointer data)
{
    return G_LOG_WRITER_HANDLED;
}

static void no_print(const char *domain, GLogLevelFlags level, const char *message, gpointer data)
{
}

static void set_up(void)
{
    io = vmc_io_new(NULL);
    g_autofree char *made = g_dir_make_tmp("fuzz-webdav-XXXXXX", NULL);
    top = made ? realpath(made, NULL) : NULL;
    if (!top)
        abort();
    shared = g_build_filename(top, "shared", NULL);
    outside = g_build_filename(top, "outside", NULL);
    if (g_mkdir(shared, 0700) < 0)
        abort();
    write_file(top, "outside", SECRET, (off_t)strlen(SECRET));
    atexit(remove_top);
    g_log_set_writer_func(no_log, NULL, NULL); /* libphodav says what it makes of every request */
    g_log_set_default_handler(no_print, NULL);
}

/* ---- the guest's side ---- */

/* Takes whole records off what has come: their content is nobody's secret. */
static void look(World *w)
{
    uint64_t id;
    uint16_t len;

    while (w->got->len >= 10) {
        memcpy(&id, w->got->data, 8);
        memcpy(&len, w->got->data + 8, 2);
        if (w->got->len < 10u + len)
            return;
        if (memmem(w->got->data + 10, len, SECRET, strlen(SECRET)))
            abort();
        w->ended |= !len && id == w->client;
        g_byte_array_remove_range(w->got, 0, 10u + len);
    }
}

static size_t guest_write(void *opaque, const void *data, size_t len)
{
    World *w = opaque;
    size_t taken = MIN(len, w->room);

    g_mutex_lock(&w->lock);
    w->room -= taken;
    g_byte_array_append(w->got, data, (guint)taken);
    look(w);
    if (w->ended)
        g_cond_signal(&w->news);
    g_mutex_unlock(&w->lock);
    return taken;
}

static size_t guest_room(void *opaque)
{
    return ((World *)opaque)->room;
}

static void guest_resume(void *opaque)
{
}

static void guest_host_open(void *opaque, bool open)
{
}

static const VmcPortGuest guest = {guest_write, guest_room, guest_resume, guest_host_open, guest_resume};

typedef struct Call {
    World *w;
    const uint8_t *data;
    size_t len;
    bool open;
} Call;

static void do_receive(void *data)
{
    Call *call = data;
    uint8_t *copy = g_memdup2(call->data, call->len); /* ending where it does */
    size_t taken = vmc_port_receive(call->w->port, copy, call->len);

    if (taken > call->len)
        abort();
    g_free(copy);
    call->data += taken;
    call->len -= taken;
}

static void do_open(void *data)
{
    Call *call = data;

    vmc_port_set_guest_open(call->w->port, call->open);
}

static void do_writable(void *data)
{
    vmc_port_writable(((Call *)data)->w->port);
}

/* Sends as long as the server takes it; some is left where it does not listen. */
static void send_all(World *w, const void *data, size_t len)
{
    int64_t end = g_get_monotonic_time() + WAIT_US;

    for (Call call = {w, data, len, false}; call.len && g_get_monotonic_time() < end;) {
        vmc_io_call_sync(io, do_receive, &call);
        if (call.len)
            g_usleep(50);
    }
}

static void send_record(World *w, uint64_t id, const void *data, uint16_t len)
{
    g_autoptr(GByteArray) record = g_byte_array_new();

    g_byte_array_append(record, (uint8_t *)&id, 8);
    g_byte_array_append(record, (uint8_t *)&len, 2);
    g_byte_array_append(record, data, len);
    send_all(w, record->data, record->len);
}

/* Until the connection of the last client has ended. */
static void await_end(World *w)
{
    int64_t end = g_get_monotonic_time() + WAIT_US;

    vmc_io_call_sync(io, do_writable, &(Call){.w = w});
    g_mutex_lock(&w->lock);
    while (!w->ended && g_cond_wait_until(&w->news, &w->lock, end))
        ;
    g_mutex_unlock(&w->lock);
}

/* ---- requests ---- */

static void add_path(World *w, GString *text)
{
    static const char *const paths[] = {"f",
                                        "big",
                                        "d",
                                        "d/f",
                                        "d/",
                                        "",
                                        "new",
                                        "up/outside",
                                        "l",
                                        "p",
                                        "../f",
                                        "%2e%2e/f",
                                        "/f",
                                        "x/l",
                                        "d/l/passwd",
                                        "up",
                                        "%00",
                                        "d/new",
                                        ".spice-clipboard",
                                        ".spice-clipboard/none",
                                        "f/f",
                                        "%ff"};
    uint8_t how = fuzz_u8(&w->in);
    char raw[16];

    g_string_append_c(text, '/');
    if (how < 0xc0) {
        g_string_append(text, paths[how % G_N_ELEMENTS(paths)]);
    } else if (how < 0xe0 && w->offer) { /* what was offered, above it, or below */
        static const char *const behind[] = {"", "/f", "/l", "/new", "/../../f", "/x"};
        g_autofree char *above = g_path_get_dirname(w->offer);
        g_string_append(text, how & 1 ? above + 1 : w->offer + 1);
        g_string_append(text, behind[(how >> 1) % G_N_ELEMENTS(behind)]);
    } else {
        size_t len = fuzz_below(&w->in, sizeof(raw));
        fuzz_take(&w->in, raw, len);
        g_string_append_len(text, raw, (gssize)len);
    }
}

static void add_header(World *w, GString *text)
{
    static const char *const headers[] = {"Depth: 0",
                                          "Depth: 1",
                                          "Depth: infinity",
                                          "Overwrite: F",
                                          "Range: bytes=1-2",
                                          "Range: bytes=-3",
                                          "Range: bytes=99999-",
                                          "If-None-Match: *",
                                          "If-Range: \"x\"",
                                          "Timeout: Second-10",
                                          "If-Modified-Since: Sat, 01 Jan 2050 00:00:00 GMT",
                                          "If: (<urn:uuid:1>)",
                                          "Expect: 100-continue"};
    uint8_t how = fuzz_u8(&w->in);
    char raw[32];

    if (how < 0x80) {
        g_string_append(text, headers[how % G_N_ELEMENTS(headers)]);
    } else if (how < 0xc0) {
        g_string_append(text, how & 1 ? "Destination: http://localhost:9843" : "Destination: ");
        add_path(w, text);
    } else {
        static const char *const names[] = {"Range: bytes=", "If: ", "Lock-Token: ", ""};
        size_t len = fuzz_below(&w->in, sizeof(raw));
        fuzz_take(&w->in, raw, len);
        g_string_append(text, names[how % 4]);
        g_string_append_len(text, raw, (gssize)len);
    }
    g_string_append(text, "\r\n");
}

static const char *const bodies[] = {
    "",
    "content",
    "<propfind xmlns='DAV:'><allprop/></propfind>",
    "<propfind xmlns='DAV:'><propname/></propfind>",
    "<propfind xmlns='DAV:'><prop><getetag/><quota-available-bytes/><x/></prop></propfind>",
    "<lockinfo "
    "xmlns='DAV:'><lockscope><exclusive/></lockscope><locktype><write/></locktype><owner>o</owner></"
    "lockinfo>",
    "<propertyupdate xmlns='DAV:'><set><prop><a>b</a></prop></set></propertyupdate>",
};

/* As a client would send it, now and then with a length that is wrong, or cut. */
static void step_request(World *w)
{
    static const char *const methods[] = {"GET",  "HEAD", "PROPFIND", "PUT",  "DELETE",  "MKCOL",    "MOVE",
                                          "COPY", "LOCK", "UNLOCK",   "BREW", "OPTIONS", "PROPPATCH"};
    g_autoptr(GString) text = g_string_new("");
    uint8_t how = fuzz_u8(&w->in), shape = fuzz_u8(&w->in);
    const char *body = bodies[shape % G_N_ELEMENTS(bodies)];
    size_t len = strlen(body);

    g_string_append_printf(text, "%s ", methods[how % G_N_ELEMENTS(methods)]);
    add_path(w, text);
    g_string_append(text, " HTTP/1.1\r\nHost: localhost\r\n");
    if (how & 0x80)
        g_string_append(text, "Connection: close\r\n");
    for (unsigned n = shape >> 6; n; n--)
        add_header(w, text);
    if (how == 0x7f)
        len = fuzz_u16(&w->in);
    g_string_append_printf(text, "Content-Length: %zu\r\n\r\n%s", len, body);
    if (how & 0x80) { /* a client of its own, whose answer is waited for */
        g_mutex_lock(&w->lock);
        w->client++;
        w->ended = false;
        g_mutex_unlock(&w->lock);
    }
    send_record(w, w->client, text->str, (uint16_t)text->len);
    if (how & 0x80 && len == strlen(body) && w->room > 2 * FILE_SIZE)
        await_end(w);
}

static void step_raw(World *w)
{
    uint8_t bytes[64];
    size_t len = fuzz_below(&w->in, sizeof(bytes));

    fuzz_take(&w->in, bytes, len);
    if (fuzz_u8(&w->in) & 1)
        send_all(w, bytes, len);
    else
        send_record(w, fuzz_u8(&w->in), bytes, (uint16_t)len);
}

/* ---- what happens meanwhile ---- */

static void step_open(World *w)
{
    vmc_io_call_sync(io, do_open, &(Call){.w = w, .open = fuzz_u8(&w->in) & 3});
}

static void step_read(World *w)
{
    w->room = fuzz_u8(&w->in) & 3 ? 1 << 24 : fuzz_u16(&w->in);
    vmc_io_call_sync(io, do_writable, &(Call){.w = w});
}

static void step_shorten(World *w)
{
    g_autofree char *path = g_build_filename(shared, "big", NULL);

    if (truncate(path, fuzz_u8(&w->in) & 1 ? 0 : fuzz_u16(&w->in)) < 0)
        return;
}

static void step_offer(World *w)
{
    g_autofree char *dir = g_build_filename(shared, "x", NULL), *file = g_build_filename(shared, "big", NULL);
    g_autofree char *link = g_build_filename(shared, "l", NULL);
    const char *const paths[] = {dir, fuzz_u8(&w->in) & 1 ? file : NULL, fuzz_u8(&w->in) & 8 ? link : NULL,
                                 NULL};
    g_autoptr(GBytes) list = NULL;

    vmc_exports_end(w->exports, g_steal_pointer(&w->offered));
    w->offered = vmc_exports_add(w->exports, fuzz_u8(&w->in) & 1, paths, &list, NULL);
    if (w->offered) {
        g_free(w->offer);
        w->offer = g_strdup((char *)g_bytes_get_data(list, NULL) + strlen(g_bytes_get_data(list, NULL)) + 1);
    }
}

static void step_later(World *w)
{
    if (fuzz_u8(&w->in) & 1)
        vmc_exports_end(w->exports, g_steal_pointer(&w->offered));
    vmc_exports_expire(w->exports, vmc_now_ns() + (fuzz_u8(&w->in) & 1 ? VMC_EXPORTS_LAST_NS : 0));
}

/* A clipboard's content: what comes of it is in the folder, and no link leads there. */
static void step_list(World *w)
{
    static const char *const items[] = {"copy", "cut",         "/f",          "/d/f", "/d",
                                        "/l",   "/up/outside", "/../outside", "/p",   ""};
    g_autoptr(GString) text = g_string_new("");
    VmcFileAction action = 99;
    char raw[24];

    for (unsigned n = fuzz_below(&w->in, 6); n; n--) {
        uint8_t how = fuzz_u8(&w->in);
        size_t len = how & 0x80 ? how % sizeof(raw) : 0;
        fuzz_take(&w->in, raw, len);
        g_string_append(text, items[how % G_N_ELEMENTS(items)]);
        g_string_append_len(text, raw, (gssize)len);
        if (n > 1 || how & 0x40)
            g_string_append_c(text, 0);
    }
    g_autoptr(GBytes) list = g_bytes_new(text->str, text->len);
    g_auto(GStrv) paths = vmc_exports_resolve(w->exports, list, &action, NULL);
    if (paths && action != VMC_FILES_COPY && action != VMC_FILES_CUT)
        abort();
    for (char **path = paths; path && *path; path++) {
        g_autofree char *real = realpath(*path, NULL);
        if (!g_str_has_prefix(*path, shared) || (real && strcmp(real, *path) != 0))
            abort();
    }
}

static void (*const steps[])(World *w) = {
    step_request, step_request, step_request, step_request, step_request, step_request, step_raw,
    step_open,    step_read,    step_shorten, step_offer,   step_later,   step_list,    step_request};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    World w = {.in = {data, size, 0}, .client = 1, .room = 1 << 24};
    uint8_t how;

    if (!io)
        set_up();
    fill();
    how = fuzz_u8(&w.in);
    g_mutex_init(&w.lock);
    g_cond_init(&w.news);
    w.got = g_byte_array_new();
    w.exports = vmc_exports_new();
    w.port = vmc_webdav_port_new(io, shared, how % 8 == 7, how % 8 == 6 ? NULL : w.exports, NULL);
    if (!w.port)
        abort();
    vmc_port_attach(w.port, &guest, &w);
    vmc_io_call_sync(io, do_open, &(Call){.w = &w, .open = true});
    for (unsigned n = 0; fuzz_more(&w.in) && n < 40; n++)
        steps[fuzz_u8(&w.in) % G_N_ELEMENTS(steps)](&w);
    vmc_port_free(w.port);
    vmc_exports_end(w.exports, w.offered);
    vmc_exports_unref(w.exports);
    check_outside();
    g_byte_array_unref(w.got);
    g_free(w.offer);
    g_cond_clear(&w.news);
    g_mutex_clear(&w.lock);
    return 0;
}
