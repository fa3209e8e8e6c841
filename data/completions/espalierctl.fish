# fish completion for espalierctl(1). Commands, options and machines are asked of the program itself.

function __espalierctl_commands
    espalierctl --help | string match -rg '^  ([a-z][a-z-]*) +(.*)' | while read -l name
        read -l help
        printf '%s\t%s\n' $name $help
    end
end

function __espalierctl_options
    set -l words (commandline -opc)
    espalierctl $words[2] --help 2>/dev/null | string match -ra -- '--[a-z][a-z-]*' | sort -u
end

function __espalierctl_takes_machine
    set -l words (commandline -opc)
    # In English, in which words such as MACHINE are not translated.
    test (count $words) -ge 2; and env LC_ALL=C espalierctl $words[2] --help 2>/dev/null | string match -q '*MACHINE*'
end

complete -c espalierctl -n __fish_use_subcommand -f -a '(__espalierctl_commands)'
complete -c espalierctl -n 'not __fish_use_subcommand' -a '(__espalierctl_options)'
complete -c espalierctl -n __espalierctl_takes_machine -a '(espalierctl list --names 2>/dev/null)'
