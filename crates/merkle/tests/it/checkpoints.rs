use baton_merkle::{Checkpoint, CheckpointError, EMPTY_ROOT, Hash, NoteError, SignedNote, Signer};
use proptest::prelude::*;

const ORIGIN: &str = "baton.example/accounts/7";

/// The example of C2SP tlog-checkpoint.
const PUBLISHED: &str = "example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
";

fn signer(name: &str) -> Signer {
    Signer::from_seed(name, &[7; 32]).unwrap()
}

fn parse(text: &str) -> Result<Checkpoint, CheckpointError> {
    text.parse()
}

#[test]
fn published_example_is_read_as_written() {
    let note: SignedNote = PUBLISHED.parse().unwrap();
    assert_eq!(note.to_string(), PUBLISHED);
    assert_eq!(
        (note.signatures()[0].name.as_str(), note.signatures()[0].key_id),
        ("example.com/behind-the-sofa", 0x033d_e0ae)
    );
    let (text, _) = PUBLISHED.split_once("\n\n").unwrap();
    let checkpoint = parse(&format!("{text}\n")).unwrap();
    assert_eq!(checkpoint.to_string(), format!("{text}\n"));
    assert_eq!((checkpoint.origin(), checkpoint.size()), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!(checkpoint.root()[..4], [0x0a, 0xc5, 0x18, 0x6a]);
    // It is signed by a key that is not ours.
    let known = [signer("example.com/behind-the-sofa").verifier().clone()];
    let opened = Checkpoint::open(PUBLISHED, "example.com/behind-the-sofa", &known);
    assert_eq!(opened, Err(CheckpointError::Note(NoteError::Unsigned)));
}

#[test]
fn empty_log_has_a_checkpoint() {
    let checkpoint = Checkpoint::new(ORIGIN, 0, EMPTY_ROOT).unwrap();
    let text = format!("{ORIGIN}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n");
    assert_eq!(checkpoint.to_string(), text);
    assert_eq!(parse(&text), Ok(checkpoint));
}

#[test]
fn checkpoint_of_another_log_is_refused() {
    let checkpoint = Checkpoint::new(ORIGIN, 3, [1; 32]).unwrap();
    let known = [signer("baton.example").verifier().clone()];
    let note = checkpoint.sign(&signer("baton.example")).to_string();
    assert_eq!(Checkpoint::open(&note, ORIGIN, &known), Ok(checkpoint));
    let other = Checkpoint::open(&note, "baton.example/accounts/8", &known);
    assert_eq!(other, Err(CheckpointError::OtherOrigin(ORIGIN.to_owned())));
}

#[test]
fn signed_text_that_is_no_checkpoint_is_refused() {
    let signer = signer(ORIGIN);
    let note = SignedNote::sign("Not a checkpoint.\n", &signer).unwrap().to_string();
    assert_eq!(Checkpoint::open(&note, ORIGIN, &[signer.verifier().clone()]), Err(CheckpointError::Format));
}

#[test]
fn changed_checkpoint_is_refused() {
    let signer = signer(ORIGIN);
    let known = [signer.verifier().clone()];
    let note = Checkpoint::new(ORIGIN, 41, [1; 32]).unwrap().sign(&signer).to_string();
    let changed = note.replacen("\n41\n", "\n42\n", 1);
    let invalid = CheckpointError::Note(NoteError::InvalidSignature(ORIGIN.to_owned()));
    assert_eq!(Checkpoint::open(&changed, ORIGIN, &known), Err(invalid));
}

#[test]
fn malformed_checkpoints_are_refused() {
    const ROOT: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    let malformed = [
        (String::new(), CheckpointError::Format),
        ("a\n".to_owned(), CheckpointError::Format),
        ("a\n1\n".to_owned(), CheckpointError::Format),
        (format!("a\n1\n{ROOT}"), CheckpointError::Format),
        (format!("\n1\n{ROOT}\n"), CheckpointError::Line),
        (format!("a\tb\n1\n{ROOT}\n"), CheckpointError::Line),
        (format!("a\n\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n01\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n00\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n+1\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n-1\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n 1\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n1\r\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n١\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n0x1\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n18446744073709551616\n{ROOT}\n"), CheckpointError::Size),
        ("a\n1\n\n".to_owned(), CheckpointError::Root),
        (format!("a\n1\n{}\n", &ROOT[..43]), CheckpointError::Root),
        (format!("a\n1\n{}J=\n", &ROOT[..42]), CheckpointError::Root),
        (format!("a\n1\n{}\n", &ROOT[..40]), CheckpointError::Root),
        (format!("a\n1\nAAAA{ROOT}\n"), CheckpointError::Root),
        (format!("a\n1\n{}\n", ROOT.replace('/', "_")), CheckpointError::Root),
        (format!("a\n1\n{ROOT}\n\n"), CheckpointError::Line),
        (format!("a\n1\n{ROOT}\nextension\n\n"), CheckpointError::Line),
        (format!("a\n1\n{ROOT}\n\nextension\n"), CheckpointError::Line),
        (format!("a\n1\n{ROOT}\nextension"), CheckpointError::Format),
    ];
    parse(&format!("a\n18446744073709551615\n{ROOT}\nextension\n")).unwrap();
    for (text, error) in malformed {
        assert_eq!(parse(&text), Err(error), "{text:?}");
    }
}

#[test]
fn lines_that_would_change_the_meaning_are_refused() {
    for line in ["", "a\n1", "\n", "a\0"] {
        assert_eq!(Checkpoint::new(line, 1, [1; 32]), Err(CheckpointError::Line), "{line:?}");
        let checkpoint = Checkpoint::new(ORIGIN, 1, [1; 32]).unwrap();
        assert_eq!(checkpoint.with_extension(line), Err(CheckpointError::Line), "{line:?}");
    }
}

proptest! {
    #[test]
    fn signed_checkpoints_are_opened(
        origin in "[^\\x00-\\x1f]{1,30}",
        size in any::<u64>(),
        root in any::<Hash>(),
        extensions in prop::collection::vec("[^\\x00-\\x1f]{1,20}", 0..3),
    ) {
        let checkpoint = Checkpoint::new(&origin, size, root).unwrap();
        let checkpoint = extensions.iter().try_fold(checkpoint, |checkpoint, line| checkpoint.with_extension(line)).unwrap();
        prop_assert_eq!(checkpoint.extensions(), &extensions);
        let signer = signer(ORIGIN);
        let note = checkpoint.sign(&signer).to_string();
        prop_assert_eq!(Checkpoint::open(&note, &origin, &[signer.verifier().clone()]), Ok(checkpoint));
    }

    /// Whatever is accepted has one form only.
    #[test]
    fn arbitrary_text_is_read_as_written(text in "[a ]{0,2}\n[0-2+]{0,2}\n(CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2[A-Z]=){1}\n?([a\n]{0,3}\n)?") {
        if let Ok(checkpoint) = parse(&text) {
            prop_assert_eq!(checkpoint.to_string(), text);
        }
    }
}
