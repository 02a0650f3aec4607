//! The `baton` program; see the library for its commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    baton_platform::main()
}
