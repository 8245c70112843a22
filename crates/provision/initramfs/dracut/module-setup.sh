#!/bin/bash
# Puts backstop's step into an image made by dracut.

check() {
    return 0
}

depends() {
    echo base
}

install() {
    inst_multiple mount mkdir cat sleep
    inst_simple /usr/lib/backstop/enter-deployment.sh
    inst_hook pre-pivot 10 "$moddir/enter-deployment-hook.sh"
}
