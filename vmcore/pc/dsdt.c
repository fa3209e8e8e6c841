/*
 * The namespace: processors, the PCI root with its windows and interrupt routing, the ISA devices behind the
 * LPC bridge, what is reserved on the board, and soft off.
 */
#include "pc/dsdt.h"

#include "pc/aml.h"
#include "pc/board.h"
#include "pc/hpet.h"
#include "pc/lpc.h"
#include "pc/smc.h"

static void name_integer(VmcAml *aml, const char *name, uint64_t value)
{
    vmc_aml_name(aml, name);
    vmc_aml_integer(aml, value);
}

static void name_eisa_id(VmcAml *aml, const char *name, const char *id)
{
    vmc_aml_name(aml, name);
    vmc_aml_eisa_id(aml, id);
}

static void name_resources(VmcAml *aml, GByteArray *resources)
{
    vmc_aml_name(aml, "_CRS");
    vmc_aml_resources(aml, resources);
    g_byte_array_unref(resources);
}

/* _S5 (s7.4.2): SLP_TYP for PM1a and PM1b. */
static void write_soft_off(VmcAml *aml)
{
    vmc_aml_name(aml, "\\_S5_");
    vmc_aml_package(aml, 4);
    vmc_aml_integer(aml, VMC_PM_SLEEP_S5);
    vmc_aml_integer(aml, VMC_PM_SLEEP_S5);
    vmc_aml_integer(aml, 0);
    vmc_aml_integer(aml, 0);
    vmc_aml_end(aml);
}

/* _PIC (s5.8.1): the system says 1 once it uses the IOAPIC. */
static void write_interrupt_model(VmcAml *aml)
{
    name_integer(aml, "PICM", 0);
    vmc_aml_method(aml, "_PIC", 1);
    vmc_aml_op(aml, VMC_AML_STORE);
    vmc_aml_arg(aml, 0);
    vmc_aml_path(aml, "PICM");
    vmc_aml_end(aml);
}

static void write_processors(VmcAml *aml, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char name[16];
        g_snprintf(name, sizeof name, "C%03X", i & 0xfff);
        vmc_aml_device(aml, name);
        vmc_aml_name(aml, "_HID");
        vmc_aml_string(aml, "ACPI0007");
        name_integer(aml, "_UID", i);
        vmc_aml_end(aml);
    }
}

/* A routing table (s6.2.13) for all slots: pin p of slot d is PIRQ (d + p) & 7. */
static void write_routing(VmcAml *aml, const char *name, const uint8_t irq_of_pirq[8])
{
    vmc_aml_name(aml, name);
    vmc_aml_package(aml, 32 * 4);
    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            vmc_aml_package(aml, 4);
            vmc_aml_integer(aml, slot << 16 | 0xffff);
            vmc_aml_integer(aml, pin);
            vmc_aml_integer(aml, 0); /* no link device: hard-wired */
            vmc_aml_integer(aml, irq_of_pirq[(slot + pin) & 7]);
            vmc_aml_end(aml);
        }
    }
    vmc_aml_end(aml);
}

static void write_routing_method(VmcAml *aml)
{
    vmc_aml_method(aml, "_PRT", 0);
    vmc_aml_if(aml);
    vmc_aml_path(aml, "PICM");
    vmc_aml_op(aml, VMC_AML_RETURN);
    vmc_aml_path(aml, "PRTA");
    vmc_aml_end(aml);
    vmc_aml_op(aml, VMC_AML_RETURN);
    vmc_aml_path(aml, "PRTP");
    vmc_aml_end(aml);
}

/* _OSC (s6.2.11.3): the UUID of PCI root bridges is known, and control of nothing is granted: there are no
 * native PCI Express services on the root bus. An unknown UUID is answered with bit 2 of the first word. */
static void write_osc(VmcAml *aml)
{
    static const uint8_t uuid[16] = {0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40,
                                     0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66};
    vmc_aml_method(aml, "_OSC", 4);
    vmc_aml_op(aml, VMC_AML_CREATE_DWORD_FIELD);
    vmc_aml_arg(aml, 3);
    vmc_aml_integer(aml, 0);
    vmc_aml_path(aml, "CDW1");
    vmc_aml_if(aml);
    vmc_aml_op(aml, VMC_AML_LEQUAL);
    vmc_aml_arg(aml, 0);
    vmc_aml_buffer(aml, uuid, sizeof uuid);
    vmc_aml_op(aml, VMC_AML_CREATE_DWORD_FIELD);
    vmc_aml_arg(aml, 3);
    vmc_aml_integer(aml, 8);
    vmc_aml_path(aml, "CDW3");
    vmc_aml_op(aml, VMC_AML_STORE);
    vmc_aml_integer(aml, 0);
    vmc_aml_path(aml, "CDW3");
    vmc_aml_end(aml);
    vmc_aml_else(aml);
    vmc_aml_op(aml, VMC_AML_OR);
    vmc_aml_path(aml, "CDW1");
    vmc_aml_integer(aml, 4);
    vmc_aml_path(aml, "CDW1");
    vmc_aml_end(aml);
    vmc_aml_op(aml, VMC_AML_RETURN);
    vmc_aml_arg(aml, 3);
    vmc_aml_end(aml);
}

