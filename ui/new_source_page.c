/*
 * The assistant's page for what goes into the machine (see new_source_page.h).
 *
 * A row of the list and the line below it are one choice: choosing a row empties the line, and what is
 * entered in the line takes the mark from the list.
 */
#include "ui/new_source_page.h"

#include <glib/gi18n.h>

#include "ui/container.h"
#include "ui/new_row.h"
#include "ui/source_entry.h"

struct _EspNewSourcePage {
    EspNewPage parent_instance;
    EspCreationKind kind;
    GPtrArray *entries; /* of the catalogue for what is to be installed */
    char *version;      /* that is chosen of them, or NULL */
    bool quiet;         /* we change the line ourselves */
    GtkLabel *heading, *own_label, *hint, *nothing;
    GtkWidget *versions_box, *own_box, *system_box;
    GtkListBox *versions;
    EspSourceEntry *source;
    GtkComboBox *system;
};

G_DEFINE_TYPE(EspNewSourcePage, esp_new_source_page, ESP_TYPE_NEW_PAGE)

static const EspCatalogueEntry *chosen(EspNewSourcePage *page)
{
    return page->version && page->entries ? esp_catalogue_find(page->entries, page->version) : NULL;
}

static void mark(EspNewSourcePage *page)
{
    GtkListBoxRow *row;

    for (int i = 0; (row = gtk_list_box_get_row_at_index(page->versions, i)); i++)
        esp_new_row_set_marked(ESP_NEW_ROW(row),
                               !g_strcmp0(esp_new_row_get_id(ESP_NEW_ROW(row)), page->version));
}

static void choose(EspNewSourcePage *page, const char *version)
{
    g_autofree char *copy = g_strdup(version);

    g_free(page->version);
    page->version = g_steal_pointer(&copy);
    mark(page);
    if (page->version) {
        page->quiet = true;
        esp_source_entry_set(page->source, NULL);
        page->quiet = false;
    }
    esp_new_page_changed(ESP_NEW_PAGE(page));
}

static void on_version(EspNewSourcePage *page, GtkListBoxRow *row)
{
    choose(page, esp_new_row_get_id(ESP_NEW_ROW(row)));
}

static void on_source(EspNewSourcePage *page)
{
    g_autofree char *source = esp_source_entry_get(page->source);

    if (page->quiet)
        return;
    if (*source && page->version)
        choose(page, NULL);
    bool lost = *source && g_path_is_absolute(source) && !g_file_test(source, G_FILE_TEST_IS_REGULAR);
    esp_new_page_hint(page->hint, lost ? _("There is no such file.") : NULL, true);
    esp_new_page_changed(ESP_NEW_PAGE(page));
}

static void fill(EspNewSourcePage *page)
{
    esp_container_empty(GTK_CONTAINER(page->versions));
    for (guint i = 0; i < page->entries->len; i++) {
        const EspCatalogueEntry *entry = page->entries->pdata[i];
        g_autofree char *size = entry->size ? g_format_size(entry->size) : NULL;
        /* Translators: %s is a size, "450 MB". */
        g_autofree char *words = size ? g_strdup_printf(_("About %s are downloaded."), size) : NULL;
        GtkWidget *row =
            esp_new_row_new(entry->id, NULL, entry->name, entry->why_not ? entry->why_not : words);
        gtk_widget_set_sensitive(row, !entry->why_not);
        gtk_list_box_insert(page->versions, row, -1);
    }
    mark(page);
}

/* What the page says and has for each kind. */
static void dress(EspNewSourcePage *page)
{
    static const struct {
        const char *heading, *own, *title, *patterns;
    } words[] = {
        [ESP_CREATION_LINUX] = {N_("Which Linux?"), N_("_Another image"), N_("Choose an Image"),
                                "*.qcow2;*.img;*.raw;*.xz;*.gz;*.zst"},
        [ESP_CREATION_INSTALLER] = {N_("Which disc shall it start from?"), N_("_Disc image"),
                                    N_("Choose a Disc Image"), "*.iso;*.img"},
        [ESP_CREATION_IMPORT] = {N_("Which disk shall be imported?"), N_("_Disk"), N_("Choose a Disk"),
                                 "*.qcow2;*.img;*.raw;*.xz;*.gz;*.zst"},
        [ESP_CREATION_MACOS] = {N_("Which macOS?"), N_("_File"), N_("Choose a File"), "*"},
        [ESP_CREATION_DEMO] = {N_("Demo guest"), N_("_File"), N_("Choose a File"), "*"},
    };
    bool macos = page->kind == ESP_CREATION_MACOS;

    gtk_label_set_text(page->heading, _(words[page->kind].heading));
    gtk_label_set_text_with_mnemonic(page->own_label, _(words[page->kind].own));
    esp_source_entry_set_files(page->source, _(words[page->kind].title), words[page->kind].patterns);
    gtk_widget_set_visible(page->versions_box, page->entries->len > 0);
    gtk_widget_set_visible(page->own_box, !macos);
    gtk_widget_set_visible(page->system_box,
                           page->kind == ESP_CREATION_INSTALLER || page->kind == ESP_CREATION_IMPORT);
    gtk_widget_set_visible(GTK_WIDGET(page->nothing), macos && !page->entries->len);
}

