# Sourced in the initramfs, after the root filesystem is mounted. POSIX shell; needs only mkdir,
# cat and sleep, and a mount that can make a bind mount read-only: klibc's cannot, so an image
# made by initramfs-tools brings util-linux's.

backstop_mount() {
    if [ -x /usr/lib/backstop/mount ]; then
        /usr/lib/backstop/mount -n "$@"
    else
        mount -n "$@"
    fi
}

# Prints the value of the last kernel argument called $1.
backstop_argument() {
    _value=
    for _word in $(cat /proc/cmdline); do
        case $_word in "$1"=*) _value=${_word#*=} ;; esac
    done
    echo "$_value"
}

# During a trial something must reset a machine that hangs. Arms the first watchdog there is:
# the kernel's own one where no hardware has any. Called first of all and again when the root
# filesystem is there: each time it counts anew. The next to feed it is systemd.
backstop_watchdog() {
    case $(backstop_argument backstop.trial):$(backstop_argument systemd.watchdog_sec) in
    :* | *: | *:0) return 0 ;;
    esac
    for _driver in wdat_wdt iTCO_wdt sp5100_tco i6300esb softdog; do
        [ -c /dev/watchdog ] && break
        modprobe -q "$_driver" 2>/dev/null
    done
    # Closed without a farewell it goes on counting. Busy means that somebody feeds it.
    [ -c /dev/watchdog ] && (true >/dev/watchdog) 2>/dev/null
    return 0
}

# What the kernel says last should outlive a panic: the firmware keeps it, where it can.
backstop_store() {
    [ -z "$(backstop_argument backstop.trial)" ] || modprobe -q efi_pstore 2>/dev/null
    return 0
}

# Says why there is no system to start. During a trial the attempt is used up by a reboot;
# otherwise it returns 1 and the caller stops as its initramfs does.
backstop_fail() {
    echo "backstop: $1" >/dev/console
    echo "<2>backstop: $1" >/dev/kmsg
    [ -n "$(backstop_argument backstop.trial)" ] || return 1
    echo "backstop: this version is on trial: rebooting" >/dev/console
    sleep 2
    echo s >/proc/sysrq-trigger
    sleep 1
    echo b >/proc/sysrq-trigger
    while :; do sleep 60; done
}

# Makes the deployment at $2 (the kernel's ostree= argument) the root filesystem, where the
# physical one is mounted at $1. The physical one moves to its /sysroot.
backstop_enter() {
    _phys=$1
    _new=/run/backstop/root
    _target=$(cd -P "$_phys/$2" 2>/dev/null && pwd -P) || {
        backstop_fail "there is no deployment at $2"
        return 1
    }
    # Links inside may not lead elsewhere.
    case $_target in
    "$_phys"/ostree/deploy/*/deploy/*) ;;
    *)
        backstop_fail "$2 leads to ${_target#"$_phys"}, which is no deployment"
        return 1
        ;;
    esac
    _stateroot=${_target#"$_phys"/ostree/deploy/}
    _stateroot=${_stateroot%%/*}
    # A system cannot run on a read-only /var: only an explicit `ro` asks for that.
    case " $(cat /proc/cmdline) " in
    *" ro "*) ;;
    *) backstop_mount -o remount,rw "$_phys" || { backstop_fail "cannot make the root filesystem writable"; return 1; } ;;
    esac
    mkdir -p "$_new" &&
        backstop_mount -o bind "$_target" "$_new" &&
        backstop_mount -o bind "$_target/usr" "$_new/usr" &&
        backstop_mount -o remount,bind,ro "$_new/usr" &&
        backstop_mount -o bind "$_phys/ostree/deploy/$_stateroot/var" "$_new/var" &&
        backstop_mount -o move "$_phys" "$_new/sysroot" &&
        backstop_mount -o move "$_new" "$_phys" &&
        : >/run/ostree-booted || {
        backstop_fail "cannot mount the deployment $2"
        return 1
    }
    echo "<6>backstop: running deployment $_stateroot ${_target##*/}" >/dev/kmsg
}

# Does all of it; without an ostree= argument, nothing.
backstop_main() {
    _ostree=$(backstop_argument ostree)
    [ -n "$_ostree" ] || return 0
    backstop_watchdog
    backstop_enter "$1" "$_ostree"
}
