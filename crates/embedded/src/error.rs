use std::{io, path::PathBuf};

/// Why a server could not be started. Each message is one line with the failure and its remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The programs are not installed.
    #[error("{program} was not found on this machine. {install}")]
    NotInstalled {
        /// The program.
        program: &'static str,
        /// How to get it.
        install: &'static str,
    },

    /// An environment variable names a path without the program.
    #[error("{variable} is {path}, but no working {program} is there. Correct the variable or unset it")]
    WrongVariable {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
        /// The expected program.
        program: &'static str,
    },

    /// The programs are older than what Baton needs.
    #[error("{path} is version {found}, and Baton needs {program} {needed} or newer. {install}")]
    TooOld {
        /// The program's name.
        program: &'static str,
        /// Path of the program.
        path: PathBuf,
        /// Its major version.
        found: u32,
        /// The lowest supported version.
        needed: u32,
        /// How to get it.
        install: &'static str,
    },

    /// Another running server uses the folder.
    #[error("{server} is already running on {folder} ({process}). Stop that process first, or use another folder")]
    InUse {
        /// Postgres or Redis.
        server: &'static str,
        /// The folder.
        folder: PathBuf,
        /// The process and its starter, as far as known.
        process: String,
    },

    /// The folder contains only files that are not Baton's.
    #[error("{folder} contains files that are not Baton's. Use a folder that is empty or does not exist")]
    Foreign {
        /// The folder.
        folder: PathBuf,
    },

    /// A throw-away server needs an empty folder.
    #[error(
        "{folder} is not empty, and a throw-away server would remove its content. Use a new folder for throw-away data"
    )]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },

    /// The folder belongs to another user.
    #[error("{folder} belongs to another user (uid {uid}). Run as that user or as root, or use another folder")]
    NotYours {
        /// The folder.
        folder: PathBuf,
        /// Its owner.
        uid: u32,
    },

    /// The caller is root, and no unprivileged user exists.
    #[error(
        "{server} must not run as root, and none of the users {tried} exists. Run as another user, or add one of them"
    )]
    NoUser {
        /// Postgres or Redis.
        server: &'static str,
        /// Names that were tried.
        tried: String,
    },

    /// The user that the server runs as can enter neither the folder nor the fallback.
    #[error("user {user} can enter neither {folder} nor {fallback}. Allow it with chmod o+x on their parents")]
    Unreachable {
        /// The user.
        user: String,
        /// The requested folder.
        folder: PathBuf,
        /// The fallback folder.
        fallback: PathBuf,
    },

    /// The data is damaged.
    #[error(
        "the data of {server} is broken: {problem}. Restore {folder} from a copy, or remove it to start with an empty one"
    )]
    Broken {
        /// Postgres or Redis.
        server: &'static str,
        /// The problem, with the file's name.
        problem: String,
        /// The folder.
        folder: PathBuf,
    },

    /// Another major version wrote the data.
    #[error(
        "{folder} was written by Postgres {found}, but {bin_dir} is version {have}. Set BATON_POSTGRES_BIN to the bin \
         folder of a Postgres {found}, or remove {folder} to start with an empty one"
    )]
    WrongVersion {
        /// The folder.
        folder: PathBuf,
        /// The version of the data.
        found: String,
        /// The binaries.
        bin_dir: PathBuf,
        /// Their version.
        have: u32,
    },

    /// The server ended, or was not ready in time.
    #[error(
        "{server} did not start: {reason}. Its log is {log}; if you do not need its data, remove {folder} and try again"
    )]
    DidNotStart {
        /// Postgres or Redis.
        server: &'static str,
        /// The most relevant line of the log.
        reason: String,
        /// The log.
        log: PathBuf,
        /// The folder.
        folder: PathBuf,
    },

    /// A system call failed.
    #[error("cannot {doing} {path}: {source}. Check that it belongs to you and that the disk has room")]
    Io {
        /// The operation.
        doing: &'static str,
        /// Its file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: names the operation and its file.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
