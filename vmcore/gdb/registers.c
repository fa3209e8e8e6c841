/*
 * Registers for GDB (registers.h).
 *
 * All but one are bytes somewhere in VmcCpuState; on the wire some are wider than there. Segment registers
 * are shown and cannot be written: a selector alone, without what lies behind it, would be half a change.
 *
 * Source: "Debugging with GDB", appendix G.5.15 (x86 features); Intel SDM vol. 1 table 10-2 (the FXSAVE
 * image) and section 8.1.7 (the x87 tag word).
 */
#include "gdb/registers.h"

#include <stddef.h>
#include <string.h>

enum { FXSAVE_ST = 32, FXSAVE_XMM = 160 };

typedef struct Register {
    const char *name;
    const char *type;
    uint16_t offset; /* in VmcCpuState */
    uint8_t stored;  /* bytes there */
    uint8_t size;    /* bytes on the wire */
    bool readonly;
} Register;

typedef struct Feature {
    const char *name;
    const char *types; /* their definitions */
    const char *group; /* of those registers whose type does not say it, or NULL */
    const Register *registers;
    unsigned n;
} Feature;

#define AT(field) offsetof(VmcCpuState, field)
#define GPR(name, n, type)                                                                                   \
    {                                                                                                        \
        name, type, AT(gpr) + 8 * (n), 8, 8, false                                                           \
    }
#define SELECTOR(name, n)                                                                                    \
    {                                                                                                        \
        name, "int32", AT(seg) + (n) * sizeof(VmcSegment) + offsetof(VmcSegment, selector), 2, 4, true       \
    }
#define SEG_BASE(name, n)                                                                                    \
    {                                                                                                        \
        name, "int", AT(seg) + (n) * sizeof(VmcSegment) + offsetof(VmcSegment, base), 8, 8, false            \
    }
#define ST(name, n)                                                                                          \
    {                                                                                                        \
        name, "i387_ext", AT(fxsave) + FXSAVE_ST + 16 * (n), 10, 10, false                                   \
    }
#define FX(name, at, n)                                                                                      \
    {                                                                                                        \
        name, "int", AT(fxsave) + (at), n, 4, false                                                          \
    }
#define XMM(name, n)                                                                                         \
    {                                                                                                        \
        name, "vec128", AT(fxsave) + FXSAVE_XMM + 16 * (n), 16, 16, false                                    \
    }
#define FTAG 0 /* stored: worked out */

static const Register core[] = {
    GPR("rax", VMC_RAX, "int64"),
    GPR("rbx", VMC_RBX, "int64"),
    GPR("rcx", VMC_RCX, "int64"),
    GPR("rdx", VMC_RDX, "int64"),
    GPR("rsi", VMC_RSI, "int64"),
    GPR("rdi", VMC_RDI, "int64"),
    GPR("rbp", VMC_RBP, "data_ptr"),
    GPR("rsp", VMC_RSP, "data_ptr"),
    GPR("r8", 8, "int64"),
    GPR("r9", 9, "int64"),
    GPR("r10", 10, "int64"),
    GPR("r11", 11, "int64"),
    GPR("r12", 12, "int64"),
    GPR("r13", 13, "int64"),
    GPR("r14", 14, "int64"),
    GPR("r15", 15, "int64"),
    {"rip", "code_ptr", AT(rip), 8, 8, false},
    {"eflags", "i386_eflags", AT(rflags), 4, 4, false},
    SELECTOR("cs", VMC_CS),
    SELECTOR("ss", VMC_SS),
    SELECTOR("ds", VMC_DS),
    SELECTOR("es", VMC_ES),
    SELECTOR("fs", VMC_FS),
    SELECTOR("gs", VMC_GS),
    ST("st0", 0),
    ST("st1", 1),
    ST("st2", 2),
    ST("st3", 3),
    ST("st4", 4),
    ST("st5", 5),
    ST("st6", 6),
    ST("st7", 7),
    FX("fctrl", 0, 2),
    FX("fstat", 2, 2),
    FX("ftag", 4, FTAG),
    FX("fiseg", 12, 2),
    FX("fioff", 8, 4),
    FX("foseg", 20, 2),
    FX("fooff", 16, 4),
    FX("fop", 6, 2),
};

