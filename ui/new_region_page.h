/* The assistant’s page for language, region, keyboard and time zone of the guest. */
#pragma once

#include "ui/new_page.h"

G_BEGIN_DECLS

#define ESP_TYPE_NEW_REGION_PAGE (esp_new_region_page_get_type())
G_DECLARE_FINAL_TYPE(EspNewRegionPage, esp_new_region_page, ESP, NEW_REGION_PAGE, EspNewPage)

G_END_DECLS
