/* The inside of an EspControl: control.c has the socket and its peers, control_calls.c what they ask for. */
#pragma once

#include "app/control.h"
#include "app/usage.h"

G_BEGIN_DECLS

struct EspControl {
    const EspControlHost *host; /* or NULL */
    void *opaque;
    VmcMachine *machine; /* or NULL */
    char *path;
    char *error; /* the host's, or NULL */
    GDBusServer *server;
    EspMachine1 *object;
    GPtrArray *peers; /* of GDBusConnection */
};

/* The object that peers see; its properties of how much the process takes are measured when they are read. */
EspMachine1 *esp_control_object_new(void);
/* Lets `control` answer the calls to its object. */
void esp_control_connect_calls(EspControl *control);

G_END_DECLS
