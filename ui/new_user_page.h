/* The assistant’s page for the first user of the guest: a name, and how to log in. */
#pragma once

#include "ui/new_page.h"

G_BEGIN_DECLS

#define ESP_TYPE_NEW_USER_PAGE (esp_new_user_page_get_type())
G_DECLARE_FINAL_TYPE(EspNewUserPage, esp_new_user_page, ESP, NEW_USER_PAGE, EspNewPage)

G_END_DECLS
