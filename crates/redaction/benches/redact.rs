//! How fast text is redacted, on one thread: `cargo bench -p baton-redaction`.
//!
//! First the sentences of the recall test, as messages of their own and with 1,000 members. Then texts that were made to be
//! slow, in two sizes: where the time is linear, both take as long per byte. `tests/third_party/presidio.py measure` runs
//! this crate and Presidio on the same sentences.

#![allow(clippy::disallowed_methods, reason = "a benchmark uses the machine's clock")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark talks to people")]

use std::{hint::black_box, time::Instant};

use baton_redaction::{Conversation, Key, Member, Redactor, Settings};

const ROUNDS: usize = 20;
const HOSTILE: [&str; 20] = [
    "a",
    "1 ",
    "a@",
    "Ab ",
    "[NAME_",
    "://",
    "a://) ",
    "a.b-",
    "AA00",
    "12-",
    "-----BEGIN A-----",
    "Ada ",
    "é",
    "www.",
    "((",
    "::",
    "Mr. ",
    "0170 1234567 ",
    "secret:",
    "Rue ",
];

fn main() {
    let lines = include_str!("../tests/data/sentences.jsonl").lines();
    let texts: Vec<String> = lines
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let ordinary: Vec<&str> = include_str!("../tests/data/ordinary.txt").lines().collect();
    let nobody = redactor(0);
    println!("sentences with personal data: {:.2} MB/s", megabytes_per_second(&nobody, &texts, ROUNDS));
    println!("the same, 1,000 members:      {:.2} MB/s", megabytes_per_second(&redactor(1000), &texts, ROUNDS));
    println!("ordinary messages:            {:.2} MB/s", megabytes_per_second(&nobody, &ordinary, 10 * ROUNDS));
    println!("hostile texts of 50 and 200 kB:");
    for piece in HOSTILE {
        let speeds = [50_000, 200_000].map(|size| {
            let text = piece.repeat(size / piece.len());
            megabytes_per_second(&nobody, &[&text], 1)
        });
        println!("{piece:>18?} {:>8.2} {:>8.2} MB/s", speeds[0], speeds[1]);
    }
}

fn redactor(members: usize) -> Redactor {
    let member = |number: usize| Member {
        first_name: format!("Firstname{number}"),
        last_name: format!("Lastname{number}"),
        handle: format!("handle{number}"),
    };
    let regions = ["US", "GB", "CH", "IN"].map(str::to_owned).to_vec();
    Redactor::new(&Settings { regions, members: (0..members).map(member).collect(), uuids: false })
}

fn megabytes_per_second(redactor: &Redactor, texts: &[&str], rounds: usize) -> f64 {
    let key = Key::new(&[7; 32]);
    let round = || {
        let mut conversation = Conversation::default();
        for text in texts {
            black_box(redactor.redact(text, &mut conversation, &key));
        }
    };
    // Automata are built when they are first used.
    round();
    let begin = Instant::now();
    (0..rounds).for_each(|_| round());
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    (bytes * rounds) as f64 / begin.elapsed().as_secs_f64() / 1e6
}
