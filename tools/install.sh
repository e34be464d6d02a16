#!/bin/sh
# Put the files of nested-agent where systemd, bash, man and logrotate look for them, or take them
# away again. pip cannot: what it installs stays below its prefix or virtual environment.
set -eu

usage() {
    cat << 'END'
usage: tools/install.sh [--venv=DIR | --bindir=DIR] [--prefix=DIR] [--sysconfdir=DIR]
                        [--destdir=DIR] [--remove]

  --venv=DIR        virtual environment that nested-agent was installed to with pip; its
                    commands get links in PREFIX/bin
  --bindir=DIR      where the commands are (default: PREFIX/bin)
  --prefix=DIR      for all that is not configuration (default: /usr/local)
  --sysconfdir=DIR  for configuration (default: /etc)
  --destdir=DIR     put everything below DIR, for packages; nothing is told to systemd
  --remove          take away what was installed, given the same options. Configuration that
                    was written or edited on this node is kept, and so is /var/lib/nested-agent

May be run again at any time. It makes no nested-agent.conf: the agent works without one.

From a clone, as root:

  python3 -m venv /opt/nested-agent && /opt/nested-agent/bin/pip install .
  tools/install.sh --venv=/opt/nested-agent
  systemctl enable --now nested-agent

and back. "nested-agentctl revert" comes first, to undo what the agent changed on this node:

  tools/install.sh --venv=/opt/nested-agent --remove
  rm -r /opt/nested-agent
END
}

fail() {
    echo "tools/install.sh: $1" >&2
    exit "${2-1}"
}

venv='' bindir='' prefix=/usr/local sysconfdir=/etc destdir='' remove=''
for word; do
    case $word in
        --venv=/* | --bindir=/* | --prefix=/* | --sysconfdir=/* | --destdir=/*) ;;
        --remove) remove=yes; continue ;;
        -h | --help) usage; exit ;;
        --*=*) fail "$word: an absolute path is expected" 64 ;;
        *) usage >&2; exit 64 ;;
    esac
    value=${word#*=}
    case $word in
        --venv=*) venv=$value bindir=$value/bin ;;
        --bindir=*) bindir=$value ;;
        --prefix=*) prefix=$value ;;
        --sysconfdir=*) sysconfdir=$value ;;
        --destdir=*) destdir=$value ;;
    esac
done
bindir=${bindir:-$prefix/bin}
source=$(cd "$(dirname "$0")/.." && pwd)

units=$destdir$prefix/lib/systemd/system
share=$destdir$prefix/share
completion=$share/bash-completion/completions/nested-agentctl
configuration=$destdir$sysconfdir/nested-agent
logrotate=$destdir$sysconfdir/logrotate.d
# For another host as a rule: they are there to be fetched.
monitoring='prometheus/nested-agent.rules.yml grafana/nested-agent.json'

# systemctl ARGUMENT...: where there is a systemd to tell.
tell_systemd() {
    if [ -z "$destdir" ] && [ -d /run/systemd/system ]; then
        systemctl "$@"
    fi
}

# put FILE PLACE: a file of ours, whatever was there.
put() {
    install -D -m 644 "$1" "$2"
    echo "$2"
}

install_files() {
    commands=$destdir$bindir
    [ -x "$commands/nested-agentctl" ] || commands=$bindir
    [ -x "$commands/nested-agentctl" ] \
        || fail "there is no $commands/nested-agentctl: install the package with pip first"
    scratch=$(mktemp -d)
    trap 'rm -r "$scratch"' EXIT

    "$commands/nested-agentctl" complete --shell bash > "$scratch/completion"
    put "$scratch/completion" "$completion"
    for unit in "$source"/etc/systemd/*.service; do
        sed "s|^ExecStart=/usr/bin/|ExecStart=$bindir/|" "$unit" > "$scratch/unit"
        put "$scratch/unit" "$units/${unit##*/}"
    done
    put "$source/etc/systemd/report-only.conf" "$share/nested-agent/report-only.conf"
    for file in $monitoring; do
        put "$source/etc/$file" "$share/nested-agent/$file"
    done
    for sample in "$source"/etc/nested-agent/*.sample; do
        put "$sample" "$configuration/${sample##*/}"
    done
    install -d -m 755 "$configuration/nested-agent.conf.d"
    for ours in "$source"/etc/logrotate.d/*; do
        theirs=$logrotate/${ours##*/}
        if ! [ -e "$theirs" ]; then
            put "$ours" "$theirs"
        elif ! cmp -s "$ours" "$theirs"; then
            echo "$theirs: was edited, and is kept"
        fi
    done
    # Where they were built.
    for page in "$source"/doc/build/man/nested-*.[1-8]; do
        if [ -e "$page" ]; then
            put "$page" "$share/man/man${page##*.}/${page##*/}"
        fi
    done
    if [ -n "$venv" ]; then
        install -d -m 755 "$destdir$prefix/bin"
        for command in "$commands"/nested-*; do
            link=$destdir$prefix/bin/${command##*/}
            ln -sfn "$bindir/${command##*/}" "$link"
            echo "$link"
        done
    fi
    tell_systemd daemon-reload
}

remove_files() {
    for unit in "$source"/etc/systemd/*.service; do
        if [ -e "$units/${unit##*/}" ]; then
            tell_systemd disable --now "${unit##*/}"
            rm -v "$units/${unit##*/}"
        fi
    done
    for sample in "$source"/etc/nested-agent/*.sample; do
        rm -fv "$configuration/${sample##*/}"
    done
    rm -fv "$completion" "$share/nested-agent/report-only.conf" "$share"/man/man[1-8]/nested-*.[1-8]
    for file in $monitoring; do
        rm -fv "$share/nested-agent/$file"
    done
    for ours in "$source"/etc/logrotate.d/*; do
        theirs=$logrotate/${ours##*/}
        if cmp -s "$ours" "$theirs"; then
            rm -v "$theirs"
        elif [ -e "$theirs" ]; then
            echo "$theirs: is kept"
        fi
    done
    for link in "$destdir$prefix"/bin/nested-*; do
        if [ -n "$venv" ] && [ "$(readlink "$link")" = "$bindir/${link##*/}" ]; then
            rm -v "$link"
        fi
    done
    for directory in "$configuration/nested-agent.conf.d" "$configuration" \
        "$share/nested-agent/prometheus" "$share/nested-agent/grafana" "$share/nested-agent"; do
        if [ -d "$directory" ]; then
            rmdir --ignore-fail-on-non-empty "$directory"
        fi
    done
    for kept in "$configuration" "$destdir/var/lib/nested-agent"; do
        if [ -e "$kept" ]; then
            echo "$kept: is kept"
        fi
    done
    tell_systemd daemon-reload
}

if [ -n "$remove" ]; then
    remove_files
else
    install_files
fi
