/*
 * What of the 82545EM hangs on serial wires: the EEPROM (a 64-word Microwire part, SDM s5.6), read bit by bit
 * through EECD or at once through EERD, and the PHY (a Marvell 88E1011, SDM s13.4.1 and IEEE 802.3 clause
 * 22), read through MDIC. There is no cable to negotiate over: the link is 1000BASE-T, or none.
 */
#include "net/e1000_internal.h"

#include <string.h>

#define EECD_SK   (1u << 0)
#define EECD_CS   (1u << 1)
#define EECD_DI   (1u << 2)
#define EECD_DO   (1u << 3)
#define EECD_REQ  (1u << 6)
#define EECD_GNT  (1u << 7)
#define EECD_PRES (1u << 8)
#define EECD_KEPT (EECD_SK | EECD_CS | EECD_DI | EECD_REQ)

#define MICROWIRE_READ    6u /* start bit and opcode */
#define MICROWIRE_COMMAND 9u /* bits of those and an address */
#define EEPROM_WORDS      64u
#define EEPROM_SUM        0xbabau

#define EERD_START (1u << 0)
#define EERD_DONE  (1u << 4)

#define MDIC_WRITE 1u
#define MDIC_READ  2u
#define MDIC_READY (1u << 28)
#define MDIC_INT   (1u << 29)
#define MDIC_ERROR (1u << 30)
#define PHY_NUMBER 1u

enum {
    PHY_CTRL = 0,
    PHY_STATUS = 1,
    PHY_ID1 = 2,
    PHY_ID2 = 3,
    PHY_ADVERTISED = 4,
    PHY_PARTNER = 5,
    PHY_1000T_CTRL = 9,
    PHY_1000T_STATUS = 10,
    PHY_EXT_STATUS = 15,
    PHY_SPEC_CTRL = 16,
    PHY_SPEC_STATUS = 17,
    PHY_EXT_SPEC_CTRL = 20,
};

#define PHY_CTRL_RESET   0x8000u
#define PHY_CTRL_RESTART 0x0200u
#define PHY_LINK         0x0004u
#define PHY_AN_COMPLETE  0x0020u
#define PHY_SPEC_UP      0xac00u /* 1000 Mb/s, full duplex, resolved, link */

/* ---- EEPROM ---- */

/* SDM s5.6.1: the address, no flow control or wake-up asked for, and a checksum. */
void vmc_e1000_eeprom_init(E1000 *card)
{
    uint16_t sum = 0;

    for (unsigned i = 0; i < 3; i++)
        card->eeprom[i] = (uint16_t)(card->mac[2 * i] | card->mac[2 * i + 1] << 8);
    card->eeprom[0x04] = 0xffff; /* LEDs as the driver likes */
    card->eeprom[0x0b] = 0x100f;
    card->eeprom[0x0c] = 0x8086;
    card->eeprom[0x0d] = 0x100f;
    card->eeprom[0x0e] = 0x8086;
    for (unsigned i = 0; i + 1 < EEPROM_WORDS; i++)
        sum = (uint16_t)(sum + card->eeprom[i]);
    card->eeprom[EEPROM_WORDS - 1] = (uint16_t)(EEPROM_SUM - sum);
}

uint32_t vmc_e1000_read_eecd(E1000 *card)
{
    uint32_t kept = *e1000_reg(card, E1000_EECD) & EECD_KEPT;

    return kept | EECD_PRES | (kept & EECD_REQ ? EECD_GNT : 0) | (card->microwire.out ? EECD_DO : 0);
}

/* A rising edge of SK. Zeros before the start bit count for nothing. */
static void microwire_clock(E1000 *card, bool in)
{
    if (card->microwire.bits_in < MICROWIRE_COMMAND) {
        if (!card->microwire.bits_in && !in)
            return;
        card->microwire.shifted = (uint16_t)(card->microwire.shifted << 1 | in);
        card->microwire.out = false;
        if (++card->microwire.bits_in == MICROWIRE_COMMAND && card->microwire.shifted >> 6 == MICROWIRE_READ)
            card->microwire.data = card->eeprom[card->microwire.shifted % EEPROM_WORDS];
        return;
    }
    card->microwire.out = card->microwire.data >> (15 - card->microwire.bits_out % 16) & 1;
    card->microwire.bits_out++;
}

