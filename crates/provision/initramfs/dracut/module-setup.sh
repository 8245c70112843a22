#!/bin/bash
# Puts backstop's step into an image made by dracut.

check() {
    return 0
}

depends() {
    echo base
}

# Whatever there is of these; a trial is watched from the initramfs on.
installkernel() {
    hostonly='' instmods -s wdat_wdt iTCO_wdt sp5100_tco i6300esb softdog efi_pstore
}

install() {
    inst_multiple mount mkdir cat sleep modprobe
    inst_simple /usr/lib/backstop/enter-deployment.sh
    inst_hook cmdline 01 "$moddir/watchdog-hook.sh"
    inst_hook pre-pivot 10 "$moddir/enter-deployment-hook.sh"
}
