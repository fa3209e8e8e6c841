# bash completion for espalierctl(1). Commands, options and machines are asked of the program itself.

_espalierctl()
{
    local cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} word help IFS=$'\n'
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "$(espalierctl --help | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p')" -- "$cur"))
        return
    fi
    help=$(LC_ALL=C espalierctl "$command" --help 2> /dev/null) # in which words such as MACHINE are not translated
    case $cur in
    -*)
        COMPREPLY=($(compgen -W "$(grep -o -- '--[a-z][a-z-]*' <<< "$help" | sort -u)" -- "$cur"))
        return
        ;;
    esac
    if [[ $help == *MACHINE* ]]; then
        if [ "$command" = set ] && [ "$COMP_CWORD" -gt 2 ]; then
            COMPREPLY=($(compgen -S = -W "$(espalierctl show "${COMP_WORDS[2]}" 2> /dev/null | awk '/^ *[a-z]/ { print $1 }')" -- "$cur"))
            compopt -o nospace
            return
        fi
        for word in $(espalierctl list --names 2> /dev/null); do
            [[ $word == "$cur"* ]] && COMPREPLY+=("$(printf %q "$word")")
        done
    fi
    [ ${#COMPREPLY[@]} -gt 0 ] || compopt -o default
}

complete -F _espalierctl espalierctl
