/* The assistant's page for what goes into the machine: a version from a list, or a file or link of one's own.
 */
#pragma once

#include "ui/new_page.h"

G_BEGIN_DECLS

#define ESP_TYPE_NEW_SOURCE_PAGE (esp_new_source_page_get_type())
G_DECLARE_FINAL_TYPE(EspNewSourcePage, esp_new_source_page, ESP, NEW_SOURCE_PAGE, EspNewPage)

G_END_DECLS
