#!/bin/sh -e
# The first process of a world (see sandbox.py): make the namespaces, fill them, say "ready", live until standard input ends.
#
#   sandbox.sh ID LAYOUT     LAYOUT: v1 (cgroup v2 of a hybrid host stays hidden: crun before 1.9 refuses it) or host (as on this host)
#
# All that is made here lives in the namespaces and dies with them; only the cgroups have to be removed from outside.
id=$1 layout=$2 stage=${3:-outside} top=/sys/fs/cgroup
[ -e $top/cgroup.controllers ] && unified=yes || unified=no

# 1. Outside: a cgroup of our own in each hierarchy, so that it becomes the root of the cgroup namespace.
if [ "$stage" = outside ]; then
    if [ $unified = yes ]; then
        mkdir -p $top/podling-tests/"$id"
        sed 's/[^ ]*/+&/g' $top/cgroup.controllers >$top/cgroup.subtree_control
        sed 's/[^ ]*/+&/g' $top/podling-tests/cgroup.controllers >$top/podling-tests/cgroup.subtree_control
        echo $$ >$top/podling-tests/"$id"/cgroup.procs
    else
        own=
        for hierarchy in $top/*/cgroup.procs; do own="$own ${hierarchy%/cgroup.procs}/podling-tests/$id"; done
        mkdir -p $own
        for cgroup in $top/cpuset/podling-tests $top/cpuset/podling-tests/"$id"; do     # a new cpuset may use nothing
            [ -d "$cgroup" ] || continue
            cat $top/cpuset/cpuset.cpus >"$cgroup"/cpuset.cpus
            cat $top/cpuset/cpuset.mems >"$cgroup"/cpuset.mems
        done
        for cgroup in $own; do echo $$ >"$cgroup"/cgroup.procs; done
    fi
    exec unshare --mount --net --pid --ipc --uts --cgroup --fork --kill-child --propagation private "$0" "$id" "$layout" inside
fi

# 2. Inside: mounts. The root is shared, as systemd makes it, so that a mount that leaks out of a container shows.
controllers=$(cd $top && echo */cgroup.procs)
while read -r _ _ _ _ mounted _; do
    case $mounted in /run/* | /var/lib/containers/* | /etc/containers/*) umount -l "$mounted" ;; esac
done </proc/self/mountinfo
umount -R -l /sys /proc
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount --make-rshared /
if [ $unified = yes ]; then
    mount -t cgroup2 cgroup2 $top
    mkdir -p $top/init
    echo $$ >$top/init/cgroup.procs
    sed 's/[^ ]*/+&/g' $top/cgroup.controllers >$top/cgroup.subtree_control
else
    mount -t tmpfs -o mode=755 tmpfs $top
    for hierarchy in $controllers; do
        hierarchy=${hierarchy%/cgroup.procs}
        case $hierarchy in
            unified) [ "$layout" = v1 ] || { mkdir $top/unified; mount -t cgroup2 cgroup2 $top/unified; } ;;
            systemd) mkdir $top/systemd; mount -t cgroup -o none,name=systemd cgroup $top/systemd ;;
            *) [ -L $top/"$hierarchy" ] && continue
               mkdir $top/"$hierarchy"; mount -t cgroup -o "$hierarchy" cgroup $top/"$hierarchy" ;;
        esac
    done
fi
mkdir -p /var/lib/containers /etc/containers
mount -t tmpfs -o mode=755 tmpfs /run
# Ordinary users reach this checkout, also where it lies in somebody's home: a directory on the way that is closed to them is open here.
checkout=$(readlink -f "$(dirname "$0")/../..")
way= IFS=/
for name in ${checkout#/}; do
    way=$way/$name
    case $(stat -c %A "$way") in *[xt]) continue ;; esac
    mkdir /run/open
    mount -t tmpfs tmpfs /run/open
    mkdir -m 755 /run/open/upper /run/open/work
    mount -t overlay -o "lowerdir=$way,upperdir=/run/open/upper,workdir=/run/open/work" overlay "$way"
    umount -l /run/open
    rmdir /run/open
done
unset IFS
mount -t tmpfs -o mode=755,size=8g tmpfs /var/lib/containers
mount -t tmpfs -o mode=755 tmpfs /etc/containers
mkdir -m 755 /run/lock /run/user /run/home /etc/containers/networks /etc/containers/registries.conf.d
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
echo 'unqualified-search-registries = ["docker.io"]' >/etc/containers/registries.conf

# 3. Network: loopback, and an address of a documentation range as the way out.
ip -batch - <<EOF
link set lo up
link add uplink0 type veth peer name uplink1
addr add 198.51.100.2/24 dev uplink0
link set uplink0 up
link set uplink1 up
route add default via 198.51.100.1 dev uplink0
EOF

# 4. Live. Daemons whose parent ended become children of the first process: it has to ignore SIGCHLD, so that the kernel reaps them.
#    A dead one that nobody reaps holds its container's process namespace for ever. (What a shell's trap '' CHLD leaves to exec differs.)
exec "${PYTHON:-/usr/bin/python3}" -I -S -c '
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.write(1, b"ready\n")
while os.read(0, 65536):
    pass
'
