/* Where a guest's screen lies in a widget (see viewport.h). */
#include "ui/viewport.h"

#include <math.h>

#define POINTER_MAX 32767.0

EspViewport esp_viewport_place(EspScaling scaling, int widget_width, int widget_height, unsigned guest_width,
                               unsigned guest_height)
{
    EspViewport viewport = {0};
    if (widget_width <= 0 || widget_height <= 0 || !guest_width || !guest_height)
        return viewport;

    double scale = 1.0;
    if (scaling == ESP_SCALING_FIT)
        scale = fmin((double)widget_width / guest_width, (double)widget_height / guest_height);

    viewport.width = (int)fmax(1.0, round(guest_width * scale));
    viewport.height = (int)fmax(1.0, round(guest_height * scale));
    viewport.x = (widget_width - viewport.width) / 2;
    viewport.y = (widget_height - viewport.height) / 2;
    viewport.nearest = viewport.width % (int)guest_width == 0 && viewport.height % (int)guest_height == 0;
    return viewport;
}

/* From where to where a piece of an axis is drawn. A pixel between two of the guest's has something of both.
 */
static void cover_axis(int origin, int size, unsigned guest, unsigned at, unsigned n, int *from, int *length)
{
    double scale = (double)size / guest, margin = fmax(1.0, scale);
    double start = fmin(at, guest), end = fmin(start + n, guest);

    *from = origin + (int)floor(start * scale - margin);
    *length = origin + (int)ceil(end * scale + margin) - *from;
}

EspArea esp_viewport_area(const EspViewport *viewport, const VmcRect *rect, unsigned guest_width,
                          unsigned guest_height)
{
    EspArea area = {0};

    if (!guest_width || !guest_height)
        return area;
    cover_axis(viewport->x, viewport->width, guest_width, rect->x, rect->width, &area.x, &area.width);
    cover_axis(viewport->y, viewport->height, guest_height, rect->y, rect->height, &area.y, &area.height);
    return area;
}

static unsigned map_axis(double value, int origin, int size)
{
    /* Pixel centres: the first pixel is 0, the last one the maximum. */
    double t = size > 1 ? (floor(value) - origin) / (size - 1) : 0.0;
    return (unsigned)lrint(fmin(fmax(t, 0.0), 1.0) * POINTER_MAX);
}

bool esp_viewport_map(const EspViewport *viewport, double x, double y, unsigned *guest_x, unsigned *guest_y)
{
    if (!viewport->width || !viewport->height)
        return false;
    *guest_x = map_axis(x, viewport->x, viewport->width);
    *guest_y = map_axis(y, viewport->y, viewport->height);
    return true;
}
