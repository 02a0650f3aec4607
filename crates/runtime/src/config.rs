//! Configuration from environment variables, read and validated before any port is bound.
//!
//! A [`config!`](crate::config!) struct declares its variables, defaults and documentation once. The parser, the lists
//! of `baton doctor` and of the README, and the test that `k8s/` sets only known variables derive from it.

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
use uuid::Uuid;

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

    /// Sets a variable, or replaces it.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Sets a variable unless it is set.
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

/// An environment variable of a configuration.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Name.
    pub name: Cow<'static, str>,
    /// Default value; `None` if it is required or optional.
    pub default: Option<Cow<'static, str>>,
    /// Documentation.
    pub doc: Cow<'static, str>,
}

/// A configuration that is read from the environment: a [`config!`](crate::config!) struct, or several as a tuple.
pub trait Settings: Sized {
    /// The environment variables of the configuration.
    fn variables() -> Vec<Variable>;

    /// Reads and validates the configuration.
    ///
    /// # Errors
    /// If variables are missing or invalid: all of them, with the reason of each.
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

/// All problems of the environment, one line per variable.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is not complete:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

impl ConfigError {
    /// Both values, or the problems of both.
    ///
    /// # Errors
    /// If one of them is an error.
    pub fn join<A, B>(a: Result<A, Self>, b: Result<B, Self>) -> Result<(A, B), Self> {
        match (a, b) {
            (Ok(a), Ok(b)) => Ok((a, b)),
            (a, b) => Err(Self([a.err(), b.err()].into_iter().flatten().flat_map(|Self(lines)| lines).collect())),
        }
    }
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `value`.
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
    /// Description of a valid value, for the error: `a number above 0`.
    const EXPECTS: &'static str;

    /// Parses the value; `None` if it is invalid. An absent variable without default is passed as `None`.
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
    Uuid: "an id (UUID)",
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

/// Reads variables in order, and collects all problems.
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

    /// The value of the next variable; `None` if it is missing or invalid, which [`Reader::error`] reports.
    #[expect(clippy::should_implement_trait, reason = "every value has a type of its own")]
    pub fn next<T: FromVariable>(&mut self) -> Option<T> {
        let variable = self.variables.next()?;
        let value = self.env.get(&variable.name);
        let parsed = T::from_variable(value.or(variable.default.as_deref()));
        if parsed.is_none() {
            // Values are not printed: an invalid value may be a secret in the wrong variable.
            let state = if value.is_some() { "is not" } else { "is not set; it takes" };
            self.wrong.push(format!("{} {state} {} ({})", variable.name, T::EXPECTS, variable.doc.trim()));
        }
        parsed
    }

    /// All problems.
    pub fn error(self) -> ConfigError {
        ConfigError(self.wrong)
    }
}

/// Declares a configuration struct: fields with their variables, defaults and documentation.
///
/// ```
/// baton_runtime::config! {
///     /// Configuration of a worker.
///     pub struct WorkerConfig {
///         /// Jobs to run at a time.
///         pub concurrency: u32 = "WORKER_CONCURRENCY", default "4";
///         /// Queue to read from; all queues when absent.
///         pub queue: Option<String> = "WORKER_QUEUE";
///     }
/// }
/// let env = [("WORKER_QUEUE", "mail")].into_iter().collect();
/// let config = WorkerConfig::from_env(&env).unwrap();
/// assert_eq!((config.concurrency, config.queue.as_deref()), (4, Some("mail")));
/// assert_eq!(WorkerConfig::VARIABLES[0].name, "WORKER_CONCURRENCY");
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

            /// Reads and validates the configuration; an error lists all problems.
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
    fn error_lists_all_problems_without_values() {
        let env = [("SAMPLE_COUNT", "0"), ("SAMPLE_PEER", "hunter2")].into_iter().collect();
        let message = Sample::from_env(&env).unwrap_err().to_string();
        for name in ["SAMPLE_KEY is not set", "SAMPLE_COUNT is not a whole number above 0", "SAMPLE_PEER is not"] {
            assert!(message.contains(name), "{message}");
        }
        assert!(!message.contains("hunter2"));
    }

    #[test]
    fn defaults_apply_and_secrets_are_not_printed() {
        let env = [("SAMPLE_KEY", "hunter2"), ("SAMPLE_NAMES", "a, b,")].into_iter().collect();
        let sample = Sample::from_env(&env).unwrap();
        assert_eq!((sample.count.get(), sample.names.len(), sample.peer.is_none()), (3, 2, true));
        assert_eq!(sample.key.expose(), "hunter2");
        assert!(!format!("{sample:?}").contains("hunter2"));
    }
}
