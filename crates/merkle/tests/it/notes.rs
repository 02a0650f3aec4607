use baton_merkle::{KeyError, NoteError, SignedNote, Signer, Verifier};
use data_encoding::BASE64;
use proptest::prelude::*;

/// From the documentation of Go's `golang.org/x/mod/sumdb/note`.
const GO_SEED: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const GO_NOTE: &str = "If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
";

/// The second signature is by `EnochRoot`.
const GO_NOTE_OF_TWO: &str = "If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=
";

fn go_signer() -> Signer {
    let key = BASE64.decode(GO_SEED.as_bytes()).unwrap();
    // The first byte is the signature type.
    Signer::from_seed("PeterNeumann", key[1..].try_into().unwrap()).unwrap()
}

fn signer(name: &str, seed: u8) -> Signer {
    Signer::from_seed(name, &[seed; 32]).unwrap()
}

fn parse(note: &str) -> Result<SignedNote, NoteError> {
    note.parse()
}

#[test]
fn note_and_key_are_those_of_go() {
    let signer = go_signer();
    assert_eq!(signer.verifier().to_string(), GO_VERIFIER);
    assert_eq!((signer.verifier().name(), signer.verifier().id()), ("PeterNeumann", 0xc74f_20a3));
    assert_eq!(SignedNote::sign(GO_TEXT, &signer).unwrap().to_string(), GO_NOTE);

    let verifier: Verifier = GO_VERIFIER.parse().unwrap();
    assert_eq!(&verifier, signer.verifier());
    for note in [GO_NOTE, GO_NOTE_OF_TWO] {
        let parsed = parse(note).unwrap();
        assert_eq!(parsed.verify(std::slice::from_ref(&verifier)), Ok(GO_TEXT));
        assert_eq!(parsed.to_string(), note);
    }
}

#[test]
fn private_key_is_not_printed() {
    let printed = format!("{:?}", signer("log", 0xab));
    assert!(printed.starts_with("Signer(Verifier { name: \"log\""), "{printed}");
    assert!(!printed.contains("171, 171"), "{printed}");
}

#[test]
fn text_with_empty_lines_is_separated_by_the_last_one() {
    for text in ["\n", "a\n\n", "a\n\n\nb\n", "a\n\n— not/a/signature\n", "é\u{7f}\n"] {
        let note = SignedNote::sign(text, &go_signer()).unwrap();
        let parsed = parse(&note.to_string()).unwrap();
        assert_eq!(parsed, note);
        assert_eq!(parsed.verify(&[go_signer().verifier().clone()]), Ok(text));
    }
}

#[test]
fn text_that_no_note_can_have_is_refused() {
    for text in ["", "a", "a\nb", "a\tb\n", "a\r\n", "\0\n", "\u{1f}\n"] {
        assert_eq!(SignedNote::sign(text, &go_signer()), Err(NoteError::Text), "{text:?}");
    }
}

#[test]
fn signatures_of_unknown_keys_are_ignored() {
    let (ours, witness) = (signer("log", 1), signer("witness", 2));
    let mut note = SignedNote::sign("text\n", &ours).unwrap();
    note.add_signature(&witness).unwrap();
    let names: Vec<&str> = note.signatures().iter().map(|signature| signature.name.as_str()).collect();
    assert_eq!(names, ["log", "witness"]);
    for known in [&ours, &witness] {
        assert_eq!(note.verify(&[known.verifier().clone()]), Ok("text\n"));
    }
    // Another name with the same key, and another key with the same name.
    for unknown in [signer("other", 1), signer("log", 3)] {
        assert_eq!(note.verify(&[unknown.verifier().clone()]), Err(NoteError::Unsigned));
    }
    assert_eq!(note.verify(&[]), Err(NoteError::Unsigned));
}

#[test]
fn one_wrong_signature_of_a_known_key_is_enough() {
    let (ours, witness) = (signer("log", 1), signer("witness", 2));
    let known = [ours.verifier().clone(), witness.verifier().clone()];
    let mut note = SignedNote::sign("text\n", &ours).unwrap();
    let mut other = SignedNote::sign("other text\n", &ours).unwrap();
    other.add_signature(&witness).unwrap();
    let witness_line = other.to_string().lines().last().unwrap().to_owned();
    let forged = parse(&format!("{note}{witness_line}\n")).unwrap();
    assert_eq!(forged.verify(&known), Err(NoteError::InvalidSignature("witness".to_owned())));
    // A verifier without the key of the witness ignores it.
    assert_eq!(forged.verify(&known[..1]), Ok("text\n"));

    note.add_signature(&witness).unwrap();
    assert_eq!(note.verify(&known), Ok("text\n"));
}

#[test]
fn new_signature_replaces_one_of_the_same_key() {
    let (ours, witness) = (signer("log", 1), signer("witness", 2));
    let mut note = SignedNote::sign("text\n", &ours).unwrap();
    for _ in 0..3 {
        note.add_signature(&witness).unwrap();
    }
    assert_eq!(note.signatures().len(), 2);
}

#[test]
fn notes_have_at_most_100_signatures() {
    let mut note = SignedNote::sign("text\n", &signer("log", 1)).unwrap();
    for number in 2..=100 {
        note.add_signature(&signer(&format!("witness{number}"), number)).unwrap();
    }
    assert_eq!(parse(&note.to_string()).unwrap(), note);
    assert_eq!(note.add_signature(&signer("late", 101)), Err(NoteError::TooManySignatures));
    note.add_signature(&signer("log", 1)).unwrap();
    let line = note.to_string().lines().last().unwrap().to_owned();
    assert_eq!(parse(&format!("{note}{line}\n")), Err(NoteError::TooManySignatures));
}

