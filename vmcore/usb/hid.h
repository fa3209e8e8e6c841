/* USB input devices (HID 1.11): a keyboard and two pointers. */
#pragma once

#include "base/input.h"
#include "usb/device.h"

/* The physical layout a keyboard says it has (HID 1.11 s6.2.1, bCountryCode), by which macOS chooses what
 * some keys mean. ISO: an additional key beside the left shift, and what is at Enter is usage 0x32. JIS: keys
 * for conversion, yen and ro. */
typedef enum VmcUsbLayout { VMC_USB_ANSI, VMC_USB_ISO, VMC_USB_JIS } VmcUsbLayout;

/* `swap` exchanges the usages 0x35 (` ~) and 0x64 (beside the left shift): macOS takes the two of a keyboard
 * it does not know the other way round. Free with vmc_usb_device_free. */
VmcUsbDevice *vmc_usb_keyboard_new(VmcIo *io, VmcUsbLayout layout, bool swap);
VmcKeyboard *vmc_usb_keyboard_input(VmcUsbDevice *dev);

VmcUsbDevice *vmc_usb_tablet_new(void);
VmcUsbDevice *vmc_usb_mouse_new(void);                /* relative */
VmcPointer *vmc_usb_pointer_input(VmcUsbDevice *dev); /* of either */

/* ---- inside ---- */

/* Usages of the keyboard page (HID Usage Tables 1.4 s10) from 0xe0 on are modifiers. */
#define HID_USAGE_MODIFIERS 0xe0u
#define HID_USAGE_LAST      0xe7u

/* The usage of an evdev key code, 0 if there is none (hid_usages.c). */
uint8_t vmc_hid_usage(unsigned code, VmcUsbLayout layout, bool swap);

/* Requests and descriptor types of the class (HID 1.11 s7). */
#define HID_GET_REPORT   1u
#define HID_GET_IDLE     2u
#define HID_GET_PROTOCOL 3u
#define HID_SET_REPORT   9u
#define HID_SET_IDLE     10u
#define HID_SET_PROTOCOL 11u
#define HID_DESC_HID     0x21u
#define HID_DESC_REPORT  0x22u

/* The HID descriptor (s6.2.1), as an initialiser: what stands behind the interface descriptor. */
#define HID_DESCRIPTOR(country, report_size)                                                                 \
    {                                                                                                        \
        9, HID_DESC_HID, 0x11, 0x01, (country), 1, HID_DESC_REPORT, (report_size)&0xff, (report_size) >> 8   \
    }

/* GET_DESCRIPTOR of the HID or the report descriptor. */
static inline VmcUsbStatus vmc_hid_descriptor(const VmcUsbDevice *dev, const VmcUsbSetup *setup,
                                              const uint8_t *report, uint32_t report_size, uint8_t *data,
                                              uint32_t *length)
{
    const uint8_t *from = setup->value >> 8 == HID_DESC_REPORT ? report : dev->model->extra;
    uint32_t size = setup->value >> 8 == HID_DESC_REPORT ? report_size : dev->model->extra_len;

    if ((setup->value >> 8 != HID_DESC_REPORT && setup->value >> 8 != HID_DESC_HID) || setup->value & 0xff)
        return VMC_USB_STALL;
    memcpy(data, from, size);
    if (size < *length)
        *length = size;
    return VMC_USB_OK;
}
