//! Configuration from environment variables, read and checked before anything is bound.
//!
//! A [`config!`](crate::config!) struct names its variables, defaults and meaning once; from that come
//! the parser, `baton doctor`'s and the README's lists, and the test that `k8s/` sets no name that no
//! struct reads.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
    time::Duration,
};

use url::Url;

/// Environment variables, as a value: tests pass their own.
#[derive(Debug, Clone, Default)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    /// The variables of this process.
    pub fn process() -> Self {
        Self(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect())
    }

    /// The value of a variable; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Sets a variable, over one that may be there.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Sets a variable unless it is there.
    pub fn set_default(&mut self, name: &str, value: impl Into<String>) {
        if self.get(name).is_none() {
            self.set(name, value);
        }
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}

/// One environment variable that a configuration reads.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name.
    pub name: Cow<'static, str>,
    /// The value when it is not set; `None` when it is required or optional.
    pub default: Option<Cow<'static, str>>,
    /// Its meaning.
    pub doc: Cow<'static, str>,
}

/// Settings that are read from the environment: a [`config!`](crate::config!) struct, or several as a tuple.
pub trait Settings: Sized {
    /// The environment variables that they are read from.
    fn variables() -> Vec<Variable>;

    /// Reads and checks them.
    ///
    /// # Errors
    /// When variables are missing or wrong: all of them, with the reason of each.
    fn from_env(env: &Env) -> Result<Self, ConfigError>;
}

impl Settings for () {
    fn variables() -> Vec<Variable> {
        Vec::new()
    }

    fn from_env(_: &Env) -> Result<Self, ConfigError> {
        Ok(())
    }
}

impl<A: Settings, B: Settings> Settings for (A, B) {
    fn variables() -> Vec<Variable> {
        [A::variables(), B::variables()].concat()
    }

    fn from_env(env: &Env) -> Result<Self, ConfigError> {
        ConfigError::join(A::from_env(env), B::from_env(env))
    }
}

/// All that is wrong with the environment, one line per variable.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is not complete:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

impl ConfigError {
    /// Both values, or everything that is wrong with either.
    ///
    /// # Errors
    /// When one of them is an error.
    pub fn join<A, B>(a: Result<A, Self>, b: Result<B, Self>) -> Result<(A, B), Self> {
        match (a, b) {
            (Ok(a), Ok(b)) => Ok((a, b)),
            (a, b) => Err(Self([a.err(), b.err()].into_iter().flatten().flat_map(|Self(lines)| lines).collect())),
        }
    }
}

/// A value that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A type that an environment variable can hold.
pub trait FromVariable: Sized {
    /// What a value looks like, for the error: `a number above 0`.
    const EXPECTS: &'static str;

    /// The value, or `None` if it is not one. An absent variable without default arrives as `None`.
    fn from_variable(value: Option<&str>) -> Option<Self>;
}

macro_rules! from_str {
    ($($type:ty: $expects:literal),* $(,)?) => {
        $(impl FromVariable for $type {
            const EXPECTS: &'static str = $expects;
            fn from_variable(value: Option<&str>) -> Option<Self> {
                value?.parse().ok()
            }
        })*
    };
}

from_str! {
    String: "text",
    bool: "true or false",
    u16: "a number from 0 to 65535",
    u32: "a whole number",
    u64: "a whole number",
    usize: "a whole number",
    NonZeroU32: "a whole number above 0",
    NonZeroU64: "a whole number above 0",
    SocketAddr: "an address such as 127.0.0.1:8080",
    Url: "a URL",
    PathBuf: "a path",
}

impl FromVariable for Secret {
    const EXPECTS: &'static str = "a secret";

    fn from_variable(value: Option<&str>) -> Option<Self> {
        value.map(Self::new)
    }
}

impl FromVariable for Duration {
    const EXPECTS: &'static str = "a whole number of seconds";

    fn from_variable(value: Option<&str>) -> Option<Self> {
        value?.parse().ok().map(Self::from_secs)
    }
}

impl<T: FromVariable> FromVariable for Option<T> {
    const EXPECTS: &'static str = T::EXPECTS;

    fn from_variable(value: Option<&str>) -> Option<Self> {
        match value {
            None => Some(None),
            some => T::from_variable(some).map(Some),
        }
    }
}

/// A comma-separated list.
impl FromVariable for Vec<String> {
    const EXPECTS: &'static str = "a list separated by commas";

    fn from_variable(value: Option<&str>) -> Option<Self> {
        Some(value.unwrap_or_default().split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect())
    }
}

/// Reads variables in their order, and collects everything that is wrong with them.
#[derive(Debug)]
pub struct Reader<'a> {
    env: &'a Env,
    variables: std::slice::Iter<'a, Variable>,
    wrong: Vec<String>,
}