static const Register sse[] = {
    XMM("xmm0", 0),
    XMM("xmm1", 1),
    XMM("xmm2", 2),
    XMM("xmm3", 3),
    XMM("xmm4", 4),
    XMM("xmm5", 5),
    XMM("xmm6", 6),
    XMM("xmm7", 7),
    XMM("xmm8", 8),
    XMM("xmm9", 9),
    XMM("xmm10", 10),
    XMM("xmm11", 11),
    XMM("xmm12", 12),
    XMM("xmm13", 13),
    XMM("xmm14", 14),
    XMM("xmm15", 15),
    {"mxcsr", "i386_mxcsr", AT(fxsave) + 24, 4, 4, false},
};

static const Register segments[] = {
    SEG_BASE("fs_base", VMC_FS),
    SEG_BASE("gs_base", VMC_GS),
};

static const Register system_registers[] = {
    {"cr0", "x86_cr0", AT(cr0), 8, 8, false}, {"cr2", "int64", AT(cr2), 8, 8, false},
    {"cr3", "int64", AT(cr3), 8, 8, false},   {"cr4", "x86_cr4", AT(cr4), 8, 8, false},
    {"cr8", "int64", AT(cr8), 8, 8, false},   {"efer", "x86_efer", AT(efer), 8, 8, false},
};

/* "ID:SIZE NAME:BIT NAME:BIT ..." for each set of flags, of SIZE bytes. */
static const char core_types[] = "i386_eflags:4 CF:0 PF:2 AF:4 ZF:6 SF:7 TF:8 IF:9 DF:10 OF:11 NT:14 RF:16 "
                                 "VM:17 AC:18 VIF:19 VIP:20 ID:21";
static const char sse_types[] =
    "i386_mxcsr:4 IE:0 DE:1 ZE:2 OE:3 UE:4 PE:5 DAZ:6 IM:7 DM:8 ZM:9 OM:10 UM:11 PM:12 FZ:15";
static const char system_types[] = "x86_cr0:8 PE:0 MP:1 EM:2 TS:3 ET:4 NE:5 WP:16 AM:18 NW:29 CD:30 PG:31;"
                                   "x86_cr4:8 VME:0 PVI:1 TSD:2 DE:3 PSE:4 PAE:5 MCE:6 PGE:7 PCE:8 OSFXSR:9 "
                                   "OSXMMEXCPT:10 UMIP:11 LA57:12 VMXE:13 "
                                   "SMXE:14 FSGSBASE:16 PCIDE:17 OSXSAVE:18 SMEP:20 SMAP:21 PKE:22;"
                                   "x86_efer:8 SCE:0 LME:8 LMA:10 NXE:11 SVME:12 LMSLE:13 FFXSR:14 TCE:15";

static const char vectors[] =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" "
    "count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
    "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
    "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
    "<field name=\"uint128\" type=\"uint128\"/></union>";

static const Feature features[] = {
    {"org.gnu.gdb.i386.core", core_types, "float", core, G_N_ELEMENTS(core)},
    {"org.gnu.gdb.i386.sse", sse_types, "vector", sse, G_N_ELEMENTS(sse)},
    {"org.gnu.gdb.i386.segments", "", NULL, segments, G_N_ELEMENTS(segments)},
    {"org.espalier.x86.system", system_types, NULL, system_registers, G_N_ELEMENTS(system_registers)},
};

static const Register *find(unsigned number)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(features); number -= features[i++].n)
        if (number < features[i].n)
            return &features[i].registers[number];
    return NULL;
}

unsigned vmc_gdb_register_count(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++)
        n += features[i].n;
    return n;
}

unsigned vmc_gdb_register_size(unsigned number)
{
    const Register *r = find(number);

    return r ? r->size : 0;
}

/* ---- the x87 tag word: two bits for each register, of which FXSAVE keeps whether it is empty ---- */

enum { TAG_VALID, TAG_ZERO, TAG_SPECIAL, TAG_EMPTY };

static unsigned tag_of(const uint8_t *st)
{
    uint64_t fraction;
    uint16_t exponent;

    memcpy(&fraction, st, 8);
    memcpy(&exponent, st + 8, 2);
    exponent &= 0x7fff;
    if (exponent == 0 && fraction == 0)
        return TAG_ZERO;
    return exponent == 0 || exponent == 0x7fff || !(fraction >> 63) ? TAG_SPECIAL : TAG_VALID;
}

