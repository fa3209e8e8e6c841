/* The assistant’s page for what guest and computer share: a folder, the clipboard. */
#pragma once

#include "ui/new_page.h"

G_BEGIN_DECLS

#define ESP_TYPE_NEW_SHARING_PAGE (esp_new_sharing_page_get_type())
G_DECLARE_FINAL_TYPE(EspNewSharingPage, esp_new_sharing_page, ESP, NEW_SHARING_PAGE, EspNewPage)

G_END_DECLS
