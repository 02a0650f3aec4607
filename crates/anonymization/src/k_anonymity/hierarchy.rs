//! Generalization hierarchies: the values of each attribute, from exact to suppressed.

use chrono::{Datelike as _, NaiveDate};
use serde::Serialize;

use crate::budget::Quarter;

/// Text of a suppressed value.
pub const SUPPRESSED: &str = "*";
/// Text of a value that is not known.
pub const UNKNOWN: &str = "unknown";

/// Level of a date. Weeks are left out: they cross the bounds of months, so months do not generalize them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DateLevel {
    /// `2026-11-30`
    Day,
    /// `2026-11`
    Month,
    /// `2026-Q4`
    Quarter,
    /// `2026`
    Year,
    /// [`SUPPRESSED`]
    Suppressed,
}

/// Level of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The value.
    Exact,
    /// Its category.
    Category,
    /// [`SUPPRESSED`]
    Suppressed,
}

impl DateLevel {
    pub(super) const ALL: [Self; 5] = [Self::Day, Self::Month, Self::Quarter, Self::Year, Self::Suppressed];
}

impl Level {
    pub(super) const ALL: [Self; 3] = [Self::Exact, Self::Category, Self::Suppressed];
    /// Those of an attribute that has no categories.
    pub(super) const WITHOUT_CATEGORY: [Self; 2] = [Self::Exact, Self::Suppressed];
}

pub(super) fn date(value: NaiveDate, level: DateLevel) -> String {
    match level {
        DateLevel::Day => value.to_string(),
        DateLevel::Month => format!("{:04}-{:02}", value.year(), value.month()),
        DateLevel::Quarter => Quarter::of(value).to_string(),
        DateLevel::Year => format!("{:04}", value.year()),
        DateLevel::Suppressed => SUPPRESSED.to_owned(),
    }
}

/// A text in lower case. Its category is that of `category`.
pub(super) fn text(value: Option<&str>, level: Level, category: fn(&str) -> &'static str) -> String {
    let value = value.map(|value| value.trim().to_lowercase()).filter(|value| !value.is_empty());
    match (level, value) {
        (Level::Suppressed, _) => SUPPRESSED.to_owned(),
        (_, None) => UNKNOWN.to_owned(),
        (Level::Exact, Some(value)) => value,
        (Level::Category, Some(value)) => category(&value).to_owned(),
    }
}

/// Domains whose addresses anybody gets: they name no company. The largest providers of personal mail.
const FREE_MAIL: [&str; 31] = [
    "126.com",
    "163.com",
    "aol.com",
    "fastmail.com",
    "free.fr",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hey.com",
    "hotmail.com",
    "icloud.com",
    "live.com",
    "mail.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "naver.com",
    "outlook.com",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "t-online.de",
    "web.de",
    "yahoo.co.jp",
    "yahoo.com",
    "yandex.ru",
    "zoho.com",
];

/// `free_mail` or `company`, for a domain in lower case.
pub(super) fn domain_category(domain: &str) -> &'static str {
    if FREE_MAIL.contains(&domain) { "free_mail" } else { "company" }
}

/// `leader` for the roles that assign tasks to others, `member` for users, otherwise `other`.
pub(super) fn role_category(role: &str) -> &'static str {
    match role {
        "owner" | "super_manager" | "manager" => "leader",
        "user" => "member",
        _ => "other",
    }
}

/// Continents of the countries and territories of ISO 3166-1 (alpha-2), as GeoNames assigns them
/// (<https://www.geonames.org/countries/>).
const CONTINENTS: [(&str, &str); 7] = [
    (
        "africa",
        "ao bf bi bj bw cd cf cg ci cm cv dj dz eg eh er et ga gh gm gn gq gw ke km lr ls ly ma mg ml mr mu mw mz na ne ng \
         re rw sc sd sh sl sn so ss st sz td tg tn tz ug yt za zm zw",
    ),
    ("antarctica", "aq bv gs hm tf"),
    (
        "asia",
        "ae af am az bd bh bn bt cc cn ge hk id il in io iq ir jo jp kg kh kp kr kw kz la lb lk mm mn mo mv my np om ph \
         pk ps qa sa sg sy th tj tm tr tw uz vn ye",
    ),
    (
        "europe",
        "ad al at ax ba be bg by ch cy cz de dk ee es fi fo fr gb gg gi gr hr hu ie im is it je li lt lu lv mc md me mk mt \
         nl no pl pt ro rs ru se si sj sk sm ua va",
    ),
    (
        "north_america",
        "ag ai aw bb bl bm bq bs bz ca cr cu cw dm do gd gl gp gt hn ht jm kn ky lc mf mq ms mx ni pa pm pr sv sx tc tt us \
         vc vg vi",
    ),
    ("oceania", "as au ck cx fj fm gu ki mh mp nc nf nr nu nz pf pg pn pw sb tk tl to tv um vu wf ws"),
    ("south_america", "ar bo br cl co ec fk gf gy pe py sr uy ve"),
];

/// The continent of a country, by its ISO 3166-1 alpha-2 code in lower case; otherwise `other`.
pub(super) fn continent(country: &str) -> &'static str {
    let of = |(_, countries): &&(&str, &str)| countries.split(' ').any(|code| code == country);
    CONTINENTS.iter().find(of).map_or("other", |(continent, _)| continent)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn date_has_a_text_per_level() {
        let date = |level| date("2026-11-30".parse().unwrap(), level);
        assert_eq!(DateLevel::ALL.map(date), ["2026-11-30", "2026-11", "2026-Q4", "2026", "*"]);
    }

    #[test]
    fn text_has_a_category_and_an_unknown_value_none() {
        let levels = |value, category| Level::ALL.map(|level| text(value, level, category));
        assert_eq!(levels(Some("Acme.example"), domain_category), ["acme.example", "company", "*"]);
        assert_eq!(levels(Some(" GMAIL.com "), domain_category), ["gmail.com", "free_mail", "*"]);
        assert_eq!(levels(Some("owner"), role_category), ["owner", "leader", "*"]);
        assert_eq!(levels(Some("user"), role_category), ["user", "member", "*"]);
        assert_eq!(levels(Some("wizard"), role_category), ["wizard", "other", "*"]);
        assert_eq!(levels(Some("DE"), continent), ["de", "europe", "*"]);
        assert_eq!(levels(Some("zz"), continent), ["zz", "other", "*"]);
        assert_eq!(levels(None, continent), ["unknown", "unknown", "*"]);
        assert_eq!(levels(Some("  "), continent), ["unknown", "unknown", "*"]);
    }

    #[test]
    fn every_country_has_one_continent() {
        let codes: Vec<&str> = CONTINENTS.iter().flat_map(|(_, countries)| countries.split(' ')).collect();
        assert!(codes.iter().all(|code| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_lowercase())));
        // The number of codes that ISO 3166-1 assigns.
        assert_eq!((codes.len(), codes.iter().collect::<BTreeSet<_>>().len()), (249, 249));
        assert_eq!(FREE_MAIL.iter().collect::<BTreeSet<_>>().len(), FREE_MAIL.len());
    }
}
