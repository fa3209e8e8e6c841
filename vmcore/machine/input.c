/*
 * Input from a front end to the guest's keyboards and pointers. Any thread: the lock keeps the devices from
 * going away meanwhile, and makes each report whole.
 *
 * A machine may have more than one of each (a firmware knows USB, a system likes virtio better): then what is
 * pressed goes to the first one that a driver of the guest listens to, and what is let go goes to all, since
 * that may have changed in between.
 */
#include "machine/private.h"

/* The running guest, with the lock held, or NULL, without. */
static VmcGuest *lock_guest(VmcMachine *machine)
{
    g_mutex_lock(&machine->guest_lock);
    if (machine->guest && atomic_load(&machine->state) == VMC_MACHINE_RUNNING)
        return machine->guest;
    g_mutex_unlock(&machine->guest_lock);
    return NULL;
}

/* The first that is listened to, or the first. */
static VmcKeyboard *keyboard_in_use(const VmcGuest *guest)
{
    for (guint i = 0; i < guest->keyboards->len; i++) {
        VmcKeyboard *keyboard = g_ptr_array_index(guest->keyboards, i);
        if (keyboard->ops->active(keyboard))
            return keyboard;
    }
    return guest->keyboards->len ? g_ptr_array_index(guest->keyboards, 0) : NULL;
}

static VmcPointer *pointer_in_use(const VmcGuest *guest)
{
    for (guint i = 0; i < guest->pointers->len; i++) {
        VmcPointer *pointer = g_ptr_array_index(guest->pointers, i);
        if (pointer->ops->active(pointer))
            return pointer;
    }
    return guest->pointers->len ? g_ptr_array_index(guest->pointers, 0) : NULL;
}

void vmc_machine_send_key(VmcMachine *machine, unsigned keycode, bool down)
{
    VmcGuest *guest = lock_guest(machine);

    if (!guest)
        return;
    VmcKeyboard *used = keyboard_in_use(guest);
    for (guint i = 0; i < guest->keyboards->len; i++) {
        VmcKeyboard *keyboard = g_ptr_array_index(guest->keyboards, i);
        if (!down || keyboard == used)
            keyboard->ops->key(keyboard, keycode, down);
    }
    g_mutex_unlock(&machine->guest_lock);
}

void vmc_machine_send_pointer(VmcMachine *machine, unsigned x, unsigned y)
{
    VmcGuest *guest = lock_guest(machine);

    if (!guest)
        return;
    VmcPointer *pointer = pointer_in_use(guest);
    if (pointer && pointer->ops->move) {
        pointer->ops->move(pointer, x, y);
        pointer->ops->sync(pointer);
    }
    g_mutex_unlock(&machine->guest_lock);
}

void vmc_machine_send_motion(VmcMachine *machine, int right, int down)
{
    VmcGuest *guest = lock_guest(machine);

    if (!guest)
        return;
    VmcPointer *pointer = pointer_in_use(guest);
    if (pointer && pointer->ops->move_by && (right || down)) {
        pointer->ops->move_by(pointer, right, down);
        pointer->ops->sync(pointer);
    }
    g_mutex_unlock(&machine->guest_lock);
}

bool vmc_machine_is_pointer_relative(VmcMachine *machine)
{
    VmcGuest *guest = lock_guest(machine);

    if (!guest)
        return false;
    VmcPointer *pointer = pointer_in_use(guest);
    bool relative = pointer && pointer->ops->move_by;
    g_mutex_unlock(&machine->guest_lock);
    return relative;
}

void vmc_machine_send_button(VmcMachine *machine, unsigned button, bool down)
{
    VmcGuest *guest = lock_guest(machine);

    if (!guest)
        return;
    VmcPointer *used = pointer_in_use(guest);
    for (guint i = 0; i < guest->pointers->len; i++) {
        VmcPointer *pointer = g_ptr_array_index(guest->pointers, i);
        if (down && pointer != used)
            continue;
        pointer->ops->button(pointer, button, down);
        pointer->ops->sync(pointer);
    }
    g_mutex_unlock(&machine->guest_lock);
}

void vmc_machine_send_wheel(VmcMachine *machine, int vertical, int horizontal)
{
    VmcGuest *guest = lock_guest(machine);

    if (!guest)
        return;
    VmcPointer *pointer = pointer_in_use(guest);
    if (pointer && (vertical || horizontal)) {
        pointer->ops->wheel(pointer, vertical, horizontal);
        pointer->ops->sync(pointer);
    }
    g_mutex_unlock(&machine->guest_lock);
}
