"""Completions for bash, zsh and fish: from the declarations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .arg import FILES, SHELL_ARGS, Arg
from .command import REGISTRY, Command
from .manual import sub_commands
from .offers import values_of
from .preferences import PREFERENCES
from .watching import ShellCommand

# Not ps, which a small system lacks. Prints PID:NAME for each process with a command line: the
# kernel's own have none.
NAMES_OF_PIDS = (
    "LC_ALL=C grep -s . $(LC_ALL=C grep -sl . /proc/*/cmdline | sed s,cmdline,comm,) "
    r'| LC_ALL=C sed -n "s,[^ -~],?,g; s,^/proc/\([0-9]*\)/comm:,\1:,p"'
)


def completions(shell: str) -> str:
    """Return the script that completes heapx in a shell, one of manual.SHELLS."""
    return "\n".join(_SCRIPTS[shell]()) + "\n"


def _names(args: tuple[Arg, ...]) -> list[str]:
    return [name for arg in args for name in arg.options]


def _settings() -> dict[str, tuple[str, ...]]:
    return {preference.name: preference.choices() for preference in PREFERENCES}


def _bash() -> Iterator[str]:
    commands = {command.word: command for command in sub_commands()}
    valued = [name for arg in SHELL_ARGS if arg.kind != "flag" for name in arg.options]
    yield from ("# heapx: made by heapx --completion bash", "", "_heapx() {")
    yield "    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}"
    yield "    local command= pid= i"
    yield "    for ((i = 1; i < COMP_CWORD; i++)); do"
    yield "        [[ ${COMP_WORDS[i]} == @(-p|--pid) ]] && pid=${COMP_WORDS[i + 1]}"
    yield "        case ${COMP_WORDS[i]} in"
    yield f"        {' | '.join(valued)}) ((i++)) ;;"
    yield f"        {' | '.join(commands)}) command=${{COMP_WORDS[i]}} && break ;;"
    yield "        [1-9]*) pid=${COMP_WORDS[i]} ;;"
    yield "        esac"
    yield "    done"
    yield "    # bash takes NAME=VALUE apart"
    yield '    [[ $word == "=" ]] && word='
    yield '    [[ $previous == "=" ]] && previous=${COMP_WORDS[COMP_CWORD - 2]}='
    yield '    [[ $word == "" && ${COMP_WORDS[COMP_CWORD]} == "=" ]] && previous+="="'
    yield '    case "$command $previous" in'
    for arg in SHELL_ARGS:
        if arg.kind != "flag":
            pattern = " | ".join(f'" {name}"' for name in arg.options)
            yield f"    {pattern}) {_bash_values(arg)} ;;"
    for name, choices in _settings().items():
        yield f'    " {name}=") {_bash_words(choices)} ;;'
    for command in (*commands.values(), REGISTRY["heapx"]):
        for arg in command.all_args:
            if arg.options and arg.kind != "flag":
                patterns = " | ".join(f'"{command.word} {name}"' for name in arg.options)
                yield f"    {patterns}) {_bash_values(arg, values_of(command, arg))} ;;"
    yield "    *)"
    yield "        case $command in"
    for command in commands.values():
        yield f"        {command.word}) {_bash_places(command)} ;;"
    yield "        *)"
    yield "            case $word in"
    overview = REGISTRY["heapx"].all_args
    yield f"            -*) {_bash_words(_names((*SHELL_ARGS, *overview)))} ;;"
    yield "            [0-9]*) _heapx_pids ;;"
    yield f"            *) {_bash_words([*commands, 'help'])} ;;"
    yield from ("            esac", "            ;;")
    yield from ("        esac", "        ;;", "    esac", "}", "", *_BASH_PIDS)
    yield from ("", "complete -F _heapx heapx")


# Where several are shown each has its name; what is put into the line is what they all begin with.
# Names are never given to compgen -W, which would expand them, and stand there as a shell quotes
# them.
_BASH_PIDS = (
    "_heapx_pids() {",
    "    local IFS=$'\\n' found quoted",
    "    COMPREPLY=()",
    f"    for found in $({NAMES_OF_PIDS}); do",
    "        if [[ $word == [!0-9]* ]]; then",
    '            printf -v quoted %q "${found#*:}"',
    '            [[ $quoted == "$word"* ]] && COMPREPLY+=("$quoted")',
    '        elif [[ $found == "$word"* ]]; then',
    '            COMPREPLY+=("${found%%:*} (${found#*:})")',
    "        fi",
    "    done",
    "    # one alone is put in whole, and a menu puts in what it shows",
    "    [[ $word == [!0-9]* ]] && return",
    '    ((${#COMPREPLY[@]} == 1 || COMP_TYPE == 37)) && COMPREPLY=("${COMPREPLY[@]%% *}")',
    "    return 0",
    "}",
)


_BASH_FILES = 'COMPREPLY=($(compgen -f -- "$word"))'


def _bash_words(words: Sequence[str]) -> str:
    text = " ".join(words)
    return f'COMPREPLY=($(compgen -W "{text}" -- "$word"))' if text else "COMPREPLY=()"


def _bash_places(command: Command | ShellCommand) -> str:
    """Return what completes a word of a command that is no option's value."""
    options = _bash_words(_names(command.all_args))
    if not any(arg.is_file for arg in command.all_args):
        return options
    return f"if [[ $word == -* ]]; then {options}; else {_BASH_FILES}; fi"


