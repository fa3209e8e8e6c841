/*
 * The layout of a saved state, numbers little-endian:
 *
 *   magic (16 bytes), version of the format (32 bits), 0 (32 bits)
 *   chunks: kind, 0, length, where it begins in the file (64 bits each but for the first two), CRC-32 of what
 *           follows, CRC-32 of this header; then `length` bytes
 *
 * The first chunk is the state, the last one says how many pages there were and ends the file. Those between
 * are memory: a number of runs of pages, each with slot, first page and length, and then the pages. That a
 * chunk knows its place is how a missing or doubled one is noticed.
 *
 * Pages of zeros are left out, as are those that the host has never given out, which is what makes it fast:
 * an idle guest of a gigabyte has touched little of it. Nothing is compressed. Bytes go through a buffer of a
 * few MiB with plain reads of the memfd and writes of the file: that costs one copy and saves a page fault
 * for each page on the way in, and checksums are taken of what is really written or used. The host begins to
 * write the file out while we go on, so that the sync at the end is short.
 */
#include "machine/saved_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/i18n.h"
#include "vmcore/error.h"

#define MAGIC       "Espalier state\r\n"
#define MAGIC_BYTES 16u
#define VERSION     1u

enum { CHUNK_STATE = 1, CHUNK_MEMORY = 2, CHUNK_END = 3 };

#define STATE_MAX   (1u << 30)
#define CHUNK_PAGES 1024u
#define CHUNK_BYTES (CHUNK_PAGES * VMC_PAGE_SIZE)

typedef struct FileHeader {
    char magic[MAGIC_BYTES];
    uint32_t version, zero;
} FileHeader;

typedef struct ChunkHeader {
    uint32_t kind, zero;
    uint64_t length, at;
    uint32_t crc, header_crc;
} ChunkHeader;

typedef struct Run {
    uint32_t slot, pages;
    uint64_t first;
} Run;

_Static_assert(sizeof(FileHeader) == 24 && sizeof(ChunkHeader) == 32 && sizeof(Run) == 16, "no padding");

/* What a memory chunk begins with. */
typedef struct Runs {
    uint32_t n, zero;
    Run runs[CHUNK_PAGES];
} Runs;

static uint32_t crc_of(uint32_t crc, const void *bytes, size_t n)
{
    return (uint32_t)crc32_z(crc, bytes, n);
}

/* `sentence` has places for the file and why. */
static bool cannot(GError **error, const char *sentence, const char *path)
{
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _(sentence), path, g_strerror(errno));
    return false;
}

/* ---- writing ---- */

typedef struct Out {
    int fd;
    const char *path; /* for messages */
    uint64_t at, synced;
    GCancellable *cancellable;
    Runs runs;
    unsigned pages; /* in `buffer` */
    uint8_t *buffer;
    uint64_t total;
} Out;

