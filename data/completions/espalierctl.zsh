#compdef espalierctl
# zsh completion for espalierctl(1). Commands, options and machines are asked of the program itself.

_espalierctl()
{
    local -a commands options machines
    local help
    if (( CURRENT == 2 )); then
        commands=(${(f)"$(espalierctl --help | sed -n 's/^  \([a-z][a-z-]*\)  *\(.*\)/\1:\2/p')"})
        _describe command commands
        return
    fi
    help=$(LC_ALL=C espalierctl $words[2] --help 2> /dev/null) # in which words such as MACHINE are not translated
    options=(${(f)"$(print -r -- $help | grep -o -- '--[a-z][a-z-]*' | sort -u)"})
    compadd -a options
    if [[ $help == *MACHINE* ]]; then
        machines=(${(f)"$(espalierctl list --names 2> /dev/null)"})
        compadd -a machines
    fi
    _files
}

_espalierctl "$@"