void vmc_e1000_write_eecd(E1000 *card, uint32_t value)
{
    uint32_t before = *e1000_reg(card, E1000_EECD);

    *e1000_reg(card, E1000_EECD) = value & EECD_KEPT;
    if (!(value & EECD_CS)) {
        card->microwire.bits_in = card->microwire.bits_out = 0;
        card->microwire.shifted = card->microwire.data = 0;
        card->microwire.out = true; /* ready */
        return;
    }
    if ((value & EECD_SK) && !(before & EECD_SK))
        microwire_clock(card, value & EECD_DI);
}

void vmc_e1000_write_eerd(E1000 *card, uint32_t value)
{
    unsigned address = value >> 8 & 0xff;

    if (value & EERD_START)
        value = EERD_DONE | address << 8 | (uint32_t)card->eeprom[address % EEPROM_WORDS] << 16;
    *e1000_reg(card, E1000_EERD) = value;
}

/* ---- PHY ---- */

void vmc_e1000_phy_link(E1000 *card, bool up)
{
    card->phy[PHY_STATUS] = (uint16_t)((card->phy[PHY_STATUS] & ~(PHY_LINK | PHY_AN_COMPLETE)) |
                                       (up ? PHY_LINK | PHY_AN_COMPLETE : 0));
    card->phy[PHY_SPEC_STATUS] = up ? PHY_SPEC_UP : 0;
    card->phy[PHY_1000T_STATUS] = up ? 0x3c00 : 0;
    card->phy[PHY_PARTNER] = up ? 0x45e1 : 0;
}

void vmc_e1000_phy_reset(E1000 *card)
{
    memset(card->phy, 0, sizeof(card->phy));
    card->phy[PHY_CTRL] = 0x1140; /* negotiating, full duplex, 1000 */
    card->phy[PHY_STATUS] =
        0x7949; /* all of 10 and 100, extended status, can negotiate, extended registers */
    card->phy[PHY_ID1] = 0x0141;
    card->phy[PHY_ID2] = 0x0c20;
    card->phy[PHY_ADVERTISED] = 0x0de1;
    card->phy[PHY_1000T_CTRL] = 0x0e00;
    card->phy[PHY_EXT_STATUS] = 0x3000;
    card->phy[PHY_SPEC_CTRL] = 0x0360;
    card->phy[PHY_EXT_SPEC_CTRL] = 0x0d60;
    vmc_e1000_phy_link(card, vmc_e1000_link_up(card));
}

static void phy_write(E1000 *card, unsigned reg, uint16_t value)
{
    bool restart = reg == PHY_CTRL && (value & PHY_CTRL_RESTART);

    if (reg == PHY_CTRL && (value & PHY_CTRL_RESET)) {
        vmc_e1000_phy_reset(card);
        return;
    }
    if (reg != PHY_STATUS && reg != PHY_ID1 && reg != PHY_ID2 && reg != PHY_PARTNER &&
        reg != PHY_1000T_STATUS && reg != PHY_SPEC_STATUS && reg != PHY_EXT_STATUS)
        card->phy[reg] = reg == PHY_CTRL ? (uint16_t)(value & ~PHY_CTRL_RESTART) : value;
    if (restart) /* negotiated as soon as asked for */
        vmc_e1000_interrupt(card, ICR_LSC);
}

void vmc_e1000_write_mdic(E1000 *card, uint32_t value)
{
    unsigned op = value >> 26 & 3, reg = value >> 16 & 0x1f;
    uint32_t result = value & 0x03ffffffu;

    if ((value >> 21 & 0x1f) != PHY_NUMBER || (op != MDIC_READ && op != MDIC_WRITE))
        result |= MDIC_ERROR;
    else if (op == MDIC_WRITE)
        phy_write(card, reg, (uint16_t)value);
    else
        result = (result & 0xffff0000u) | card->phy[reg];
    *e1000_reg(card, E1000_MDIC) = result | op << 26 | MDIC_READY;
    if (value & MDIC_INT)
        vmc_e1000_interrupt(card, ICR_MDAC);
}