static bool put(Out *out, const void *bytes, size_t n, GError **error)
{
    const uint8_t *from = bytes;

    while (n) {
        ssize_t done = write(out->fd, from, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return cannot(error, N_("The saved state “%s” cannot be written: %s"), out->path);
        from += done;
        n -= (size_t)done;
        out->at += (uint64_t)done;
    }
    return true;
}

static bool put_header(Out *out, uint32_t kind, uint64_t length, uint32_t crc, GError **error)
{
    ChunkHeader header = {
        .kind = GUINT32_TO_LE(kind),
        .length = GUINT64_TO_LE(length),
        .at = GUINT64_TO_LE(out->at),
        .crc = GUINT32_TO_LE(crc),
    };

    header.header_crc = GUINT32_TO_LE(crc_of(0, &header, offsetof(ChunkHeader, header_crc)));
    return put(out, &header, sizeof(header), error);
}

static bool put_chunk(Out *out, uint32_t kind, const void *bytes, size_t n, GError **error)
{
    return put_header(out, kind, n, crc_of(0, bytes, n), error) && put(out, bytes, n, error);
}

/* What has been written until now goes to the disk meanwhile. */
static void begin_sync(Out *out)
{
    sync_file_range(out->fd, (off_t)out->synced, (off_t)(out->at - out->synced), SYNC_FILE_RANGE_WRITE);
    out->synced = out->at;
}

/* The pages that were collected. */
static bool put_pages(Out *out, GError **error)
{
    size_t head = offsetof(Runs, runs) + out->runs.n * sizeof(Run);
    size_t bytes = (size_t)out->pages * VMC_PAGE_SIZE;

    if (!out->pages)
        return true;
    for (unsigned i = 0; i < out->runs.n; i++) {
        Run *run = &out->runs.runs[i];
        *run = (Run){GUINT32_TO_LE(run->slot), GUINT32_TO_LE(run->pages), GUINT64_TO_LE(run->first)};
    }
    out->runs.n = GUINT32_TO_LE(out->runs.n);
    uint32_t crc = crc_of(crc_of(0, &out->runs, head), out->buffer, bytes);
    bool good = put_header(out, CHUNK_MEMORY, head + bytes, crc, error) &&
                put(out, &out->runs, head, error) && put(out, out->buffer, bytes, error);
    out->total += out->pages;
    out->runs.n = out->pages = 0;
    begin_sync(out);
    return good && !g_cancellable_set_error_if_cancelled(out->cancellable, error);
}

static bool is_zero(const uint8_t *page)
{
    return !page[0] && memcmp(page, page + 1, VMC_PAGE_SIZE - 1) == 0;
}

/* Those of the `n` pages just read into the buffer's end that are not zero stay there. */
static void keep_pages(Out *out, unsigned slot, uint64_t first, unsigned n)
{
    const uint8_t *from = out->buffer + (size_t)out->pages * VMC_PAGE_SIZE;

    for (unsigned i = 0; i < n; i++, from += VMC_PAGE_SIZE) {
        Run *last = out->runs.n ? &out->runs.runs[out->runs.n - 1] : NULL;
        uint8_t *to = out->buffer + (size_t)out->pages * VMC_PAGE_SIZE;
        if (is_zero(from))
            continue;
        if (to != from)
            memcpy(to, from, VMC_PAGE_SIZE);
        if (last && last->slot == slot && last->first + last->pages == first + i)
            last->pages++;
        else
            out->runs.runs[out->runs.n++] = (Run){slot, 1, first + i};
        out->pages++;
    }
}

static bool read_all(int fd, void *to, size_t n, uint64_t offset)
{
    uint8_t *at = to;

    while (n) {
        ssize_t done = pread(fd, at, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        at += done;
        n -= (size_t)done;
        offset += (uint64_t)done;
    }
    return true;
}

/* Pages [first, end) of a slot, of which there is something. */
static bool put_range(Out *out, const VmcMemory *memory, unsigned slot, uint64_t first, uint64_t end,
                      GError **error)
{
    while (first < end) {
        unsigned n = (unsigned)MIN(end - first, CHUNK_PAGES - out->pages);
        if (!read_all(memory->slots[slot].fd, out->buffer + (size_t)out->pages * VMC_PAGE_SIZE,
                      (size_t)n * VMC_PAGE_SIZE, first << VMC_PAGE_SHIFT)) {
            g_set_error(error, VMC_ERROR, VMC_ERROR_INTERNAL, _("The machine's memory cannot be read: %s"),
                        g_strerror(errno));
            return false;
        }
        keep_pages(out, slot, first, n);
        first += n;
        if (out->pages == CHUNK_PAGES && !put_pages(out, error))
            return false;
    }
    return true;
}

static bool put_slot(Out *out, const VmcMemory *memory, unsigned slot, GError **error)
{
    const VmcMemSlot *s = &memory->slots[slot];
    off_t at = 0, end = (off_t)s->size;

    while (at < end && (at = lseek(s->fd, at, SEEK_DATA)) >= 0) {
        off_t hole = lseek(s->fd, at, SEEK_HOLE);
        if (hole < 0 || hole > end)
            hole = end;
        if (!put_range(out, memory, slot, (uint64_t)at >> VMC_PAGE_SHIFT,
                       ((uint64_t)hole + VMC_PAGE_SIZE - 1) >> VMC_PAGE_SHIFT, error))
            return false;
        at = hole;
    }
    return true;
}

static bool put_everything(Out *out, GBytes *state, const VmcMemory *memory, GError **error)
{
    FileHeader header = {.magic = MAGIC, .version = GUINT32_TO_LE(VERSION)};
    gsize n;
    const void *bytes = g_bytes_get_data(state, &n);

    if (!put(out, &header, sizeof(header), error) || !put_chunk(out, CHUNK_STATE, bytes, n, error))
        return false;
    for (unsigned i = 0; i < memory->n_slots; i++)
        if (!put_slot(out, memory, i, error))
            return false;
    if (!put_pages(out, error))
        return false;
    uint64_t total = GUINT64_TO_LE(out->total);
    return put_chunk(out, CHUNK_END, &total, sizeof(total), error);
}

/* The name of a file lasts when its folder does. */
static void sync_folder(const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

bool vmc_saved_state_write(const char *path, GBytes *state, VmcMemory *memory, GCancellable *cancellable,
                           GError **error)
{
    g_autofree char *beside = g_strconcat(path, ".XXXXXX", NULL);
    g_autofree Out *out = g_new0(Out, 1);

    out->path = path;
    out->cancellable = cancellable;
    out->fd = g_mkstemp_full(beside, O_WRONLY | O_CLOEXEC, 0600);
    if (out->fd < 0)
        return cannot(error, N_("The saved state “%s” cannot be made: %s"), path);
    out->buffer = g_malloc(CHUNK_BYTES);
    bool good = put_everything(out, state, memory, error);
    g_free(out->buffer);
    if (good && fsync(out->fd) < 0)
        good = cannot(error, N_("The saved state “%s” cannot be written: %s"), path);
    close(out->fd);
    if (good && rename(beside, path) < 0)
        good = cannot(error, N_("The saved state “%s” cannot be put in its place: %s"), path);
    if (good)
        sync_folder(path);
    else
        unlink(beside);
    return good;
}

/* ---- reading ---- */

struct VmcSavedState {
    int fd;
    char *path;
    uint64_t size; /* of the file */
    GBytes *state;
    uint64_t memory_at; /* where the first chunk behind the state begins */
};

static bool damaged(const VmcSavedState *saved, uint64_t at, GError **error)
{
    g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE,
                _("The saved state “%s” is damaged at byte %" PRIu64
                  ": it is not what was written; the machine can only be started anew"),
                saved->path, at);
    return false;
}

static bool cut_short(const VmcSavedState *saved, GError **error)
{
    g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE,
                _("The saved state “%s” has been cut short, to %" PRIu64
                  " bytes; the machine can only be started anew"),
                saved->path, saved->size);
    return false;
}

static bool get(const VmcSavedState *saved, uint64_t at, void *to, size_t n, GError **error)
{
    if (n > saved->size || at > saved->size - n)
        return cut_short(saved, error);
    errno = 0;
    if (read_all(saved->fd, to, n, at))
        return true;
    return errno ? cannot(error, N_("The saved state “%s” cannot be read: %s"), saved->path)
                 : cut_short(saved, error);
}

/* What is wrong with a chunk's header, whatever that is, is that its checksum is. */
static bool get_header(const VmcSavedState *saved, uint64_t at, ChunkHeader *header, GError **error)
{
    if (!get(saved, at, header, sizeof(*header), error))
        return false;
    uint32_t crc = crc_of(0, header, offsetof(ChunkHeader, header_crc));
    header->kind = GUINT32_FROM_LE(header->kind);
    header->length = GUINT64_FROM_LE(header->length);
    header->at = GUINT64_FROM_LE(header->at);
    header->crc = GUINT32_FROM_LE(header->crc);
    if (crc != GUINT32_FROM_LE(header->header_crc) || header->at != at || header->zero)
        return damaged(saved, at, error);
    if (header->length > saved->size - at - sizeof(*header))
        return cut_short(saved, error);
    return true;
}

static bool check_file_header(const VmcSavedState *saved, GError **error)
{
    FileHeader header;

    if (saved->size < sizeof(header) || !get(saved, 0, &header, sizeof(header), NULL) ||
        memcmp(header.magic, MAGIC, MAGIC_BYTES) != 0) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE, _("“%s” is not the saved state of a virtual machine"),
                    saved->path);
        return false;
    }
    if (GUINT32_FROM_LE(header.version) != VERSION) {
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_IMAGE,
            _("The saved state “%s” is of format %u, and this version of the program reads format %u"),
            saved->path, GUINT32_FROM_LE(header.version), VERSION);
        return false;
    }
    return !header.zero || damaged(saved, offsetof(FileHeader, zero), error);
}

