/*
 * The assistant's page for the first user (see new_user_page.h).
 *
 * The password stays in its line until the page is left; what is kept then is its hash. A hash that there is
 * already, of a page that one comes back to, stands for the password while both lines are empty.
 */
#include "ui/new_user_page.h"

#include <glib/gi18n.h>
#include <string.h>

#include "app/create/credentials.h"

struct _EspNewUserPage {
    EspNewPage parent_instance;
    char **ssh_keys;
    bool has_hash;     /* of a password that was entered before */
    bool name_is_ours; /* made of the full name, and not touched yet */
    bool quiet;
    GtkEntry *full_name, *user_name, *password, *again;
    GtkLabel *name_hint, *password_hint;
    GtkComboBoxText *keys;
};

G_DEFINE_TYPE(EspNewUserPage, esp_new_user_page, ESP_TYPE_NEW_PAGE)

/* "Ada Lovelace" -> "ada". Free with g_free. */
static char *name_of(const char *full_name)
{
    g_autofree char *ascii = g_str_to_ascii(full_name, "C");
    GString *name = g_string_new(NULL);

    for (const char *p = ascii; *p && (*p != ' ' || !name->len) && name->len < 32; p++)
        if (g_ascii_isalpha(*p) || (name->len && g_ascii_isdigit(*p)))
            g_string_append_c(name, g_ascii_tolower(*p));
    return g_string_free(name, FALSE);
}

static const char *key(EspNewUserPage *page)
{
    int active = gtk_combo_box_get_active(GTK_COMBO_BOX(page->keys));

    return active > 0 ? page->ssh_keys[active - 1] : NULL;
}

/* What keeps the page from being complete; NULL: nothing. */
static char *name_problem(EspNewUserPage *page)
{
    const char *name = gtk_entry_get_text(page->user_name);
    g_autoptr(GError) error = NULL;

    return *name && !esp_creation_check_user_name(name, &error) ? g_strdup(error->message) : NULL;
}

static const char *password_problem(EspNewUserPage *page)
{
    const char *password = gtk_entry_get_text(page->password), *again = gtk_entry_get_text(page->again);

    if (*again && strcmp(password, again))
        return _("The two passwords are not the same.");
    if (!*password && !page->has_hash && !key(page))
        return _("Please give a password, an SSH key, or both.");
    return NULL;
}

static void on_changed(EspNewUserPage *page, GtkWidget *where)
{
    if (page->quiet)
        return;
    page->quiet = true;
    if (where == GTK_WIDGET(page->user_name))
        page->name_is_ours = !*gtk_entry_get_text(page->user_name);
    if (where == GTK_WIDGET(page->full_name) && page->name_is_ours) {
        g_autofree char *name = name_of(gtk_entry_get_text(page->full_name));
        gtk_entry_set_text(page->user_name, name);
    }
    page->quiet = false;
    g_autofree char *wrong = name_problem(page);
    const char *password = password_problem(page);
    esp_new_page_hint(page->name_hint, wrong, true);
    esp_new_page_hint(page->password_hint, password, *gtk_entry_get_text(page->again) != '\0');
    esp_new_page_changed(ESP_NEW_PAGE(page));
}

static void fill_keys(EspNewUserPage *page, const char *chosen)
{
    int active = 0;

    gtk_combo_box_text_remove_all(page->keys);
    gtk_combo_box_text_append_text(page->keys, *page->ssh_keys ? _("None") : _("None was found in ~/.ssh"));
    for (int i = 0; page->ssh_keys[i]; i++) {
        g_autofree char *label = esp_ssh_key_label(page->ssh_keys[i]);
        gtk_combo_box_text_append_text(page->keys, label);
        if (!g_strcmp0(chosen, page->ssh_keys[i]) || (!chosen && !active))
            active = i + 1;
    }
    gtk_combo_box_set_active(GTK_COMBO_BOX(page->keys), active);
}

