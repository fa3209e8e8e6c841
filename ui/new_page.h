/*
 * A page of the assistant for new machines: it shows a part of an EspCreation, and takes it back.
 *
 * Signals:
 *   changed ()   what was entered is another: complete or not may have changed
 *   advance ()   a choice was made for good (a row activated): go on if that is possible
 */
#pragma once

#include <gtk/gtk.h>
#include <stdbool.h>

#include "app/create/creation.h"
#include "app/create/host_limits.h"

G_BEGIN_DECLS

#define ESP_TYPE_NEW_PAGE (esp_new_page_get_type())
G_DECLARE_DERIVABLE_TYPE(EspNewPage, esp_new_page, ESP, NEW_PAGE, GtkBox)

struct _EspNewPageClass {
    GtkBoxClass parent_class;
    const char *title; /* untranslated */
    /* Before it is shown, and what has been chosen so far is `creation`. */
    void (*load)(EspNewPage *page, const EspCreation *creation);
    /* When it is left, or what is on it is asked for. */
    void (*store)(EspNewPage *page, EspCreation *creation);
    /* NULL: always. */
    bool (*is_complete)(EspNewPage *page);
};

/* Both the page's own. */
const char *esp_new_page_get_title(EspNewPage *page);
void esp_new_page_load(EspNewPage *page, const EspCreation *creation);
void esp_new_page_store(EspNewPage *page, EspCreation *creation);
bool esp_new_page_is_complete(EspNewPage *page);

/* Where the machine is to be; set once, before anything else. */
void esp_new_page_set_library_dir(EspNewPage *page, const char *dir);
const char *esp_new_page_get_library_dir(EspNewPage *page);

/* For the pages themselves. */
void esp_new_page_changed(EspNewPage *page);
void esp_new_page_advance(EspNewPage *page);
/* A sentence under a control, in the colours of a warning or without; NULL hides it. */
void esp_new_page_hint(GtkLabel *label, const char *text, bool warning);

G_END_DECLS
