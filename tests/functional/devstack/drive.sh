#!/bin/bash
# drive.sh SCRIPT PLUGIN: what stack, unstack or clean does with the plugin in a directory.
#
# SHELL_OPTIONS: those of set -o that are in force, as in "errexit:nounset"

RECORDER=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/functional/devstack/recorder.sh
source "$RECORDER/recorder.sh"

function defined {
    compgen -A function
    compgen -v
    set +o
}

# phase(MODE, PHASE) - As DevStack's run_plugins: without quotes, an empty phase is no argument
function phase {
    local mode=$1
    local phase=${2:-}
    called phase "$mode" "$phase"
    # shellcheck disable=SC1091,SC2086
    source "$PLUGIN/devstack/plugin.sh" $mode $phase
}

script=$1
PLUGIN=$2
before=''
after=''
for option in ${SHELL_OPTIONS//:/ }; do
    set -o "$option"
done

before=$(defined)
called phase settings
# shellcheck disable=SC1091
source "$PLUGIN/devstack/settings"
case "$script" in
    stack)
        phase stack pre-install
        phase stack install
        phase stack post-config
        # [[post-config|$NESTED_AGENT_CONF]]; then nova-compute's file is written, and it starts.
        if [[ -n "${LOCAL_CONF_MODE:-}" ]]; then
            mkdir -p "$NESTED_AGENT_CONF_DIR"
            iniset "$NESTED_AGENT_CONF" remediation mode "$LOCAL_CONF_MODE"
        fi
        called nova-compute starts
        phase stack extra
        # service_check
        for unit in "$ROOM"/enabled/devstack@*.service; do
            if [[ -e "$unit" ]]; then
                called service_check "$(basename "${unit#*@}" .service)"
            fi
        done
        unset unit
        phase stack test-config
        ;;
    unstack)
        phase unstack
        ;;
    clean)
        phase unstack
        called phase settings
        # shellcheck disable=SC1091
        source "$PLUGIN/devstack/settings"
        phase clean
        find "$ROOM/etc" -name 'devstack@*.service' -delete
        ;;
    test-config)
        phase stack test-config
        ;;
esac
after=$(defined)

# What the plugin added to the shell that sourced it, but for what bears its name.
comm -13 <(sort <<< "$before") <(sort <<< "$after") | grep -viE 'nested_(agent|collector)' > "$ROOM/left" || true
