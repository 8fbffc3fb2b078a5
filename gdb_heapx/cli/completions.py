"""Completions for bash, zsh and fish: from the declarations."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .arg import SHELL_ARGS, Arg
from .arguments import OUTPUT_ARGS
from .manual import sub_commands
from .preferences import PREFERENCES

# Not ps, which a small system doesn't have. Prints PID:NAME for each process.
NAMES_OF_PIDS = (
    r'LC_ALL=C grep -s . /proc/*/comm | LC_ALL=C sed -n "s,^/proc/\([0-9]*\)/comm:,\1:,p"'
)


def completions(shell: str) -> str:
    """Return the script that completes heapx in a shell, one of manual.SHELLS."""
    return "\n".join(_SCRIPTS[shell]()) + "\n"


def _names(args: tuple[Arg, ...]) -> list[str]:
    options = [arg for arg in args if arg.name.startswith("-")]
    return [name for arg in options for name in (arg.short, arg.name) if name]


def _settings() -> dict[str, tuple[str, ...]]:
    return {preference.name: preference.choices() for preference in PREFERENCES}


def _bash() -> Iterator[str]:
    commands = {command.word: command.args for command in sub_commands()}
    valued = [name for arg in SHELL_ARGS if arg.kind != "flag" for name in _names((arg,))]
    yield from ("# heapx: made by heapx --completion bash", "", "_heapx() {")
    yield "    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}"
    yield "    local command= pid= i"
    yield "    for ((i = 1; i < COMP_CWORD; i++)); do"
    yield "        [[ ${COMP_WORDS[i]} == @(-p|--pid) ]] && pid=${COMP_WORDS[i + 1]}"
    yield "        case ${COMP_WORDS[i]} in"
    yield f"        {' | '.join(valued)}) ((i++)) ;;"
    yield f"        {' | '.join(commands)}) command=${{COMP_WORDS[i]}} && break ;;"
    yield "        esac"
    yield "    done"
    yield "    # bash takes NAME=VALUE apart"
    yield '    [[ $word == "=" ]] && word='
    yield '    [[ $previous == "=" ]] && previous=${COMP_WORDS[COMP_CWORD - 2]}='
    yield '    [[ $word == "" && ${COMP_WORDS[COMP_CWORD]} == "=" ]] && previous+="="'
    yield '    case "$command $previous" in'
    for arg in SHELL_ARGS:
        if arg.kind != "flag":
            pattern = " | ".join(f'" {name}"' for name in _names((arg,)))
            yield f"    {pattern}) {_bash_values(arg)} ;;"
    for name, choices in _settings().items():
        yield f'    " {name}=") {_bash_words(choices)} ;;'
    for command, args in commands.items():
        for arg in args:
            if arg.name.startswith("-") and arg.kind != "flag":
                yield f'    "{command} {arg.name}") {_bash_values(arg)} ;;'
    for arg in OUTPUT_ARGS:
        if arg.kind != "flag":
            yield f'    *" {arg.name}") {_bash_values(arg)} ;;'
    yield "    *)"
    yield "        case $command in"
    for command, args in commands.items():
        yield f"        {command}) {_bash_words(_names((*args, *OUTPUT_ARGS)))} ;;"
    yield "        *)"
    yield "            case $word in"
    yield f"            -*) {_bash_words(_names((*SHELL_ARGS, *OUTPUT_ARGS)))} ;;"
    yield f"            *) {_bash_words([*commands, 'help'])} ;;"
    yield from ("            esac", "            ;;")
    yield from ("        esac", "        ;;", "    esac", "}")
    yield from ("", "complete -F _heapx heapx")


def _bash_words(words: Iterator[str] | list[str] | tuple[str, ...]) -> str:
    text = " ".join(words)
    return f'COMPREPLY=($(compgen -W "{text}" -- "$word"))' if text else "COMPREPLY=()"


def _bash_values(arg: Arg) -> str:
    """Return what completes an option's value."""
    if arg.kind == "pid":
        return 'local pids=(/proc/[1-9]*); COMPREPLY=($(compgen -W "${pids[*]#/proc/}" -- "$word"))'
    if arg.kind == "file":
        return 'COMPREPLY=($(compgen -f -- "$word"))'
    if arg.kind == "setting":
        names = " ".join(_settings())
        return f'compopt -o nospace; COMPREPLY=($(compgen -S = -W "{names}" -- "$word"))'
    if arg.kind == "thread":
        lwps = "local lwps=(); [[ -d /proc/$pid/task ]] && lwps=(/proc/$pid/task/*)"
        return f'{lwps}; COMPREPLY=($(compgen -W "${{lwps[*]##*/}}" -- "$word"))'
    return _bash_words(arg.choices)


