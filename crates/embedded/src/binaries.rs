//! Finds the programs of Postgres and Redis.

use std::{
    env, fs,
    path::{self, Path, PathBuf},
    process::Command,
};

use crate::Error;

const MIN_POSTGRES_VERSION: u32 = 15;
const MIN_REDIS_VERSION: u32 = 7;

const INSTALL_POSTGRES: &str = "Run scripts/setup, or install Postgres 15 or newer (Debian, Ubuntu: apt-get install \
                                postgresql; macOS: brew install postgresql@17), or set BATON_POSTGRES_BIN to its bin folder";
const INSTALL_REDIS: &str = "Run scripts/setup, or install Redis 7 or newer (Debian, Ubuntu: apt-get install \
                             redis-server; macOS: brew install redis), or set BATON_REDIS_SERVER to the program";

/// The programs of a Postgres installation.
#[derive(Debug, Clone)]
pub struct PostgresBinaries {
    /// The folder with `postgres` and `initdb`.
    pub bin_dir: PathBuf,
    /// The major version.
    pub major: u32,
}

impl PostgresBinaries {
    /// Looks at `BATON_POSTGRES_BIN`, the `PATH`, and where Debian, Red Hat and Homebrew install, the newest
    /// version first. Runs `postgres --version`, so it blocks for some milliseconds.
    pub fn find() -> Result<Self, Error> {
        let variable = "BATON_POSTGRES_BIN";
        if let Some(path) = path_from_env(variable) {
            return newest_enough(
                "Postgres",
                MIN_POSTGRES_VERSION,
                INSTALL_POSTGRES,
                [Self::at(&path).ok_or(Error::WrongVariable { variable, path, program: "postgres and initdb" })?],
                |found| (found.bin_dir.clone(), found.major),
            );
        }
        let on_path = on_path("postgres").into_iter().filter_map(|program| {
            // A link on the path leads to the folder with initdb; a wrapper script has initdb next to it.
            let real = program.canonicalize().ok()?;
            Self::at(real.parent()?).or_else(|| Self::at(program.parent()?))
        });
        let installed = [
            versions("/usr/lib/postgresql", "", "bin"),
            versions("/usr", "pgsql-", "bin"),
            versions("/opt/homebrew/opt", "postgresql@", "bin"),
            versions("/usr/local/opt", "postgresql@", "bin"),
        ];
        newest_enough(
            "Postgres",
            MIN_POSTGRES_VERSION,
            INSTALL_POSTGRES,
            on_path.chain(installed.into_iter().flatten().filter_map(|bin| Self::at(&bin))),
            |found| (found.bin_dir.clone(), found.major),
        )
    }

    /// The extensions that the installation does not have; empty if its extension folder is unknown.
    pub fn lacks<'a>(&self, extensions: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let Some(folder) = self.extensions_dir() else { return Vec::new() };
        extensions.into_iter().filter(|name| !folder.join(name).with_extension("control").is_file()).collect()
    }

    /// The extension folder, from `pg_config` if it is installed.
    fn extensions_dir(&self) -> Option<PathBuf> {
        let reported = Command::new(self.bin_dir.join("pg_config")).arg("--sharedir").current_dir("/").output().ok();
        let reported = reported.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        let debian = PathBuf::from(format!("/usr/share/postgresql/{}", self.major));
        let beside = self.bin_dir.with_file_name("share");
        let shared = reported.into_iter().chain([debian, beside.join("postgresql"), beside]);
        // Every installation has plpgsql, so its file identifies the right folder.
        shared.map(|folder| folder.join("extension")).find(|folder| folder.join("plpgsql.control").is_file())
    }

    /// The installation with this `bin` folder.
    fn at(bin_dir: &Path) -> Option<Self> {
        let major = major_version(&bin_dir.join("postgres"))?;
        bin_dir.join("initdb").is_file().then(|| Self { bin_dir: bin_dir.to_owned(), major })
    }
}

/// The program of a Redis or Valkey server.
#[derive(Debug, Clone)]
pub struct RedisBinary {
    /// `redis-server` or `valkey-server`.
    pub program: PathBuf,
    /// The major version.
    pub major: u32,
}

