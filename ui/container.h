/* Emptying a container. */
#pragma once

#include <gtk/gtk.h>

/* Destroys all that is in it, which for a list box is its rows. */
static inline void esp_container_empty(GtkContainer *container)
{
    GList *children = gtk_container_get_children(container);

    for (GList *child = children; child; child = child->next)
        gtk_widget_destroy(child->data);
    g_list_free(children);
}
