/* The assistant's page for CPUs, memory and disk (see new_resources_page.h). */
#include "ui/new_resources_page.h"

#include <glib/gi18n.h>
#include <math.h>

#define MEMORY_STEP_GIB 0.25
#define DISK_SHOWN_GIB  512.0 /* on the scale at least */

struct _EspNewResourcesPage {
    EspNewPage parent_instance;
    EspHostLimits limits;
    EspCreationKind kind;
    GtkAdjustment *cpus, *memory, *disk;
    GtkScale *cpus_scale, *memory_scale, *disk_scale;
    GtkLabel *cpus_hint, *memory_hint, *disk_hint;
    GtkWidget *disk_box, *disk_row;
    GtkToggleButton *enlarge;
};

G_DEFINE_TYPE(EspNewResourcesPage, esp_new_resources_page, ESP_TYPE_NEW_PAGE)

static unsigned memory_mib(EspNewResourcesPage *page)
{
    return (unsigned)lround(gtk_adjustment_get_value(page->memory) * 1024);
}

static void hint_cpus(EspNewResourcesPage *page)
{
    unsigned have = page->limits.cpus;
    bool more = gtk_adjustment_get_value(page->cpus) > have;
    g_autofree char *words =
        more
            ? g_strdup_printf(
                  ngettext("This computer has only %u CPU. More of them make the machine slower, not faster.",
                           "This computer has only %u CPUs. More of them make the machine slower, not "
                           "faster.",
                           have),
                  have)
            : g_strdup_printf(ngettext("This computer has %u CPU.", "This computer has %u CPUs.", have),
                              have);

    esp_new_page_hint(page->cpus_hint, words, more);
}

static void hint_memory(EspNewResourcesPage *page)
{
    bool more = memory_mib(page) > page->limits.memory_wise_mib;
    g_autofree char *have =
        g_format_size_full((guint64)page->limits.memory_mib << 20, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *words =
        /* Translators: %s is an amount of memory, "16 GiB". */
        g_strdup_printf(
            more ? _("This computer has %s, and needs some of it itself: with so much for the machine, both "
                     "may come to a standstill.")
                 : _("This computer has %s."),
            have);

    esp_new_page_hint(page->memory_hint, words, more);
}

static void hint_disk(EspNewResourcesPage *page)
{
    guint64 wanted = (guint64)gtk_adjustment_get_value(page->disk) << 30;
    bool more = page->limits.disk_free && wanted > page->limits.disk_free;
    g_autofree char *room = g_format_size_full(page->limits.disk_free, G_FORMAT_SIZE_IEC_UNITS);
    /* Translators: %s is a size, "120 GiB". */
    g_autofree char *words = g_strdup_printf(
        more ? _("Only %s are free where the machine will be. It takes what is written to it; when there "
                 "is no more room, the machine stops.")
             : _("It takes only what is written to it; %s are free where the machine will be."),
        room);

    esp_new_page_hint(page->disk_hint, words, more);
}

static void on_changed(EspNewResourcesPage *page)
{
    hint_cpus(page);
    hint_memory(page);
    hint_disk(page);
    gtk_widget_set_sensitive(page->disk_row, page->kind != ESP_CREATION_IMPORT ||
                                                 gtk_toggle_button_get_active(page->enlarge));
    esp_new_page_changed(ESP_NEW_PAGE(page));
}

static void set_range(GtkAdjustment *adjustment, GtkScale *scale, double upper, double mark,
                      const char *words)
{
    gtk_adjustment_set_upper(adjustment, upper);
    gtk_scale_clear_marks(scale);
    if (mark <= upper)
        gtk_scale_add_mark(scale, mark, GTK_POS_BOTTOM, words);
}

static void set_ranges(EspNewResourcesPage *page)
{
    const EspHostLimits *limits = &page->limits;
    double free_gib = floor((double)limits->disk_free / (1ull << 30));

    /* Translators: under a scale, at the place of as much as this computer has. */
    set_range(page->cpus, page->cpus_scale, MIN(VMC_CPUS_MAX, MAX(2 * limits->cpus, 4)), limits->cpus,
              _("this computer"));
    set_range(page->memory, page->memory_scale, floor(limits->memory_mib / 256.0) * 0.25,
              limits->memory_wise_mib / 1024.0, _("recommended limit"));
    set_range(page->disk, page->disk_scale, MAX(DISK_SHOWN_GIB, free_gib), MAX(free_gib, 1), _("free"));
}

static void load(EspNewPage *base, const EspCreation *creation)
{
    EspNewResourcesPage *page = ESP_NEW_RESOURCES_PAGE(base);

    page->kind = creation->kind;
    esp_host_limits_get(&page->limits, esp_new_page_get_library_dir(base));
    set_ranges(page);
    gtk_adjustment_set_value(page->cpus, creation->cpus);
    gtk_adjustment_set_value(page->memory, creation->memory_mib / 1024.0);
    gtk_adjustment_set_value(page->disk,
                             creation->disk_gib ? creation->disk_gib : page->limits.disk_default_gib);
    gtk_toggle_button_set_active(page->enlarge, creation->disk_gib > 0);
    gtk_widget_set_visible(GTK_WIDGET(page->enlarge), creation->kind == ESP_CREATION_IMPORT);
    gtk_widget_set_visible(page->disk_box, esp_creation_has_disk_size(creation));
    on_changed(page);
}

static void store(EspNewPage *base, EspCreation *creation)
{
    EspNewResourcesPage *page = ESP_NEW_RESOURCES_PAGE(base);
    bool sized = creation->kind != ESP_CREATION_IMPORT || gtk_toggle_button_get_active(page->enlarge);

    creation->cpus = (unsigned)gtk_adjustment_get_value(page->cpus);
    creation->memory_mib = memory_mib(page);
    if (esp_creation_has_disk_size(creation))
        creation->disk_gib = sized ? (unsigned)gtk_adjustment_get_value(page->disk) : 0;
}

static void esp_new_resources_page_class_init(EspNewResourcesPageClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    EspNewPageClass *page_class = ESP_NEW_PAGE_CLASS(klass);

    page_class->title = N_("Resources");
    page_class->load = load;
    page_class->store = store;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/new-resources-page.ui");
    gtk_widget_class_bind_template_child(widget_class, EspNewResourcesPage, cpus);
    gtk_widget_class_bind_template_child(widget_class, EspNewResourcesPage, memory);
    gtk_widget_class_bind_template_child(widget_class, EspNewResourcesPage, disk);
    gtk_widget_class_bind_template_child(widget_class, EspNewResourcesPage, cpus_scale);
    gtk_widget_class_bind_template_child(widget_class, EspNewResourcesPage, memory_scale);
    gtk_widget_class_bind_template_child(widget_class, EspNewResourcesPage, disk_scale);
    gtk_widget_class_bind_template_child(widget_class, EspNewResourcesPage, cpus_hint);
    gtk_widget_class_bind_template_child(widget_class, EspNewResourcesPage, memory_hint);
    gtk_widget_class_bind_template_child(widget_class, EspNewResourcesPage, disk_hint);
    gtk_widget_class_bind_template_child(widget_class, EspNewResourcesPage, disk_box);
    gtk_widget_class_bind_template_child(widget_class, EspNewResourcesPage, disk_row);
    gtk_widget_class_bind_template_child(widget_class, EspNewResourcesPage, enlarge);
    gtk_widget_class_bind_template_callback(widget_class, on_changed);
}

static void esp_new_resources_page_init(EspNewResourcesPage *page)
{
    gtk_widget_init_template(GTK_WIDGET(page));
}
