# What /etc/static leads to.
mkdir -p "$out/systemd/system/multi-user.target.wants" "$out/ssh"
for file in "$scripts"/units/*; do
  # A machine has the others from Debian.
  case ${kernel:+machine} in machine)
    case ${file##*/} in *.target | systemd-*) continue ;; esac
    ;;
  esac
  sed -e "s|@busybox@|$busybox|g" -e "s|@app@|$app|g" "$file" >"$out/systemd/system/$(basename "$file")"
done
cp "$scripts/sshd_config" "$out/ssh/sshd_config"
# A version may replace any of them, and bring more.
[ ! -d "$special/etc" ] || cp -R "$special/etc/." "$out/"
cd "$out/systemd/system"
ln -s "${kernel:+/usr/lib/systemd/system/}multi-user.target" default.target
for unit in network sshd app testbed-ready; do
  ln -s "../$unit.service" multi-user.target.wants/
done
for unit in $(cat "$special/wanted"); do
  ln -s "../$unit" multi-user.target.wants/
done
