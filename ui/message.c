/* Dialogs with a sentence (see message.h). */
#include "ui/message.h"

#include <glib/gi18n.h>

typedef struct Question {
    void (*func)(gpointer data);
    gpointer data;
    GDestroyNotify destroy;
} Question;

static GtkWidget *make(GtkWindow *parent, GtkMessageType type, GtkButtonsType buttons, const char *title,
                       const char *text)
{
    GtkWidget *dialog = gtk_message_dialog_new(parent, GTK_DIALOG_MODAL | GTK_DIALOG_DESTROY_WITH_PARENT,
                                               type, buttons, "%s", title);

    gtk_message_dialog_format_secondary_text(GTK_MESSAGE_DIALOG(dialog), "%s", text);
    return dialog;
}

void esp_message_show(GtkWindow *parent, const char *title, const char *text)
{
    GtkWidget *dialog = make(parent, GTK_MESSAGE_ERROR, GTK_BUTTONS_CLOSE, title, text);

    g_signal_connect(dialog, "response", G_CALLBACK(gtk_widget_destroy), NULL);
    gtk_widget_show(dialog);
}

static void on_answer(GtkDialog *dialog, int response, Question *question)
{
    if (response == GTK_RESPONSE_ACCEPT)
        question->func(question->data);
    gtk_widget_destroy(GTK_WIDGET(dialog));
}

static void on_destroy(GtkWidget *dialog, Question *question)
{
    if (question->destroy)
        question->destroy(question->data);
    g_free(question);
}

void esp_message_ask(GtkWindow *parent, const char *title, const char *text, const char *yes,
                     bool destructive, void (*func)(gpointer data), gpointer data, GDestroyNotify destroy)
{
    GtkWidget *dialog = make(parent, GTK_MESSAGE_QUESTION, GTK_BUTTONS_NONE, title, text);
    Question *question = g_new(Question, 1);

    *question = (Question){func, data, destroy};
    gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Cancel"), GTK_RESPONSE_CANCEL);
    GtkWidget *button = gtk_dialog_add_button(GTK_DIALOG(dialog), yes, GTK_RESPONSE_ACCEPT);
    gtk_style_context_add_class(gtk_widget_get_style_context(button), destructive
                                                                          ? GTK_STYLE_CLASS_DESTRUCTIVE_ACTION
                                                                          : GTK_STYLE_CLASS_SUGGESTED_ACTION);
    gtk_dialog_set_default_response(GTK_DIALOG(dialog),
                                    destructive ? GTK_RESPONSE_CANCEL : GTK_RESPONSE_ACCEPT);
    g_signal_connect(dialog, "response", G_CALLBACK(on_answer), question);
    g_signal_connect(dialog, "destroy", G_CALLBACK(on_destroy), question);
    gtk_widget_show(dialog);
}
