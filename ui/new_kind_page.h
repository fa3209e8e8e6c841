/* The assistant's first page: what the new machine shall be, and what was begun and can be continued.
 *
 * Signals: continue (path of a draft), discard (path of a draft). */
#pragma once

#include "ui/new_page.h"

G_BEGIN_DECLS

#define ESP_TYPE_NEW_KIND_PAGE (esp_new_kind_page_get_type())
G_DECLARE_FINAL_TYPE(EspNewKindPage, esp_new_kind_page, ESP, NEW_KIND_PAGE, EspNewPage)

/* What can be continued: an array of EspDraftInfo. */
void esp_new_kind_page_set_drafts(EspNewKindPage *page, GPtrArray *drafts);

G_END_DECLS
