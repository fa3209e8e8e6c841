# Functions of the scripts that make guests, to be sourced. They use $work: busybox in $work/bin, an unpacked kernel
# package in $work/linux with modules of $version.

# archive DIR FILE: DIR as a gzipped newc cpio archive.
archive()
{
    find "$1" -exec touch -h -d @1700000000 {} +
    (cd "$1" && find . | sort | cpio --quiet --reproducible -o -H newc -R 0:0) | gzip -9n > "$2.new"
    mv "$2.new" "$2"
}

# root DIR: the folders and busybox that both guests share.
root()
{
    mkdir -p "$1/bin" "$1/dev" "$1/proc" "$1/sys" "$1/tmp" "$1/root" "$1/mnt" "$1/etc"
    cp "$work/bin/busybox" "$1/bin/busybox"
    for applet in $("$work/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"
    done
}

# guest FOLDER DIR: the tree of a guest with the modules it lists, each after those it needs in lib/modules/load-order:
# modules.dep names them all, the deepest last.
guest()
{
    root "$2"
    modules=$2/lib/modules/$version
    mkdir -p "$modules" "$2/usr/bin"
    dep=$work/linux/lib/modules/$version/modules.dep
    sed 's/#.*//; /^ *$/d' "$1/modules.txt" > "$work/wanted"
    while read -r name why; do
        if grep -q "/$name\.ko" "${dep%.dep}.builtin"; then
            continue
        fi
        line=$(grep "/$name\.ko[^ ]*:" "$dep") || die "the kernel has no module $name"
        for path in ${line#*:}; do
            echo "$path"
        done | tac
        echo "${line%%:*}"
    done < "$work/wanted" > "$work/needed"
    awk '!seen[$0]++' "$work/needed" > "$work/load-order"
    while read -r path; do
        mkdir -p "$modules/$(dirname "$path")"
        cp "$work/linux/lib/modules/$version/$path" "$modules/$path"
        case $path in *.xz) unxz "$modules/$path" ;; esac # busybox takes them as they are
        echo "/lib/modules/$version/${path%.xz}"
    done < "$work/load-order" > "$2/lib/modules/load-order"
    depmod -b "$2" "$version" 2> /dev/null # for modprobe in the guest
    rm -f "$modules"/*.bin
    install -m 755 "$1/init" "$2/init"
    install -m 755 "$1"/bin/* "$2/usr/bin/"
    ln -s bin "$2/sbin" # where the kernel looks for modprobe
}
