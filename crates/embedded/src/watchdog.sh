# Runs a server with a watchdog: when standard input, a pipe from the process that started the server, closes
# before a line was written to it, that process is dead, and the watchdog stops the server.
#
#   sh -c "$(cat watchdog.sh)" baton-watchdog [PATH...] -- SERVER [ARGUMENT...]
#
# After such a stop the watchdog removes the PATHs. The shell becomes the server (exec), so $$ is the server's pid.
# The watchdog is forked twice, because Postgres logs warnings about an unknown child.
exec 3<&0 </dev/null
(
  (
    trap '' HUP INT TERM
    read -r _ <&3 && exit
    for signal in INT QUIT KILL; do
      kill -"$signal" $$ 2>/dev/null || break
      tries=50
      while [ "$tries" -gt 0 ] && kill -0 $$ 2>/dev/null; do
        sleep 0.1
        tries=$((tries - 1))
      done
    done
    for path; do
      [ "$path" = -- ] && break
      rm -rf "$path"
    done
  ) &
)
exec 3<&-
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
