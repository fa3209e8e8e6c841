/* One setting as a row (see setting_row.h). */
#include "ui/setting_row.h"

#include <glib/gi18n.h>
#include <string.h>

#include "ui/forward_editor.h"

#define COMMIT_MS   500
#define MIB         ((double)(1 << 20))
#define MEMORY_STEP 256

struct _EspSettingRow {
    GtkListBoxRow parent_instance;
    EspSettingsModel *model;
    const EspSetting *setting;
    int index;
    VmcFieldType type;
    GtkLabel *label, *help, *trouble;
    GtkWidget *control_box, *wide_box, *mark;
    GtkWidget *control; /* what is changed */
    bool filling;       /* by us, not by the user */
    bool edited;        /* and not yet written */
    guint commit_id;
};

G_DEFINE_TYPE(EspSettingRow, esp_setting_row, GTK_TYPE_LIST_BOX_ROW)

static const VmcDeviceConfig *device_of(EspSettingRow *row)
{
    const EspMachineSettings *machine = esp_settings_model_get(row->model);

    return machine ? esp_machine_settings_device(machine, row->index) : NULL;
}

static VmcDeviceKind kind_of(EspSettingRow *row)
{
    const VmcDeviceConfig *device = device_of(row);

    return device ? device->kind : VMC_DEVICE_KINDS;
}

/* ---- from the control ---- */

static GtkTextBuffer *buffer_of(EspSettingRow *row)
{
    return gtk_text_view_get_buffer(GTK_TEXT_VIEW(row->control));
}

static char *control_text(EspSettingRow *row)
{
    GtkTextIter start, end;

    switch (row->type) {
    case VMC_FIELD_FLAG:
        return g_strdup(gtk_switch_get_active(GTK_SWITCH(row->control)) ? "yes" : "no");
    case VMC_FIELD_NUMBER:
        return g_strdup_printf("%.0f", gtk_spin_button_get_value(GTK_SPIN_BUTTON(row->control)));
    case VMC_FIELD_SIZE:
        return g_strdup_printf("%.0fM", gtk_spin_button_get_value(GTK_SPIN_BUTTON(row->control)));
    case VMC_FIELD_CHOICE:
        return g_strdup(gtk_combo_box_get_active_id(GTK_COMBO_BOX(row->control)));
    case VMC_FIELD_LIST:
        return esp_forward_editor_get(ESP_FORWARD_EDITOR(row->control));
    default:
        break;
    }
    if (GTK_IS_ENTRY(row->control))
        return g_strdup(gtk_entry_get_text(GTK_ENTRY(row->control)));
    gtk_text_buffer_get_bounds(buffer_of(row), &start, &end);
    return gtk_text_buffer_get_text(buffer_of(row), &start, &end, FALSE);
}

static void say_trouble(EspSettingRow *row, const char *sentence)
{
    GtkStyleContext *style = gtk_widget_get_style_context(row->control);
    AtkObject *accessible = gtk_widget_get_accessible(row->control);

    gtk_label_set_text(row->trouble, sentence ? sentence : "");
    gtk_widget_set_visible(GTK_WIDGET(row->trouble), sentence != NULL);
    if (sentence)
        gtk_style_context_add_class(style, GTK_STYLE_CLASS_ERROR);
    else
        gtk_style_context_remove_class(style, GTK_STYLE_CLASS_ERROR);
    atk_object_set_description(accessible, sentence ? sentence : _(row->setting->help));
}

static void update(EspSettingRow *row);

static void on_written(const GError *error, gpointer data)
{
    EspSettingRow *row = data;

    if (error) {
        say_trouble(row, error->message);
        return;
    }
    if (!row->commit_id)
        row->edited = false;
    say_trouble(row, NULL);
    update(row);
}

/* Writes what the control has, if that is news. */
static void commit(EspSettingRow *row)
{
    const EspMachineSettings *machine = esp_settings_model_get(row->model);

    g_clear_handle_id(&row->commit_id, g_source_remove);
    if (!machine || !row->edited || (row->index >= 0 && !device_of(row)))
        return;
    g_autofree char *text = control_text(row);
    g_autofree char *now = esp_setting_get(row->setting, machine, device_of(row));
    if (!text || !strcmp(text, now)) {
        row->edited = false;
        say_trouble(row, NULL);
        return;
    }
    esp_settings_model_set(row->model, row->setting, row->index, text, on_written, G_OBJECT(row));
}

static gboolean on_commit_time(gpointer data)
{
    EspSettingRow *row = data;

    row->commit_id = 0;
    commit(row);
    return G_SOURCE_REMOVE;
}

