/*
 * Input from a front end to the guest's keyboard and tablet. Any thread: the lock keeps the devices from
 * going away meanwhile, and makes each report whole.
 */
#include <linux/input-event-codes.h>

#include "machine/private.h"
#include "virtio/devices.h"

#define TABLET_MAX 32767u

/* The running guest, with the lock held, or NULL, without. */
static VmcGuest *lock_guest(VmcMachine *machine)
{
    g_mutex_lock(&machine->guest_lock);
    if (machine->guest && atomic_load(&machine->state) == VMC_MACHINE_RUNNING)
        return machine->guest;
    g_mutex_unlock(&machine->guest_lock);
    return NULL;
}

void vmc_machine_send_key(VmcMachine *machine, unsigned keycode, bool down)
{
    VmcGuest *guest = lock_guest(machine);

    if (!guest)
        return;
    if (guest->keyboard) {
        vmc_virtio_input_event(guest->keyboard, EV_KEY, keycode, down);
        vmc_virtio_input_sync(guest->keyboard);
    }
    g_mutex_unlock(&machine->guest_lock);
}

void vmc_machine_send_pointer(VmcMachine *machine, unsigned x, unsigned y)
{
    VmcGuest *guest = lock_guest(machine);

    if (!guest)
        return;
    if (guest->tablet) {
        vmc_virtio_input_event(guest->tablet, EV_ABS, ABS_X, (int)MIN(x, TABLET_MAX));
        vmc_virtio_input_event(guest->tablet, EV_ABS, ABS_Y, (int)MIN(y, TABLET_MAX));
        vmc_virtio_input_sync(guest->tablet);
    }
    g_mutex_unlock(&machine->guest_lock);
}

void vmc_machine_send_button(VmcMachine *machine, unsigned button, bool down)
{
    VmcGuest *guest = lock_guest(machine);

    if (!guest)
        return;
    if (guest->tablet) {
        vmc_virtio_input_event(guest->tablet, EV_KEY, button, down);
        vmc_virtio_input_sync(guest->tablet);
    }
    g_mutex_unlock(&machine->guest_lock);
}

void vmc_machine_send_wheel(VmcMachine *machine, int vertical, int horizontal)
{
    VmcGuest *guest = lock_guest(machine);

    if (!guest)
        return;
    if (guest->tablet && (vertical || horizontal)) {
        if (vertical)
            vmc_virtio_input_event(guest->tablet, EV_REL, REL_WHEEL, vertical);
        if (horizontal)
            vmc_virtio_input_event(guest->tablet, EV_REL, REL_HWHEEL, horizontal);
        vmc_virtio_input_sync(guest->tablet);
    }
    g_mutex_unlock(&machine->guest_lock);
}