def _bash_values(arg: Arg, values: Sequence[str] = ()) -> str:
    """Return what completes an option's value."""
    if arg.kind == "pid":
        return "_heapx_pids"
    if arg.kind in FILES:
        return _BASH_FILES
    if arg.kind == "setting":
        names = " ".join(_settings())
        return f'compopt -o nospace; COMPREPLY=($(compgen -S = -W "{names}" -- "$word"))'
    if arg.kind == "thread":
        lwps = "local lwps=(); [[ -d /proc/$pid/task ]] && lwps=(/proc/$pid/task/*)"
        return f'{lwps}; COMPREPLY=($(compgen -W "${{lwps[*]##*/}}" -- "$word"))'
    if arg.kind == "columns":
        before, names = '${word%"${word##*,}"}', " ".join(values)
        words = f'compgen -P "{before}" -W "{names}" -- "${{word##*,}}"'
        return f"compopt -o nospace; COMPREPLY=($({words}))"
    return _bash_words(values or arg.choices)


def _zsh() -> Iterator[str]:
    commands, overview = sub_commands(), REGISTRY["heapx"]
    yield from ("#compdef heapx", "# made by heapx --completion zsh", "", "_heapx() {")
    yield "    local context state state_descr line"
    yield "    typeset -A opt_args"
    yield "    _arguments -C -A '-*' \\"  # what follows the command is the command's
    yield from (f"        {spec} \\" for arg in SHELL_ARGS for spec in _zsh_specs(arg))
    yield from (f"        {spec} \\" for spec in _zsh_specs_of(overview))
    yield "        '1:command:->command' '*::argument:->argument'"
    yield "    case $state in"
    yield "    command)"
    yield "        [[ $PREFIX == [0-9]* ]] && _heapx_pids && return"
    yield "        local -a commands=("
    yield from (f"            {_quoted(f'{c.word}:{c.summary}')}" for c in commands)
    yield from ("        )", "        _describe command commands", "        ;;")
    yield from ("    argument)", "        case $words[1] in")
    for command in commands:
        yield f"        {command.word}) _arguments {' '.join(_zsh_specs_of(command))} ;;"
    yield f"        help) compadd {' '.join(c.word for c in commands)} ;;"
    yield from ("        esac", "        ;;", "    esac", "}", "")
    yield from ("_heapx_settings() {", "    local -A values=(")
    for name, choices in _settings().items():
        yield f"        {name} {_quoted(' '.join(choices))}"
    yield from ("    )", "    if compset -P '*='; then", "        compadd ${=values[${IPREFIX%=}]}")
    yield from ("    else", "        compadd -S = -- ${(k)values}", "    fi", "}", "")
    yield from ("_heapx_pids() {", f'    local -a pids=("${{(@f)$({NAMES_OF_PIDS})}}")')
    yield "    if [[ $PREFIX == [^0-9]* ]]; then compadd -- ${(u)pids#*:}"
    yield from ("    else _describe process pids", "    fi", "}", "")
    yield from (
        'if [[ $funcstack[1] == _heapx ]]; then _heapx "$@"; else compdef _heapx heapx; fi',
    )


