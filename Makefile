# Espalier: every way in. `make help` lists them.
B ?= build
CC ?= gcc
V ?=
Q := $(if $(V),,@)
PREFIX ?= /usr/local
export ESPALIER_BUILD := $(B)

# What a person types first sees to it that all that is needed is installed (silent and instant when it is), then
# runs make again with WAY set; only then are pkg-config and the like asked anything. The second half of this is
# at the end of the file.
WAYS_build := all run guest install pot po
WAYS_deb   := deb
WAYS_demo  := demo
WAYS_test  := test check-sanitize test-kvm test-cpu-long test-devices-long test-window
WAYS_media := test-media test-cloud
WAYS_bench := bench bench-ui
WAYS_lint  := lint
WAYS_fuzz  := fuzz fuzz-corpus fuzz-seeded
DEPS_build := build guest ui
DEPS_deb   := $(DEPS_build) deb
DEPS_demo  := $(DEPS_build) demo test
DEPS_test  := $(DEPS_demo)
DEPS_media := $(DEPS_test) media
DEPS_bench := $(DEPS_build) bench demo
DEPS_lint  := build ui lint
DEPS_fuzz  := build fuzz

.DEFAULT_GOAL := all
ifndef WAY
define way
.PHONY: $(WAYS_$1)
$(WAYS_$1):
	@tools/deps.sh $(DEPS_$1)
	+@$$(MAKE) --no-print-directory WAY=1 $$(if $$(filter -j%,$$(MAKEFLAGS)),,-j$$(shell nproc)) $$@
endef
$(foreach group,build deb demo test media bench lint fuzz,$(eval $(call way,$(group))))
endif

PKGS_CORE := glib-2.0 gobject-2.0 gio-2.0 gio-unix-2.0 spice-protocol liburing slirp zlib libzstd
PKGS_LATE := libphodav-3.0 libpulse-mainloop-glib
PKGS_APP := libplist-2.0 gio-unix-2.0 xkbcommon libarchive libcurl libcrypt
PKGS_CTL  := json-glib-1.0
PKGS_UI   := gtk+-3.0 epoxy x11 wayland-client vte-2.91

WARN := -Wall -Wextra -Wshadow -Wno-unused-parameter -Wpointer-arith -Wstrict-prototypes -Wvla
CFLAGS ?= -O2 -g
BASE_CFLAGS = -std=gnu17 $(WARN) $(CFLAGS) -D_GNU_SOURCE -Ivmcore/include -Ivmcore -I. -I$(B) -MMD -MP -pthread

# Asked once, when a recipe first needs the answer.
once = $(eval $1 := $(shell $2))$($1)
CORE_CFLAGS = $(call once,CORE_CFLAGS,pkg-config --cflags $(PKGS_CORE) $(PKGS_LATE))
CORE_LIBS   = $(call once,CORE_LIBS,pkg-config --libs $(PKGS_CORE); echo -pthread -lm)
APP_LIBS    = $(call once,APP_LIBS,pkg-config --libs $(PKGS_APP))
CTL_CFLAGS  = $(call once,CTL_CFLAGS,pkg-config --cflags $(PKGS_CTL))
CTL_LIBS    = $(call once,CTL_LIBS,pkg-config --libs $(PKGS_CTL))
UI_CFLAGS   = $(call once,UI_CFLAGS,pkg-config --cflags $(PKGS_UI))
UI_LIBS     = $(call once,UI_LIBS,pkg-config --libs $(PKGS_UI))

CORE_SRC := $(filter-out vmcore/examples/%,$(shell find vmcore -name '*.c' | sort))
CORE_OBJ := $(CORE_SRC:%.c=$(B)/obj/%.o)