/* What is typed is written when it rests. */
static void on_edited(EspSettingRow *row)
{
    if (row->filling)
        return;
    row->edited = true;
    g_clear_handle_id(&row->commit_id, g_source_remove);
    row->commit_id = g_timeout_add(COMMIT_MS, on_commit_time, row);
}

static void on_typed(EspSettingRow *row)
{
    if (!row->filling)
        row->edited = true;
}

static void on_chosen(EspSettingRow *row)
{
    if (row->filling)
        return;
    row->edited = true;
    commit(row);
}

static gboolean on_focus_out(EspSettingRow *row)
{
    commit(row);
    return GDK_EVENT_PROPAGATE;
}

/* ---- into the control ---- */

static void fill(EspSettingRow *row, const char *text)
{
    switch (row->type) {
    case VMC_FIELD_FLAG:
        gtk_switch_set_active(GTK_SWITCH(row->control), !strcmp(text, "yes"));
        break;
    case VMC_FIELD_NUMBER:
        gtk_spin_button_set_value(GTK_SPIN_BUTTON(row->control), g_ascii_strtod(text, NULL));
        break;
    case VMC_FIELD_SIZE:
        gtk_spin_button_set_value(GTK_SPIN_BUTTON(row->control),
                                  (double)esp_settings_model_get(row->model)->config->memory / MIB);
        break;
    case VMC_FIELD_CHOICE:
        gtk_combo_box_set_active_id(GTK_COMBO_BOX(row->control), text);
        break;
    case VMC_FIELD_LIST:
        esp_forward_editor_set(ESP_FORWARD_EDITOR(row->control), text);
        break;
    default:
        if (GTK_IS_ENTRY(row->control))
            gtk_entry_set_text(GTK_ENTRY(row->control), text);
        else
            gtk_text_buffer_set_text(buffer_of(row), text, -1);
    }
}

static void update(EspSettingRow *row)
{
    const EspMachineSettings *machine = esp_settings_model_get(row->model);
    const VmcDeviceConfig *device = device_of(row);
    bool later = esp_settings_model_is_running(row->model) && row->setting->live == ESP_LIVE_NEXT_START;
    const char *why;

    if (!machine || (row->index >= 0 && (!device || !esp_setting_is_for(row->setting, device->kind))))
        return; /* the page is about to be made anew */
    why = esp_setting_why_not(row->setting, machine, device);
    gtk_label_set_text(row->help, why ? why : _(row->setting->help));
    gtk_widget_set_sensitive(row->control_box, !why);
    gtk_widget_set_sensitive(row->wide_box, !why);
    gtk_widget_set_visible(row->mark, later);
    if (row->edited)
        return;
    g_autofree char *text = esp_setting_get(row->setting, machine, device);
    g_autofree char *now = control_text(row);
    if (now && !strcmp(text, now))
        return;
    row->filling = true;
    fill(row, text);
    row->filling = false;
}

/* ---- making the control ---- */

static GtkWidget *make_spin(EspSettingRow *row)
{
    const VmcField *field = esp_setting_field(row->setting, kind_of(row));
    uint64_t min, max;
    GtkWidget *spin;

    esp_setting_bounds(row->setting, kind_of(row), &min, &max);
    if (row->type == VMC_FIELD_SIZE)
        spin = gtk_spin_button_new_with_range((double)min / MIB, (double)max / MIB, MEMORY_STEP);
    else
        spin = gtk_spin_button_new_with_range(field->automatic ? 0 : (double)min, (double)max, 1);
    gtk_spin_button_set_snap_to_ticks(GTK_SPIN_BUTTON(spin), FALSE);
    gtk_spin_button_set_numeric(GTK_SPIN_BUTTON(spin), TRUE);
    gtk_entry_set_width_chars(GTK_ENTRY(spin), 7);
    g_signal_connect_swapped(spin, "value-changed", G_CALLBACK(on_edited), row);
    return spin;
}

static GtkWidget *make_combo(EspSettingRow *row)
{
    GtkWidget *combo = gtk_combo_box_text_new();
    GList *cells = gtk_cell_layout_get_cells(GTK_CELL_LAYOUT(combo));
    const VmcField *field = esp_setting_field(row->setting, kind_of(row));
    VmcDeviceKind kinds[VMC_DEVICE_KINDS];
    unsigned n =
        row->setting->scope == ESP_SCOPE_KIND ? esp_setting_kinds(row->setting, kinds, VMC_DEVICE_KINDS) : 0;

    for (unsigned i = 0; i < n; i++)
        gtk_combo_box_text_append(GTK_COMBO_BOX_TEXT(combo), vmc_device_kind_name(kinds[i]),
                                  _(esp_device_words(kinds[i])->label));
    for (unsigned i = 0; !n && field->choices[i]; i++)
        gtk_combo_box_text_append(GTK_COMBO_BOX_TEXT(combo), field->choices[i], _(row->setting->choices[i]));
    /* The list has the whole words; the button need not be as wide. */
    for (GList *l = cells; l; l = l->next)
        g_object_set(l->data, "ellipsize", PANGO_ELLIPSIZE_END, "width-chars", 22, NULL);
    g_list_free(cells);
    g_signal_connect_swapped(combo, "changed", G_CALLBACK(on_chosen), row);
    return combo;
}

