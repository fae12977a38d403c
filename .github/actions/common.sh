#!/bin/bash
# What the scripts of the actions share. They source it, with the title of their errors.
title=$1

# die prints an error and exits. No value in the message can start a command of the
# runner.
die() {
    local text=${1//%/%25}
    echo "::error title=$title::${text//[[:cntrl:]]/ }"
    exit "${2:-1}"
}

# no_control refuses an input that could add lines to the log or to the outputs. It
# does not print the input.
no_control() {
    [[ $2 != *[[:cntrl:]]* ]] \
        || die "the input $1 holds a line break or another control character; give one line of text" 64
}

# is_safe reports whether only root and this user can change a program.
is_safe() {
    local one
    for one in "$1" "$(dirname "$1")"; do
        [[ -n $(find -L "$one" -maxdepth 0 \( -user 0 -o -user "$(id -u)" \) ! -perm -002 2>/dev/null) ]] || return 1
    done
}
