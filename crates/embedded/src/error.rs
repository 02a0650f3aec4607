use std::{io, path::PathBuf};

/// Why a server could not be started. Each message is one line that says what happened and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The programs are not on this machine.
    #[error("{program} was not found on this machine. {install}")]
    NotInstalled {
        /// What was looked for.
        program: &'static str,
        /// How to get it.
        install: &'static str,
    },

    /// An environment variable names a place without the program.
    #[error("{variable} is {path}, but no working {program} is there. Correct the variable or unset it")]
    WrongVariable {
        /// The environment variable.
        variable: &'static str,
        /// What it says.
        path: PathBuf,
        /// What should be there.
        program: &'static str,
    },

    /// The programs are older than what Baton needs.
    #[error("{path} is version {found}, and Baton needs {program} {needed} or newer. {install}")]
    TooOld {
        /// The program's name.
        program: &'static str,
        /// Where it is.
        path: PathBuf,
        /// Its major version.
        found: u32,
        /// The lowest version that will do.
        needed: u32,
        /// How to get it.
        install: &'static str,
    },

    /// Another server, which lives, already uses the folder.
    #[error("{server} is already running on {folder} ({process}). Stop that process first, or use another folder")]
    InUse {
        /// Postgres or Redis.
        server: &'static str,
        /// The folder.
        folder: PathBuf,
        /// Which process it is, and who started it, as far as it can be known.
        process: String,
    },

    /// The folder holds files, and none of them are ours.
    #[error("{folder} holds files that are not Baton's. Use a folder that is empty or does not exist")]
    Foreign {
        /// The folder.
        folder: PathBuf,
    },

    /// A throw-away server was asked to start in a folder with something in it.
    #[error("{folder} is not empty, and all in it would be removed at the end. Use a new folder for throw-away data")]
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

    /// We are root, and there is nobody else to be.
    #[error(
        "{server} must not run as root, and none of the users {tried} exists. Run as another user, or add one of them"
    )]
    NoUser {
        /// Postgres or Redis.
        server: &'static str,
        /// Names that were looked for.
        tried: String,
    },

    /// The user that the server runs as cannot enter any folder that we could give it.
    #[error("user {user} can enter neither {folder} nor {fallback}. Allow it with chmod o+x on their parents")]
    Unreachable {
        /// The user.
        user: String,
        /// What the caller asked for.
        folder: PathBuf,
        /// Where the data would have gone instead.
        fallback: PathBuf,
    },

    /// The data cannot be what it was.
    #[error(
        "the data of {server} is broken: {problem}. Restore {folder} from a copy, or remove it to begin with an empty one"
    )]
    Broken {
        /// Postgres or Redis.
        server: &'static str,
        /// What is wrong, with the file's name.
        problem: String,
        /// The folder.
        folder: PathBuf,
    },

    /// The data was written by another major version.
    #[error(
        "{folder} was written by Postgres {found}, but {bin_dir} is version {have}. Set BATON_POSTGRES_BIN to the bin \
         folder of a Postgres {found}, or remove {folder} to begin with an empty one"
    )]
    WrongVersion {
        /// The folder.
        folder: PathBuf,
        /// The version in it.
        found: String,
        /// The binaries.
        bin_dir: PathBuf,
        /// Their version.
        have: u32,
    },

    /// The server ended, or did not come up in time.
    #[error("{server} did not start: {reason}. Its log is {log}; if its data may go, remove {folder} and try again")]
    DidNotStart {
        /// Postgres or Redis.
        server: &'static str,
        /// The line of the log that tells the most.
        reason: String,
        /// The log.
        log: PathBuf,
        /// The folder.
        folder: PathBuf,
    },

    /// The system refused something.
    #[error("cannot {doing} {path}: {source}. Check that it belongs to you and that the disk has room")]
    Io {
        /// What we were about to do.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: names what was done to which file.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
