/* The assistant's page for CPUs, memory and disk, with what this computer has in sight. */
#pragma once

#include "ui/new_page.h"

G_BEGIN_DECLS

#define ESP_TYPE_NEW_RESOURCES_PAGE (esp_new_resources_page_get_type())
G_DECLARE_FINAL_TYPE(EspNewResourcesPage, esp_new_resources_page, ESP, NEW_RESOURCES_PAGE, EspNewPage)

G_END_DECLS
