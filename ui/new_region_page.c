/*
 * The assistant's page for language, region, keyboard and time zone (see new_region_page.h).
 *
 * The lists are read on a thread when the page is made, since they are long; until they are there the buttons
 * show what was chosen as it is.
 */
#include "ui/new_region_page.h"

#include <glib/gi18n.h>

#include "app/region.h"
#include "ui/choice_button.h"

struct _EspNewRegionPage {
    EspNewPage parent_instance;
    EspChoiceButton *language, *region, *layout, *variant, *zone;
    GtkComboBox *keyboard_type;
};

G_DEFINE_TYPE(EspNewRegionPage, esp_new_region_page, ESP_TYPE_NEW_PAGE)

/* ---- the lists ---- */

typedef struct Lists {
    GPtrArray *languages, *layouts, *zones;
} Lists;

static void lists_free(gpointer data)
{
    Lists *lists = data;

    g_ptr_array_unref(lists->languages);
    g_ptr_array_unref(lists->layouts);
    g_ptr_array_unref(lists->zones);
    g_free(lists);
}

static void read_lists(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Lists *lists = g_new0(Lists, 1);

    lists->languages = esp_languages();
    lists->layouts = esp_keyboard_layouts();
    lists->zones = esp_time_zones();
    g_task_return_pointer(task, lists, lists_free);
}

static void on_lists(GObject *source, GAsyncResult *result, gpointer data)
{
    EspNewRegionPage *page = ESP_NEW_REGION_PAGE(source);
    Lists *lists = g_task_propagate_pointer(G_TASK(result), NULL);

    if (!lists)
        return;
    if (!page->language) { /* the window was closed meanwhile */
        lists_free(lists);
        return;
    }
    esp_choice_button_set_choices(page->language, lists->languages);
    esp_choice_button_set_choices(page->layout, lists->layouts);
    esp_choice_button_set_choices(page->zone, lists->zones);
    lists_free(lists);
}

/* ---- what hangs on what ---- */

static void update_regions(EspNewRegionPage *page)
{
    const char *language = esp_choice_button_get_active(page->language);
    g_autoptr(GPtrArray) regions = esp_regions_of(language ? language : "en");
    const char *active = esp_choice_button_get_active(page->region);

    esp_choice_button_set_choices(page->region, regions);
    if (!esp_choices_find(regions, active) && regions->len) {
        /* Where a language has its name from is a better guess than the first of the alphabet. */
        g_autofree char *home = g_ascii_strup(language ? language : "", -1);
        const EspChoice *choice = esp_choices_find(regions, home);
        if (!choice)
            choice = regions->pdata[0];
        esp_choice_button_set_active(page->region, choice->id);
    }
}

static void update_variants(EspNewRegionPage *page, const char *variant)
{
    const char *layout = esp_choice_button_get_active(page->layout);
    g_autoptr(GPtrArray) variants = esp_keyboard_variants(layout ? layout : "us");

    esp_choice_button_set_choices(page->variant, variants);
    esp_choice_button_set_active(page->variant, esp_choices_find(variants, variant) ? variant : "");
}

static char *locale_of(EspNewRegionPage *page)
{
    return esp_locale_join(esp_choice_button_get_active(page->language),
                           esp_choice_button_get_active(page->region));
}

/* Another language or region usually has another keyboard. */
static void on_region(EspNewRegionPage *page)
{
    g_autofree char *locale = locale_of(page);
    VmcKeyboardLayout type = VMC_KEYBOARD_ANSI;

    esp_choice_button_set_active(page->layout, esp_keyboard_for_locale(locale, &type));
    gtk_combo_box_set_active(page->keyboard_type, (int)type);
    update_variants(page, NULL);
}

static void on_language(EspNewRegionPage *page)
{
    update_regions(page);
    on_region(page);
}

static void on_layout(EspNewRegionPage *page)
{
    update_variants(page, NULL);
}

/* ---- the page ---- */

static void load(EspNewPage *base, const EspCreation *creation)
{
    EspNewRegionPage *page = ESP_NEW_REGION_PAGE(base);
    const EspRegion *from = &creation->region;
    g_autofree char *language = NULL, *region = NULL;

    esp_locale_split(from->locale ? from->locale : "en_US.UTF-8", &language, &region);
    esp_choice_button_set_active(page->language, language ? language : "en");
    esp_choice_button_set_active(page->region, region ? region : "US");
    update_regions(page);
    esp_choice_button_set_active(page->layout, from->keyboard_layout);
    update_variants(page, from->keyboard_variant);
    gtk_combo_box_set_active(page->keyboard_type, (int)creation->keyboard_type);
    esp_choice_button_set_active(page->zone, from->time_zone);
}

static void set(char **place, const char *value)
{
    char *copy = value && *value ? g_strdup(value) : NULL;

    g_free(*place);
    *place = copy;
}

static void store(EspNewPage *base, EspCreation *creation)
{
    EspNewRegionPage *page = ESP_NEW_REGION_PAGE(base);
    g_autofree char *locale = locale_of(page);

    set(&creation->region.locale, locale);
    set(&creation->region.keyboard_layout, esp_choice_button_get_active(page->layout));
    set(&creation->region.keyboard_variant, esp_choice_button_get_active(page->variant));
    set(&creation->region.time_zone, esp_choice_button_get_active(page->zone));
    creation->keyboard_type = (VmcKeyboardLayout)MAX(gtk_combo_box_get_active(page->keyboard_type), 0);
}

static void esp_new_region_page_class_init(EspNewRegionPageClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    EspNewPageClass *page_class = ESP_NEW_PAGE_CLASS(klass);

    page_class->title = N_("Language and Keyboard");
    page_class->load = load;
    page_class->store = store;
    g_type_ensure(ESP_TYPE_CHOICE_BUTTON);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/new-region-page.ui");
    gtk_widget_class_bind_template_child(widget_class, EspNewRegionPage, language);
    gtk_widget_class_bind_template_child(widget_class, EspNewRegionPage, region);
    gtk_widget_class_bind_template_child(widget_class, EspNewRegionPage, layout);
    gtk_widget_class_bind_template_child(widget_class, EspNewRegionPage, variant);
    gtk_widget_class_bind_template_child(widget_class, EspNewRegionPage, zone);
    gtk_widget_class_bind_template_child(widget_class, EspNewRegionPage, keyboard_type);
    gtk_widget_class_bind_template_callback(widget_class, on_language);
    gtk_widget_class_bind_template_callback(widget_class, on_region);
    gtk_widget_class_bind_template_callback(widget_class, on_layout);
}

static void esp_new_region_page_init(EspNewRegionPage *page)
{
    gtk_widget_init_template(GTK_WIDGET(page));
    g_autoptr(GTask) task = g_task_new(page, NULL, on_lists, NULL);
    g_task_run_in_thread(task, read_lists);
}