static void load(EspNewPage *base, const EspCreation *creation)
{
    EspNewUserPage *page = ESP_NEW_USER_PAGE(base);
    const EspFirstUser *user = &creation->user;
    const char *own = g_get_user_name(), *real = g_get_real_name();

    page->quiet = true;
    g_strfreev(page->ssh_keys);
    page->ssh_keys = esp_ssh_keys_find(NULL);
    page->has_hash = user->password_hash != NULL;
    gtk_entry_set_text(page->full_name, user->full_name                          ? user->full_name
                                        : !user->name && strcmp(real, "Unknown") ? real
                                                                                 : "");
    gtk_entry_set_text(page->user_name, user->name                                ? user->name
                                        : esp_creation_check_user_name(own, NULL) ? own
                                                                                  : "");
    page->name_is_ours = !*gtk_entry_get_text(page->user_name);
    gtk_entry_set_text(page->password, "");
    gtk_entry_set_text(page->again, "");
    /* Translators: in the line for a password, when one was entered before. */
    gtk_entry_set_placeholder_text(page->password, page->has_hash ? _("As entered before") : NULL);
    fill_keys(page, user->ssh_key);
    page->quiet = false;
    on_changed(page, NULL);
}

static void store(EspNewPage *base, EspCreation *creation)
{
    EspNewUserPage *page = ESP_NEW_USER_PAGE(base);
    EspFirstUser *user = &creation->user;
    const char *password = gtk_entry_get_text(page->password);
    g_autofree char *full_name = g_strstrip(g_strdup(gtk_entry_get_text(page->full_name)));

    g_free(user->name);
    g_free(user->full_name);
    g_free(user->ssh_key);
    user->name = g_strdup(gtk_entry_get_text(page->user_name));
    user->full_name = *full_name ? g_steal_pointer(&full_name) : NULL;
    user->ssh_key = g_strdup(key(page));
    if (*password && !strcmp(password, gtk_entry_get_text(page->again))) {
        g_free(user->password_hash);
        user->password_hash = esp_password_hash(password, NULL);
    }
}

static bool is_complete(EspNewPage *base)
{
    EspNewUserPage *page = ESP_NEW_USER_PAGE(base);
    const char *password = gtk_entry_get_text(page->password), *again = gtk_entry_get_text(page->again);

    return esp_creation_check_user_name(gtk_entry_get_text(page->user_name), NULL) &&
           !strcmp(password, again) && !password_problem(page);
}

static void esp_new_user_page_finalize(GObject *object)
{
    g_strfreev(ESP_NEW_USER_PAGE(object)->ssh_keys);
    G_OBJECT_CLASS(esp_new_user_page_parent_class)->finalize(object);
}

static void esp_new_user_page_class_init(EspNewUserPageClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    EspNewPageClass *page_class = ESP_NEW_PAGE_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = esp_new_user_page_finalize;
    page_class->title = N_("User");
    page_class->load = load;
    page_class->store = store;
    page_class->is_complete = is_complete;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/new-user-page.ui");
    gtk_widget_class_bind_template_child(widget_class, EspNewUserPage, full_name);
    gtk_widget_class_bind_template_child(widget_class, EspNewUserPage, user_name);
    gtk_widget_class_bind_template_child(widget_class, EspNewUserPage, password);
    gtk_widget_class_bind_template_child(widget_class, EspNewUserPage, again);
    gtk_widget_class_bind_template_child(widget_class, EspNewUserPage, name_hint);
    gtk_widget_class_bind_template_child(widget_class, EspNewUserPage, password_hint);
    gtk_widget_class_bind_template_child(widget_class, EspNewUserPage, keys);
    gtk_widget_class_bind_template_callback(widget_class, on_changed);
}

static void esp_new_user_page_init(EspNewUserPage *page)
{
    gtk_widget_init_template(GTK_WIDGET(page));
    page->ssh_keys = g_new0(char *, 1);
}