impl RedisBinary {
    /// Looks at `BATON_REDIS_SERVER` (a program), the `PATH`, and Homebrew's folders. Runs the program for its
    /// version, so it blocks for some milliseconds.
    pub fn find() -> Result<Self, Error> {
        let variable = "BATON_REDIS_SERVER";
        let candidates = match path_from_env(variable) {
            Some(path) => vec![Self::at(path.clone()).ok_or(Error::WrongVariable {
                variable,
                path,
                program: "redis-server or valkey-server",
            })?],
            None => ["redis-server", "valkey-server"]
                .into_iter()
                .flat_map(|name| {
                    let brewed = ["/opt/homebrew/bin", "/usr/local/bin"].map(|bin| Path::new(bin).join(name));
                    on_path(name).into_iter().chain(brewed)
                })
                .filter_map(Self::at)
                .collect(),
        };
        newest_enough("Redis", MIN_REDIS_VERSION, INSTALL_REDIS, candidates, |found| {
            (found.program.clone(), found.major)
        })
    }

    fn at(program: PathBuf) -> Option<Self> {
        let major = major_version(&program)?;
        Some(Self { program, major })
    }
}

/// The first candidate that is new enough. If all are older, the error names the first of them.
fn newest_enough<T>(
    program: &'static str,
    needed: u32,
    install: &'static str,
    candidates: impl IntoIterator<Item = T>,
    describe: impl Fn(&T) -> (PathBuf, u32),
) -> Result<T, Error> {
    let mut error = Error::NotInstalled { program, install };
    for candidate in candidates {
        let (path, found) = describe(&candidate);
        if found >= needed {
            return Ok(candidate);
        }
        if let Error::NotInstalled { .. } = error {
            error = Error::TooOld { program, path, found, needed, install };
        }
    }
    Err(error)
}

fn path_from_env(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).and_then(|path| path::absolute(path).ok())
}

fn on_path(program: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Absolute, because the servers start in another working directory.
    let programs = env::split_paths(&path).filter_map(|folder| path::absolute(folder.join(program)).ok());
    programs.filter(|program| program.is_file()).collect()
}

/// `root/<prefix><number>/<leaf>` for every number found, the highest first.
fn versions(root: &str, prefix: &str, leaf: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join(leaf)))
        })
        .collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, path)| path).collect()
}

fn major_version(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").current_dir("/").output().ok()?;
    output.status.success().then(|| parse_major(&String::from_utf8_lossy(&output.stdout))).flatten()
}

/// The major version in `postgres (PostgreSQL) 15.13 (Debian 15.13-0)`, `18beta1`, `Redis server v=7.0.15 sha=0`.
fn parse_major(version: &str) -> Option<u32> {
    version.split_whitespace().find_map(|word| {
        let word = word.strip_prefix("v=").unwrap_or(word);
        let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
        word[..digits].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_version_is_parsed_from_version_output() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"), Some(7));
        assert_eq!(parse_major("Valkey server v=8.1.3 sha=00000000:0"), Some(8));
        assert_eq!(parse_major("usage: something else"), None);
    }

    #[test]
    fn old_version_is_an_error_only_without_a_newer_one() {
        let pick = |majors: &[u32]| {
            newest_enough("Postgres", 15, "", majors.to_vec(), |major| (PathBuf::from("/bin"), *major))
        };
        assert_eq!(pick(&[13, 16, 17]).ok(), Some(16));
        assert!(matches!(pick(&[13, 14]), Err(Error::TooOld { found: 13, .. })));
        assert!(matches!(pick(&[]), Err(Error::NotInstalled { .. })));
    }

    #[test]
    fn missing_extensions_are_listed() {
        let root = tempfile::tempdir_in("/tmp").expect("a folder");
        let found = PostgresBinaries { bin_dir: root.path().join("bin"), major: 0 };
        assert!(found.lacks(["pg_trgm"]).is_empty(), "unknown extension folder");
        let folder = root.path().join("share/extension");
        fs::create_dir_all(&folder).expect("a folder");
        for name in ["plpgsql.control", "pg_trgm.control"] {
            fs::write(folder.join(name), "").expect("a file");
        }
        assert_eq!(found.lacks(["pg_trgm", "btree_gin"]), ["btree_gin"]);
    }

    #[test]
    fn newest_installation_comes_first() {
        let root = tempfile::tempdir_in("/tmp").expect("a folder");
        for name in ["9", "15", "17", "common"] {
            fs::create_dir(root.path().join(name)).expect("a folder");
        }
        let found = versions(root.path().to_str().expect("UTF-8"), "", "bin");
        let expected: Vec<_> = ["17/bin", "15/bin", "9/bin"].iter().map(|path| root.path().join(path)).collect();
        assert_eq!(found, expected);
    }
}
