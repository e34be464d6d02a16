#!/bin/bash
#
# DevStack plugin: nested-agent on every host that runs nova-compute with libvirt, nested-collector
# where it is enabled.
#
# stack.sh, unstack.sh and clean.sh source it with a mode and, for stack, a phase
# (DevStack: doc/source/plugins.rst).

# install_nested_agent() - Put the commands into DevStack's Python environment
function install_nested_agent {
    if is_service_enabled nested-collector; then
        setup_develop "$NESTED_AGENT_DIR" collector
    else
        setup_develop "$NESTED_AGENT_DIR"
    fi
}

# write_nested_agent_conf() - Write what is in the configuration of either daemon
#  $1 the file
function write_nested_agent_conf {
    sudo install -d -o "$STACK_USER" "$NESTED_AGENT_CONF_DIR"
    # Anew, so that nothing is left of what local.conf does not say any more. With transport_url it
    # holds a password.
    install -m 0640 /dev/null "$1"

    iniset "$1" DEFAULT debug "$ENABLE_DEBUG_LOG_LEVEL"
    setup_logging "$1"
    # Nothing is written where no broker is known: the agent works without, and nobody can ask it
    # from another host.
    iniset_rpc_backend nested-agent "$1"
}

# configure_nested_agent() - Write its configuration; right after this phase DevStack adds what
# [[post-config|$NESTED_AGENT_CONF]] of local.conf says
function configure_nested_agent {
    write_nested_agent_conf "$NESTED_AGENT_CONF"
    iniset "$NESTED_AGENT_CONF" agent state_dir "$NESTED_AGENT_STATE_DIR"
    iniset "$NESTED_AGENT_CONF" agent run_dir "$NESTED_AGENT_RUN_DIR"
    # What nova-compute reads, for while it does not run: otherwise its command line tells.
    iniset "$NESTED_AGENT_CONF" nova config_file "$NOVA_CPU_CONF"
    iniset "$NESTED_AGENT_CONF" policy nested "$NESTED_AGENT_NESTED"
    iniset "$NESTED_AGENT_CONF" policy fix_cpu_mode "$NESTED_AGENT_FIX_CPU_MODE"
    iniset "$NESTED_AGENT_CONF" remediation mode "$NESTED_AGENT_REMEDIATION"
    # A few hosts, and somebody who watches: nothing to spread.
    iniset "$NESTED_AGENT_CONF" remediation splay 0
    # Every stack.sh writes nova-cpu.conf anew, which is no contest about it. Several within one
    # period do not fit.
    iniset "$NESTED_AGENT_CONF" remediation contest_period 600
}

# configure_nested_collector() - Write the collector's configuration, like the agent's
function configure_nested_collector {
    write_nested_agent_conf "$NESTED_COLLECTOR_CONF"
    iniset "$NESTED_COLLECTOR_CONF" database connection \
        "$(database_connection_url "$NESTED_COLLECTOR_DATABASE")"
    if ! is_service_enabled nested-agent; then
        # For nested-agentctl, which is to find the broker.
        write_nested_agent_conf "$NESTED_AGENT_CONF"
    fi
}

# start_nested_collector() - Make its database, then start the collector
function start_nested_collector {
    local bin_dir
    bin_dir=$(get_python_exec_prefix)

    # Anew, like every database of DevStack; but not one on another host, which may be in use.
    # shellcheck disable=SC2086
    if is_service_enabled $DATABASE_BACKENDS; then
        recreate_database "$NESTED_COLLECTOR_DATABASE"
    fi
    "$bin_dir/nested-collector-manage" --config-file "$NESTED_COLLECTOR_CONF" db sync
    run_process nested-collector "$bin_dir/nested-collector --config-file $NESTED_COLLECTOR_CONF"
}

# start_nested_agent() - Fix what differs, then start the daemon; nova-compute runs already
function start_nested_agent {
    local bin_dir
    bin_dir=$(get_python_exec_prefix)

    # The daemon would do so as well, but nova-compute may be restarted for it, and has to be up
    # when stack.sh checks its services right after this phase. At most twice: whether virt_type can
    # be kvm is known once the module is loaded. The exit code is the state: not a failure.
    if [[ "$(iniget "$NESTED_AGENT_CONF" remediation mode)" == "enforce" ]]; then
        sudo "$bin_dir/nested-agentctl" --config-file "$NESTED_AGENT_CONF" remediate ||
            sudo "$bin_dir/nested-agentctl" --config-file "$NESTED_AGENT_CONF" remediate || true
    fi

    # As root: it loads modules, restarts nova-compute and edits what others own.
    run_process nested-agent \
        "$bin_dir/nested-agent --config-file $NESTED_AGENT_CONF" "" root ""
    # When stopped it finishes or undoes a fix first, as in etc/systemd/nested-agent.service.
    iniset -sudo "$SYSTEMD_DIR/devstack@nested-agent.service" Service TimeoutStopSec 40min
    $SYSTEMCTL daemon-reload
}

