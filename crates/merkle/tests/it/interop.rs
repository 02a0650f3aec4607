//! Compares trees, proofs and notes with two implementations of others: `pymerkle` of PyPI, and Go's
//! `golang.org/x/mod/sumdb/note`. `scripts/setup --tests` installs both.

use std::{
    env,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::LazyLock,
};

use baton_merkle::{Checkpoint, Hash, SignedNote, Signer, Verifier, verify_consistency, verify_inclusion};
use data_encoding::{BASE64, HEXLOWER};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use crate::{
    log::{Log, entry, flip},
    rfc,
};

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients");
/// The version that `scripts/setup` installs.
const PYMERKLE_VERSION: &str = "7.0.0";
const LEAVES: u64 = 1200;
const PAIRS: usize = 1000;

fn run(command: &mut Command, input: &[u8]) -> Output {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// A Python with pymerkle: the first on the PATH, to which `scripts/env.sh` adds the one of `scripts/setup`.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(find_python);

fn find_python() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let import = "import pymerkle, sys; sys.exit(pymerkle.__version__ != sys.argv[1])";
    let has_pymerkle = |python: &PathBuf| {
        let tried = Command::new(python).args(["-c", import, PYMERKLE_VERSION]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let pythons = env::split_paths(&path).map(|folder| folder.join("python3")).filter(|python| python.exists());
    pythons
        .into_iter()
        .find(has_pymerkle)
        .unwrap_or_else(|| panic!("no pymerkle {PYMERKLE_VERSION}: run scripts/setup --tests, and this by ./test"))
}

fn pymerkle(leaves: u64, pairs: &[Value]) -> Output {
    let leaves: Vec<String> = (0..leaves).map(|index| HEXLOWER.encode(&entry(index))).collect();
    let work = json!({"leaves": leaves, "pairs": pairs});
    run(Command::new(&*PYTHON).arg(format!("{CLIENTS}/merkle.py")), work.to_string().as_bytes())
}

fn hex(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| HEXLOWER.encode(hash)).collect()
}

/// Two sizes and a leaf of the larger tree.
#[derive(Debug, Clone, Copy)]
struct Pair {
    old: u64,
    new: u64,
    index: u64,
}

impl Pair {
    fn json(self, log: &Log) -> Value {
        json!({
            "old": self.old,
            "new": self.new,
            "index": self.index,
            "old_root": HEXLOWER.encode(&log.root_at(self.old)),
            "new_root": HEXLOWER.encode(&log.root_at(self.new)),
            "inclusion": hex(&log.inclusion(self.index, self.new)),
            "consistency": hex(&log.consistency(self.old, self.new)),
        })
    }
}

/// Random pairs. Small trees are more frequent, so that equal sizes and powers of two occur often.
fn pairs() -> Vec<Pair> {
    let new = prop_oneof![1u64..=16, 1u64..=LEAVES];
    let pair = new.prop_flat_map(|new| (1..=new, 0..new).prop_map(move |(old, index)| Pair { old, new, index }));
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[6; 32]));
    std::iter::repeat_with(|| pair.new_tree(&mut runner).unwrap().current()).take(PAIRS).collect()
}

#[test]
fn pymerkle_has_the_same_roots_and_proofs() {
    let (log, pairs) = (Log::of_size(LEAVES), pairs());
    assert!(pairs.iter().any(|pair| pair.old == pair.new));
    assert!(pairs.iter().any(|pair| pair.old < pair.new && pair.old.is_power_of_two()));
    let work: Vec<Value> = pairs.iter().map(|pair| pair.json(&log)).collect();
    let output = pymerkle(LEAVES, &work);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // And pymerkle's proofs are accepted.
    let proofs: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(proofs.len(), PAIRS);
    for (Pair { old, new, index }, proof) in pairs.into_iter().zip(proofs) {
        let hashes = |name: &str| -> Vec<Hash> {
            proof[name].as_array().unwrap().iter().map(|hash| rfc::hash(hash.as_str().unwrap())).collect()
        };
        let (old_root, new_root) = (log.root_at(old), log.root_at(new));
        let verified = verify_inclusion(log.leaves[index as usize], index, new, &hashes("inclusion"), new_root);
        assert_eq!(verified, Ok(()), "leaf {index} of {new}");
        let verified = verify_consistency(old, old_root, new, new_root, &hashes("consistency"));
        assert_eq!(verified, Ok(()), "{old} and {new} leaves");
    }
}

