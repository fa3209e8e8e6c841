/* The assistant's last page before anything is made (see new_summary_page.h). */
#include "ui/new_summary_page.h"

#include <glib/gi18n.h>

#include "app/bundle.h"
#include "app/region.h"
#include "ui/container.h"

struct _EspNewSummaryPage {
    EspNewPage parent_instance;
    GtkEntry *name;
    GtkLabel *name_hint;
    GtkGrid *grid;
    int rows;
};

G_DEFINE_TYPE(EspNewSummaryPage, esp_new_summary_page, ESP_TYPE_NEW_PAGE)

static void add(EspNewSummaryPage *page, const char *what, const char *text)
{
    GtkWidget *left = gtk_label_new(what), *right = gtk_label_new(text);

    if (!text || !*text) {
        g_object_ref_sink(left);
        g_object_unref(left);
        g_object_ref_sink(right);
        g_object_unref(right);
        return;
    }
    gtk_label_set_xalign(GTK_LABEL(left), 0);
    gtk_widget_set_valign(left, GTK_ALIGN_START);
    gtk_style_context_add_class(gtk_widget_get_style_context(left), "dim-label");
    gtk_label_set_xalign(GTK_LABEL(right), 0);
    gtk_label_set_line_wrap(GTK_LABEL(right), TRUE);
    gtk_label_set_line_wrap_mode(GTK_LABEL(right), PANGO_WRAP_WORD_CHAR);
    gtk_label_set_max_width_chars(GTK_LABEL(right), 50);
    gtk_widget_set_hexpand(right, TRUE);
    gtk_grid_attach(page->grid, left, 0, page->rows, 1, 1);
    gtk_grid_attach(page->grid, right, 1, page->rows++, 1, 1);
    gtk_widget_show(left);
    gtk_widget_show(right);
}

static const char *kind_words(const EspCreation *creation)
{
    switch (creation->kind) {
    case ESP_CREATION_LINUX:
        return _("Linux, ready to use");
    case ESP_CREATION_INSTALLER:
        return _("From an installer’s disc");
    case ESP_CREATION_IMPORT:
        return _("Imported disk");
    case ESP_CREATION_DEMO:
        return _("Demo guest");
    case ESP_CREATION_MACOS:
        break;
    }
    return _("macOS");
}

