//! The purposes that data is used for. They are code: a purpose cannot appear without a change that was reviewed.

use aws_lc_rs::digest::{SHA256, digest};

/// The legal basis of a purpose (GDPR, article 6, paragraph 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LegalBasis {
    Consent,
    Contract,
    LegalObligation,
    LegitimateInterest,
}

impl LegalBasis {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Contract => "contract",
            Self::LegalObligation => "legal_obligation",
            Self::LegitimateInterest => "legitimate_interest",
        }
    }
}

/// A purpose that data is used for.
#[derive(Debug)]
pub(crate) struct Purpose {
    pub(crate) id: &'static str,
    pub(crate) legal_basis: LegalBasis,
    /// The version of the notices.
    pub(crate) version: i32,
    /// The version since which the notices say the same in substance. Consent to an earlier one is stale.
    pub(crate) valid_since: i32,
    /// The notice by language, English first.
    pub(crate) notices: &'static [(&'static str, &'static str)],
    pub(crate) retention: &'static str,
    pub(crate) recipients: &'static [&'static str],
    /// Whether Global Privacy Control objects to it.
    pub(crate) is_objected_by_control: bool,
    /// Whether it is likely to result in a high risk (GDPR, article 35): observation of behaviour, profiling, new technology.
    pub(crate) is_high_risk: bool,
    /// Its impact assessment in `docs/dpia`; required for a high risk.
    pub(crate) assessment: Option<&'static str>,
}

impl Purpose {
    /// Whether people are asked.
    pub(crate) fn needs_consent(&self) -> bool {
        self.legal_basis == LegalBasis::Consent
    }

    /// The notice in this language or its main language, else in English, with the language that it is in.
    pub(crate) fn notice(&self, language: &str) -> (&'static str, &'static str) {
        let main = language.split('-').next().unwrap_or_default();
        let of = |wanted: &str| self.notices.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(wanted)).copied();
        of(language).or_else(|| of(main)).or_else(|| self.notices.first().copied()).unwrap_or_default()
    }

    /// The hash of the notice in English, which evidence names.
    pub(crate) fn notice_hash(&self) -> Vec<u8> {
        hash(self.notice("en").1)
    }
}

/// SHA-256 of a notice.
pub(crate) fn hash(notice: &str) -> Vec<u8> {
    digest(&SHA256, notice.as_bytes()).as_ref().to_vec()
}

/// The purpose with this id.
pub(crate) fn find(id: &str) -> Option<&'static Purpose> {
    PURPOSES.iter().find(|purpose| purpose.id == id)
}

// A purpose with a high risk and without an assessment does not compile.
const _: () = {
    let mut at = 0;
    while at < PURPOSES.len() {
        assert!(!PURPOSES[at].is_high_risk || PURPOSES[at].assessment.is_some(), "a high risk needs an assessment");
        at += 1;
    }
};

const OPERATOR: &[&str] = &["the operator of this installation"];

