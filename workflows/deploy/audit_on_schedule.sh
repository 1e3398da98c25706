#!/bin/sh
# One scheduled audit from cron: start the cluster, audit the newest checkpoint, take the cluster down whatever happens,
# compare.
#
#   audit_on_schedule.sh CLUSTER.yaml BASE AUDITS CHECKPOINTS [option of `cawa audit`]...
#   17 3 * * 1  cd /srv/cawa && workflows/deploy/audit_on_schedule.sh cluster.yaml last s3://bucket/audits \
#                   /home/ubuntu/checkpoints --generator biggan --real-images /home/ubuntu/imagenet/train \
#                   --workers 8 --device cuda --start-timeout 1800
#
# CHECKPOINTS is a folder on the nodes. The newest is the last by name, numbers by their value (step-9k, step-10k); its
# audit goes to AUDITS/NAME, which this machine and the cluster reach. One that was audited is not audited again.
# BASE: `last`, the last audit here that ended well and was not worse, the first of all being good; or an audit folder;
# or `none`, to compare nothing.
# Exit code: the audit's (0; 2 bad input; 3 with quarantined shards; 1 else), then that of `cawa compare` (4: something
# got worse); 75 the last run still goes on, 124 out of time, 128 + n signal n, 70 the cluster may STILL RUN.
# Settings, by environment:
#   CAWA_LOGS            folder of logs, lock and `last-good`     ~/.cawa/schedule
#   CAWA_UP_TIMEOUT      for the cluster to start                 1800 (of `timeout`: seconds, or 30m, 12h)
#   CAWA_AUDIT_TIMEOUT   for the audit                            12h
#   CAWA_DOWN_TIMEOUT    for each of three tries to take it down  1800
#   CAWA_DOWN_PAUSE      seconds between those                    60
set -u

if [ $# -lt 4 ]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$0" >&2
    exit 2
fi
cluster=$1 base=$2 audits=${3%/} checkpoints=$4
shift 4

refuse() {
    echo "audit_on_schedule: $1" >&2
    exit 2
}
[ -r "$cluster" ] || refuse "cluster file $cluster cannot be read"
if grep -v '^ *#' "$cluster" | grep -q REPLACE; then
    refuse "cluster file $cluster still says REPLACE: put your own values there"
fi
for program in ray cawa flock timeout; do
    command -v "$program" >/dev/null || refuse "$program is not on PATH"
done

logs=${CAWA_LOGS:-$HOME/.cawa/schedule}
umask 077
mkdir -p "$logs" || refuse "log folder $logs cannot be made"
exec 9>"$logs/lock" || refuse "lock $logs/lock cannot be written"
if ! flock --nonblock 9; then
    echo "audit_on_schedule: the last run still goes on (lock $logs/lock)" >&2
    exit 75
fi
log=$logs/$(date -u +%Y%m%dT%H%M%SZ)-$$.log
exec 3>&2 >"$log" 2>&1 # cron mails what reaches descriptor 3

say() {
    echo "$(date -u +%FT%TZ) $*"
}

# A command with a limit, in the background: sh runs a trap only when no command is in the foreground.
# `timeout` leads a process group of its own. A trap may run before `child=$!` has, so `starting` stands for `$!`.
child=
limited() {
    limit=$1
    shift
    child=starting
    timeout --kill-after=60 "$limit" "$@" 3>&- 9>&- </dev/null &
    child=$!
    wait "$child"
    status=$?
    child=
    [ "$status" -ne 137 ] || status=124
    return "$status"
}

take_down() {
    for try in 1 2 3; do
        say "ray down, try $try"
        timeout --kill-after=60 "${CAWA_DOWN_TIMEOUT:-1800}" ray down --yes "$cluster" 3>&- 9>&- </dev/null && return 0
        [ "$try" -eq 3 ] || sleep "${CAWA_DOWN_PAUSE:-60}"
    done
    return 1
}

started=
finish() {
    code=$?
    trap '' HUP INT TERM # inherited: nothing stops `ray down` but its own limit
    trap - EXIT
    [ "$child" != starting ] || child=${!:-}
    if [ -n "$child" ]; then # what still starts machines must have ended before they are ended
        kill "$child" 2>/dev/null # `timeout` passes it on, then kills
        kill -- "-$child" 2>/dev/null # and if it ended before it knew its command: the group
        wait "$child"
    fi
    if [ -n "$started" ] && ! take_down; then
        say "the cluster could not be taken down and may STILL RUN AND COST: ray down $cluster"
        code=70
    fi
    say "exit code $code"
    if [ "$code" -ne 0 ]; then
        echo "audit_on_schedule: exit code $code; log: $log" >&3
        tail -n 15 "$log" >&3
    fi
    exit "$code"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Words for another shell, each in single quotes.
quoted() {
    for word in "$@"; do
        printf " '%s'" "$(printf '%s' "$word" | sed "s/'/'\\\\''/g")"
    done
}

say "cluster $cluster, base $base, audits $audits, checkpoints $checkpoints, options $*"
started=yes # before it starts: half a cluster is to be taken down, too
limited "${CAWA_UP_TIMEOUT:-1800}" ray up --yes --no-config-cache "$cluster" || exit

# `ray exec` and `ray job submit` both end with 1 whatever the code of the job, so the job writes its own into the log,
# and which checkpoint it found.
# shellcheck disable=SC2016 # expanded by the job's shell
job='checkpoints=$1; audits=$2; shift 2;
newest=$(ls "$checkpoints" | sort -V | tail -n 1);
[ -n "$newest" ] || { echo "no checkpoint in $checkpoints"; echo "audit exit code: 2"; exit 2; };
echo "newest checkpoint: <$newest>";
"$HOME/venv/bin/cawa" audit --weights "$checkpoints/$newest" --output "$audits/$newest" "$@"; code=$?;
echo "audit exit code: $code"; exit $code'
job=$(printf '%s' "$job" | tr '\n' ' ')
# shellcheck disable=SC2016 # expanded on the head
submit='RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$HOME/.ray/auth_token ~/venv/bin/ray job submit'
limited "${CAWA_AUDIT_TIMEOUT:-12h}" ray exec "$cluster" \
    "$submit --address http://127.0.0.1:8265 --$(quoted sh -c "$job" job "$checkpoints" "$audits" --executor ray "$@")"
sent=$?
[ "$sent" -ne 124 ] || exit 124
code=$(sed -n 's/.*audit exit code: \([0-9][0-9]*\).*/\1/p' "$log" | tail -n 1)
code=${code:-$sent}
[ "$code" -ne 0 ] || code=$sent
[ "$code" -eq 0 ] || exit "$code"

take_down || exit 70
started=
name=$(sed -n 's/.*newest checkpoint: <\([^$>]*\)>.*/\1/p' "$log" | tail -n 1) # Ray also prints the job's own text
[ -n "$name" ] || exit 1
new=$audits/$name
good=$logs/last-good compared=$base
[ "$base" != last ] || compared=$(cat "$good" 2>/dev/null || echo none)
if [ "$compared" = "$new" ]; then
    say "no new checkpoint: $new is what it would be compared with"
elif [ "$compared" != none ]; then
    limited 1h cawa compare "$compared" "$new" || exit
fi
if [ "$base" = last ]; then
    echo "$new" >"$good.new" && mv "$good.new" "$good"
fi