static void add_resources(EspNewSummaryPage *page, const EspCreation *creation)
{
    g_autofree char *cpus = g_strdup_printf(ngettext("%u CPU", "%u CPUs", creation->cpus), creation->cpus);
    g_autofree char *memory =
        g_format_size_full((guint64)creation->memory_mib << 20, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *disk = g_format_size_full((guint64)creation->disk_gib << 30, G_FORMAT_SIZE_IEC_UNITS);

    add(page, _("CPUs"), cpus);
    add(page, _("Memory"), memory);
    if (esp_creation_has_disk_size(creation))
        add(page, _("Disk"), creation->disk_gib ? disk : _("As large as it is"));
}

static const char *login_words(const EspFirstUser *user)
{
    return user->password_hash && user->ssh_key ? _("With a password, or over the network with an SSH key")
           : user->password_hash                ? _("With a password")
                                                : _("Over the network with an SSH key");
}

static void add_setup(EspNewSummaryPage *page, const EspCreation *creation)
{
    const EspRegion *region = &creation->region;
    const EspFirstUser *user = &creation->user;
    g_autofree char *locale = region->locale ? esp_locale_name(region->locale) : NULL;
    g_autofree char *keyboard =
        region->keyboard_variant && *region->keyboard_variant
            ? g_strdup_printf("%s, %s", region->keyboard_layout, region->keyboard_variant)
            : g_strdup(region->keyboard_layout);
    /* Translators: a user's full name, and in brackets the name to log in with. */
    g_autofree char *who =
        user->full_name ? g_strdup_printf(_("%s (%s)"), user->full_name, user->name) : g_strdup(user->name);

    add(page, _("Language"), locale);
    add(page, _("Keyboard"), keyboard);
    add(page, _("Time zone"), region->time_zone);
    add(page, _("User"), who);
    add(page, _("Logging in"), login_words(user));
}

static char *wanted_name(EspNewPage *base, const EspCreation *creation)
{
    g_autofree char *file = creation->source ? g_path_get_basename(creation->source) : NULL;
    g_autofree char *shown = file ? g_filename_display_name(file) : NULL;
    g_autoptr(GPtrArray) entries = esp_catalogue_list(creation->system, NULL, NULL);
    const EspCatalogueEntry *entry = esp_catalogue_find(entries, creation->version);
    const char *dir = esp_new_page_get_library_dir(base);

    if (shown && strchr(shown, '.'))
        *strchr(shown, '.') = '\0';
    return esp_creation_free_name(creation->kind == ESP_CREATION_DEMO ? _("Demo")
                                  : entry                             ? entry->name
                                  : shown && *shown                   ? shown
                                                                      : _("Machine"),
                                  dir);
}

static void on_changed(EspNewSummaryPage *page)
{
    const char *dir = esp_new_page_get_library_dir(ESP_NEW_PAGE(page)),
               *name = gtk_entry_get_text(page->name);
    g_autoptr(GError) error = NULL;
    g_autofree char *path = dir ? esp_bundle_path_for(dir, name) : NULL;
    bool good = esp_bundle_check_name(name, &error);

    if (good && path && g_file_test(path, G_FILE_TEST_EXISTS))
        esp_new_page_hint(page->name_hint, _("There is already a machine of that name."), true);
    else
        esp_new_page_hint(page->name_hint, !good && *name ? error->message : NULL, true);
    esp_new_page_changed(ESP_NEW_PAGE(page));
}

static void load(EspNewPage *base, const EspCreation *creation)
{
    EspNewSummaryPage *page = ESP_NEW_SUMMARY_PAGE(base);
    g_autofree char *name = creation->name ? g_strdup(creation->name) : wanted_name(base, creation);

    esp_container_empty(GTK_CONTAINER(page->grid));
    page->rows = 0;
    gtk_entry_set_text(page->name, name);
    add(page, _("Kind"), kind_words(creation));
    add(page, _("From"), creation->source);
    add_resources(page, creation);
    if (esp_creation_has_setup(creation))
        add_setup(page, creation);
    add(page, _("Shared folder"), creation->share_path);
    on_changed(page);
    gtk_widget_grab_focus(GTK_WIDGET(page->name));
}

static void store(EspNewPage *base, EspCreation *creation)
{
    g_free(creation->name);
    creation->name = g_strstrip(g_strdup(gtk_entry_get_text(ESP_NEW_SUMMARY_PAGE(base)->name)));
}

static bool is_complete(EspNewPage *base)
{
    EspNewSummaryPage *page = ESP_NEW_SUMMARY_PAGE(base);

    return *gtk_entry_get_text(page->name) && !gtk_widget_get_visible(GTK_WIDGET(page->name_hint));
}

static void esp_new_summary_page_class_init(EspNewSummaryPageClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    EspNewPageClass *page_class = ESP_NEW_PAGE_CLASS(klass);

    page_class->title = N_("Summary");
    page_class->load = load;
    page_class->store = store;
    page_class->is_complete = is_complete;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/new-summary-page.ui");
    gtk_widget_class_bind_template_child(widget_class, EspNewSummaryPage, name);
    gtk_widget_class_bind_template_child(widget_class, EspNewSummaryPage, name_hint);
    gtk_widget_class_bind_template_child(widget_class, EspNewSummaryPage, grid);
    gtk_widget_class_bind_template_callback(widget_class, on_changed);
}

static void esp_new_summary_page_init(EspNewSummaryPage *page)
{
    gtk_widget_init_template(GTK_WIDGET(page));
}