# nested_agent_status() - nested-agentctl status; its exit code, which is the state, is no failure
function nested_agent_status {
    "$(get_python_exec_prefix)/nested-agentctl" --config-file "$NESTED_AGENT_CONF" \
        status "$@" || true
}

# nested_agent_reports() - Whether the daemon runs and has reported
function nested_agent_reports {
    # What is left of one that was stopped is stale; one that was killed is not active.
    $SYSTEMCTL is-active --quiet devstack@nested-agent.service &&
        [[ "$(nested_agent_status -f value -c stale)" == "None" ]]
}

# check_nested_agent() - See that the daemon reports, and show what; any state will do
function check_nested_agent {
    local journal="journalctl -u devstack@nested-agent"
    local deadline
    deadline=$(( SECONDS + NESTED_AGENT_TIMEOUT ))

    until nested_agent_reports; do
        if (( SECONDS >= deadline )); then
            die $LINENO "nested-agent does not run, or does not report: see $journal"
        fi
        sleep 1
    done
    nested_agent_status
    echo_summary "nested-agent: this host is $(nested_agent_status -f value -c state)"
    echo_summary "nested-agent: see $(get_python_exec_prefix)/nested-agentctl status, and $journal"
}

# nested_agent_summary() - nested-agentctl node summary: what the collector knows
function nested_agent_summary {
    "$(get_python_exec_prefix)/nested-agentctl" --config-file "$NESTED_AGENT_CONF" node summary
}

# check_nested_collector() - See that the collector answers, and show what
function check_nested_collector {
    local deadline
    deadline=$(( SECONDS + NESTED_AGENT_TIMEOUT ))

    until nested_agent_summary; do
        if (( SECONDS >= deadline )); then
            die $LINENO "nested-collector does not answer: see" \
                "journalctl -u devstack@nested-collector"
        fi
        sleep 1
    done
    echo_summary "nested-collector: see $(get_python_exec_prefix)/nested-agentctl node list"
}

# cleanup_nested_agent() - Undo what the agent changed on this host, and remove what it left
function cleanup_nested_agent {
    local ctl
    ctl=$(get_python_exec_prefix)/nested-agentctl

    if [[ -d "$NESTED_AGENT_STATE_DIR" ]]; then
        if ! sudo "$ctl" --config-file "$NESTED_AGENT_CONF" revert --yes; then
            # It alone knows what there is to be undone.
            echo_summary "nested-agent: not all was undone, so $NESTED_AGENT_STATE_DIR is kept"
            return
        fi
    fi
    sudo rm -rf "$NESTED_AGENT_STATE_DIR" "$NESTED_AGENT_RUN_DIR" "$NESTED_AGENT_CONF_DIR"
}

case "$1 ${2:-}" in
    "stack pre-install")
        if is_service_enabled nested-agent; then
            if [[ "$USER_UNITS" == "True" ]]; then
                die $LINENO "nested-agent runs as root, which USER_UNITS=True does not allow"
            fi
            # One that still runs would mend nova-cpu.conf while stack.sh writes it.
            stop_process nested-agent
        fi
        if is_service_enabled nested-collector; then
            stop_process nested-collector
        fi
        ;;
    "stack install")
        if is_service_enabled nested-agent nested-collector; then
            echo_summary "Installing nested-agent"
            install_nested_agent
        fi
        ;;
    "stack post-config")
        if is_service_enabled nested-agent; then
            echo_summary "Configuring nested-agent"
            configure_nested_agent
        fi
        if is_service_enabled nested-collector; then
            echo_summary "Configuring nested-collector"
            configure_nested_collector
        fi
        ;;
    "stack extra")
        # First: so it hears the agent's first report.
        if is_service_enabled nested-collector; then
            echo_summary "Starting nested-collector"
            start_nested_collector
        fi
        if is_service_enabled nested-agent; then
            echo_summary "Starting nested-agent"
            start_nested_agent
        fi
        ;;
    "stack test-config")
        if is_service_enabled nested-agent; then
            check_nested_agent
        fi
        if is_service_enabled nested-collector; then
            check_nested_collector
        fi
        ;;
    "unstack "*)
        stop_process nested-agent
        stop_process nested-collector
        ;;
    "clean "*)
        # Also where it was disabled since. unstack has stopped it.
        cleanup_nested_agent
        ;;
esac
