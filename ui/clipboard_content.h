/*
 * What is on a clipboard, between GTK's names and the agent's: targets and types, pictures, lists of files.
 *
 * Threads: GTK's.
 */
#pragma once

#include <gtk/gtk.h>
#include <stdbool.h>
#include <vmcore/agent.h>

G_BEGIN_DECLS

#define ESP_CLIP_URI_LIST "text/uri-list"
#define ESP_CLIP_GNOME_FILES                                                                                 \
    "x-special/gnome-copied-files" /* "copy" or "cut", then the addresses, in lines */

/* The longest text and the largest list that are taken from a guest, bytes. */
#define ESP_CLIP_TEXT_MAX (16u << 20)

/* ---- what a guest has sent ---- */

typedef struct EspClipContent EspClipContent;

EspClipContent *esp_clip_content_new(void);
void esp_clip_content_free(EspClipContent *content); /* NULL is fine */
bool esp_clip_content_is_empty(const EspClipContent *content);

/* Text that is not UTF-8 or too long is left out; pictures are passed on as they are, and never looked into
 * here. */
void esp_clip_content_take(EspClipContent *content, VmcClipType type, GBytes *data);
/* What is not there, or a link by now, is left out. */
void esp_clip_content_take_files(EspClipContent *content, VmcFileAction action, const char *const *paths);

/* Puts it on the host's clipboard in the name of `owner`. Takes `content`. */
void esp_clip_content_publish(EspClipContent *content, GtkClipboard *clipboard, GObject *owner);

/* ---- what the host has ---- */

/* The types (VMC_CLIP_BIT) that a guest can be offered: text, PNG, files. */
unsigned esp_clip_types_of_targets(GdkAtom *targets, int n);
bool esp_clip_has_target(const GdkAtom *targets, int n, const char *name);

/* The text with the ends of lines that the agent wants. */
GBytes *esp_clip_text_for_guest(const char *text);
/* Paths of local files from one of the two lists above; NULL: there are none, or too many. */
char **esp_clip_paths_of_selection(GtkSelectionData *selection, VmcFileAction *action);

/* As PNG, on a thread: `callback` gets GBytes from g_task_propagate_pointer. */
void esp_clip_encode_png(GdkPixbuf *picture, GAsyncReadyCallback callback, gpointer data);

G_END_DECLS