# The app layer, which both programs share, and the command line program on top of it.
APP_SRC := $(filter-out app/ctl/%,$(shell find app -name '*.c' | sort))
APP_OBJ := $(APP_SRC:%.c=$(B)/obj/%.o) $(B)/obj/gen/machine1.o
CTL_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(sort $(wildcard app/ctl/*.c)))

# What a machine's process offers on its control socket.
MACHINE1 := $(B)/gen/machine1

# Each of these is a program of its own. What a test needs beyond the common libraries: LIBS_test_name := -lfoo
EXAMPLES   := $(patsubst vmcore/examples/%.c,$(B)/examples/%,$(wildcard vmcore/examples/*.c))
LIBS_test_decode := -lZydis
LIBS_test_translate_cost := -lZydis
LIBS_test_exports := -lsoup-3.0
LIBS_test_qcow2_crash := -Wl,--wrap=pwrite,--wrap=pwritev,--wrap=fallocate,--wrap=fdatasync
LIBS_test_share := -lseccomp
LIBS_test_share_files := -lseccomp
LIBS_test_share_cost := -lseccomp
LIBS_test_virtio_block := -lseccomp
LIBS_test_block_engine := -lseccomp
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))

# Devices without a guest.
BENCHES    := $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c))

.PHONY: core ctl examples unit-tests bench-programs
core: $(B)/libvmcore.a
ctl: $(B)/espalierctl
examples: $(EXAMPLES)
unit-tests: $(UNIT_TESTS)
bench-programs: $(BENCHES)

$(B)/libvmcore.a: $(CORE_OBJ)
	@rm -f $@
	$(Q)ar rcs $@ $^

# The software CPU's handlers end in tail calls: they need sibling-call optimisation in every build. Guest operands
# are as misaligned as the guest likes.
$(B)/obj/vmcore/cpu/soft/%.o: BASE_CFLAGS += -fno-strict-aliasing -fno-tree-slp-vectorize -foptimize-sibling-calls -fno-stack-protector -fcf-protection=none \
	-fno-sanitize=alignment
# Vector handlers are the host's own instructions, and never more of them than the guest is offered.
$(B)/obj/vmcore/cpu/soft/exec/%.o: BASE_CFLAGS += -msse4.2 -mno-avx
# Inline assembly that calls.
$(B)/obj/vmcore/cpu/soft/exec/avx_%.o: BASE_CFLAGS += -mno-red-zone

$(B)/obj/vmcore/%.o: vmcore/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CORE_CFLAGS) -c $< -o $@

# Lists that the program has in itself (app/data.h).
$(B)/gen/data.c: data/data.gresource.xml data/cloud-images.ini
	@mkdir -p $(@D)
	$(Q)glib-compile-resources --sourcedir=data --generate-source --c-name=esp_data --target=$@ $<

$(B)/obj/app/data.o: $(B)/gen/data.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CORE_CFLAGS) -c $< -o $@

$(B)/libespalier.a: $(B)/obj/app/data.o $(APP_OBJ)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(MACHINE1).h $(MACHINE1).c: $(MACHINE1).%: data/org.espalier.Machine1.xml
	@mkdir -p $(@D)
	$(Q)gdbus-codegen --interface-prefix org.espalier. --c-namespace Esp --c-generate-autocleanup all \
		$(if $(filter h,$*),--header,--body) --output $@ $<

$(B)/obj/gen/%.o: $(B)/gen/%.c $(MACHINE1).h
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CORE_CFLAGS) -c $< -o $@

$(B)/espalierctl: $(CTL_OBJ) $(B)/libespalier.a $(B)/libvmcore.a
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(APP_LIBS) $(CTL_LIBS) $(CORE_LIBS)

# Every setting, from the table that the program itself goes by.
$(B)/espalier-settings.7: $(B)/espalierctl
	$(Q)LC_ALL=C $< set --print-manual > $@.new && mv $@.new $@

$(B)/obj/app/ctl/%.o: BASE_CFLAGS += $(CTL_CFLAGS)
$(B)/obj/app/%.o: app/%.c | $(MACHINE1).h
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CORE_CFLAGS) -c $< -o $@

$(B)/examples/%: $(B)/obj/vmcore/examples/%.o $(B)/libvmcore.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(CORE_LIBS)

# Tests start the programs and look for files from where they are run: make sets ESPALIER_BUILD for them.
$(B)/obj/tests/%.o: tests/%.c | $(MACHINE1).h
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CORE_CFLAGS) -c $< -o $@

$(B)/tests/%: $(B)/obj/tests/unit/%.o $(B)/libespalier.a $(B)/libvmcore.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LIBS_$*) $(APP_LIBS) $(CORE_LIBS) -lcmocka

$(B)/bench/%: $(B)/obj/tests/bench/%.o $(B)/libespalier.a $(B)/libvmcore.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LIBS_$*) $(CORE_LIBS) -lcmocka

.SECONDARY:

# The demo guest (data/demo/README.md).
GUEST := $(B)/guest/vmlinuz
DEVICE_GUEST := $(wildcard tests/guest/devices/*)
$(GUEST): $(wildcard data/demo/bin/*) $(addprefix data/demo/,build.sh guest.sh init init-serial modules.txt banner profile help) \
		$(DEVICE_GUEST) $(wildcard tests/guest/devices/bin/*)
	$(Q)data/demo/build.sh $(B)/guest $(if $(DEVICE_GUEST),tests/guest/devices)

# The guest with a newer kernel; without it, because its packages cannot be had, its tests are skipped.
BACKPORTS := $(B)/guest/vmlinuz-backports
$(BACKPORTS): $(GUEST) data/demo/guest.sh $(DEVICE_GUEST)
	$(Q)tests/guest/devices/backports.sh $(B)/guest || [ $$? = 3 ]

# Debian's programs for the long device tests and for measurements in a guest.
TOOLS := $(B)/guest/tools.img
$(TOOLS): tests/guest/devices/tools.sh
	$(Q)tests/guest/devices/tools.sh $(B)/guest

# The same programs for what is measured in a guest and on the host.
BENCH_PROGRAMS := $(B)/guest/bench.tar
$(BENCH_PROGRAMS): $(TOOLS) $(GUEST) tests/bench/programs.sh tests/bench/work $(wildcard tests/guest/programs/*.[ch])
	$(Q)tests/bench/programs.sh $(B)/guest

# $(B)/espalier, and how `make demo` drives it.
-include ui/ui.mk
include po/po.mk data/data.mk

# The software CPU against the real one.
-include tests/diff/diff.mk

# Fuzzers, their corpus, and what they are measured by.
-include tests/fuzz/fuzz.mk

# What runs on our CPUs alone, without an operating system.
-include tests/guest/bare/bare.mk tests/guest/metal/metal.mk tests/guest/kvm-host/kvm-host.mk

ifdef WAY
.PHONY: all run demo test check-sanitize bench lint fuzz install guest
PROGRAMS := $(B)/espalierctl $(if $(wildcard ui/ui.mk),$(B)/espalier)

all: core examples $(PROGRAMS) $(B)/espalier-settings.7 translations guest
	@:

guest: $(GUEST)
	@:

run: $(PROGRAMS) guest
	$(Q)$(B)/espalier

test: all unit-tests $(BACKPORTS) fuzz-replay metal
	$(Q)tests/run $(TESTS)

# The software CPU and the devices for longer, with Debian's programs in the guest.
LONG_CPU := long_stress long_lockstep
LONG_DEVICES := $(filter-out $(LONG_CPU) long_media long_cloud,$(patsubst tests/guest/%.py,%,$(wildcard tests/guest/long_*.py)))
.PHONY: test-cpu-long test-devices-long
test-cpu-long: ctl guest $(TOOLS)
	$(Q)tests/run --long $(LONG_CPU)

test-devices-long: ctl guest $(TOOLS)
	$(Q)tests/run --long $(or $(TESTS),$(LONG_DEVICES))

# What of the windows is not certain enough for every day.
.PHONY: test-window
test-window: $(B)/espalier guest
	$(Q)tests/run --long long_window

# Installation media through UEFI firmware.
.PHONY: test-media test-cloud
test-media: ctl guest
	$(Q)tests/run --long long_media

# A cloud image of Debian, which cloud-init sets up at its first start; made as root, of Debian's packages.
CLOUD := $(B)/guest/cloud.raw.zst
$(CLOUD): tests/guest/cloud/build.sh
	$(Q)tests/guest/cloud/build.sh $(B)/guest

test-cloud: ctl guest $(CLOUD)
	$(Q)tests/run --long long_cloud

# Everything once more with the address and undefined behaviour sanitizers, in a folder of its own.
SANITIZE := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
check-sanitize: guest
	$(Q)$(MAKE) B=build-sanitize CFLAGS="$(SANITIZE)" core ctl unit-tests fuzz-replay metal
	$(Q)mkdir -p build-sanitize/guest && cp -u $(B)/guest/vmlinuz $(B)/guest/*.img build-sanitize/guest/
	$(Q)ESPALIER_BUILD=build-sanitize tests/run --sanitize $(TESTS)

bench: ctl guest metal bench-programs $(TOOLS) $(BENCH_PROGRAMS)
	$(Q)tests/bench/bench.py
	$(Q)tests/bench/devices.py
	$(Q)tests/bench/ring_block.py
	$(Q)$(B)/bench/ring_net 2
	$(Q)folder=$$(mktemp -d); $(B)/bench/ring_fs $$folder 2; rm -r $$folder
	$(Q)tests/bench/guest_io.py
	$(Q)tests/bench/firmware.py

# What cppcheck gets wrong about GNU C, GObject's macros, and what a handler's offset is taken of.
CPPCHECK_WRONG := unknownMacro leakReturnValNotUsed shiftTooManyBitsSigned zerodivcond \
	nullPointer:vmcore/cpu/soft/backend.c
LINT_C := $(shell git ls-files '*.c' 2>/dev/null)
lint: $(MACHINE1).h
	$(Q)clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')
	$(Q)cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 --library=gtk \
		$(addprefix --suppress=,$(CPPCHECK_WRONG)) -Ivmcore/include -Ivmcore -I. -j$$(nproc) vmcore app ui
	$(Q)clang-tidy --quiet $(LINT_C) -- -std=gnu17 -D_GNU_SOURCE -Ivmcore/include -Ivmcore -I. -I$(B) $(CORE_CFLAGS) $(CTL_CFLAGS) $(UI_CFLAGS)

endif

.PHONY: deps clean help
deps:
	@tools/deps.sh build guest ui demo test bench lint fuzz deb

# The downloaded packages stay: remove build/guest by hand to fetch newer ones.
clean:
	rm -rf build-sanitize build-fuzz
	if [ -d $(B) ]; then find $(B) -mindepth 1 -maxdepth 1 ! -name guest -exec rm -rf {} +; fi

help:
	@echo "make              the programs, the library and the demo guest, in $(B)/"
	@echo "make run          build and start Espalier"
	@echo "make demo         build, start, and show what it does by itself; pictures in $(B)/"
	@echo "make test         everything that can be tested; TESTS=name for some of it"
	@echo "make check-sanitize   the tests with the address and undefined behaviour sanitizers"
	@echo "make test-cpu-long    the software CPU by stress-ng in a guest, which verifies what it computes; takes long"
	@echo "make test-devices-long   disks, folders, inputs and the agent with Debian's programs in a guest; takes long"
	@echo "make test-window   media in the machine's window, through the file chooser"
	@echo "make test-media   the Debian installer from disk, disc and network, and memtest86+, through UEFI; takes long"
	@echo "make test-diff    the software CPU against this one for longer: DIFF_SECONDS=600 DIFF_ENGINE=translator"
	@echo "make fuzz-cpu     the software CPU's engines against each other on random programs: FUZZ_SECONDS=1800"
	@echo "make test-cloud   a cloud image through cloud-init, looked at from inside; needs root for making the image; takes long"
	@echo "make test-kvm     the KVM backend on a KVM inside an emulated host; takes minutes"
	@echo "make bench        how fast, against QEMU and this computer itself"
	@echo "make bench-ui     frames a second of a guest's screen beside a plain blit, and how long a key takes"
	@echo "make fuzz         FUZZ_SECONDS=30 for each fuzzer; FUZZERS=fuzz_pci for one. fuzz-corpus, fuzz-seeded: its README"
	@echo "make lint         clang-format, cppcheck, clang-tidy"
	@echo "make deps         install all packages that any of these needs (each installs its own anyway)"
	@echo "make po           bring the translations in po/ up to date with the sources"
	@echo "make deb          Debian packages, in $(B)/deb"
	@echo "make install      PREFIX=/usr/local DESTDIR=;  make uninstall"
	@echo "make clean"
	@echo "Variables: B=build (where to), CC, CFLAGS, V=1 (show commands)"

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