static GtkWidget *make_entry(EspSettingRow *row)
{
    GtkWidget *entry = gtk_entry_new();

    gtk_entry_set_width_chars(GTK_ENTRY(entry), row->type == VMC_FIELD_PATH ? 22 : 24);
    g_signal_connect_swapped(entry, "changed", G_CALLBACK(on_typed), row);
    g_signal_connect_swapped(entry, "activate", G_CALLBACK(commit), row);
    g_signal_connect_swapped(entry, "focus-out-event", G_CALLBACK(on_focus_out), row);
    return entry;
}

static GtkWidget *make_lines(EspSettingRow *row)
{
    GtkWidget *view = gtk_text_view_new();
    GtkWidget *scroller = gtk_scrolled_window_new(NULL, NULL);

    gtk_text_view_set_wrap_mode(GTK_TEXT_VIEW(view), GTK_WRAP_WORD_CHAR);
    gtk_text_view_set_accepts_tab(GTK_TEXT_VIEW(view), FALSE);
    g_object_set(view, "left-margin", 6, "right-margin", 6, "top-margin", 6, "bottom-margin", 6, NULL);
    g_object_set(scroller, "shadow-type", GTK_SHADOW_IN, "min-content-height", 96, NULL);
    gtk_container_add(GTK_CONTAINER(scroller), view);
    gtk_container_add(GTK_CONTAINER(row->wide_box), scroller);
    g_signal_connect_swapped(gtk_text_view_get_buffer(GTK_TEXT_VIEW(view)), "changed", G_CALLBACK(on_edited),
                             row);
    g_signal_connect_swapped(view, "focus-out-event", G_CALLBACK(on_focus_out), row);
    return view;
}

static GtkWidget *make_list(EspSettingRow *row)
{
    GtkWidget *editor = esp_forward_editor_new();

    gtk_container_add(GTK_CONTAINER(row->wide_box), editor);
    g_signal_connect_swapped(editor, "changed", G_CALLBACK(on_edited), row);
    return editor;
}

/* ---- paths ---- */

static void on_file_chosen(GtkNativeDialog *dialog, int response, EspSettingRow *row)
{
    g_autofree char *path =
        response == GTK_RESPONSE_ACCEPT ? gtk_file_chooser_get_filename(GTK_FILE_CHOOSER(dialog)) : NULL;

    if (path) {
        gtk_entry_set_text(GTK_ENTRY(row->control), path);
        commit(row);
    }
    gtk_native_dialog_destroy(dialog);
    g_object_unref(dialog);
}

static void on_browse(EspSettingRow *row)
{
    GtkWidget *window = gtk_widget_get_toplevel(GTK_WIDGET(row));
    bool folder = row->setting->flags & ESP_SETTING_FOLDER, made = row->setting->flags & ESP_SETTING_CREATED;
    GtkFileChooserAction action = folder ? GTK_FILE_CHOOSER_ACTION_SELECT_FOLDER
                                  : made ? GTK_FILE_CHOOSER_ACTION_SAVE
                                         : GTK_FILE_CHOOSER_ACTION_OPEN;
    GtkFileChooserNative *dialog = gtk_file_chooser_native_new(_(row->setting->label), GTK_WINDOW(window),
                                                               action, _("_Choose"), _("_Cancel"));
    const char *path = gtk_entry_get_text(GTK_ENTRY(row->control));

    if (*path)
        gtk_file_chooser_set_filename(GTK_FILE_CHOOSER(dialog), path);
    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(dialog), TRUE);
    g_signal_connect_object(dialog, "response", G_CALLBACK(on_file_chosen), row, 0);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(dialog));
}

static void add_browse_button(EspSettingRow *row)
{
    GtkWidget *button = gtk_button_new_from_icon_name("document-open-symbolic", GTK_ICON_SIZE_BUTTON);
    /* Translators: the button beside the path of a file; %s is the setting's label. */
    g_autofree char *name = g_strdup_printf(_("Choose: %s"), _(row->setting->label));

    gtk_widget_set_tooltip_text(button, name);
    atk_object_set_name(gtk_widget_get_accessible(button), name);
    g_signal_connect_swapped(button, "clicked", G_CALLBACK(on_browse), row);
    gtk_container_add(GTK_CONTAINER(row->control_box), button);
}

