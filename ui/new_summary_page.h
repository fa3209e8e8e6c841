/* The assistant's last page before anything is made: the machine's name, and all that was chosen. */
#pragma once

#include "ui/new_page.h"

G_BEGIN_DECLS

#define ESP_TYPE_NEW_SUMMARY_PAGE (esp_new_summary_page_get_type())
G_DECLARE_FINAL_TYPE(EspNewSummaryPage, esp_new_summary_page, ESP, NEW_SUMMARY_PAGE, EspNewPage)

G_END_DECLS