def _zsh_specs_of(command: Command | ShellCommand) -> Iterator[str]:
    for arg in command.all_args:
        yield from _zsh_specs(arg, values_of(command, arg))


def _zsh_specs(arg: Arg, values: Sequence[str] = ()) -> Iterator[str]:
    """Yield what _arguments needs to know of an argument, whose value may be one of these."""
    actions = {"pid": "_heapx_pids", "setting": "_heapx_settings"}
    actions.update(dict.fromkeys(FILES, "_files"))
    known = " ".join(values or arg.choices)
    action = f"({known})" if known else actions.get(arg.kind, " ")
    if arg.kind == "columns":
        action = f"_values -s , column {known}"
    value = "" if arg.kind == "flag" else f":{arg.key}:{action}"
    meaning = arg.help.replace("[", "(").replace("]", ")").replace(":", "\\:")
    if not arg.name.startswith("-"):
        offered = "_files" if arg.is_file else "()"  # for other places nothing is
        yield _quoted(f"::{arg.key}:{offered}")
    for name in arg.options:
        often = "*" if arg.kind == "setting" else ""
        yield _quoted(f"{often}{name}[{meaning}]{value}")


def _fish() -> Iterator[str]:
    commands, overview = sub_commands(), REGISTRY["heapx"]
    words = " ".join(command.word for command in commands)
    yield "# made by heapx --completion fish"
    yield "complete -c heapx -f"
    none = f"'not __fish_seen_subcommand_from {words} help'"
    for arg in SHELL_ARGS:
        yield f"complete -c heapx -n {none} {_fish_option(arg)}"
        if arg.kind == "pid":
            yield f"complete -c heapx -n {none} -n {_FISH_NAMED} -l pid -s p -x -a {_FISH_NAMES}"
    for command in commands:
        described = f"-a {command.word} -d {_quoted(command.summary, fish=True)}"
        yield f"complete -c heapx -n {none} {described}"
    yield f"complete -c heapx -n {none} -a help -d 'what a command does'"
    typed = "'string match -qr \"^[0-9]\" -- (commandline -ct)'"
    yield f"complete -c heapx -n {none} -n {typed} -a {_FISH_PIDS}"
    yield f"complete -c heapx -n '__fish_seen_subcommand_from help' -a '{words}'"
    for command in (overview, *commands):
        seen = f"'__fish_seen_subcommand_from {command.word}'" if command.word else none
        for arg in command.all_args:
            if arg.options:
                option = _fish_option(arg, values_of(command, arg))
                yield f"complete -c heapx -n {seen} {option}"
            if arg.is_file:
                yield f"complete -c heapx -n {seen} -F"


_FISH_PIDS = f"'({NAMES_OF_PIDS} | string replace : \\t)'"
_FISH_NAMES = f'\'({NAMES_OF_PIDS} | string replace -r "^[0-9]*:" "")\''
_FISH_NAMED = "'string match -qr \"^[^0-9]\" -- (commandline -ct)'"
_FISH_BEFORE = r'(string replace -r "[^,]*\$" "" -- (commandline -ct))'  # the last of a list


def _fish_option(arg: Arg, values: Sequence[str] = ()) -> str:
    """Return the words of `complete` for one option, whose value may be one of these."""
    known = values or arg.choices
    kinds = {
        "flag": "",
        "pid": f" -x -a {_FISH_PIDS}",
        "file": " -r -F",
        "input": " -r -F",
        "setting": f" -x -a '{' '.join(_set_words())}'",
        "columns": f" -x -a '{_FISH_BEFORE}{{{','.join(known)}}}'",
    }
    value = kinds.get(arg.kind, f" -x -a '{' '.join(known)}'" if known else " -x")
    names = "".join(f" -s {n[1:]}" for n in arg.options if not n.startswith("--"))
    return f"-l {arg.options[-1][2:]}{names}{value} -d {_quoted(arg.help, fish=True)}"


def _set_words() -> Iterator[str]:
    for name, choices in _settings().items():
        yield from (f"{name}={choice}" for choice in choices or ("",))


def _quoted(text: str, fish: bool = False) -> str:
    """Return a word in single quotes."""
    return "'" + text.replace("'", "\\'" if fish else "'\\''") + "'"


_SCRIPTS: dict[str, Callable[[], Iterator[str]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