static bool read_state(VmcSavedState *saved, GError **error)
{
    uint64_t at = sizeof(FileHeader);
    ChunkHeader header;

    if (!check_file_header(saved, error) || !get_header(saved, at, &header, error))
        return false;
    if (header.kind != CHUNK_STATE || header.length > STATE_MAX)
        return damaged(saved, at, error);
    uint8_t *bytes = g_try_malloc(MAX(header.length, 1));
    if (!bytes) {
        errno = ENOMEM;
        return cannot(error, N_("The saved state “%s” cannot be read: %s"), saved->path);
    }
    saved->state = g_bytes_new_take(bytes, header.length);
    if (!get(saved, at + sizeof(header), bytes, header.length, error))
        return false;
    saved->memory_at = at + sizeof(header) + header.length;
    return crc_of(0, bytes, header.length) == header.crc || damaged(saved, at, error);
}

/* Without waiting, should it be a FIFO. */
VmcSavedState *vmc_saved_state_open(const char *path, GError **error)
{
    VmcSavedState *saved = g_new0(VmcSavedState, 1);
    struct stat st;

    saved->path = g_strdup(path);
    saved->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (saved->fd < 0 || fstat(saved->fd, &st) < 0) {
        cannot(error, N_("The saved state “%s” cannot be opened: %s"), path);
    } else if (!S_ISREG(st.st_mode)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE,
                    _("“%s” is not a file, so it is not the saved state of a virtual machine"), path);
    } else {
        saved->size = (uint64_t)st.st_size;
        posix_fadvise(saved->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        if (read_state(saved, error))
            return saved;
    }
    vmc_saved_state_close(saved);
    return NULL;
}

