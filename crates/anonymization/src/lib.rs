//! Anonymization of personal data for analytics and exports. A pure library: no I/O, no clock, no randomness of its own.
//!
//! | module | content | source |
//! |---|---|---|
//! | [`noise`] | exact samplers of the discrete Laplace and the discrete Gaussian distribution | Canonne, Kamath, Steinke 2020 |
//! | [`aggregate`] | counts and sums over groups, with differential privacy per person | Wilson et al. 2020, Korolova et al. 2009 |
//! | [`budget`] | epsilon, delta, and the rule of the privacy budget per quarter | Dwork, Roth 2014, section 3.5 |
//! | [`k_anonymity`] | profiles in which every combination of attributes occurs at least ten times | Samarati 2001, Bayardo, Agrawal 2005 |
//! | [`pseudonym`] | one-way and reversible pseudonyms, unlinkable between purposes | RFC 2104, RFC 5869, RFC 8452 |
//!
//! Only the aggregates are anonymous by themselves. A pseudonym is personal data (GDPR, recital 26), and k-anonymous rows are
//! anonymous only while their pseudonyms are joined with nothing else.

pub mod aggregate;
pub mod budget;
pub mod k_anonymity;
pub mod noise;
pub mod pseudonym;

#[cfg(test)]
mod chi_square;