static void make_control(EspSettingRow *row)
{
    switch (row->type) {
    case VMC_FIELD_FLAG:
        row->control = gtk_switch_new();
        g_signal_connect_swapped(row->control, "notify::active", G_CALLBACK(on_chosen), row);
        break;
    case VMC_FIELD_NUMBER:
    case VMC_FIELD_SIZE:
        row->control = make_spin(row);
        break;
    case VMC_FIELD_CHOICE:
        row->control = make_combo(row);
        break;
    case VMC_FIELD_LIST:
        row->control = make_list(row);
        break;
    default:
        row->control = row->setting->flags & ESP_SETTING_LINES ? make_lines(row) : make_entry(row);
    }
    if (gtk_widget_get_parent(row->control) || row->type == VMC_FIELD_LIST)
        gtk_widget_show_all(row->wide_box);
    else
        gtk_container_add(GTK_CONTAINER(row->control_box), row->control);
    if (row->setting->unit || row->type == VMC_FIELD_SIZE) {
        GtkWidget *unit = gtk_label_new(row->setting->unit ? _(row->setting->unit) : _("MiB"));
        gtk_style_context_add_class(gtk_widget_get_style_context(unit), GTK_STYLE_CLASS_DIM_LABEL);
        gtk_container_add(GTK_CONTAINER(row->control_box), unit);
    }
    if (row->type == VMC_FIELD_PATH)
        add_browse_button(row);
    gtk_widget_show_all(row->control_box);
}

GtkWidget *esp_setting_row_new(EspSettingsModel *model, const EspSetting *setting, int index)
{
    EspSettingRow *row = g_object_new(ESP_TYPE_SETTING_ROW, NULL);

    row->model = g_object_ref(model);
    row->setting = setting;
    row->index = index;
    row->type = esp_setting_type(setting, kind_of(row));
    gtk_label_set_text(row->label, _(setting->label));
    gtk_label_set_text(row->help, _(setting->help));
    make_control(row);
    gtk_label_set_mnemonic_widget(row->label, row->control);
    atk_object_set_name(gtk_widget_get_accessible(row->control), _(setting->label));
    atk_object_set_description(gtk_widget_get_accessible(row->control), _(setting->help));
    g_signal_connect_object(model, "changed", G_CALLBACK(update), row, G_CONNECT_SWAPPED);
    update(row);
    return GTK_WIDGET(row);
}

const EspSetting *esp_setting_row_get_setting(EspSettingRow *row)
{
    return row->setting;
}

void esp_setting_row_focus(EspSettingRow *row)
{
    gtk_widget_grab_focus(row->control);
}

static void add_line(GtkListBoxRow *row, GtkListBoxRow *before, gpointer data)
{
    bool wanted = before != NULL;

    if (wanted == (gtk_list_box_row_get_header(row) != NULL))
        return;
    gtk_list_box_row_set_header(row, wanted ? gtk_separator_new(GTK_ORIENTATION_HORIZONTAL) : NULL);
}

GtkWidget *esp_setting_list_new(const char *name)
{
    GtkWidget *list = gtk_list_box_new();

    gtk_list_box_set_selection_mode(GTK_LIST_BOX(list), GTK_SELECTION_NONE);
    gtk_list_box_set_header_func(GTK_LIST_BOX(list), add_line, NULL, NULL);
    gtk_style_context_add_class(gtk_widget_get_style_context(list), "settings");
    atk_object_set_name(gtk_widget_get_accessible(list), name);
    gtk_widget_show(list);
    return list;
}

/* What was typed is not lost with the window. */
static void esp_setting_row_dispose(GObject *object)
{
    EspSettingRow *row = ESP_SETTING_ROW(object);

    if (row->model && row->control && row->edited)
        commit(row);
    g_clear_handle_id(&row->commit_id, g_source_remove);
    g_clear_object(&row->model);
    G_OBJECT_CLASS(esp_setting_row_parent_class)->dispose(object);
}

static void esp_setting_row_class_init(EspSettingRowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = esp_setting_row_dispose;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/setting-row.ui");
    gtk_widget_class_bind_template_child(widget_class, EspSettingRow, label);
    gtk_widget_class_bind_template_child(widget_class, EspSettingRow, help);
    gtk_widget_class_bind_template_child(widget_class, EspSettingRow, trouble);
    gtk_widget_class_bind_template_child(widget_class, EspSettingRow, control_box);
    gtk_widget_class_bind_template_child(widget_class, EspSettingRow, wide_box);
    gtk_widget_class_bind_template_child(widget_class, EspSettingRow, mark);
}

static void esp_setting_row_init(EspSettingRow *row)
{
    gtk_widget_init_template(GTK_WIDGET(row));
}
