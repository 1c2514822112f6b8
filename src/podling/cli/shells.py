"""The scripts that teach bash, zsh and fish to ask ``podling __complete``. ``@`` stands for that request's name."""

from __future__ import annotations

_BASH = r"""# bash completion for podling                                    -*- shell-script -*-

# Puts the words of the command line up to the cursor into "words", undoing bash's splitting at "=" and ":".
__podling_words() {
    local i word rest=${COMP_LINE:0:COMP_POINT}
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        ((i == COMP_CWORD)) && word=${rest#"${rest%%[![:space:]]*}"}
        if ((i == 0)) || [[ $rest == [[:space:]]* ]]; then
            words+=("$word")
        else
            words[${#words[@]}-1]+=$word
        fi
        rest=${rest#"${rest%%[![:space:]]*}"}
        rest=${rest#"$word"}
    done
}

__podling_complete() {
    local words out directive current fragment line prefix i width=0
    local -a lines=()
    COMPREPLY=()
    __podling_words
    current=${words[${#words[@]}-1]}
    out=$("${words[0]/#\~/$HOME}" @ "${words[@]:1}" 2>/dev/null) || return
    directive=${out##*:}
    out=${out%:*}
    ((directive & 2)) && compopt -o nospace 2>/dev/null
    ((directive & 4)) && compopt +o default 2>/dev/null
    while IFS='' read -r line; do
        [[ -n $line ]] && lines+=("$line")
    done <<< "$out"

    # bash replaces only what follows the last "=" or ":"; the values of --flag=value come without the flag already
    [[ $current == -*=* ]] && current=${current#*=}
    fragment=${current##*[=:]}
    prefix=
    [[ $COMP_WORDBREAKS == *:* && $current == *:* ]] && prefix=${current%"$fragment"}
    [[ $COMP_WORDBREAKS == *=* && $current == *=* ]] && prefix=${current%"$fragment"}

    for line in "${lines[@]}"; do
        line=${line%%$'\t'*}
        ((${#line} > width)) && width=${#line}
    done
    for line in "${lines[@]}"; do
        if [[ $line == *$'\t'* && ${#lines[@]} -gt 1 && ${COMP_TYPE:-9} != 37 && ${COMP_TYPE:-9} != 42 ]]; then
            printf -v line '%-*s  (%s)' "$width" "${line%%$'\t'*}" "${line#*$'\t'}"
            line=${line:0:${COLUMNS:-80}}
        else
            line=${line%%$'\t'*}
        fi
        COMPREPLY+=("${line#"$prefix"}")
    done
}

complete -o default -F __podling_complete podling
"""

_ZSH = r"""#compdef podling

# zsh completion for podling

__podling() {
    local out line directive prefix
    local -a candidates given
    given=("${(@)words[1,CURRENT]}")
    out=$("${(@Q)given[1]}" @ "${(@Q)given[2,-1]}" 2>/dev/null) || return
    directive=${out##*:}
    out=${out%:*}
    if [[ ${given[-1]} == -*=* ]]; then
        prefix=${given[-1]%%=*}=
    fi
    while IFS='' read -r line; do
        [[ -n $line ]] || continue
        line=${line//:/\\:}
        candidates+=("${line/$'\t'/:}")
    done <<< "$out"
    local -a options
    (( directive & 2 )) && options+=(-S '')
    [[ -n $prefix ]] && options+=(-P "$prefix")
    if (( $#candidates )); then
        _describe -V 'podling' candidates "${options[@]}"
    elif (( ! (directive & 4) )); then
        _files "${options[@]}"
    fi
}

# sourced, or autoloaded from fpath
if [[ $funcstack[1] == _podling ]]; then
    __podling "$@"
else
    compdef __podling podling
fi
"""

_FISH = r"""# fish completion for podling

function __podling_candidates
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    set -l answer ($program @ $words "$current" 2>/dev/null)
    or return 1
    set -g __podling_directive (string replace -r '^:' '' -- $answer[-1])
    set -e answer[-1]
    set -l prefix (string match -r -- '^-[^=]*=' "$current")
    for line in $answer
        printf '%s%s\n' "$prefix" "$line"
    end
end

function __podling_ask
    set -g __podling_found (__podling_candidates)
    # without candidates and without the directive "no files", fish's own file names are offered
    test (count $__podling_found) -gt 0
    or test (math "bitand($__podling_directive, 4)") -ne 0
end

complete -c podling -e
complete -c podling -n '__podling_ask' -f -a '$__podling_found'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(shell: str, *, descriptions: bool = True) -> str:
    """The completion script for a shell; KeyError if there is none."""
    return SCRIPTS[shell].replace(" @ ", " __complete " if descriptions else " __completeNoDesc ")
