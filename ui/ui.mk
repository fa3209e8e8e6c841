# The GTK program, its resources, and what drives it. Included by the Makefile.

UI_SRC := $(sort $(wildcard ui/*.c))
# Wayland's words for a captive pointer (pointer_lock.c).
PROTOCOLS := pointer-constraints-unstable-v1 relative-pointer-unstable-v1
UI_OBJ := $(UI_SRC:%.c=$(B)/obj/%.o) $(B)/obj/ui/resources.o $(PROTOCOLS:%=$(B)/obj/ui/%.o)
UI_RES := $(shell find resources -type f 2>/dev/null)

.PHONY: ui
ui: $(B)/espalier

$(B)/espalier: $(UI_OBJ) $(B)/libespalier.a $(B)/libvmcore.a | $(B)/schemas/gschemas.compiled
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -rdynamic $(filter %.o %.a,$^) -o $@ $(UI_LIBS) $(APP_LIBS) $(CORE_LIBS)

$(B)/obj/ui/%.o: ui/%.c | $(MACHINE1).h
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) -DG_LOG_DOMAIN=\"espalier\" $(CORE_CFLAGS) $(UI_CFLAGS) -c $< -o $@

$(B)/gen/resources.c: resources/espalier.gresource.xml $(UI_RES)
	@mkdir -p $(@D)
	$(Q)glib-compile-resources --sourcedir=resources --generate-source --c-name=espalier --target=$@ $<

$(B)/obj/ui/resources.o: $(B)/gen/resources.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CORE_CFLAGS) -c $< -o $@

$(B)/gen/%-unstable-v1.h $(B)/gen/%-unstable-v1.c:
	@mkdir -p $(@D)
	$(Q)xml=$$(pkg-config --variable=pkgdatadir wayland-protocols)/unstable/$*/$*-unstable-v1.xml; \
		wayland-scanner client-header $$xml $(B)/gen/$*-unstable-v1.h && \
		wayland-scanner private-code $$xml $(B)/gen/$*-unstable-v1.c

$(B)/obj/ui/%-unstable-v1.o: $(B)/gen/%-unstable-v1.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(UI_CFLAGS) -c $< -o $@

$(B)/obj/ui/pointer_lock.o: | $(PROTOCOLS:%=$(B)/gen/%.h)

# The program finds its settings' schema here when it runs from the source tree.
$(B)/schemas/gschemas.compiled: data/org.espalier.Espalier.gschema.xml
	@mkdir -p $(@D)
	$(Q)glib-compile-schemas --strict --targetdir=$(@D) data

# The tests of widgets; tests/ui/test_*.py of the same name gives each a display.
UI_SPY := $(B)/tests-ui/layout_spy.so
UI_TESTS := $(patsubst tests/ui/%.c,$(B)/tests-ui/%,$(filter-out %_spy.c,$(wildcard tests/ui/*.c))) $(UI_SPY)

$(B)/tests-ui/%: $(B)/obj/tests-ui/%.o $(filter-out $(B)/obj/ui/main.o,$(UI_OBJ)) $(B)/libespalier.a $(B)/libvmcore.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o %.a,$^) -o $@ -lcmocka $(UI_LIBS) $(APP_LIBS) $(CORE_LIBS)

$(B)/obj/tests-ui/%.o: tests/ui/%.c | $(MACHINE1).h
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CORE_CFLAGS) $(UI_CFLAGS) -c $< -o $@

# A module that GTK loads into the program (tests/ui/languages.py).
$(UI_SPY): tests/ui/layout_spy.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(UI_CFLAGS) -shared -fPIC $(LDFLAGS) $< -o $@ $(UI_LIBS)

ifdef WAY
test: $(UI_TESTS)

# How fast the window is, by counters the program keeps.
.PHONY: bench-ui
bench-ui: $(B)/tests-ui/display_speed
	$(Q)tests/bench/ui.py

demo: $(B)/espalier $(GUEST)
	$(Q)/usr/bin/python3 tests/ui/demo.py
endif
