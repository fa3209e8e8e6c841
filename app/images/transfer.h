/*
 * One request of a download and the answer to it (see download.h): asks, judges the head of the answer before
 * a byte of it is kept, and hands the bytes on.
 *
 * Threads: one at a time.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

G_BEGIN_DECLS

/* What the server said before the bytes. */
typedef struct EspAnswer {
    long status;
    char *type;      /* without parameters, lower case */
    char *mark;      /* a strong ETag, or Last-Modified; NULL: none that a rest could be asked for with */
    gint64 length;   /* of what follows; -1: not said */
    gint64 from, of; /* of Content-Range; -1: not said */
} EspAnswer;

typedef struct EspTransfer {
    const char *link;
    guint64 from;     /* not 0: the rest from there... */
    const char *mark; /* ...if the file still has this mark */
    /* The head has come, with a status of 200 or 206. False with `error` set: nothing more is wanted. */
    bool (*begin)(const EspAnswer *answer, gpointer data, GError **error);
    bool (*bytes)(const void *bytes, size_t n, gpointer data, GError **error);
    gpointer data;
    GCancellable *cancellable; /* or NULL */
} EspTransfer;

/* False with `error` set: what begin or bytes said, G_IO_ERROR_CANCELLED, or ESP_DOWNLOAD_ERROR. `*passing`:
 * another try may have more luck. `answer` is filled in as far as it came; clear it. */
bool esp_transfer(const EspTransfer *transfer, EspAnswer *answer, bool *passing, GError **error);
void esp_answer_clear(EspAnswer *answer);

G_END_DECLS
