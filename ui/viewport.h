/*
 * Where a guest's screen lies in a widget: pure geometry, in device pixels.
 *
 * Fit makes the screen as large as possible with its proportions kept; one-to-one gives each guest pixel
 * exactly one pixel of the host's screen. The rest of the widget is letterbox.
 */
#pragma once

#include <stdbool.h>
#include <vmcore/display.h>

typedef enum EspScaling { ESP_SCALING_FIT, ESP_SCALING_ONE_TO_ONE } EspScaling;

typedef struct EspViewport {
    int x, y, width,
        height;   /* the guest's screen inside the widget; x, y may be negative when it is larger */
    bool nearest; /* a whole-number scale: pixels stay sharp squares */
} EspViewport;

typedef struct EspArea {
    int x, y, width, height; /* device pixels of a widget */
} EspArea;

/* All zero when there is no guest screen or no room. */
EspViewport esp_viewport_place(EspScaling scaling, int widget_width, int widget_height, unsigned guest_width,
                               unsigned guest_height);

/* A point of the widget to 0..32767 over the guest's screen; points in the letterbox go to the nearest edge.
 * False when there is no screen to point at. */
bool esp_viewport_map(const EspViewport *viewport, double x, double y, unsigned *guest_x, unsigned *guest_y);

/* The part of the widget that shows a rectangle of a guest's screen of `guest_width` x `guest_height`, device
 * pixels: all that changes with it, which is a little more than it covers where colours run into each other.
 */
EspArea esp_viewport_area(const EspViewport *viewport, const VmcRect *rect, unsigned guest_width,
                          unsigned guest_height);
