/*
 * What a guest without an operating system has: ports, a serial line, a clock, memory, PCI. One CPU, 64-bit
 * mode, interrupts off, no exception handlers: a fault is a triple fault, and the machine restarts or ends.
 *
 * Memory from METAL_HEAP to METAL_HEAP_END is handed out by metal_alloc; a guest needs 64 MiB.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METAL_HEAP     0x400000ull
#define METAL_HEAP_END 0x3000000ull

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline void cpu_pause(void)
{
    __asm__ volatile("pause" ::: "memory");
}

/* The guest's program; when it returns the machine is switched off. */
void metal_run(const char *cmdline);

/* To COM1. %s %c %u (unsigned) %x (unsigned) %U (uint64_t) %X (uint64_t). */
void print(const char *format, ...);
void power_off(void) __attribute__((noreturn));
/* Whether the command line has this word; the text behind it (up to a blank) is not ended. */
const char *metal_option(const char *name);

/* Microseconds since some time; from the TSC, against the ACPI timer. */
uint64_t now_us(void);
void wait_us(uint64_t us);

/* Zeroed memory; the address is the physical one. metal_free_all gives all of it back. */
void *metal_alloc(size_t size, size_t align);
void metal_free_all(void);
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* Bus 0; devfn as in slot << 3 | function. size is 1, 2 or 4. */
uint32_t pci_read(unsigned devfn, unsigned offset, unsigned size);
void pci_write(unsigned devfn, unsigned offset, unsigned size, uint32_t value);
/* Where a memory BAR lies. */
uint64_t pci_bar(unsigned devfn, unsigned bar);