static void load(EspNewPage *base, const EspCreation *creation)
{
    EspNewSourcePage *page = ESP_NEW_SOURCE_PAGE(base);
    GPtrArray *none = g_ptr_array_new_with_free_func(esp_catalogue_entry_free);

    page->kind = creation->kind;
    g_clear_pointer(&page->entries, g_ptr_array_unref);
    /* The list of Linux is in the program; one that had to be fetched would come on a thread. */
    if (page->kind == ESP_CREATION_LINUX || page->kind == ESP_CREATION_MACOS)
        page->entries = esp_catalogue_list(creation->system, NULL, NULL);
    else
        page->entries = g_ptr_array_ref(none);
    g_ptr_array_unref(none);
    page->quiet = true;
    esp_source_entry_set(page->source, creation->version ? NULL : creation->source);
    page->quiet = false;
    g_free(page->version);
    page->version = g_strdup(creation->version);
    gtk_combo_box_set_active_id(page->system, creation->system == ESP_GUEST_OTHER ? "other" : "linux");
    fill(page);
    dress(page);
    esp_new_page_hint(page->hint, NULL, false);
}

static void store(EspNewPage *base, EspCreation *creation)
{
    EspNewSourcePage *page = ESP_NEW_SOURCE_PAGE(base);
    const EspCatalogueEntry *entry = chosen(page);

    if (entry) {
        esp_creation_set_entry(creation, entry);
        return;
    }
    g_autofree char *source = esp_source_entry_get(page->source);
    g_clear_pointer(&creation->version, g_free);
    g_clear_pointer(&creation->sums, g_free);
    g_clear_pointer(&creation->os_id, g_free);
    g_free(creation->source);
    creation->source = *source ? g_steal_pointer(&source) : NULL;
    if (page->kind == ESP_CREATION_INSTALLER || page->kind == ESP_CREATION_IMPORT)
        creation->system =
            g_strcmp0(gtk_combo_box_get_active_id(page->system), "other") ? ESP_GUEST_LINUX : ESP_GUEST_OTHER;
}

static bool is_complete(EspNewPage *base)
{
    EspNewSourcePage *page = ESP_NEW_SOURCE_PAGE(base);
    EspCreation creation = {0};

    if (chosen(page))
        return true;
    creation.source = esp_source_entry_get(page->source);
    bool good = page->kind != ESP_CREATION_MACOS && *creation.source &&
                (esp_creation_is_download(&creation) || g_file_test(creation.source, G_FILE_TEST_IS_REGULAR));
    esp_creation_clear(&creation);
    return good;
}

static void esp_new_source_page_finalize(GObject *object)
{
    EspNewSourcePage *page = ESP_NEW_SOURCE_PAGE(object);

    g_clear_pointer(&page->entries, g_ptr_array_unref);
    g_free(page->version);
    G_OBJECT_CLASS(esp_new_source_page_parent_class)->finalize(object);
}

static void esp_new_source_page_class_init(EspNewSourcePageClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    EspNewPageClass *page_class = ESP_NEW_PAGE_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = esp_new_source_page_finalize;
    page_class->title = N_("Source");
    page_class->load = load;
    page_class->store = store;
    page_class->is_complete = is_complete;
    g_type_ensure(ESP_TYPE_SOURCE_ENTRY);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/new-source-page.ui");
    gtk_widget_class_bind_template_child(widget_class, EspNewSourcePage, heading);
    gtk_widget_class_bind_template_child(widget_class, EspNewSourcePage, own_label);
    gtk_widget_class_bind_template_child(widget_class, EspNewSourcePage, hint);
    gtk_widget_class_bind_template_child(widget_class, EspNewSourcePage, nothing);
    gtk_widget_class_bind_template_child(widget_class, EspNewSourcePage, versions_box);
    gtk_widget_class_bind_template_child(widget_class, EspNewSourcePage, own_box);
    gtk_widget_class_bind_template_child(widget_class, EspNewSourcePage, system_box);
    gtk_widget_class_bind_template_child(widget_class, EspNewSourcePage, versions);
    gtk_widget_class_bind_template_child(widget_class, EspNewSourcePage, source);
    gtk_widget_class_bind_template_child(widget_class, EspNewSourcePage, system);
    gtk_widget_class_bind_template_callback(widget_class, on_version);
    gtk_widget_class_bind_template_callback(widget_class, on_source);
}

static void esp_new_source_page_init(EspNewSourcePage *page)
{
    gtk_widget_init_template(GTK_WIDGET(page));
    gtk_label_set_mnemonic_widget(page->own_label, esp_source_entry_get_entry(page->source));
}
