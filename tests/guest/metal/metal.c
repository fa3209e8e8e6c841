/*
 * The run-time of metal.h. The heap is zeroed when it is handed out.
 */
#include "metal.h"

#include <stdarg.h>

#define COM1     0x3f8
#define PM_BASE  0x600
#define PM1_CNT  (PM_BASE + 4)
#define PM_TIMER (PM_BASE + 8)
#define PM_HZ    3579545u

static const char *cmdline = "";
static uint64_t heap = METAL_HEAP;
static uint64_t tsc_per_ms;

/* ---- memory ---- */

void *memcpy(void *to, const void *from, size_t n)
{
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
    return result;
}

void *memset(void *to, int byte, size_t n)
{
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
    return result;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;

    for (; n; n--, x++, y++)
        if (*x != *y)
            return *x < *y ? -1 : 1;
    return 0;
}

void *metal_alloc(size_t size, size_t align)
{
    uint64_t at = (heap + align - 1) & ~(uint64_t)(align - 1);

    if (size > METAL_HEAP_END - at) {
        print("metal: out of memory\n");
        power_off();
    }
    heap = at + size;
    return memset((void *)at, 0, size);
}

void metal_free_all(void)
{
    heap = METAL_HEAP;
}

/* ---- printing ---- */

static void put_char(char c)
{
    while (!(in8(COM1 + 5) & 0x20))
        ;
    out8(COM1, (uint8_t)c);
}

static void put_number(uint64_t value, unsigned base)
{
    char digits[20];
    unsigned n = 0;

    do
        digits[n++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (n)
        put_char(digits[--n]);
}

void print(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    for (; *format; format++) {
        if (*format != '%') {
            put_char(*format);
            continue;
        }
        switch (*++format) {
        case 's':
            for (const char *s = va_arg(args, const char *); *s; s++)
                put_char(*s);
            break;
        case 'c':
            put_char((char)va_arg(args, int));
            break;
        case 'u':
            put_number(va_arg(args, unsigned), 10);
            break;
        case 'x':
            put_number(va_arg(args, unsigned), 16);
            break;
        case 'U':
            put_number(va_arg(args, uint64_t), 10);
            break;
        case 'X':
            put_number(va_arg(args, uint64_t), 16);
            break;
        default:
            put_char(*format);
        }
    }
    va_end(args);
}

/* S5 as Espalier's DSDT has it, then as QEMU's. */
void power_off(void)
{
    while (!(in8(COM1 + 5) & 0x40))
        ;
    out16(PM1_CNT, 7 << 10 | 1 << 13);
    out16(PM1_CNT, 1 << 13);
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* ---- time ---- */

/* The timer has 24 bits at least; 50 ms are far less. */
static void calibrate(void)
{
    uint32_t start = in32(PM_TIMER), passed;
    uint64_t tsc = rdtsc();

    do
        passed = (in32(PM_TIMER) - start) & 0xffffff;
    while (passed < PM_HZ / 20);
    tsc_per_ms = (rdtsc() - tsc) * (PM_HZ / 1000) / passed;
}

uint64_t now_us(void)
{
    uint64_t tsc = rdtsc();

    return tsc / tsc_per_ms * 1000 + tsc % tsc_per_ms * 1000 / tsc_per_ms;
}

void wait_us(uint64_t us)
{
    for (uint64_t end = now_us() + us; now_us() < end;)
        cpu_pause();
}

/* ---- PCI ---- */

static uint16_t select_config(unsigned devfn, unsigned offset)
{
    out32(0xcf8, 0x80000000u | devfn << 8 | (offset & 0xfc));
    return (uint16_t)(0xcfc + (offset & 3));
}

uint32_t pci_read(unsigned devfn, unsigned offset, unsigned size)
{
    select_config(devfn, offset);
    uint32_t value = in32(0xcfc) >> (offset % 4 * 8);
    return size == 4 ? value : value & ((1u << (8 * size)) - 1);
}

void pci_write(unsigned devfn, unsigned offset, unsigned size, uint32_t value)
{
    uint16_t port = select_config(devfn, offset);

    if (size == 1)
        out8(port, (uint8_t)value);
    else if (size == 2)
        out16(port, (uint16_t)value);
    else
        out32(port, value);
}

uint64_t pci_bar(unsigned devfn, unsigned bar)
{
    uint32_t low = pci_read(devfn, 0x10 + 4 * bar, 4);
    uint64_t high = (low & 6) == 4 ? pci_read(devfn, 0x14 + 4 * bar, 4) : 0;

    return high << 32 | (low & ~15u);
}

/* ---- start ---- */

const char *metal_option(const char *name)
{
    for (const char *at = cmdline; *at; at++) {
        const char *word = name, *text = at;
        while (*word && *word == *text)
            word++, text++;
        if (!*word && (at == cmdline || at[-1] == ' '))
            return text;
    }
    return NULL;
}

void metal_main(const uint8_t *boot_params);

void metal_main(const uint8_t *boot_params)
{
    uint32_t at = *(const uint32_t *)(boot_params + 0x228);

    if (at)
        cmdline = (const char *)(uint64_t)at;
    calibrate();
    metal_run(cmdline);
    power_off();
}
