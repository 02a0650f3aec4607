//! Finds personal data in texts, for `tests/third_party/presidio.py`.
//!
//! Input: a line with settings, then a text per line, all in JSON. Output: a line of spans per text, then the seconds that
//! one round over all texts takes.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for measurements")]

use std::{hint::black_box, io::stdin, time::Instant};

use baton_redaction::{Conversation, Key, Member, Redactor, Settings};

const ROUNDS: u32 = 20;

fn main() {
    let mut lines = stdin().lines().map(Result::unwrap);
    let given: serde_json::Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    let names = given["members"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    let members = names.map(|first_name| Member { first_name, ..Member::default() }).collect();
    let regions = ["US", "GB", "CH", "IN"].map(str::to_owned).to_vec();
    let redactor = Redactor::new(&Settings { regions, members, uuids: false });
    let key = Key::new(&[7; 32]);
    let texts: Vec<String> = lines.map(|line| serde_json::from_str(&line).unwrap()).collect();
    for text in &texts {
        let redacted = redactor.redact(text, &mut Conversation::default(), &key);
        let spans: Vec<_> =
            redacted.spans.iter().map(|span| (span.range.start, span.range.end, span.entity.label())).collect();
        println!("{}", serde_json::to_string(&spans).unwrap());
    }
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        for text in &texts {
            black_box(redactor.redact(text, &mut Conversation::default(), &key));
        }
    }
    println!("{}", (begin.elapsed() / ROUNDS).as_secs_f64());
}
