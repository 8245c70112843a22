# The program that a version brings: a web page that says which one it is.
mkdir -p "$out/www"
echo "$version" >"$out/www/version"
echo ok >"$out/www/health"
[ "$payload" = 0 ] || dd if=/dev/urandom of="$out/payload" bs=1024 count="$payload" 2>/dev/null
