//! How many commands a second the rule engine reads, on one core: `cargo bench -p baton-commands`.

#![allow(clippy::disallowed_methods, reason = "a benchmark uses the machine's clock")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark talks to people")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use baton_commands::{World, eval::Case, interpret};

fn main() {
    let file = include_str!("../eval/cases.jsonl");
    let cases: Vec<Case> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let commands: Vec<(&str, World)> = cases.iter().map(|case| (case.text.as_str(), case.world().unwrap())).collect();
    let (mut read, begun) = (0_u32, Instant::now());
    while begun.elapsed() < Duration::from_secs(3) {
        for (text, world) in &commands {
            black_box(interpret(black_box(text), black_box(world)));
            read += 1;
        }
    }
    println!("{:.0} commands/s on one core", f64::from(read) / begun.elapsed().as_secs_f64());
}