/// All purposes. Those with consent are off until it is given.
pub(crate) const PURPOSES: [Purpose; 7] = [
    Purpose {
        id: "service",
        legal_basis: LegalBasis::Contract,
        version: 1,
        valid_since: 1,
        notices: &[
            ("en", "We store your profile, your tasks and what belongs to them, because that is the service."),
            ("de", "Wir speichern Ihr Profil, Ihre Aufgaben und was dazugehört, weil das der Dienst ist."),
        ],
        retention: "as long as your account, or the organisation's",
        recipients: &["the operator of this installation", "members of the organisations that you belong to"],
        is_objected_by_control: false,
        is_high_risk: false,
        assessment: None,
    },
    Purpose {
        id: "security",
        legal_basis: LegalBasis::LegitimateInterest,
        version: 1,
        valid_since: 1,
        notices: &[
            (
                "en",
                "We note sign-ins, network addresses and changes, to find misuse and to show you what was done in your name.",
            ),
            (
                "de",
                "Wir notieren Anmeldungen, Netzwerkadressen und Änderungen, um Missbrauch zu finden und Ihnen zu zeigen, was in Ihrem Namen geschah.",
            ),
        ],
        retention: "90 days",
        recipients: OPERATOR,
        is_objected_by_control: false,
        is_high_risk: false,
        assessment: None,
    },
    Purpose {
        id: "billing",
        legal_basis: LegalBasis::LegalObligation,
        version: 1,
        valid_since: 1,
        notices: &[
            ("en", "We keep what is needed to charge for the service and to account for it."),
            ("de", "Wir bewahren auf, was zur Abrechnung und zur Buchführung nötig ist."),
        ],
        retention: "as long as the law demands",
        recipients: &["the operator of this installation", "Stripe, which takes payments"],
        is_objected_by_control: false,
        is_high_risk: false,
        assessment: None,
    },
    Purpose {
        id: "analytics",
        legal_basis: LegalBasis::Consent,
        version: 1,
        valid_since: 1,
        notices: &[
            (
                "en",
                "We measure how you use the product, such as which pages you open, to improve it. You can withdraw at any time; what was measured is deleted then.",
            ),
            (
                "de",
                "Wir messen, wie Sie das Produkt nutzen, etwa welche Seiten Sie öffnen, um es zu verbessern. Sie können jederzeit widerrufen; Gemessenes wird dann gelöscht.",
            ),
        ],
        retention: "until you withdraw, at most a year",
        recipients: OPERATOR,
        is_objected_by_control: true,
        is_high_risk: true,
        assessment: Some("DPIA-1"),
    },
    Purpose {
        id: "ui_heatmaps",
        legal_basis: LegalBasis::Consent,
        version: 1,
        valid_since: 1,
        notices: &[
            (
                "en",
                "We count where on a page people click, for all together. What you type is never recorded. You can withdraw at any time.",
            ),
            (
                "de",
                "Wir zählen, wo auf einer Seite geklickt wird, für alle zusammen. Was Sie eingeben, wird nie aufgezeichnet. Sie können jederzeit widerrufen.",
            ),
        ],
        retention: "until you withdraw, at most 30 days",
        recipients: OPERATOR,
        is_objected_by_control: false,
        is_high_risk: true,
        assessment: Some("DPIA-1"),
    },
    Purpose {
        id: "research",
        legal_basis: LegalBasis::Consent,
        version: 1,
        valid_since: 1,
        notices: &[
            (
                "en",
                "We use your conversations with the assistant, without names and addresses, to make it better. You can withdraw at any time.",
            ),
            (
                "de",
                "Wir verwenden Ihre Gespräche mit dem Assistenten, ohne Namen und Adressen, um ihn zu verbessern. Sie können jederzeit widerrufen.",
            ),
        ],
        retention: "until you withdraw, at most two years",
        recipients: OPERATOR,
        is_objected_by_control: false,
        is_high_risk: true,
        assessment: Some("DPIA-2"),
    },
    Purpose {
        id: "marketing",
        legal_basis: LegalBasis::Consent,
        version: 1,
        valid_since: 1,
        notices: &[
            (
                "en",
                "We send you mails that are not about your work, such as news of the product. Each has a link to end them.",
            ),
            (
                "de",
                "Wir senden Ihnen Mails, die nicht Ihre Arbeit betreffen, etwa Neuigkeiten zum Produkt. Jede hat einen Link zum Abbestellen.",
            ),
        ],
        retention: "until you withdraw",
        recipients: OPERATOR,
        is_objected_by_control: true,
        is_high_risk: false,
        assessment: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assessments_are_in_the_documentation() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/dpia");
        let files =
            std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
        let files: Vec<String> = files.collect();
        for purpose in PURPOSES.iter().filter(|purpose| purpose.is_high_risk) {
            let id = purpose.assessment.unwrap();
            let of_purpose =
                |text: &&String| text.starts_with(&format!("# {id}:")) && text.contains(&format!("`{}`", purpose.id));
            assert!(files.iter().any(|text| of_purpose(&text)), "{id} does not assess {}", purpose.id);
        }
    }

    #[test]
    fn every_purpose_has_an_english_notice_and_a_valid_version() {
        for purpose in &PURPOSES {
            assert_eq!(purpose.notice("en").0, "en", "{}", purpose.id);
            assert!((1..=purpose.version).contains(&purpose.valid_since), "{}", purpose.id);
            assert_eq!(find(purpose.id).map(|found| found.id), Some(purpose.id));
        }
        assert!(find("everything").is_none());
    }

    #[test]
    fn notices_are_in_the_language_of_the_reader() {
        let purpose = find("analytics").unwrap();
        for (language, expected) in
            [("de", "de"), ("de-AT", "de"), ("DE", "de"), ("en-GB", "en"), ("fr", "en"), ("", "en")]
        {
            assert_eq!(purpose.notice(language).0, expected, "{language}");
        }
        assert_eq!(purpose.notice_hash(), hash(purpose.notice("en").1));
    }
}