/// Otherwise the comparison would show nothing.
#[test]
fn pymerkle_refuses_changed_roots_and_proofs() {
    let log = Log::of_size(20);
    let pair = Pair { old: 6, new: 20, index: 9 }.json(&log);
    let accepted = pymerkle(20, std::slice::from_ref(&pair));
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    for changed in ["/old_root", "/new_root", "/inclusion/0", "/inclusion/4", "/consistency/0", "/consistency/3"] {
        let mut pair = pair.clone();
        let hash = pair.pointer_mut(changed).unwrap();
        *hash = json!(HEXLOWER.encode(&flip(rfc::hash(hash.as_str().unwrap()), 77)));
        let refused = pymerkle(20, &[pair]);
        let message = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && message.contains("pymerkle disagrees"), "{changed}: {message}");
    }
}

/// `tests/clients/note.go` as a program. `None` where neither Go's packages are nor apt-get, which has them: Homebrew has
/// no package for golang.org/x/mod.
fn note_program() -> Option<PathBuf> {
    const GOPATH: &str = "/usr/share/gocode";
    let has_go = Command::new("go").arg("version").output().is_ok_and(|output| output.status.success());
    let has_note = Path::new(GOPATH).join("src/golang.org/x/mod/sumdb/note").is_dir();
    if !(has_go && has_note) {
        let installable = Path::new("/usr/bin/apt-get").exists();
        assert!(!installable, "no Go with golang.org/x/mod: run scripts/setup --tests");
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = folder.join("note");
    // Debian's packages are in a GOPATH, from before modules.
    let mut go = Command::new("go");
    go.envs([("GO111MODULE", "off"), ("GOPATH", GOPATH), ("GOENV", "off"), ("GOFLAGS", "")])
        .env("GOCACHE", folder.join("go-cache"));
    let built = go.args(["build", "-o"]).arg(&program).arg(format!("{CLIENTS}/note.go")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(program)
}

#[test]
fn go_opens_checkpoints_and_signs_them() {
    let Some(program) = note_program() else {
        println!("skipped: Go with golang.org/x/mod is not installed, and there is no apt-get to install it");
        return;
    };
    let origin = "baton.example/accounts/7";
    let ours = Signer::from_seed(origin, &[7; 32]).unwrap();
    let key = ours.verifier().to_string();
    let checkpoint = Checkpoint::new(origin, 20, Log::of_size(20).frontier.root()).unwrap();
    let note = checkpoint.sign(&ours).to_string();
    let go = |arguments: &[&str], note: &str| {
        let output = run(Command::new(&program).args(arguments), note.as_bytes());
        let text = String::from_utf8(output.stdout).unwrap();
        if output.status.success() { Ok(text) } else { Err(String::from_utf8(output.stderr).unwrap()) }
    };
    assert_eq!(go(&[&key], &note), Ok(checkpoint.to_string()));

    // One that was changed is refused, and one under a key that is not known.
    let refused = go(&[&key], &note.replacen("\n20\n", "\n21\n", 1)).unwrap_err();
    assert!(refused.contains("invalid signature for key baton.example/accounts/7+"), "{refused}");
    let stranger = Signer::from_seed(origin, &[8; 32]).unwrap().verifier().to_string();
    let refused = go(&[&stranger], &note).unwrap_err();
    assert!(refused.contains("note has no verifiable signatures"), "{refused}");
    let refused = go(&[&key.replacen('+', "x+", 1)], &note).unwrap_err();
    assert!(refused.contains("invalid verifier hash"), "{refused}");

    // Go signs as a witness, with the key of this seed.
    let witness = Signer::from_seed("witness.example", &[9; 32]).unwrap();
    let seed = [[1].as_slice(), &[9; 32]].concat();
    let signer_key = format!("PRIVATE+KEY+witness.example+{:08x}+{}", witness.verifier().id(), BASE64.encode(&seed));
    let signed = go(&[&key, &signer_key], &note).unwrap();
    let verifier: Verifier = witness.verifier().to_string().parse().unwrap();
    assert_eq!(Checkpoint::open(&signed, origin, &[verifier]), Ok(checkpoint.clone()));
    // Ed25519 is deterministic, so ours is the same.
    let mut expected: SignedNote = checkpoint.sign(&ours);
    expected.add_signature(&witness).unwrap();
    assert_eq!(signed, expected.to_string());
}
