#!/usr/bin/busybox sh
# What an administrator does with the service, and what systemd makes of it. The only job of a machine whose
# first process is systemd; prints as tests do.
export PATH=/usr/bin:/usr/sbin SYSTEMD_COLORS=0 SYSTEMD_PAGER=
configuration=/etc/systrail/systrail.toml
log=/var/lib/systrail/systrail.jsonl
passed=0
failed=0

# The promise, then the command that shows it.
check() {
    name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "test $name ... ok"
    else
        failed=$((failed + 1))
        echo "test $name ... FAILED"
        systemctl status systrail --no-pager --full
    fi
}
is() { [ "$(systemctl show --value --property "$1" systrail)" = "$2" ]; }
says() { systemctl show --value --property StatusText systrail | busybox grep -q "$1"; }
is_logged() { busybox grep -q "\"image\":\"/root/$1\"" $log; }
not() { ! "$@"; }
goes_on() { is ActiveState active && is MainPID "$main" && is NRestarts 0; }
begins_once() { [ "$(busybox grep -c '"kind":"sensor_start"' $log)" = 1 ]; }
execute() {
    busybox cp /usr/bin/true "/root/$1"
    "/root/$1"
}
configure() { echo "$1" >$configuration; }

echo "vm: begin systemd"
busybox mkdir -p /etc/systrail
configure 'events = ["process"]'
check service_install_writes_a_unit systrail service install
check systemd_starts_it systemctl start systrail
check it_is_active is ActiveState active
main=$(systemctl show --value --property MainPID systrail)
execute before
configure 'events = ["process"]
[[exclude]]
image = "*/secret"'
check a_reload_ends_well systemctl reload systrail
check its_status_is_what_came_of_it says "read again in .* ms: 1 rule$"
execute secret
configure 'rubbish'
check a_wrong_configuration_fails_the_reload not systemctl reload systrail
execute after
check the_same_recorder_goes_on goes_on
check systemd_stops_it systemctl stop systrail
check it_ended_well is Result success
check what_ran_before_is_recorded is_logged before
check what_the_new_rule_leaves_out_is_not not is_logged secret
check what_ran_after_is_recorded is_logged after
check there_was_one_run begins_once
check the_account_balances busybox grep -q '"balanced": *true' /var/lib/systrail/account.json
check service_uninstall_removes_it systrail service uninstall
check systemd_does_not_know_it_any_more is LoadState not-found
[ $failed = 0 ] && result=ok || result=FAILED
echo "test result: $result. $passed passed; $failed failed; 0 ignored"
echo "vm: end systemd $failed"
busybox reboot -f
