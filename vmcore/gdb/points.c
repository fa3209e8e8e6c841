/*
 * Breakpoints and watchpoints: Z and z. They are kept here and asked of the CPUs when those are let go; the
 * same one inserted twice is one.
 *
 * Conditions and commands are not offered, so a debugger keeps them to itself.
 */
#include "gdb/internal.h"

typedef enum PointType { SOFTWARE, HARDWARE, WRITE, READ, ACCESS } PointType;

typedef struct Point {
    PointType type;
    uint64_t address, length;
} Point;

static bool take_point(VmcGdbText *text, Point *point)
{
    uint64_t type;

    if (!vmc_gdb_take_hex(text, &type) || type > ACCESS || !vmc_gdb_take_char(text, ',') ||
        !vmc_gdb_take_hex(text, &point->address) || !vmc_gdb_take_char(text, ',') ||
        !vmc_gdb_take_hex(text, &point->length) || !vmc_gdb_text_is_empty(text))
        return false;
    point->type = (PointType)type;
    /* For breakpoints it is a kind, of which x86 has one. */
    return type <= HARDWARE || (point->length && point->address + (point->length - 1) >= point->address);
}

static VmcDebugAccess access_of(PointType type)
{
    return type == WRITE ? VMC_DEBUG_WRITE : type == READ ? VMC_DEBUG_READ : VMC_DEBUG_ACCESS;
}

/* Its index among its like, or their number. */
static unsigned find(const VmcCpuDebug *points, const Point *point)
{
    unsigned i;

    if (point->type <= HARDWARE) {
        for (i = 0; i < points->n_breakpoints; i++)
            if (points->breakpoints[i].address == point->address &&
                points->breakpoints[i].hardware == (point->type == HARDWARE))
                break;
    } else {
        for (i = 0; i < points->n_watchpoints; i++)
            if (points->watchpoints[i].address == point->address &&
                points->watchpoints[i].length == point->length &&
                points->watchpoints[i].access == access_of(point->type))
                break;
    }
    return i;
}

/* At the end of its list. False: that is full. */
static bool add(VmcCpuDebug *points, const Point *point)
{
    if (point->type <= HARDWARE) {
        if (points->n_breakpoints == VMC_DEBUG_BREAKPOINTS)
            return false;
        points->breakpoints[points->n_breakpoints].address = point->address;
        points->breakpoints[points->n_breakpoints++].hardware = point->type == HARDWARE;
        return true;
    }
    if (points->n_watchpoints == VMC_DEBUG_WATCHPOINTS)
        return false;
    points->watchpoints[points->n_watchpoints].address = point->address;
    points->watchpoints[points->n_watchpoints].length = point->length;
    points->watchpoints[points->n_watchpoints++].access = access_of(point->type);
    return true;
}

static void take_out(VmcCpuDebug *points, const Point *point)
{
    unsigned i = find(points, point);

    if (point->type <= HARDWARE) {
        if (i < points->n_breakpoints)
            points->breakpoints[i] = points->breakpoints[--points->n_breakpoints];
    } else if (i < points->n_watchpoints) {
        points->watchpoints[i] = points->watchpoints[--points->n_watchpoints];
    }
}

void vmc_gdb_insert_point(VmcGdbSession *s, VmcGdbText *text)
{
    Point point;

    if (!take_point(text, &point)) {
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
        return;
    }
    bool known = find(&s->points, &point) <
                 (point.type <= HARDWARE ? s->points.n_breakpoints : s->points.n_watchpoints);
    if (!known && !add(&s->points, &point)) {
        vmc_gdb_say_error(s, VMC_GDB_ENOSPC);
    } else if (!known && !s->ops->fits(s->opaque, &s->points)) {
        take_out(&s->points, &point);
        vmc_gdb_say_error(s, VMC_GDB_ENOSPC);
    } else {
        vmc_gdb_say_ok(s);
    }
}

void vmc_gdb_remove_point(VmcGdbSession *s, VmcGdbText *text)
{
    Point point;

    if (!take_point(text, &point)) {
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
        return;
    }
    take_out(&s->points, &point);
    vmc_gdb_say_ok(s);
}
