//! Noise, compared with that of OpenDP.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::{
    env,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use baton_anonymization::{
    budget::Epsilon,
    noise::{Scale, gaussian, laplace},
};
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

const DRAWS: usize = 20_000;
/// Sensitivity, and epsilon in thousandths.
const SCALES: [(u64, u32); 6] = [(1, 1000), (1, 700), (3, 1000), (3, 400), (50, 333), (1000, 90)];

/// A Python with OpenDP: the first on the PATH, to which `scripts/env.sh` adds the one of `scripts/setup`.
fn python() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let has_opendp = |python: &PathBuf| {
        let tried = Command::new(python).args(["-c", "import opendp.prelude"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let pythons = env::split_paths(&path).map(|folder| folder.join("python3")).filter(|python| python.exists());
    pythons
        .into_iter()
        .find(has_opendp)
        .unwrap_or_else(|| panic!("no opendp: run scripts/setup --tests, and this by ./test"))
}

fn sample(distribution: &str, (sensitivity, thousandths): (u64, u32), mut draw: impl FnMut(&Scale) -> i128) -> Value {
    let scale = Scale::new(sensitivity, Epsilon::from_thousandths(thousandths).unwrap());
    let draws: Vec<i64> = (0..DRAWS).map(|_| i64::try_from(draw(&scale)).unwrap()).collect();
    let scale = sensitivity as f64 * 1000.0 / f64::from(thousandths);
    json!({"distribution": distribution, "scale": scale, "draws": draws})
}

#[test]
fn noise_has_the_distributions_of_opendp() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut samples = Vec::new();
    for scale in SCALES {
        samples.push(sample("laplace", scale, |scale| laplace(0, scale, &mut rng)));
        samples.push(sample("gaussian", scale, |scale| gaussian(0, scale, &mut rng)));
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients/opendp_noise.py");
    let mut python = Command::new(python());
    let mut compared = python.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    compared.stdin.take().unwrap().write_all(Value::from(samples).to_string().as_bytes()).unwrap();
    let output = compared.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().count(), 2 * SCALES.len(), "{said}");
}
