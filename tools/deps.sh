#!/bin/sh
# deps.sh GROUP...: installs the Debian packages of these groups that are missing, and says which and why.
# Silent, and one dpkg-query long, when nothing is missing. Groups: see tools/packages.txt.
set -eu
cd "$(dirname "$0")/.."

lists=tools/packages.txt
[ ! -f ui/packages.txt ] || lists="$lists ui/packages.txt"

# "package why" of every line that belongs to one of the groups asked for.
wanted=$(awk -v groups=" $* " '!/^#/ && NF && index(groups, " " $1 " ") && !seen[$2]++ {
    $1 = ""; print substr($0, 2) }' $lists)
names=$(echo "$wanted" | cut -d ' ' -f 1)

if ! command -v dpkg-query > /dev/null; then
    echo "This is not a Debian system; please see to it that you have what these packages bring:" $names >&2
    exit 0
fi
# A virtual package (pkg-config on newer systems) has no status of its own, so "provides" counts as well.
have=$(dpkg-query -f '${db:Status-Status} ${Package} ${Provides}\n' -W 2> /dev/null | awk '$1 == "installed"')
missing=
for name in $names; do
    case "$have
" in
    *" $name "* | *" $name,"* | *" $name
"*) ;;
    *) missing="$missing $name" ;;
    esac
done
[ "$missing" ] || exit 0

echo "These Debian packages are missing and will be installed:"
for name in $missing; do
    echo "$wanted" | sed -n "s/^$name  *\(.*\)/  $name: \1/p"
done
sudo=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo > /dev/null; then
        echo "This needs root, and there is no sudo. As root, please run: apt-get install$missing" >&2
        exit 1
    fi
    sudo="sudo"
fi
$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq update
$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing > /dev/null || {
    echo "apt-get could not install:$missing" >&2
    exit 1
}
