//! Makes a finite-state map of `data/lexicon.txt`, which takes a third of its size and needs no start-up.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=data/lexicon.txt");
    println!("cargo::rerun-if-changed=build.rs");
    let lines = fs::read_to_string("data/lexicon.txt")?;
    let mut map = fst::MapBuilder::memory();
    for line in lines.lines() {
        let (word, letters) = line.split_once(' ').ok_or(line)?;
        // The bits are those of `name::lexicon`.
        let bits = letters.chars().filter_map(|letter| "FSWCNPfs".find(letter)).fold(0, |bits, bit| bits | 1 << bit);
        map.insert(word, bits)?;
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("lexicon.fst"), map.into_inner()?)?;
    Ok(())
}
