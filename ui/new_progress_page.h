/*
 * The assistant's page while a machine is being made, and when that is over.
 *
 * Signals: retry (), discard (), start (), done (): what the user wants then.
 */
#pragma once

#include "app/job.h"
#include "ui/new_page.h"

G_BEGIN_DECLS

#define ESP_TYPE_NEW_PROGRESS_PAGE (esp_new_progress_page_get_type())
G_DECLARE_FINAL_TYPE(EspNewProgressPage, esp_new_progress_page, ESP, NEW_PROGRESS_PAGE, EspNewPage)

/* Shows the making of the machine `name` by `job`. */
void esp_new_progress_page_watch(EspNewProgressPage *page, EspJob *job, const char *name);
/* It could not even begin. */
void esp_new_progress_page_fail(EspNewProgressPage *page, const char *name, const char *why);

G_END_DECLS