static uint32_t get_tags(const VmcCpuState *state)
{
    unsigned top = state->fxsave[3] >> 3 & 7, tags = 0;

    for (unsigned i = 0; i < 8; i++) {
        bool used = state->fxsave[4] >> i & 1;
        const uint8_t *st = state->fxsave + FXSAVE_ST + 16 * ((i - top) & 7);

        tags |= (used ? tag_of(st) : (unsigned)TAG_EMPTY) << (2 * i);
    }
    return tags;
}

static void put_tags(VmcCpuState *state, uint32_t tags)
{
    uint8_t used = 0;

    for (unsigned i = 0; i < 8; i++)
        if ((tags >> (2 * i) & 3) != TAG_EMPTY)
            used |= (uint8_t)(1u << i);
    state->fxsave[4] = used;
}

/* ---- access ---- */

void vmc_gdb_register_get(const VmcCpuState *state, unsigned number, uint8_t *bytes)
{
    const Register *r = find(number);

    memset(bytes, 0, r->size);
    if (r->stored == FTAG) {
        uint32_t tags = get_tags(state);
        memcpy(bytes, &tags, sizeof tags);
    } else {
        memcpy(bytes, (const uint8_t *)state + r->offset, r->stored);
    }
}

bool vmc_gdb_register_put(VmcCpuState *state, unsigned number, const uint8_t *bytes)
{
    const Register *r = find(number);
    uint8_t now[VMC_GDB_REGISTER_MAX];

    vmc_gdb_register_get(state, number, now);
    if (memcmp(now, bytes, r->size) == 0)
        return true;
    if (r->readonly)
        return false;
    if (r->stored == FTAG) {
        uint32_t tags;
        memcpy(&tags, bytes, sizeof tags);
        put_tags(state, tags);
    } else {
        memcpy((uint8_t *)state + r->offset, bytes, r->stored);
    }
    if (r->offset == AT(rip))
        state->halted = false; /* who is sent elsewhere does not wait there for an interrupt */
    return true;
}

/* ---- the description ---- */

static void describe_flags(GString *xml, const char *types)
{
    g_auto(GStrv) sets = g_strsplit(types, ";", -1);

    for (char **set = sets; *set; set++) {
        g_auto(GStrv) items = g_strsplit(*set, " ", -1);

        for (char **item = items; *item; item++) {
            char *number = strchr(*item, ':');

            *number++ = '\0';
            if (item == items)
                g_string_append_printf(xml, "<flags id=\"%s\" size=\"%s\">", *item, number);
            else
                g_string_append_printf(xml, "<field name=\"%s\" start=\"%s\" end=\"%s\"/>", *item, number,
                                       number);
        }
        if (*items)
            g_string_append(xml, "</flags>");
    }
}

/* The group is only said where it is not that of ordinary registers. */
static const char *group_of(const Feature *feature, const Register *r)
{
    bool special = strcmp(r->type, "i387_ext") == 0 || strcmp(r->type, "int") == 0 ||
                   strcmp(r->type, "vec128") == 0 || strcmp(r->type, "i386_mxcsr") == 0;

    return special ? feature->group : NULL;
}

static void describe_feature(GString *xml, const Feature *feature)
{
    g_string_append_printf(xml, "<feature name=\"%s\">", feature->name);
    if (feature->registers == sse)
        g_string_append(xml, vectors);
    describe_flags(xml, feature->types);
    for (unsigned i = 0; i < feature->n; i++) {
        const Register *r = &feature->registers[i];
        const char *group = group_of(feature, r);

        g_string_append_printf(xml, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"%s%s%s/>", r->name,
                               r->size * 8u, r->type, group ? " group=\"" : "", group ? group : "",
                               group ? "\"" : "");
    }
    g_string_append(xml, "</feature>");
}

char *vmc_gdb_registers_describe(void)
{
    GString *xml = g_string_new("<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
                                "<target><architecture>i386:x86-64</architecture>");

    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++)
        describe_feature(xml, &features[i]);
    g_string_append(xml, "</target>");
    return g_string_free(xml, FALSE);
}
