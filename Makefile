# Espalier: every way in. `make help` lists them.
B ?= build
CC ?= gcc
V ?=
Q := $(if $(V),,@)

PKGS_CORE := glib-2.0 gobject-2.0 gio-2.0
PKGS_UI   := gtk+-3.0 epoxy

WARN := -Wall -Wextra -Wshadow -Wno-unused-parameter -Wpointer-arith -Wstrict-prototypes -Wvla
CFLAGS ?= -O2 -g
BASE_CFLAGS = -std=gnu17 $(WARN) $(CFLAGS) -D_GNU_SOURCE -Ivmcore/include -Ivmcore -I. -MMD -MP -pthread

CORE_CFLAGS = $(shell pkg-config --cflags $(PKGS_CORE))
CORE_LIBS   = $(shell pkg-config --libs $(PKGS_CORE)) -pthread -lm
UI_CFLAGS   = $(shell pkg-config --cflags $(PKGS_UI))
UI_LIBS     = $(shell pkg-config --libs $(PKGS_UI))

CORE_SRC := $(filter-out vmcore/examples/%,$(shell find vmcore -name '*.c' | sort))
CORE_OBJ := $(CORE_SRC:%.c=$(B)/obj/%.o)

# The app layer, which both programs share, and the command line program on top of it.
APP_SRC := $(filter-out app/ctl/%,$(shell find app -name '*.c' | sort))
APP_OBJ := $(APP_SRC:%.c=$(B)/obj/%.o)
CTL_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(sort $(wildcard app/ctl/*.c)))

# Each of these is a program of its own. What a test needs beyond the common libraries: LIBS_test_name := -lfoo
EXAMPLES   := $(patsubst vmcore/examples/%.c,$(B)/examples/%,$(wildcard vmcore/examples/*.c))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))

.PHONY: all core ctl examples unit-tests
all: core ctl examples
core: $(B)/libvmcore.a
ctl: $(B)/espalierctl
examples: $(EXAMPLES)
unit-tests: $(UNIT_TESTS)

$(B)/libvmcore.a: $(CORE_OBJ)
	@rm -f $@
	$(Q)ar rcs $@ $^

# The software CPU's handlers end in tail calls: they need sibling-call optimisation in every build.
$(B)/obj/vmcore/cpu/soft/%.o: BASE_CFLAGS += -fno-strict-aliasing -foptimize-sibling-calls -fno-stack-protector -fcf-protection=none

$(B)/obj/vmcore/%.o: vmcore/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CORE_CFLAGS) -c $< -o $@

$(B)/libespalier.a: $(APP_OBJ)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(B)/espalierctl: $(CTL_OBJ) $(B)/libespalier.a $(B)/libvmcore.a
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(CORE_LIBS)

$(B)/obj/app/%.o: app/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CORE_CFLAGS) -c $< -o $@

$(B)/examples/%: $(B)/obj/vmcore/examples/%.o $(B)/libvmcore.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(CORE_LIBS)

# Tests start the programs and look for files from where they are run: make sets ESPALIER_BUILD for them.
$(B)/obj/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CORE_CFLAGS) -c $< -o $@

$(B)/tests/%: $(B)/obj/tests/unit/%.o $(B)/libespalier.a $(B)/libvmcore.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LIBS_$*) $(CORE_LIBS) -lcmocka

.SECONDARY:

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
