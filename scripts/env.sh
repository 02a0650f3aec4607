# Sourced by run, test and scripts/setup, in the root of the clone: one environment for all three.

# rustup puts cargo here; a shell that was open before it did, and CI, do not know.
PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"

# With a cache folder, what is built and downloaded is kept outside the clone, for the next one.
if [ -n "${BATON_CACHE:-}" ]; then
  export CARGO_TARGET_DIR="$BATON_CACHE/target"
  export npm_config_cache="$BATON_CACHE/npm"
  export PIP_CACHE_DIR="$BATON_CACHE/pip"
fi

# Where the build products are, as a full path.
case "${CARGO_TARGET_DIR:=target}" in
  /*) target=$CARGO_TARGET_DIR ;;
  *) target=$PWD/$CARGO_TARGET_DIR ;;
esac
export CARGO_TARGET_DIR="$target"
# Tools that scripts/setup could not get from the system.
PATH="$PATH:$target/tools/bin"

# Queries are compiled from the committed .sqlx, whatever DATABASE_URL happens to say.
export SQLX_OFFLINE=true

if [ "${CI:-}" = true ]; then
  export CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never CARGO_INCREMENTAL=0
  export NEXTEST_PROFILE=ci NEXTEST_HIDE_PROGRESS_BAR=1 NO_COLOR=1
  export npm_config_color=false npm_config_progress=false
fi
