/* The library as the window shows it (see library_order.h). */
#include "ui/library_order.h"

#include <string.h>

#include "ui/words.h"

struct _EspLibraryOrder {
    GObject parent_instance;
    EspLibrary *library;
    GListStore *shown;
    GStrv words; /* of the search, folded */
    EspLibrarySort sort;
    guint update_id;
};

G_DEFINE_TYPE(EspLibraryOrder, esp_library_order, G_TYPE_OBJECT)

/* --- What is shown, and where ------------------------------------------------------------------- */

static char *fold(const char *text)
{
    g_autofree char *normal = g_utf8_normalize(text, -1, G_NORMALIZE_ALL);

    return g_utf8_casefold(normal ? normal : "", -1);
}

/* Every word of the search is somewhere in the machine's name or description. */
static bool matches(EspLibraryOrder *order, EspLibraryItem *item)
{
    g_autofree char *all = NULL, *folded = NULL;

    if (!order->words || !order->words[0])
        return true;
    all = g_strconcat(esp_library_item_get_name(item), "\n", esp_library_item_get_summary(item), NULL);
    folded = fold(all);
    for (guint i = 0; order->words[i]; i++)
        if (!strstr(folded, order->words[i]))
            return false;
    return true;
}

/* Running ones first, then those that are on in another way, then the rest. */
static int rank(EspLibraryItem *item)
{
    VmcMachineState state = esp_state_from_name(esp_library_item_get_state(item));

    return state == VMC_MACHINE_RUNNING                                         ? 0
           : state != VMC_MACHINE_STOPPED || esp_library_item_get_crashed(item) ? 1
                                                                                : 2;
}

static int compare(gconstpointer a, gconstpointer b, gpointer data)
{
    EspLibraryItem *x = *(EspLibraryItem *const *)a, *y = *(EspLibraryItem *const *)b;
    EspLibraryOrder *order = data;
    gint64 used_x = esp_library_item_get_last_used(x), used_y = esp_library_item_get_last_used(y);
    int by = 0;

    if (order->sort == ESP_SORT_STATE)
        by = rank(x) - rank(y);
    else if (order->sort == ESP_SORT_LAST_USED)
        by = used_x < used_y ? 1 : used_x > used_y ? -1 : 0;
    if (!by)
        by = g_utf8_collate(esp_library_item_get_name(x), esp_library_item_get_name(y));
    return by ? by : strcmp(esp_library_item_get_path(x), esp_library_item_get_path(y));
}

static GPtrArray *wanted(EspLibraryOrder *order)
{
    GPtrArray *items = g_ptr_array_new_with_free_func(g_object_unref);
    guint n = g_list_model_get_n_items(G_LIST_MODEL(order->library));

    for (guint i = 0; i < n; i++) {
        EspLibraryItem *item = g_list_model_get_item(G_LIST_MODEL(order->library), i);
        if (matches(order, item))
            g_ptr_array_add(items, item);
        else
            g_object_unref(item);
    }
    g_ptr_array_sort_with_data(items, compare, order);
    return items;
}

static bool same_at(EspLibraryOrder *order, guint position, gpointer item)
{
    g_autoptr(GObject) shown = g_list_model_get_item(G_LIST_MODEL(order->shown), position);

    return shown == item;
}

/* What begins and ends as before stays; between those all is exchanged. */
static void update(EspLibraryOrder *order)
{
    g_autoptr(GPtrArray) items = wanted(order);
    guint old = g_list_model_get_n_items(G_LIST_MODEL(order->shown)), first = 0, last = 0;

    while (first < old && first < items->len && same_at(order, first, items->pdata[first]))
        first++;
    while (last < old - first && last < items->len - first &&
           same_at(order, old - 1 - last, items->pdata[items->len - 1 - last]))
        last++;
    if (old - first - last || items->len - first - last)
        g_list_store_splice(order->shown, first, old - first - last, items->pdata + first,
                            items->len - first - last);
}

static gboolean on_update(gpointer data)
{
    EspLibraryOrder *order = data;

    order->update_id = 0;
    update(order);
    return G_SOURCE_REMOVE;
}

/* Names, states and crashes of one look at the folder come together. */
static void update_soon(EspLibraryOrder *order)
{
    if (!order->update_id)
        order->update_id = g_idle_add(on_update, order);
}

static void on_items_changed(GListModel *library, guint position, guint removed, guint added,
                             EspLibraryOrder *order)
{
    for (guint i = position; i < position + added; i++) {
        g_autoptr(GObject) item = g_list_model_get_item(library, i);
        g_signal_handlers_disconnect_by_func(item, update_soon, order);
        g_signal_connect_object(item, "notify", G_CALLBACK(update_soon), order, G_CONNECT_SWAPPED);
    }
    update(order);
}

/* --- Public ------------------------------------------------------------------------------------- */

GListModel *esp_library_order_get_model(EspLibraryOrder *order)
{
    return G_LIST_MODEL(order->shown);
}

void esp_library_order_set_search(EspLibraryOrder *order, const char *text)
{
    g_autofree char *folded = fold(text), *stripped = g_strdup(g_strstrip(folded));

    g_strfreev(order->words);
    order->words = *stripped ? g_strsplit_set(stripped, " \t", -1) : NULL;
    update(order);
}

void esp_library_order_set_sort(EspLibraryOrder *order, EspLibrarySort sort)
{
    order->sort = sort;
    update(order);
}

EspLibraryOrder *esp_library_order_new(EspLibrary *library)
{
    EspLibraryOrder *order = g_object_new(ESP_TYPE_LIBRARY_ORDER, NULL);

    order->library = g_object_ref(library);
    g_signal_connect_object(library, "items-changed", G_CALLBACK(on_items_changed), order, 0);
    on_items_changed(G_LIST_MODEL(library), 0, 0, g_list_model_get_n_items(G_LIST_MODEL(library)), order);
    return order;
}

static void esp_library_order_finalize(GObject *object)
{
    EspLibraryOrder *order = ESP_LIBRARY_ORDER(object);

    g_clear_handle_id(&order->update_id, g_source_remove);
    g_clear_object(&order->library);
    g_clear_object(&order->shown);
    g_strfreev(order->words);
    G_OBJECT_CLASS(esp_library_order_parent_class)->finalize(object);
}

static void esp_library_order_class_init(EspLibraryOrderClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = esp_library_order_finalize;
}

static void esp_library_order_init(EspLibraryOrder *order)
{
    order->shown = g_list_store_new(ESP_TYPE_LIBRARY_ITEM);
}