impl<'a> Reader<'a> {
    /// A reader of these variables.
    pub fn new(env: &'a Env, variables: &'a [Variable]) -> Self {
        Self { env, variables: variables.iter(), wrong: Vec::new() }
    }

    /// The value of the next variable; `None` if it is missing or wrong, which [`Reader::error`] says.
    #[expect(clippy::should_implement_trait, reason = "every value has a type of its own")]
    pub fn next<T: FromVariable>(&mut self) -> Option<T> {
        let variable = self.variables.next()?;
        let value = self.env.get(&variable.name);
        let parsed = T::from_variable(value.or(variable.default.as_deref()));
        if parsed.is_none() {
            // Values are not printed: the wrong one may be a secret in the wrong variable.
            let state = if value.is_some() { "is not" } else { "is not set; it takes" };
            self.wrong.push(format!("{} {state} {} ({})", variable.name, T::EXPECTS, variable.doc.trim()));
        }
        parsed
    }

    /// Everything that was wrong.
    pub fn error(self) -> ConfigError {
        ConfigError(self.wrong)
    }
}

/// Declares a configuration struct: fields, their variables, defaults and meaning.
///
/// ```
/// baton_runtime::config! {
///     /// Configuration of a kettle.
///     pub struct Kettle {
///         /// Degrees to heat to.
///         pub degrees: u32 = "KETTLE_DEGREES", default "100";
///         /// Who may use it.
///         pub owner: Option<String> = "KETTLE_OWNER";
///     }
/// }
/// let env = [("KETTLE_OWNER", "ada")].into_iter().collect();
/// let kettle = Kettle::from_env(&env).unwrap();
/// assert_eq!((kettle.degrees, kettle.owner.as_deref()), (100, Some("ada")));
/// assert_eq!(Kettle::VARIABLES[0].name, "KETTLE_DEGREES");
/// ```
#[macro_export]
macro_rules! config {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[doc = $doc:literal])+ pub $field:ident: $type:ty = $variable:literal $(, default $default:literal)?;)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $($(#[doc = $doc])+ #[doc = concat!("\n\n`", $variable, "`" $(, ", default `", $default, "`")?)] pub $field: $type,)*
        }

        impl $name {
            /// The environment variables that it reads.
            pub const VARIABLES: &'static [$crate::Variable] = &[$($crate::Variable {
                name: std::borrow::Cow::Borrowed($variable),
                default: $crate::config!(@default $($default)?),
                doc: std::borrow::Cow::Borrowed(concat!($($doc),+)),
            }),*];

            /// Reads and checks it; an error names all that is wrong at once.
            pub fn from_env(env: &$crate::Env) -> Result<Self, $crate::ConfigError> {
                let mut reader = $crate::config::Reader::new(env, Self::VARIABLES);
                $(let $field = reader.next::<$type>();)*
                match ($($field,)*) {
                    ($(Some($field),)*) => Ok(Self { $($field),* }),
                    _ => Err(reader.error()),
                }
            }
        }

        impl $crate::config::Settings for $name {
            fn variables() -> Vec<$crate::Variable> {
                Self::VARIABLES.to_vec()
            }

            fn from_env(env: &$crate::Env) -> Result<Self, $crate::ConfigError> {
                Self::from_env(env)
            }
        }
    };
    (@default) => { None };
    (@default $default:literal) => { Some(std::borrow::Cow::Borrowed($default)) };
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "configurations are made for other crates to read")]
mod tests {
    use super::*;

    config! {
        /// Two of each kind.
        pub struct Sample {
            /// A secret.
            pub key: Secret = "SAMPLE_KEY";
            /// A number.
            pub count: NonZeroU32 = "SAMPLE_COUNT", default "3";
            /// A list.
            pub names: Vec<String> = "SAMPLE_NAMES", default "";
            /// An optional address.
            pub peer: Option<Url> = "SAMPLE_PEER";
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_without_values() {
        let env = [("SAMPLE_COUNT", "0"), ("SAMPLE_PEER", "hunter2")].into_iter().collect();
        let message = Sample::from_env(&env).unwrap_err().to_string();
        for name in ["SAMPLE_KEY is not set", "SAMPLE_COUNT is not a whole number above 0", "SAMPLE_PEER is not"] {
            assert!(message.contains(name), "{message}");
        }
        assert!(!message.contains("hunter2"));
    }

    #[test]
    fn defaults_fill_in_and_secrets_stay_hidden() {
        let env = [("SAMPLE_KEY", "hunter2"), ("SAMPLE_NAMES", "a, b,")].into_iter().collect();
        let sample = Sample::from_env(&env).unwrap();
        assert_eq!((sample.count.get(), sample.names.len(), sample.peer.is_none()), (3, 2, true));
        assert_eq!(sample.key.expose(), "hunter2");
        assert!(!format!("{sample:?}").contains("hunter2"));
    }
}
