//! The user that a server runs as: the caller, or an unprivileged user if the caller is root.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
};

use tokio::process::Command;

use crate::Error;

/// The user that owns a server's data and runs its processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunAs {
    /// The caller, who is not root.
    Caller,
    /// An unprivileged user, because the caller is root.
    User { name: String, uid: u32, gid: u32 },
}

impl RunAs {
    /// Chooses the user. As root: the owner of existing data, so that data from elsewhere or from a run without root
    /// stays usable; else the first of `names` that exists.
    pub(crate) fn choose(server: &'static str, data: &Path, names: &[&str]) -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Caller);
        }
        if let Ok(metadata) = fs::metadata(data)
            && metadata.uid() != 0
        {
            let (uid, gid) = (metadata.uid(), metadata.gid());
            return Ok(Self::User { name: format!("with uid {uid}"), uid, gid });
        }
        let passwd = fs::read_to_string("/etc/passwd").map_err(Error::io("read", "/etc/passwd"))?;
        names
            .iter()
            .find_map(|name| find(&passwd, name))
            .ok_or_else(|| Error::NoUser { server, tried: names.join(", ") })
    }

    /// Makes `command` run as this user.
    pub(crate) fn run<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        match self {
            Self::Caller => command,
            Self::User { uid, gid, .. } => command.uid(*uid).gid(*gid),
        }
    }

    /// Makes this user the owner of a file or folder.
    pub(crate) fn chown(&self, path: &Path) -> Result<(), Error> {
        match self {
            Self::Caller => Ok(()),
            Self::User { uid, gid, .. } => {
                chown(path, Some(*uid), Some(*gid)).map_err(Error::io("change the owner of", path))
            }
        }
    }

    /// Whether this user can enter `folder`. The check runs a process as the user, because groups, access lists and
    /// mount options matter too, and mode bits do not show them.
    pub(crate) async fn can_enter(&self, folder: &Path) -> bool {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#"cd "$1" 2>/dev/null"#, "sh"]).arg(folder).current_dir("/");
        self.run(&mut command).status().await.is_ok_and(|status| status.success())
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Caller => "yourself",
            Self::User { name, .. } => name,
        }
    }
}

fn find(passwd: &str, wanted: &str) -> Option<RunAs> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        // macOS writes nobody's ids as -2.
        let id = |text: &str| text.parse::<i64>().ok().map(|id| id as u32);
        (name == wanted).then_some(RunAs::User { name: name.to_owned(), uid: id(uid)?, gid: id(gid)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_found_by_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n# a comment\nnobody:*:-2:-2::/:/bin/false\npostgres:x:101:104::/:/bin/sh";
        let postgres = RunAs::User { name: "postgres".into(), uid: 101, gid: 104 };
        assert_eq!(find(passwd, "postgres"), Some(postgres));
        assert!(matches!(find(passwd, "nobody"), Some(RunAs::User { uid: 4_294_967_294, .. })));
        assert_eq!(find(passwd, "redis"), None);
    }
}
