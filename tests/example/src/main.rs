//! The program `baton` with the example service.

use std::process::ExitCode;

fn main() -> ExitCode {
    baton_proto::include_example();
    baton_platform::main_with([baton_platform::service!(baton_example)])
}
