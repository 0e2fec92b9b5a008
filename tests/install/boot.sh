#!/bin/sh
# Boots an operating system from a folder, as first process of its namespaces: boot.sh TREE STATE SOURCES SHARED
#
# To be called as `unshare --mount --pid --net --ipc --uts --cgroup --fork boot.sh ...`. TREE stays as it is: what the
# system writes goes to STATE. SOURCES are seen as /src, read-only, SHARED as /shared. When the first process ends, the
# kernel ends all others and takes down every mount.
set -eu
tree=$1
state=$2
sources=$3
shared=$4

mount --make-rprivate /
mkdir -p "$state/root"
mount -t overlay -o "lowerdir=$tree,upperdir=$state/upper,workdir=$state/work" overlay "$state/root"
cd "$state/root"
mkdir -p src shared old
mount --bind "$sources" src
mount -o remount,bind,ro src
mount --bind "$shared" shared
mount -t proc -o nosuid,nodev,noexec proc proc
# The kernel's variables belong to the machine, but for those of the network, which each namespace has its own of.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net
for file in proc/sysrq-trigger proc/swaps; do
    [ ! -e "$file" ] || mount --bind /dev/null "$file"
done
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=0755,nosuid tmpfs dev
for device in null zero full random urandom tty; do
    : >"dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
ln -s /proc/self/fd dev/fd
ln -s /dev/null dev/console
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs run
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs tmp
ip link set lo up
hostname pbx
pivot_root . old
cd /
umount -l /old
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=sipban-test TERM=dumb \
    setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-mknod /sbin/init </dev/null
