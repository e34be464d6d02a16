#!/bin/bash
# DevStack's functions that the plugin may call, after its documentation: each writes down how it
# was called, and does what the plugin relies on, in directories of the test.
#
# ROOM: the test's directory, AGENT_BIN: where nested-agent and nested-agentctl are

DEST=$ROOM/dest
DATA_DIR=$DEST/data
STACK_USER=$(id -un)
SYSTEMD_DIR=$ROOM/etc/systemd/system
SYSTEMCTL="sudo systemctl"
NOVA_CPU_CONF=$ROOM/etc/nova/nova-cpu.conf
DATABASE_BACKENDS=" mysql postgresql"
ENABLE_DEBUG_LOG_LEVEL=${ENABLE_DEBUG_LOG_LEVEL:-True}
USER_UNITS=${USER_UNITS:-False}
DATABASE_HOST=192.0.2.1
VIRT_DRIVER=${VIRT_DRIVER:-libvirt}
NESTED_AGENT_CONF_DIR=$ROOM/etc/nested-agent
NESTED_AGENT_STATE_DIR=$ROOM/var/lib/nested-agent
NESTED_AGENT_RUN_DIR=$ROOM/run/nested-agent
mkdir -p "$ROOM/enabled" "$ROOM/active"

# called(FUNCTION, ARGUMENT...) - Write down a call: a line, words separated by a tabulator
function called {
    local IFS=$'\t'
    printf '%s\n' "$*" >> "$ROOM/calls"
}

function die {
    called die "${@:2}"
    echo "ERROR: ${*:2}" >&2
    exit 1
}

function echo_summary {
    called echo_summary "$@";
}

function define_plugin {
    called define_plugin "$@";
}

function is_service_enabled {
    local service
    for service in "$@"; do
        if [[ ",$ENABLED_SERVICES," == *",$service,"* ]]; then
            return 0
        fi
    done
    return 1
}

function enable_service {
    called enable_service "$@"
    local service
    for service in "$@"; do
        if [[ ",${DISABLED_SERVICES:-}," != *",$service,"* ]]; then
            ENABLED_SERVICES+=",$service"
        fi
    done
}

function setup_develop {
    called setup_develop "$@"
    [[ -f "$1/setup.cfg" || -n "${ANY_DIRECTORY:-}" ]]
}

function get_python_exec_prefix {
    echo "$AGENT_BIN";
}

function setup_logging {
    called setup_logging "$@"
    iniset "$1" DEFAULT log_color False
}

function iniset_rpc_backend {
    called iniset_rpc_backend "$@"
    if [[ -n "${RABBIT_HOST:-}" ]]; then
        iniset "$2" DEFAULT transport_url "rabbit://stackrabbit:s3cret@$RABBIT_HOST:5672/"
    fi
}

# iniset [-sudo] FILE SECTION OPTION VALUE - Without a process: a stack does it often
function iniset {
    [[ "$1" != "-sudo" ]] || shift
    local text=""
    local here=""
    local line
    : >> "$1"
    while IFS= read -r line; do
        if [[ -n "$here" && "$line" == "$3 = "* ]]; then
            continue
        fi
        text+=$line$'\n'
        if [[ "$line" == "[$2]" ]]; then
            text+="$3 = $4"$'\n'
            here=yes
        elif [[ "$line" == "["* ]]; then
            here=""
        fi
    done < "$1"
    if [[ "$text" != *"[$2]"* ]]; then
        text+="[$2]"$'\n'"$3 = $4"$'\n'
    fi
    printf '%s' "$text" > "$1"
}

# iniget FILE SECTION OPTION
function iniget {
    local here=""
    local line
    while IFS= read -r line; do
        if [[ "$line" == "["* ]]; then
            here=$line
        elif [[ "$here" == "[$2]" && "$line" == "$3 = "* ]]; then
            echo "${line#"$3 = "}"
        fi
    done < "$1"
}

function database_connection_url {
    called database_connection_url "$@"
    echo "mysql+pymysql://root:s3cret@$DATABASE_HOST/$1?charset=utf8&plugin=dbcounter"
}

function recreate_database {
    called recreate_database "$@"
}

function run_process {
    called run_process "$@"
    local unit=$SYSTEMD_DIR/devstack@$1.service
    is_service_enabled "$1" || return 0
    if [[ "$2" == *sudo* || "$2" != /* ]]; then
        die $LINENO "run_process $2"
    fi
    mkdir -p "$SYSTEMD_DIR"
    iniset "$unit" Service Type simple
    iniset "$unit" Service User "${4:-$STACK_USER}"
    iniset "$unit" Service ExecStart "$2"
    iniset "$unit" Service TimeoutStopSec 300
    touch "$ROOM/enabled/devstack@$1.service"
    if [[ -z "${DIES:-}" ]]; then
        # A start does nothing where it runs already.
        touch "$ROOM/active/devstack@$1.service"
    fi
}

function stop_process {
    called stop_process "$@"
    is_service_enabled "$1" || return 0
    rm -f "$ROOM/active/devstack@$1.service" "$ROOM/enabled/devstack@$1.service"
}

function systemctl {
    called systemctl "$@"
    case "$1" in
        is-active)
            [[ -e "$ROOM/active/${*: -1}" ]]
            ;;
        daemon-reload)
            ;;
        *)
            die $LINENO "systemctl $*"
            ;;
    esac
}

function sudo {
    called sudo "$@"
    "$@"
}
