# Guests in C without an operating system (README.md): bzImages that Espalier and QEMU boot alike.
METAL_CFLAGS := -std=gnu17 -O2 -Wall -Wextra -Wno-unused-parameter -ffreestanding -fno-pic -fno-pie -mno-red-zone \
	-mgeneral-regs-only -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-builtin \
	-fno-strict-aliasing -m64 -Itests/guest/metal -MMD -MP
METAL_LIB    := $(addprefix $(B)/metal/,start.o metal.o virtio.o)
METAL_GUESTS := $(addprefix $(B)/metal/,hostile bench)

.PHONY: metal
metal: $(METAL_GUESTS)

$(B)/metal/%.o: tests/guest/metal/%.S
	@mkdir -p $(@D)
	$(Q)$(CC) -m64 -c -x assembler-with-cpp $< -o $@

$(B)/metal/%.o: tests/guest/metal/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(METAL_CFLAGS) -c $< -o $@

$(B)/metal/%: $(B)/metal/%.o $(METAL_LIB) tests/guest/metal/metal.ld
	$(Q)$(LD) -m elf_x86_64 -T tests/guest/metal/metal.ld --no-warn-rwx-segments $(METAL_LIB) $< -o $@

-include $(wildcard $(B)/metal/*.d)