static GByteArray *root_windows(const VmcAcpiParams *params)
{
    GByteArray *res = g_byte_array_new();
    vmc_res_bus_window(res, 0, 255);
    vmc_res_io(res, 0xcf8, 8);
    vmc_res_io_window(res, 0x0000, 0x0cf7);
    vmc_res_io_window(res, 0x0d00, 0xffff);
    if (params->pci_base < params->ecam_base)
        vmc_res_memory_window(res, (uint32_t)params->pci_base, (uint32_t)params->ecam_base - 1);
    vmc_res_memory_window(res, (uint32_t)(params->ecam_base + VMC_PC_ECAM_SIZE), VMC_PC_PCI_END - 1);
    if (params->pci64_last)
        vmc_res_memory_window64(res, params->pci64_first, params->pci64_last);
    return res;
}

static void write_isa_device(VmcAml *aml, const char *name, const char *id, GByteArray *resources)
{
    vmc_aml_device(aml, name);
    name_eisa_id(aml, "_HID", id);
    name_resources(aml, resources);
    vmc_aml_end(aml);
}

static void write_uart(VmcAml *aml, unsigned n)
{
    static const struct {
        uint16_t port;
        uint8_t irq;
    } com[] = {{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}};
    char name[8];
    g_snprintf(name, sizeof name, "COM%u", (n + 1) & 7);
    vmc_aml_device(aml, name);
    name_eisa_id(aml, "_HID", "PNP0501");
    name_integer(aml, "_UID", n + 1);
    name_integer(aml, "_STA", 0xf);
    GByteArray *res = g_byte_array_new();
    vmc_res_io(res, com[n].port, 8);
    vmc_res_irq(res, com[n].irq);
    name_resources(aml, res);
    vmc_aml_end(aml);
}

/* As on Macs, where _CID names the model's family. _STA: there, enabled, working, and not shown. */
static void write_smc(VmcAml *aml)
{
    vmc_aml_device(aml, "SMC_");
    name_eisa_id(aml, "_HID", "APP0001");
    vmc_aml_name(aml, "_CID");
    vmc_aml_string(aml, "smc-napa");
    name_integer(aml, "_STA", 0xb);
    GByteArray *res = g_byte_array_new();
    vmc_res_io(res, VMC_SMC_BASE, VMC_SMC_SIZE);
    vmc_res_irq(res, VMC_SMC_IRQ);
    name_resources(aml, res);
    vmc_aml_end(aml);
}

static void write_lpc(VmcAml *aml, const VmcAcpiParams *params)
{
    vmc_aml_device(aml, "ISA_");
    name_integer(aml, "_ADR", VMC_LPC_SLOT << 16);

    GByteArray *res = g_byte_array_new();
    vmc_res_io(res, 0x20, 2);
    vmc_res_io(res, 0xa0, 2);
    vmc_res_io(res, 0x4d0, 2);
    write_isa_device(aml, "PIC_", "PNP0000", res);

    res = g_byte_array_new();
    vmc_res_io(res, 0x40, 4);
    vmc_res_irq(res, 0);
    write_isa_device(aml, "TIMR", "PNP0100", res);

    res = g_byte_array_new();
    vmc_res_io(res, 0x70, 2);
    vmc_res_irq(res, 8);
    write_isa_device(aml, "RTC_", "PNP0B00", res);

    for (unsigned i = 0; i < MIN(params->n_uarts, 4); i++)
        write_uart(aml, i);
    if (params->smc)
        write_smc(aml);
    vmc_aml_end(aml);
}

/* Addresses on the board that belong to no device: ECAM (Linux uses it only if it is reserved here), APICs,
 * PM block. */
static void write_board_resources(VmcAml *aml, const VmcAcpiParams *params)
{
    GByteArray *res = g_byte_array_new();
    vmc_res_memory32(res, (uint32_t)params->ecam_base, VMC_PC_ECAM_SIZE);
    vmc_res_memory32(res, 0xfec00000, 0x1000);
    vmc_res_memory32(res, 0xfee00000, 0x100000);
    vmc_res_io(res, VMC_PM_BASE, VMC_PM_SIZE);
    vmc_aml_device(aml, "MRES");
    name_eisa_id(aml, "_HID", "PNP0C02");
    name_integer(aml, "_UID", 1);
    name_resources(aml, res);
    vmc_aml_end(aml);
}

static void write_hpet(VmcAml *aml)
{
    GByteArray *res = g_byte_array_new();
    vmc_res_memory32(res, VMC_HPET_BASE, VMC_HPET_SIZE);
    write_isa_device(aml, "HPET", "PNP0103", res);
}

static void write_pci_root(VmcAml *aml, const VmcAcpiParams *params)
{
    static const uint8_t gsi_of_pirq[8] = {16, 17, 18, 19, 20, 21, 22, 23};
    vmc_aml_device(aml, "PCI0");
    name_eisa_id(aml, "_HID", "PNP0A08");
    name_eisa_id(aml, "_CID", "PNP0A03");
    name_integer(aml, "_UID", 0);
    name_integer(aml, "_SEG", 0);
    name_integer(aml, "_BBN", 0);
    name_resources(aml, root_windows(params));
    write_osc(aml);
    write_routing(aml, "PRTA", gsi_of_pirq);
    write_routing(aml, "PRTP", params->irq_of_pirq);
    write_routing_method(aml);
    write_lpc(aml, params);
    vmc_aml_end(aml);
}

GByteArray *vmc_dsdt_build(const VmcAcpiParams *params)
{
    VmcAml aml;
    vmc_aml_init(&aml);
    write_soft_off(&aml);
    write_interrupt_model(&aml);
    vmc_aml_scope(&aml, "\\_SB_");
    write_processors(&aml, params->n_cpus);
    write_board_resources(&aml, params);
    write_hpet(&aml);
    write_pci_root(&aml, params);
    vmc_aml_end(&aml);
    return vmc_aml_take(&aml);
}
