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

.PHONY: all
all: $(B)/libvmcore.a

$(B)/libvmcore.a: $(CORE_OBJ)
	@rm -f $@
	$(Q)ar rcs $@ $^

# The software CPU's handlers end in tail calls: they need sibling-call optimisation in every build.
$(B)/obj/vmcore/cpu/soft/%.o: BASE_CFLAGS += -fno-strict-aliasing -foptimize-sibling-calls -fno-stack-protector -fcf-protection=none

$(B)/obj/vmcore/%.o: vmcore/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CORE_CFLAGS) -c $< -o $@

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