def _zsh() -> Iterator[str]:
    commands = sub_commands()
    yield from ("#compdef heapx", "# made by heapx --completion zsh", "", "_heapx() {")
    yield "    local context state state_descr line"
    yield "    typeset -A opt_args"
    yield "    _arguments -C \\"
    yield from (
        f"        {spec} \\" for arg in (*SHELL_ARGS, *OUTPUT_ARGS) for spec in _zsh_specs(arg)
    )
    yield "        '1:command:->command' '*::argument:->argument'"
    yield "    case $state in"
    yield "    command)"
    yield "        local -a commands=("
    yield from (f"            {_quoted(f'{c.word}:{c.summary}')}" for c in commands)
    yield from ("        )", "        _describe command commands", "        ;;")
    yield from ("    argument)", "        case $words[1] in")
    for command in commands:
        specs = [spec for arg in (*command.args, *OUTPUT_ARGS) for spec in _zsh_specs(arg)]
        yield f"        {command.word}) _arguments {' '.join(specs)} ;;"
    yield f"        help) compadd {' '.join(c.word for c in commands)} ;;"
    yield from ("        esac", "        ;;", "    esac", "}", "")
    yield from ("_heapx_settings() {", "    local -A values=(")
    for name, choices in _settings().items():
        yield f"        {name} {_quoted(' '.join(choices))}"
    yield from ("    )", "    if compset -P '*='; then", "        compadd ${=values[${IPREFIX%=}]}")
    yield from ("    else", "        compadd -S = -- ${(k)values}", "    fi", "}", "")
    yield from ("_heapx_pids() {", f'    local -a pids=("${{(@f)$({NAMES_OF_PIDS})}}")')
    yield from ("    _describe process pids", "}", "")
    yield from (
        'if [[ $funcstack[1] == _heapx ]]; then _heapx "$@"; else compdef _heapx heapx; fi',
    )


def _zsh_specs(arg: Arg) -> Iterator[str]:
    """Yield what _arguments needs to know of an argument."""
    actions = {"pid": "_heapx_pids", "file": "_files", "setting": "_heapx_settings"}
    action = f"({' '.join(arg.choices)})" if arg.choices else actions.get(arg.kind, " ")
    value = "" if arg.kind == "flag" else f":{arg.key}:{action}"
    meaning = arg.help.replace("[", "(").replace("]", ")").replace(":", "\\:")
    if not arg.name.startswith("-"):
        yield _quoted(f"::{arg.key}: ")
    for name in _names((arg,)):
        often = "*" if arg.kind == "setting" else ""
        yield _quoted(f"{often}{name}[{meaning}]{value}")


def _fish() -> Iterator[str]:
    commands = sub_commands()
    words = " ".join(command.word for command in commands)
    yield "# made by heapx --completion fish"
    yield "complete -c heapx -f"
    none = f"'not __fish_seen_subcommand_from {words} help'"
    for arg in SHELL_ARGS:
        yield f"complete -c heapx -n {none} {_fish_option(arg)}"
    for command in commands:
        described = f"-a {command.word} -d {_quoted(command.summary, fish=True)}"
        yield f"complete -c heapx -n {none} {described}"
    yield f"complete -c heapx -n {none} -a help -d 'what a command does'"
    yield f"complete -c heapx -n '__fish_seen_subcommand_from help' -a '{words}'"
    for arg in OUTPUT_ARGS:
        yield f"complete -c heapx {_fish_option(arg)}"
    for command in commands:
        for arg in command.args:
            if arg.name.startswith("-"):
                seen = f"'__fish_seen_subcommand_from {command.word}'"
                yield f"complete -c heapx -n {seen} {_fish_option(arg)}"


def _fish_option(arg: Arg) -> str:
    """Return the words of `complete` for one option."""
    values = {
        "flag": "",
        "pid": f" -x -a '({NAMES_OF_PIDS} | string replace : \\t)'",
        "file": " -r -F",
        "setting": f" -x -a '{' '.join(_set_words())}'",
    }.get(arg.kind, f" -x -a '{' '.join(arg.choices)}'" if arg.choices else " -x")
    short = f" -s {arg.short[1:]}" if arg.short else ""
    return f"-l {arg.name[2:]}{short}{values} -d {_quoted(arg.help, fish=True)}"


def _set_words() -> Iterator[str]:
    for name, choices in _settings().items():
        yield from (f"{name}={choice}" for choice in choices or ("",))


def _quoted(text: str, fish: bool = False) -> str:
    """Return a word in single quotes."""
    return "'" + text.replace("'", "\\'" if fish else "'\\''") + "'"


_SCRIPTS: dict[str, Callable[[], Iterator[str]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