#[test]
fn malformed_notes_are_refused() {
    let malformed = [
        ("", NoteError::Format),
        ("a\n", NoteError::Format),
        ("a\n\n", NoteError::Format),
        ("a\n— b AAAAAAA=\n", NoteError::Format),
        ("a\n\n— b AAAAAAA=", NoteError::Format),
        ("\n— b AAAAAAA=\n", NoteError::Format),
        ("a\t\n\n— b AAAAAAA=\n", NoteError::Text),
        ("a\r\n\n— b AAAAAAA=\n", NoteError::Text),
        ("a\n\nb AAAAAAA=\n", NoteError::SignatureLine),
        ("a\n\n- b AAAAAAA=\n", NoteError::SignatureLine),
        ("a\n\n—b AAAAAAA=\n", NoteError::SignatureLine),
        ("a\n\n—  AAAAAAA=\n", NoteError::SignatureLine),
        ("a\n\n— b\n", NoteError::SignatureLine),
        ("a\n\n— b \n", NoteError::SignatureLine),
        ("a\n\n— b+c AAAAAAA=\n", NoteError::SignatureLine),
        ("a\n\n— b\u{a0}c AAAAAAA=\n", NoteError::SignatureLine),
        ("a\n\n— b\u{1}c AAAAAAA=\n", NoteError::SignatureLine),
        ("a\n\n— b  AAAAAAA=\n", NoteError::SignatureLine),
        ("a\n\n— b AAAAAAA= \n", NoteError::SignatureLine),
        ("a\n\n— b AAAAAAA=\r\n", NoteError::SignatureLine),
        // Without padding, with bits after the end, with the other alphabet, and without a byte after the key id.
        ("a\n\n— b AAAAAAA\n", NoteError::SignatureLine),
        ("a\n\n— b AAAAAAB=\n", NoteError::SignatureLine),
        ("a\n\n— b AA_AAAA=\n", NoteError::SignatureLine),
        ("a\n\n— b AAAAAA==\n", NoteError::SignatureLine),
    ];
    parse("a\n\n— b AAAAAAA=\n").unwrap();
    for (note, error) in malformed {
        assert_eq!(parse(note), Err(error), "{note:?}");
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let known = [go_signer().verifier().clone()];
    let mut refused = 0;
    for at in 0..GO_NOTE.len() {
        for bit in 0..8 {
            let mut bytes = GO_NOTE.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let verified = parse(&changed).and_then(|note| note.verify(&known).map(str::to_owned));
            assert!(verified.is_err(), "bit {bit} of byte {at}: {changed}");
            refused += 1;
        }
    }
    assert!(refused > 7 * (GO_NOTE.len() - 3), "only {refused} were valid UTF-8");
}

#[test]
fn names_that_no_key_can_have_are_refused() {
    for name in ["", "a b", "a+b", "a\nb", "a\u{2003}b", "a\u{85}b", "a\u{1}b"] {
        assert_eq!(Signer::from_seed(name, &[1; 32]).unwrap_err(), KeyError::Name, "{name:?}");
        assert_eq!(Verifier::new(name, [1; 32]), Err(KeyError::Name), "{name:?}");
    }
}

#[test]
fn malformed_verifier_keys_are_refused() {
    let [name, hash, key] = ["PeterNeumann", "c74f20a3", "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"];
    let malformed = [
        (String::new(), KeyError::Format),
        (name.to_owned(), KeyError::Format),
        (format!("{name}+{hash}"), KeyError::Format),
        (format!("{name}+{hash}+"), KeyError::Format),
        (format!("{name}+{hash}+{key}="), KeyError::Format),
        (format!("{name}+{hash}+{key}\n"), KeyError::Format),
        (format!("{name}+{hash}+{}", &key[..40]), KeyError::Format),
        (format!("{name}+{hash}+{key}AAAA"), KeyError::Format),
        (format!("{name}+{hash}+B{}", &key[1..]), KeyError::Algorithm),
        (format!("+{hash}+{key}"), KeyError::Name),
        (format!("Peter Neumann+{hash}+{key}"), KeyError::Name),
        (format!("Peter+{hash}+{key}"), KeyError::Hash),
        (format!("{name}+c74f20a4+{key}"), KeyError::Hash),
        (format!("{name}+C74F20A3+{key}"), KeyError::Hash),
        (format!("{name}+0c74f20a3+{key}"), KeyError::Hash),
        (format!("{name}++{key}"), KeyError::Hash),
    ];
    for (text, error) in malformed {
        assert_eq!(text.parse::<Verifier>(), Err(error), "{text:?}");
    }
}

proptest! {
    #[test]
    fn keys_and_notes_are_read_as_written(
        seed in any::<[u8; 32]>(),
        name in "[^\\s+\\x00-\\x1f]{1,20}",
        text in "([^\\x00-\\x1f]{0,20}\n){1,5}",
    ) {
        let signer = Signer::from_seed(&name, &seed).unwrap();
        let verifier: Verifier = signer.verifier().to_string().parse().unwrap();
        prop_assert_eq!(&verifier, signer.verifier());
        let note = SignedNote::sign(&text, &signer).unwrap();
        let read = parse(&note.to_string()).unwrap();
        prop_assert_eq!(read.verify(&[verifier]), Ok(text.as_str()));
    }

    /// Whatever is accepted has one form only.
    #[test]
    fn arbitrary_notes_are_read_as_written(note in "[a\n— =A]{0,8}\n\n(— [ab+]{1,2} [A-C]{7}[A-C=]\n?){0,3}") {
        if let Ok(parsed) = parse(&note) {
            prop_assert_eq!(parsed.to_string(), note);
        }
    }
}