void vmc_saved_state_close(VmcSavedState *saved)
{
    if (!saved)
        return;
    if (saved->fd >= 0)
        close(saved->fd);
    if (saved->state)
        g_bytes_unref(saved->state);
    g_free(saved->path);
    g_free(saved);
}

GBytes *vmc_saved_state_get(VmcSavedState *saved)
{
    return saved->state;
}

/* ---- memory ---- */

typedef struct In {
    VmcSavedState *saved;
    VmcMemory *memory;
    uint8_t *buffer; /* CHUNK_BYTES and a Runs */
    uint64_t total;
} In;

static bool write_pages(const VmcMemSlot *slot, const uint8_t *from, size_t n, uint64_t offset,
                        GError **error)
{
    while (n) {
        ssize_t done = pwrite(slot->fd, from, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("The machine's memory cannot be filled: %s"),
                        g_strerror(errno));
            return false;
        }
        from += done;
        n -= (size_t)done;
        offset += (uint64_t)done;
    }
    return true;
}

/* One run, whose pages begin at *from. */
static bool load_run(In *in, const Run *le, const uint8_t **from, const uint8_t *end, uint64_t at,
                     GError **error)
{
    Run run = {GUINT32_FROM_LE(le->slot), GUINT32_FROM_LE(le->pages), GUINT64_FROM_LE(le->first)};
    uint64_t bytes = (uint64_t)run.pages << VMC_PAGE_SHIFT;

    if (run.slot >= in->memory->n_slots || bytes > (uint64_t)(end - *from))
        return damaged(in->saved, at, error);
    const VmcMemSlot *slot = &in->memory->slots[run.slot];
    uint64_t pages = slot->size >> VMC_PAGE_SHIFT;
    if (run.pages > pages || run.first > pages - run.pages)
        return damaged(in->saved, at, error);
    if (!write_pages(slot, *from, (size_t)bytes, run.first << VMC_PAGE_SHIFT, error))
        return false;
    *from += bytes;
    in->total += run.pages;
    return true;
}

static bool load_chunk(In *in, uint64_t at, const ChunkHeader *header, GError **error)
{
    const Runs *runs = (const Runs *)in->buffer;

    if (header->length > sizeof(Runs) + CHUNK_BYTES || header->length < offsetof(Runs, runs))
        return damaged(in->saved, at, error);
    if (!get(in->saved, at + sizeof(*header), in->buffer, header->length, error))
        return false;
    if (crc_of(0, in->buffer, header->length) != header->crc)
        return damaged(in->saved, at, error);
    uint32_t n = GUINT32_FROM_LE(runs->n);
    if (n > CHUNK_PAGES || offsetof(Runs, runs) + n * sizeof(Run) > header->length)
        return damaged(in->saved, at, error);
    const uint8_t *from = (const uint8_t *)&runs->runs[n], *end = in->buffer + header->length;
    for (uint32_t i = 0; i < n; i++)
        if (!load_run(in, &runs->runs[i], &from, end, at, error))
            return false;
    return from == end || damaged(in->saved, at, error);
}

/* The last chunk, behind which the file ends. */
static bool check_end(const In *in, uint64_t at, const ChunkHeader *header, GError **error)
{
    uint64_t total;

    if (header->length != sizeof(total) || at + sizeof(*header) + sizeof(total) != in->saved->size)
        return damaged(in->saved, at, error);
    if (!get(in->saved, at + sizeof(*header), &total, sizeof(total), error))
        return false;
    if (crc_of(0, &total, sizeof(total)) != header->crc || GUINT64_FROM_LE(total) != in->total)
        return damaged(in->saved, at, error);
    return true;
}

static bool load_chunks(In *in, GCancellable *cancellable, GError **error)
{
    uint64_t at = in->saved->memory_at;
    ChunkHeader header;

    for (;;) {
        if (!get_header(in->saved, at, &header, error))
            return false;
        if (header.kind == CHUNK_END)
            return check_end(in, at, &header, error);
        if (header.kind != CHUNK_MEMORY)
            return damaged(in->saved, at, error);
        if (!load_chunk(in, at, &header, error) || g_cancellable_set_error_if_cancelled(cancellable, error))
            return false;
        at += sizeof(header) + header.length;
    }
}

bool vmc_saved_state_load_memory(VmcSavedState *saved, VmcMemory *memory, GCancellable *cancellable,
                                 GError **error)
{
    In in = {.saved = saved, .memory = memory, .buffer = g_malloc(sizeof(Runs) + CHUNK_BYTES)};
    bool good = load_chunks(&in, cancellable, error);

    g_free(in.buffer);
    return good;
}
